# ruff: noqa: E501  (bad inputs are listed one a line)
"""import-mfd and export as a user meets them: every bad input is one clear line, exit code 1, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cli.mfdstore_app import app
from mfdstore.build.run import build_store
from mfdstore.import_mfd import ReleaseSources
from mfdstore.store import Store
from tests.releases import Release
from tests.worlds import ACCESSIONS, GENOME, World, settings

FIRST = ACCESSIONS[0]


@dataclass
class Case:
    """A release on disk, and the options to import it with."""

    folder: Path
    sources: ReleaseSources

    @property
    def out(self) -> Path:
        """Name of what is made, in a folder of its own."""
        return self.folder / "out" / "x.zarr"

    def write(self, release: Release) -> None:
        """Write the release anew."""
        self.sources = release.write(self.folder / "release")

    def edit(self, change: Callable[[Any], None]) -> None:
        """Change the open HDF5 file."""
        with h5py.File(self.sources.overlaps, "r+") as file:
            change(file)

    def options(self, **changes: str | None) -> list[str]:
        """Give the command line; `None` leaves an option out, an empty text makes it a flag."""
        given: dict[str, str | None] = {
            "regions": str(self.sources.regions),
            "overlaps": str(self.sources.overlaps),
            "metadata": str(self.sources.metadata),
            "fasta": str(self.sources.fasta),
            "genome": GENOME,
            "split-valid": "8",
            "split-test": "9",
            "out": str(self.out),
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        line = ["import-mfd"]
        for name, value in given.items():
            if value is not None:
                line += [f"--{name}", value] if value else [f"--{name}"]
        return line

    def run(self, **changes: str | None) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(app, self.options(**changes))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / "out").mkdir()
    return Case(tmp_path, Release().write(tmp_path / "release"))


def _message(result: Result) -> str:
    """Give the one message of a command that failed as it should."""
    assert result.exit_code == 1, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_import__prints_counts_and_the_path(case: Case) -> None:
    result = case.run()
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert result.stdout.splitlines()[-1] == str(case.out)
    assert "left out" in result.stdout
    assert "out: found something there already" not in result.output
    assert f"{case.out}: found something there already" in _message(case.run())
    told = case.run(out=str(case.out.with_name("y.zarr")), json="")
    assert json.loads(told.stdout)["counts"]["experiments"] == 11


# ---- what is wrong with a release: (what is done to it, words of the message)

Wreck = Callable[[Case], None]


def _regions(change: Callable[[list[tuple[str, int, int]]], None]) -> Wreck:
    def wreck(case: Case) -> None:
        release = Release()
        change(release.regions)
        case.write(release)

    return wreck


def _pairs(change: Callable[[list[tuple[int, int]]], None]) -> Wreck:
    def wreck(case: Case) -> None:
        release = Release()
        change(release.pairs)
        case.write(release)

    return wreck


def _rows(change: Callable[[list[dict[str, str]]], None]) -> Wreck:
    def wreck(case: Case) -> None:
        release = Release()
        change(release.rows)
        case.write(release)

    return wreck


def _file(change: Callable[[Any], None]) -> Wreck:
    return lambda case: case.edit(change)


def _bytes(name: str, change: Callable[[bytes], bytes]) -> Wreck:
    def wreck(case: Case) -> None:
        path = getattr(case.sources, name)
        path.write_bytes(change(path.read_bytes()))

    return wreck


def _release(**fields: Any) -> Wreck:
    return lambda case: case.write(Release(**fields))


def _damage_chunk(case: Case) -> None:
    with h5py.File(case.sources.overlaps, "r") as file:
        chunk = file["target"].id.get_chunk_info(0)
        content = bytearray(case.sources.overlaps.read_bytes())
    content[chunk.byte_offset + 5 : chunk.byte_offset + 15] = bytes(10)
    case.sources.overlaps.write_bytes(bytes(content))


def _replace(file: Any, name: str, data: Any, keep: bool = True) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    dataset = file.create_dataset(name, data=data)
    dataset.attrs.update(attributes if keep else {})


def _put(items: list[Any], at: int, item: Any) -> None:
    items[at] = item


WRECKS: dict[str, tuple[Wreck, str]] = {
    # regions
    "regions missing": (lambda case: case.sources.regions.unlink(), "regions.bed.gz: found no readable file"),
    "regions cut off": (_bytes("regions", lambda text: text[:-20]), "a gzip file that breaks off"),
    "regions of garbage": (_bytes("regions", lambda _: b"\x00\x01\x02" * 50), "regions.bed.gz, line 1: found 1 column(s)"),
    "regions empty": (_bytes("regions", lambda _: b""), "found no regions"),
    "regions with CR LF": (_bytes("regions", lambda text: gzip.decompress(text).replace(b"\n", b"\r\n")), "line 1: found a line that ends in CR LF"),
    "regions with a header": (_bytes("regions", lambda text: b"chrom\tstart\tend\tname\tscore\n" + gzip.decompress(text)), "line 1: found 'start' as start"),
    "regions not sorted": (_regions(lambda rows: _put(rows, slice(1, 3), [rows[2], rows[1]])), "line 3: found a region at 1:"),
    "regions twice": (_regions(lambda rows: _put(rows, 2, rows[1])), "a second time; expected each region once"),
    "chromosome in two places": (_regions(lambda rows: rows.append(rows.pop(0))), "chromosome '1' again, behind '9'"),
    "chromosome by two names": (_regions(lambda rows: rows.append(("chr1", 0, 128))), "chromosome 'chr1', which is chr1 as '1' was"),
    "regions of two widths": (_regions(lambda rows: _put(rows, 3, (rows[3][0], rows[3][1], rows[3][1] + 100))), "line 4: found a region of 100 bp; expected 128 bp"),
    "regions off the tiling": (_regions(lambda rows: _put(rows, slice(None), [(name, a + 1, b + 1) for name, a, b in rows])), "expected a multiple of 128"),
    "regions of one base": (_regions(lambda rows: _put(rows, slice(None), [(name, a, a + 1) for name, a, _ in rows])), "line 1: found a region of 1 bp"),
    "regions beyond the chromosome": (_regions(lambda rows: _put(rows, -1, ("9", 128 * 16, 128 * 17))), "expected at most 2,049, the length of chr9"),
    "regions before the chromosome": (_regions(lambda rows: _put(rows, 0, ("1", -128, 0))), "line 1: found start -128"),
    "regions of no known chromosome": (_regions(lambda rows: _put(rows, slice(None), [("x" + name, a, b) for name, a, b in rows])), "expected names of the FASTA: chr1, chr8"),
    "regions of another release": (_bytes("regions", lambda text: gzip.decompress(text).replace(b"\tc1\t", b"\tk1\t")), "overlaps.h5 notes of its regions"),
    "fewer regions than pairs": (_regions(lambda rows: rows.pop()), "expected at most"),
    # overlaps
    "overlaps missing": (lambda case: case.sources.overlaps.unlink(), "overlaps.h5: found no readable file"),
    "overlaps cut off": (_bytes("overlaps", lambda content: content[:-100]), "found no HDF5 file, or one that breaks off or is damaged"),
    "overlaps of text": (_bytes("overlaps", lambda _: b"query\ttarget\n"), "found no HDF5 file"),
    "overlaps empty": (_bytes("overlaps", lambda _: b""), "found no HDF5 file"),
    "a damaged chunk": (_damage_chunk, "damaged"),
    "no query": (_file(lambda file: file.pop("query")), "found datasets 'target'; expected a dataset 'query'"),
    "query a group": (_file(lambda file: (file.pop("query"), file.create_group("query"))), "'query' of another kind"),
    "query of floats": (_file(lambda file: _replace(file, "query", file["query"][:] + 0.5)), "'query' of another kind"),
    "more queries than targets": (_file(lambda file: _replace(file, "query", np.append(file["query"][:], 5))), "as many targets as queries"),
    "targets of two columns": (_file(lambda file: _replace(file, "target", np.repeat(file["target"][:], 2, axis=1))), "as many targets as queries"),
    "no labels": (_file(lambda file: file["target"].attrs.pop("labels")), "found no attribute 'labels' of 'target'"),
    "labels twice": (_release(accessions=[FIRST, FIRST, *ACCESSIONS[2:]]), f"found experiment {FIRST} twice"),
    "labels that are paths": (_release(accessions=["../x", *ACCESSIONS[1:]]), "found experiment '../x'"),
    "labels of fewer experiments": (_release(accessions=ACCESSIONS[:-1]), f"found 1 experiment(s) without labels: {ACCESSIONS[-1]}"),
    "counts of fewer experiments": (_file(lambda file: file["target"].attrs.create("N", np.arange(3))), "attribute 'N' with 3 counts for 11 experiments"),
    "counts that differ": (_release(counts=[1] * 11), "as attribute 'N' of 'target' says"),
    "pairs of late regions first": (_pairs(lambda pairs: pairs.sort(key=lambda pair: pair[0] < 12)), "pairs sorted by region"),
    "pairs not sorted": (_pairs(lambda pairs: pairs.insert(0, pairs.pop(40))), "pairs sorted by region"),
    "pairs of no region": (_pairs(lambda pairs: pairs.append((100_000, 1))), "found pairs up to region 100,000"),
    "pairs before the first region": (_pairs(lambda pairs: _put(pairs, 0, (-1, 1))), "found region -1 in pair 0"),
    "pairs of no experiment": (_pairs(lambda pairs: _put(pairs, 3, (pairs[3][0], 11))), "found experiment 11 in pair 3"),
    "pairs of a negative experiment": (_pairs(lambda pairs: _put(pairs, 3, (pairs[3][0], -1))), "found experiment -1 in pair 3"),
    "no pairs": (_pairs(list.clear), "0 experiment(s) in region 1:"),
    "a region without pairs": (_regions(lambda rows: rows.append(("Un_1", 0, 128))), "found a region to 128; expected at most 90"),
    "an experiment without pairs": (_pairs(lambda pairs: _put(pairs, slice(None), [pair for pair in pairs if pair[1] != 4])), f"without a pair on chr1, chr8, chr9, chrUn_1: {ACCESSIONS[4]}"),
    "carried store of garbage": (_file(lambda file: file.create_dataset("mfdstore/store", data="{}")), "'mfdstore/store' that cannot be read"),
    "carried store of bytes": (_file(lambda file: file.create_dataset("mfdstore/store", data=np.arange(3))), "'mfdstore/store' that cannot be read"),
    "carried store missing": (_file(lambda file: file.create_group("mfdstore")), "'mfdstore/store' that cannot be read"),
    # metadata
    "metadata missing": (lambda case: case.sources.metadata.unlink(), "metadata.tsv: found no readable file"),
    "metadata with fewer rows": (_rows(lambda rows: rows.pop()), f"found 10 experiments, without 1 that have labels: {ACCESSIONS[-1]}"),
    "metadata with more rows": (_rows(lambda rows: rows.append(rows[0] | {"File.accession": "ENCFF999ZZZ"})), "found 1 experiment(s) without labels: ENCFF999ZZZ"),
    "metadata with a row twice": (_rows(lambda rows: rows.append(rows[0])), f"line 13: found accession {FIRST} again, first on line 2"),
    "metadata without accessions": (_bytes("metadata", lambda text: text.replace(b"File.accession", b"Accessions")), "expected a header with 'File.accession'"),
    "metadata with a strange accession": (_rows(lambda rows: _put(rows, 0, rows[0] | {"File.accession": "a/b"})), "line 2: found 'a/b' in column 'File.accession'"),
    "metadata with a strange number": (_rows(lambda rows: _put(rows, 1, rows[1] | {"frip": "high"})), "line 3: found 'high' in column 'frip'; expected a number"),
    "metadata with a strange date": (_rows(lambda rows: _put(rows, 1, rows[1] | {"Experiment.date.released": "28/07/2016"})), "expected a date as 2016-07-28"),
    "metadata cut off": (_bytes("metadata", lambda text: text[:-60]), "cells; expected 17, as the header has"),
    "metadata of bytes": (_bytes("metadata", lambda _: b"\xff\xfe\x00"), "bytes that are not text"),
    # genome
    "FASTA missing": (lambda case: case.sources.fasta.unlink(), "genome.fa: found no readable file"),
}  # fmt: skip


@pytest.mark.parametrize(("wreck", "words"), WRECKS.values(), ids=WRECKS.keys())
def test_import__says_in_one_line_what_is_wrong(case: Case, wreck: Wreck, words: str) -> None:
    wreck(case)
    assert words in _message(case.run())
    assert list(case.out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"genome": "hg38"}, "found chr1 of 5,157 bp; expected 248,956,422 bp, the length of chr1 in hg38"),
        ({"chroms": "chr5"}, "chromosome 'chr5': found no such sequence in the FASTA"),
        ({"chroms": "chrUn_1"}, "found no window left of"),
        ({"min-overlap": "0"}, "--min-overlap: found 0 bp"),
        ({"min-experiments": "-1"}, "--min-experiments: found -1"),
        ({"min-experiments": "11"}, "If the release keeps such bins, pass --min-experiments"),
        ({"split-test": "8"}, "found chr8 in both"),
        ({"split-valid": None, "split-test": None}, "--split-test: found chromosome 'chr10'"),
        ({"split-test": "chrUn_1"}, "the splits: found no window for test on chr1, chr8"),
        ({"split-blocks": ""}, "--split-valid: found --split-blocks beside it"),
        ({"report": "r.tsv"}, "--report: found a table of the release, metadata.tsv, beside it"),
    ],
)
def test_import__refuses_options_that_do_not_fit(
    case: Case, options: dict[str, str | None], words: str
) -> None:
    assert words in _message(case.run(**options))
    assert list(case.out.parent.iterdir()) == []


def test_import__takes_what_is_allowed(case: Case) -> None:
    release = Release()
    release.rows.append(release.rows[0] | {"File.accession": "ENCFF999ZZZ"})
    release.pairs = [pair for pair in release.pairs if pair[1] != 4]
    case.write(release)
    result = case.run(allow_missing="", allow_empty="", min_experiments="0", json="")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"]["metadata"] == {"metadata_rows": 12, "rows_without_labels": 1}


# ---- export


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return build_store(World().write(tmp_path / "sources"), tmp_path / "little.zarr", settings()).path


def _export(store: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["export", str(store), "--out", str(out), *options])


@pytest.mark.parametrize("format", ["mfd-hdf5", "bed", "parquet"])
def test_export__prints_what_it_wrote(store: Path, tmp_path: Path, format: str) -> None:
    result = _export(store, tmp_path / "out", "--format", format)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert "found something there already" in _message(_export(store, tmp_path / "out", "--format", format))
    told = _export(store, tmp_path / "again", "--format", format, "--json")
    assert json.loads(told.stdout)["files"] == sorted(path.name for path in (tmp_path / "again").iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "bam"], "--format: found 'bam'; expected one of mfd-hdf5, bed, parquet"),
        (["--format", "bed", "--split", "holdout"], "split: found 'holdout'"),
        (["--format", "bed", "--chroms", "chr5"], "chromosome 'chr5': found no such sequence"),
        (["--format", "bed", "--chroms", "chr8", "--split", "train"], "found no window of train on chr8"),
        (["--format", "bed", "--experiments", "ENCFF"], "--experiments: found 1 that the store does not have: 'ENCFF'"),
        (["--format", "bed", "--where", "target"], "expected FACTOR=VALUE, such as target=CTCF"),
        (["--format", "bed", "--where", "colour=red"], "found factor 'colour', which the store does not have"),
        (["--format", "bed", "--where", "target=ctcf"], "found no experiment with target 'ctcf'; expected Accessible DNA, CTCF"),
        (["--format", "bed", "--where", "target=CTCF", "--experiments", ACCESSIONS[2]], "found no experiment that has all of target=CTCF"),
        (["--format", "bed", "--split", ","], "--split: found ','; expected names joined by commas"),
    ],
)  # fmt: skip
def test_export__refuses_what_the_store_does_not_have(
    store: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in _message(_export(store, tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["mfd-hdf5", "bed", "parquet"])
def test_export__of_a_damaged_store_leaves_nothing(store: Path, tmp_path: Path, format: str) -> None:
    for array in ("label_bits", "label_bits_by_experiment"):
        file = next(path for path in (store / array / "c").rglob("*") if path.is_file())
        content = bytearray(file.read_bytes())
        content[20] ^= 1
        file.write_bytes(content)
    before = set(tmp_path.iterdir())
    message = _message(_export(store, tmp_path / "out", "--format", format, "--experiments", "all"))
    assert "with a damaged chunk" in message
    assert set(tmp_path.iterdir()) == before
    assert "found no directory" in _message(_export(tmp_path / "none", tmp_path / "out", "--format", format))


@pytest.mark.parametrize("format", ["mfd-hdf5", "bed", "parquet"])
def test_export__onto_a_full_disk_leaves_nothing(store: Path, tmp_path: Path, format: str) -> None:
    """A limit on the size of a file stands for the disk: the system refuses to write just so."""
    (tmp_path / "out").mkdir()
    code = (
        "import resource, signal, sys\n"
        "from cli.mfdstore_app import main\n"
        "import mfdstore.export.exporting\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        f"sys.argv = ['mfdstore', 'export', {str(store)!r}, '--out', {str(tmp_path / 'out' / 'x')!r}, '--format', {format!r}]\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "found no room" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_export__and_import_without_options_give_the_store_back(
    store: Path, tmp_path: Path, case: Case
) -> None:
    assert _export(store, tmp_path / "e", "--format", "mfd-hdf5").exit_code == 0
    folder = tmp_path / "e"
    files = {"regions": "regions.bed.gz", "overlaps": "overlaps.h5", "metadata": "metadata.tsv"}
    given: dict[str, str | None] = {name: str(folder / file) for name, file in files.items()}
    result = case.run(**given, split_valid=None, split_test=None, json="")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["digest"] == Store(store).digest
    other = str(tmp_path / "y.zarr")
    message = _message(case.run(**given, min_overlap="32", out=other))
    assert message.startswith("Error: --min-overlap: found 32 bp; expected 64 bp")
    assert "expected little, the genome" in _message(case.run(**given, genome="large", out=other))
    plain = case.sources.metadata
    assert "found no column 'mfdstore." in _message(case.run(**given | {"metadata": str(plain)}, out=other))
    text = case.sources.fasta.read_text().replace("A", "C", 1)
    case.sources.fasta.write_text(text)
    assert "found another sequence of chr1; expected the bases of the store" in _message(
        case.run(**given, out=other)
    )
    case.sources.fasta.write_text(text.replace("\n>chr8", "A\n>chr8"))
    case.sources.fasta.with_suffix(".fa.fai").unlink(missing_ok=True)
    assert "expected 5,157 bp, as in the store" in _message(case.run(**given, out=other))
