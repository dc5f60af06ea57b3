# ruff: noqa: E501  (bad inputs are listed one a line)
"""The command as a user meets it: every bad input is one clear message, exit code 1 or 2, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.mfdstore_app import app
from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.layout import write_manifest
from tests.worlds import ACCESSIONS, GENOME, METADATA_COLUMNS, World, settings, write_fasta, write_table

FIRST, SECOND, THIRD = ACCESSIONS[:3]


@dataclass
class Case:
    """Sources on disk, and the options to build them with."""

    folder: Path
    world: World

    @property
    def sources(self) -> Path:
        """Folder of the source files."""
        return self.folder / "sources"

    @property
    def out(self) -> Path:
        """Name of the store to build, in a folder of its own."""
        return self.folder / "out" / "x.zarr"

    def peak(self, accession: str, ending: str = ".bed.gz") -> Path:
        """Path of a peak file."""
        return self.sources / "peaks" / f"{accession}{ending}"

    def write_peak(self, accession: str, content: bytes) -> None:
        """Write a peak file anew, with a metadata table that knows its md5 no more."""
        self.peak(accession).write_bytes(gzip.compress(content))
        rows = self.world.metadata_rows()
        for row in rows:
            row["md5sum"] = ""
        write_table(self.sources / "metadata.tsv", METADATA_COLUMNS, rows)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text of a source file once."""
        path = self.sources / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def options(self, **changes: str | None) -> list[str]:
        """Give the command line; `None` leaves an option out, an empty text makes it a flag."""
        given: dict[str, str | None] = {
            "genome": GENOME,
            "fasta": str(self.sources / "genome.fa"),
            "peaks": str(self.sources / "peaks"),
            "metadata": str(self.sources / "metadata.tsv"),
            "report": str(self.sources / "report.tsv"),
            "blacklist": str(self.sources / "blacklist.bed"),
            "split-valid": "chr8",
            "split-test": "chr9",
            "out": str(self.out),
        }
        if "split_blocks" in changes:
            given |= {"split-valid": None, "split-test": None}
        given |= {name.replace("_", "-"): value for name, value in changes.items()}
        line = ["build"]
        for name, value in given.items():
            if value is not None:
                line += [f"--{name}", value] if value else [f"--{name}"]
        return line

    def build(self, **changes: str | None) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(app, self.options(**changes))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    world = World()
    world.write(tmp_path / "sources")
    (tmp_path / "out").mkdir()
    return Case(tmp_path, world)


def _message(result: Result, code: int = 1) -> str:
    """Give the one message of a command that failed as it should."""
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    if code == 1:
        lines = result.stderr.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("Error: ")
        return lines[0]
    return " ".join(result.stderr.replace("│", " ").split())


# ---- what is wrong with the sources: (what is done to them, options, words of the message)

Wreck = Callable[[Case], None]


def _peak_line(line: bytes) -> Wreck:
    return lambda case: case.write_peak(SECOND, b"chr1\t128\t300\tp\t0\t.\n" + line)


def _cut(path: str, share: float) -> Wreck:
    def wreck(case: Case) -> None:
        file = case.sources / path
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])

    return wreck


def _repack(packing: str, share: float = 1.0) -> Wreck:
    def wreck(case: Case) -> None:
        write_fasta(case.sources / "genome.fa", case.world.fasta_bytes(), packing)
        if share < 1:
            _cut("genome.fa", share)(case)

    return wreck


def _remove(path: str) -> Wreck:
    return lambda case: (case.sources / path).unlink()


def _write(path: str, content: bytes) -> Wreck:
    def wreck(case: Case) -> None:
        (case.sources / path).write_bytes(content)

    return wreck


def _change(path: str, old: bytes, new: bytes) -> Wreck:
    def wreck(case: Case) -> None:
        content = (case.sources / path).read_bytes()
        assert old in content
        (case.sources / path).write_bytes(content.replace(old, new))

    return wreck


def _gzipped(path: str) -> Wreck:
    return lambda case: _write(path, gzip.compress((case.sources / path).read_bytes()))(case)


def _edit(path: str, old: str, new: str) -> Wreck:
    return lambda case: case.edit(path, old, new)


def _folder(path: str) -> Wreck:
    def wreck(case: Case) -> None:
        (case.sources / path).unlink()
        (case.sources / path).mkdir()

    return wreck


def _twice(case: Case) -> None:
    case.peak(FIRST, ".narrowPeak").write_text("chr1\t1\t200\n")


def _stranger(case: Case) -> None:
    case.peak("ENCFF999XXX").write_bytes(case.peak(FIRST).read_bytes())


def _swap(case: Case) -> None:
    case.peak(SECOND).write_bytes(case.peak(FIRST).read_bytes())


def _no_peaks(case: Case) -> None:
    for file in (case.sources / "peaks").iterdir():
        file.unlink()


def _zip(case: Case) -> None:
    with zipfile.ZipFile(case.sources / "metadata.tsv", "w") as archive:
        archive.writestr("metadata.tsv", "File accession\n" * 50)


P1 = f"peaks/{SECOND}.bed.gz"

BAD_SOURCES: dict[str, tuple[Wreck, str]] = {
    # missing
    "fasta missing": (_remove("genome.fa"), r"genome\.fa: found no readable file \(No such file"),
    "metadata missing": (_remove("metadata.tsv"), r"metadata\.tsv: found no readable file"),
    "report missing": (_remove("report.tsv"), r"report\.tsv: found no readable file"),
    "blacklist missing": (_remove("blacklist.bed"), r"blacklist\.bed: found no readable file"),
    "peak file missing": (_remove(P1), rf"no peak file for 1 experiment\(s\) of the metadata: {SECOND}"),
    "all peak files missing": (_no_peaks, r"peaks: found no peak file"),
    # cut off
    "plain fasta cut within a name": (_write("genome.fa", b">chr1 drawn\nACGTA\n>chr"), r"genome\.fa, line 3: .*chr without a base"),
    "bgzf fasta cut off": (_repack("bgzf", 0.6), r"genome\.fa: found a BGZF file without its closing block"),
    "gzip fasta cut off": (_repack("gzip", 0.6), r"genome\.fa: found a gzip file that breaks off"),
    "peaks cut off": (_cut(P1, 0.6), rf"{SECOND}\.bed\.gz: found a gzip file that breaks off"),
    "metadata cut off": (_cut("metadata.tsv", 0.97), r"metadata\.tsv, line 12: found \d+ cells; expected 13"),
    "report cut off": (_cut("report.tsv", 0.96), r"report\.tsv, line 13: found \d cells; expected 6"),
    # peaks
    "peak beyond the end": (_peak_line(b"chr1\t5100\t5158\tp\t0\t.\n"), r"line 2: found an interval to 5,158; expected at most 5,157"),
    "start behind end": (_peak_line(b"chr1\t90\t80\tp\t0\t.\n"), r"line 2: found start 90 and end 80"),
    "start is end": (_peak_line(b"chr1\t90\t90\tp\t0\t.\n"), r"line 2: found start 90 and end 90"),
    "negative start": (_peak_line(b"chr1\t-1\t80\tp\t0\t.\n"), r"line 2: found start -1"),
    "text for a number": (_peak_line(b"chr1\tten\t80\tp\t0\t.\n"), r"line 2: found 'ten' as start; expected a whole number"),
    "huge number": (_peak_line(b"chr1\t1\t" + b"9" * 30 + b"\tp\t0\t.\n"), r"line 2: found an interval to 999,"),
    "CRLF": (_peak_line(b"chr1\t1\t200\tp\t0\t.\r\n"), r"line 2: found a line that ends in CR LF"),
    "header line": (lambda case: case.write_peak(SECOND, b"chrom\tstart\tend\nchr1\t1\t200\n"), r"line 1: found 'start' as start.*header line"),
    "ragged row": (_peak_line(b"chr1\t1\t200\n"), r"line 2: found 3 columns; expected 6"),
    "spaces for tabs": (_peak_line(b"chr1 1 200\n"), r"line 2: found 1 column"),
    "binary peaks": (_peak_line(bytes(range(256))), r"line 2: found "),
    "names of no chromosome": (lambda case: case.write_peak(SECOND, b"NC_000001.11\t1\t200\n"), r"found chromosomes NC_000001.11; expected names of the genome: chr1, chr8, chr9, chrUn_1"),
    "no peaks at all": (lambda case: case.write_peak(SECOND, b""), rf"{SECOND}\.bed\.gz: found no intervals"),
    "no peaks but comments": (lambda case: case.write_peak(SECOND, b"# none\n"), r"found no intervals"),
    "md5 differs": (_swap, r"found md5 [0-9a-f]{32}; expected [0-9a-f]{32}, as the metadata says"),
    "two files": (_twice, rf"{FIRST}\.narrowPeak: found a second file of {FIRST}, beside {FIRST}\.bed\.gz"),
    "file without row": (_stranger, r"peak files without a row in the metadata: ENCFF999XXX"),
    "blacklist beyond the end": (_write("blacklist.bed", b"chr8\t1\t9999\n"), r"blacklist\.bed, line 1: found an interval to 9,999"),
    "blacklist elsewhere": (_write("blacklist.bed", b"chrZ\t1\t99\n"), r"blacklist\.bed: found chromosomes chrZ"),
    # metadata
    "accession twice": (_edit("metadata.tsv", SECOND, FIRST), rf"metadata\.tsv, line 3: found accession {FIRST} again, first on line 2"),
    "accession ../x": (_edit("metadata.tsv", SECOND, "../x"), r"metadata\.tsv, line 3: found '../x' in column 'File accession'"),
    "accession a/b": (_edit("metadata.tsv", SECOND, "a/b"), r"line 3: found 'a/b' in column"),
    "text for a read length": (_edit("metadata.tsv", "\t50.5\t", "\tlong\t"), r"line 4: found 'long' in column 'Read length'"),
    "no date": (_edit("metadata.tsv", "2020-02-29", "2020-02-30"), r"line 4: found '2020-02-30' in column"),
    "ragged metadata": (_edit("metadata.tsv", "\t50.5\t", "\t50.5\t\t\t"), r"metadata\.tsv, line 4: found 15 cells"),
    "other table": (_write("metadata.tsv", b"a\tb\n1\t2\n"), r"metadata\.tsv, line 1: found columns 'a', 'b'; expected a header with 'File accession'"),
    "metadata of another assembly": (_change("metadata.tsv", f"\t{GENOME}\t".encode(), b"\thg19\t"), r"11 not of little"),
    "empty metadata": (_write("metadata.tsv", b""), r"metadata\.tsv, line 1: found no header line"),
    "binary metadata": (_write("metadata.tsv", bytes(range(256)) * 9), r"metadata\.tsv: found bytes that are not text"),
    "zipped metadata": (_zip, r"metadata\.tsv(, line 1)?: found "),
    "gzipped metadata": (_gzipped("metadata.tsv"), r"Unpack it if it is compressed"),
    "metadata not in UTF-8": (_change("metadata.tsv", b"HepG2", b"Hep\xe92"), r"metadata\.tsv: found bytes that are not text"),
    "metadata is a folder": (_folder("metadata.tsv"), r"metadata\.tsv: found no readable file \(Is a directory"),
    # fasta
    "empty fasta": (_write("genome.fa", b""), r"genome\.fa: found an empty file"),
    "empty gzip fasta": (_write("genome.fa", gzip.compress(b"")), r"genome\.fa: found an empty file"),
    "fasta is a folder": (_folder("genome.fa"), r"genome\.fa: found no readable file \(Is a directory"),
    "fasta is a BED": (_write("genome.fa", b"chr1\t1\t2\n"), r"genome\.fa, line 1: found 'chr1.t1.t2'"),
    "name twice": (_edit("genome.fa", ">chr9 ", ">chr1 "), r"genome\.fa, line \d+: found sequence name 'chr1' a second time"),
    "one chromosome twice": (_edit("genome.fa", ">chr9 ", ">1 "), r"found '1' and 'chr1', both of which are chr1"),
    "sequence of no length": (_edit("genome.fa", ">chr9 ", ">none\n>chr9 "), r"genome\.fa, line \d+: found sequence none without a base"),
    "name not in UTF-8": (_change("genome.fa", b">chrUn_1 ", b">chr\xe9 "), r"genome\.fa, line \d+: found sequence name 'chr.', which is no text"),
    "name too long": (_edit("genome.fa", ">chrUn_1 ", f">{'c' * 256} "), r"genome\.fa: found sequence name 'c{60}', 256 bytes long"),
    "column too long": (_edit("metadata.tsv", "\tStart\t", f"\t{'C' * 256}\t"), r"metadata\.tsv, line 1: found a column of 256 letters"),
    "odd name": (_edit("genome.fa", ">chrUn_1 ", ">../../evil "), r"genome\.fa: found sequence name '../../evil'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_build__bad_sources_are_one_clear_message_and_leave_nothing(case: Case, name: str) -> None:
    wreck, words = BAD_SOURCES[name]
    wreck(case)
    message = _message(case.build())
    assert re.search(words, message), message
    assert str(case.sources) in message  # names the file
    assert len(message) < 700
    assert list(case.out.parent.iterdir()) == []


BAD_OPTIONS: dict[str, tuple[dict[str, str | None], int, str]] = {
    "fractions of two": ({"split_blocks": "", "block_fractions": "0.5,0.5"}, 1, r"--block-fractions: found '0.5,0.5'; expected three"),
    "fractions of words": ({"split_blocks": "", "block_fractions": "most,some,few"}, 1, r"--block-fractions: found 'most,some,few'"),
    "fractions that sum to 2": ({"split_blocks": "", "block_fractions": "1,0.5,0.5"}, 1, r"--block-fractions: found 1.0,0.5,0.5; expected three fractions that sum to 1"),
    "negative fractions": ({"split_blocks": "", "block_fractions": "1.5,-0.5,0"}, 1, r"--block-fractions"),
    "fractions that are no numbers": ({"split_blocks": "", "block_fractions": "nan,nan,nan"}, 1, r"--block-fractions"),
    "fractions without blocks": ({"block_fractions": "nonsense"}, 1, r"--block-fractions: found 'nonsense'"),
    "overlap wider than the bin": ({"min_overlap": "129"}, 1, r"--min-overlap: found 129; expected 1 bp to the bin size, 128 bp"),
    "no overlap": ({"min_overlap": "0"}, 1, r"--min-overlap: found 0"),
    "bin of nothing": ({"bin_size": "0"}, 1, r"--bin-size: found 0"),
    "huge bin": ({"bin_size": "99999999999"}, 1, r"--bin-size: found 99999999999"),
    "bin wider than a chromosome": ({"bin_size": "100000"}, 1, r"--bin-size: found 100,000 bp, longer than any"),
    "valid chromosomes and blocks": ({"split_blocks": "", "split_valid": "chr8"}, 1, r"--split-valid: found --split-blocks beside it"),
    "test chromosomes and blocks": ({"split_blocks": "", "split_test": "chr9"}, 1, r"--split-test: found --split-blocks beside it"),
    "gap without blocks": ({"gap": "1152"}, 1, r"--gap: found no --split-blocks beside it.*Leave out --gap, or pass --split-blocks"),
    "sound fractions without blocks": ({"block_fractions": "0.8,0.1,0.1"}, 1, r"--block-fractions: found no --split-blocks beside it"),
    "negative gap": ({"gap": "-1", "split_blocks": ""}, 1, r"--gap: found -1"),
    "gap wider than a chromosome": ({"gap": "999999999999", "split_blocks": ""}, 1, r"no window for valid and test"),
    "more experiments than there are": ({"min_experiments": "12"}, 1, r"no bin left of 70 bins of 128 bp: 70 are labelled by fewer than 12"),
    "unknown chromosome": ({"chroms": "chr1,chr2"}, 1, r"chromosome 'chr2': found no such sequence in the FASTA; expected one of chr1"),
    "unknown held-out chromosome": ({"split_test": "chr2"}, 1, r"--split-test: found chromosome 'chr2'"),
    "chromosome in two splits": ({"split_test": "9", "split_valid": "chr9"}, 1, r"found chr9 in both"),
    "split without windows": ({"split_test": "chrUn_1"}, 1, r"no window for test"),
    "another assembly": ({"genome": "hg38"}, 1, r"found chr1 of 5,157 bp; expected 248,956,422 bp"),
    "another genome": ({"genome": "big"}, 1, r"11 not of big"),
    "word for a bin size": ({"bin_size": "wide"}, 2, r"Invalid value for '--bin-size'"),
    "no genome": ({"genome": None}, 2, r"Missing option '--genome'"),
    "no out": ({"out": None}, 2, r"Missing option '--out'"),
    "unknown option": ({"colour": "red"}, 2, r"No such option"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_build__bad_options_are_one_clear_message_and_leave_nothing(case: Case, name: str) -> None:
    options, code, words = BAD_OPTIONS[name]
    message = _message(case.build(**options), code)
    assert re.search(words, message), message
    assert list(case.out.parent.iterdir()) == []


def test_build__out_that_exists_is_kept(case: Case) -> None:
    case.out.mkdir()
    (case.out / "mine").write_text("kept")
    assert "found something there already" in _message(case.build())
    assert [path.name for path in case.out.parent.rglob("*")] == ["x.zarr", "mine"]


@pytest.mark.parametrize("out", ["nowhere/x.zarr", "sources/genome.fa/x.zarr"])
def test_build__out_in_a_folder_that_is_none(case: Case, out: str) -> None:
    assert "found no folder" in _message(case.build(out=str(case.folder / out)))
    assert not (case.folder / "nowhere").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
def test_build__out_in_a_folder_that_cannot_be_written(case: Case) -> None:
    assert "cannot be written" in _message(case.build(out="/proc/x.zarr"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read and write everywhere")
def test_build__files_that_may_not_be_read_or_written(case: Case) -> None:
    case.out.parent.chmod(0o500)
    assert "cannot be written" in _message(case.build())
    case.out.parent.chmod(0o700)
    case.peak(FIRST).chmod(0o000)
    assert "Permission denied" in _message(case.build())


# ---- what works


def test_build__info_and_verify_of_a_sound_world(case: Case) -> None:
    built = case.build(json="")
    assert built.exit_code == 0, built.output
    told = json.loads(built.stdout)
    assert told["path"] == str(case.out)
    assert [path.name for path in case.out.parent.iterdir()] == ["x.zarr"]

    info = CliRunner().invoke(app, ["info", str(case.out), "--json"])
    assert info.exit_code == 0
    described = json.loads(info.stdout)
    assert described["digest"] == told["digest"]
    assert described["n_windows"] == told["counts"]["windows"] == 48
    assert described["n_experiments"] == 11
    roles = {factor["name"]: factor["role"] for factor in described["factors"]}
    assert (roles["target"], roles["lab"], roles["md5sum"]) == ("biological", "technical", None)
    assert {factor["name"]: factor["n_missing"] for factor in described["factors"]}["organ"] == 4

    shown = CliRunner().invoke(app, ["info", str(case.out)])
    assert shown.exit_code == 0
    assert described["factors"][0]["examples"] == ["Accessible DNA", "CTCF", "H3K27ac"]
    assert "48 (32 train, 8 valid, 8 test)" in shown.stdout

    sources = ["--peaks", str(case.sources / "peaks"), "--fasta", str(case.sources / "genome.fa")]
    verify = ["verify", str(case.out), "--deep", *sources, "--blacklist", str(case.sources / "blacklist.bed")]
    verified = CliRunner().invoke(app, [*verify, "--json"])
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["sound"] is True
    assert CliRunner().invoke(app, verify).exit_code == 0


def test_build__prints_the_path_in_one_piece_whatever_is_in_it(case: Case) -> None:
    out = case.folder / "out" / ("[red] long [bold] " + "x" * 120 + ".zarr")
    result = case.build(out=str(out))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(out)
    shown = CliRunner().invoke(app, ["info", str(out)])
    assert shown.stdout.splitlines()[0] == str(out)


def test_info__shows_values_with_brackets_as_they_are(case: Case) -> None:
    text = (case.sources / "metadata.tsv").read_text()
    (case.sources / "metadata.tsv").write_text(text.replace("\tHepG2\t", "\t[/b]Hep[red]\t"))
    assert case.build().exit_code == 0
    shown = CliRunner().invoke(app, ["info", str(case.out)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "[/b]Hep[red]" in shown.stdout


def test_build__leaves_out_missing_and_keeps_empty_experiments_if_told(case: Case) -> None:
    case.peak(FIRST).unlink()
    assert "pass --allow-missing" in _message(case.build())
    case.write_peak(SECOND, b"chrUn_1\t1\t20\tp\t0\t.\n")
    given = {"chroms": "chr1,chr8,chr9", "allow_missing": ""}
    assert f"1 experiment(s) without a peak on chr1, chr8, chr9: {SECOND}" in _message(case.build(**given))
    assert list(case.out.parent.iterdir()) == []
    result = case.build(**given, allow_empty="", json="")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"]["experiments"] == 10


# ---- stores that are not what they should be


@pytest.fixture
def store(tmp_path: Path) -> Path:
    sources = World().write(tmp_path / "sources")
    return build_store(sources, tmp_path / "x.zarr", settings()).path


@pytest.mark.parametrize("command", ["info", "verify"])
def test_store__of_a_newer_format_version(store: Path, command: str) -> None:
    file = store / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"][schema.ATTRIBUTES]["format_version"] = 2
    file.write_text(json.dumps(content))
    write_manifest(store)
    message = _message(CliRunner().invoke(app, [command, str(store)]))
    assert "found format version 2; expected at most 1" in message
    assert "Install a newer mfd" in message


@pytest.mark.parametrize("command", ["info", "verify"])
def test_store__that_is_none(tmp_path: Path, command: str) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        message = _message(CliRunner().invoke(app, [command, str(path)]))
        assert "expected a store made by `mfdstore build`" in message


@pytest.mark.parametrize("as_json", [False, True])
def test_verify__of_a_flipped_byte_names_the_array(store: Path, as_json: bool) -> None:
    (file,) = (path for path in (store / "start" / "c").rglob("*") if path.is_file())
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    result = CliRunner().invoke(app, ["verify", str(store), *(["--json"] if as_json else [])])
    assert result.exit_code == 1
    assert "is damaged or differs from its sources" in result.stderr
    if as_json:
        wrong = [entry["check"] for entry in json.loads(result.stdout)["findings"] if not entry["sound"]]
        assert wrong == ["array start"]
        (damage,) = json.loads(result.stdout)["damage"]
        assert (damage["file"], damage["fault"], damage["windows"]) == ("start/c/0", "damaged", [[0, 48]])
    else:
        assert re.search(r"array start +WRONG", result.stdout)
        assert re.search(r"start/c/0 +damaged +start: windows 0-47", result.stdout)
    message = _message(CliRunner().invoke(app, ["info", str(store)]))
    assert "array start with a damaged chunk" in message


@pytest.mark.parametrize("option", ["--peaks", "--fasta", "--blacklist"])
def test_verify__of_sources_that_are_not_there(store: Path, option: str) -> None:
    nothing = str(store.parent / "nothing")
    given = ["--peaks", str(store.parent / "sources" / "peaks")] if option == "--blacklist" else []
    message = _message(CliRunner().invoke(app, ["verify", str(store), "--deep", *given, option, nothing]))
    assert nothing in message


def test_verify__says_what_it_did_not_check(store: Path) -> None:
    peaks = str(store.parent / "sources" / "peaks")
    result = CliRunner().invoke(
        app, ["verify", str(store), "--deep", "--peaks", peaks], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0
    assert re.search(r"filters +not checked +pass --blacklist", result.stdout)
    told = CliRunner().invoke(app, ["verify", str(store), "--deep", "--peaks", peaks, "--json"])
    found = {entry["check"]: entry["sound"] for entry in json.loads(told.stdout)["findings"]}
    assert found["filters"] is None
    assert {sound for check, sound in found.items() if check != "filters"} == {True}


def test_verify__refuses_a_blacklist_without_peaks(store: Path) -> None:
    blacklist = str(store.parent / "sources" / "blacklist.bed")
    message = _message(CliRunner().invoke(app, ["verify", str(store), "--blacklist", blacklist]))
    assert message.startswith("Error: --blacklist: found no --peaks beside it")


# ---- the installed command, in a process of its own


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("mfdstore")
    return subprocess.run([str(script), *arguments], capture_output=True, text=True, check=False)


def test_command__fails_with_one_line_and_without_a_traceback(case: Case) -> None:
    write_fasta(case.sources / "genome.fa", b">chr1\nACGT\nACGTT\nAC\n", "bgzf")
    ended = _run(*case.options())
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"Error: {case.sources / 'genome.fa'}, line 3: ")
    assert list(case.out.parent.iterdir()) == []


def test_command__builds_without_a_word_on_stderr(case: Case) -> None:
    ended = _run(*case.options())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == str(case.out)
    shown = _run("info", str(case.out))
    assert (shown.returncode, shown.stderr) == (0, "")
    verified = _run("verify", str(case.out), "--deep", "--peaks", str(case.sources / "peaks"))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_command__help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['mfdstore', '--help']\n"
        "from cli.mfdstore_app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'zarr', 'xarray', 'torch', 'polars', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    commands = ("build", "info", "verify", "simulate", "import-mfd", "export")
    assert all(command in ended.stdout for command in commands)
