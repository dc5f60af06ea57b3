"""A release to a store: equal to the build from the same peaks, in any order and by any block; and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildReport
from mfdstore.errors import ConfigError, SourceError
from mfdstore.import_mfd import ImportReport, ImportSettings, ReleaseSources, import_release
from mfdstore.loader import Loader
from mfdstore.sources.mfd_release import layout, overlaps, regions
from mfdstore.splitting import SplitOptions
from mfdstore.store import Store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.releases import Release
from tests.worlds import ACCESSIONS, GENOME, World, settings

SPLITS = SplitOptions(("chr8",), ("chr9",))


def _import(sources: ReleaseSources, out: Path, **changes: Any) -> ImportReport:
    chosen: dict[str, Any] = {"splits": SPLITS} | changes
    return import_release(sources, out, ImportSettings(GENOME, **chosen))


def _differing(first: Store, second: Store) -> set[str]:
    names = set(first.array_digests) | set(second.array_digests)
    return {name for name in names if first.array_digests.get(name) != second.array_digests.get(name)}


def test_import__equals_the_build_from_peaks(little: Little, tmp_path: Path) -> None:
    report = _import(Release().write(tmp_path), tmp_path / "x.zarr")
    imported = Store(report.path)
    arrays = {schema.LABEL_BITS, schema.LABEL_BITS_BY_EXPERIMENT, schema.CHROM, schema.START, schema.END}
    arrays |= {schema.SPLIT, schema.N_POSITIVE, schema.EXPERIMENT}
    arrays |= {f"{schema.SEQUENCE}/{chrom}" for chrom in little.store.chroms}
    assert not arrays & _differing(imported, little.store)
    assert imported.windows.chroms == little.store.windows.chroms
    assert imported.digest == report.digest
    for name in ("bin_size", "min_overlap", "min_experiments", "chrom_sizes", "genome"):
        assert getattr(imported, name) == getattr(little.store, name)


def test_import__with_the_portals_tables_is_the_same_store(little: Little, tmp_path: Path) -> None:
    files = Release().write(tmp_path)
    sources = ReleaseSources(
        files.regions, files.overlaps, little.sources.metadata, files.fasta, little.sources.report
    )
    assert _import(sources, tmp_path / "x.zarr").digest == little.report.digest


def test_import__takes_the_chromosomes_in_the_order_of_the_fasta(tmp_path: Path) -> None:
    world = World()
    world.sequences = dict(reversed(world.sequences.items()))
    release = Release(world)
    assert release.regions[0][0] == "1"
    built = build_store(world.write(tmp_path / "sources"), tmp_path / "built.zarr", settings())
    # the blacklist took the same bins from both
    imported = Store(_import(release.write(tmp_path), tmp_path / "x.zarr").path)
    assert imported.chroms == ("chrUn_1", "chr9", "chr8", "chr1")
    assert "label_bits" not in _differing(imported, Store(built.path))
    assert "start" not in _differing(imported, Store(built.path))


@pytest.mark.parametrize(
    ("pairs", "labels", "block", "chunk"), [(1, 11, 60, 1), (7, 40, 100, 3), (64, 1, 5000, 50)]
)
def test_import__by_blocks_of_any_size(
    little: Little,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pairs: int,
    labels: int,
    block: int,
    chunk: int,
) -> None:
    monkeypatch.setattr(overlaps, "_PAIRS", pairs)
    monkeypatch.setattr(overlaps, "_LABELS", labels)
    monkeypatch.setattr(regions, "_BLOCK", block)
    monkeypatch.setattr(layout, "PAIRS_PER_CHUNK", chunk)
    report = _import(Release().write(tmp_path), tmp_path / "x.zarr")
    assert not _differing(Store(report.path), little.store) & {
        "label_bits",
        "start",
        "chrom",
        "split",
        "n_positive",
    }


@pytest.mark.parametrize(("packed", "md5_of"), [(True, "file"), (False, "text"), (True, "text")])
def test_import__knows_the_regions_by_their_digest_packed_or_not(
    tmp_path: Path, packed: bool, md5_of: str
) -> None:
    sources = Release(packed=packed, md5_of=md5_of).write(tmp_path)
    assert _import(sources, tmp_path / "x.zarr").counts.windows > 0
    text = Release().region_text().replace("\tc1\t", "\tC1\t").encode()
    sources.regions.write_bytes(text)
    with pytest.raises(SourceError, match=r"overlaps\.h5 notes of its regions"):
        _import(sources, tmp_path / "y.zarr")


def test_import__gives_the_factors_that_the_portals_reader_gives(little: Little, tmp_path: Path) -> None:
    imported = Store(_import(Release().write(tmp_path), tmp_path / "x.zarr").path).factors
    for factor in imported:
        if factor.name in little.store.factors:
            other = little.store.factors[factor.name]
            assert (factor.kind, factor.role) == (other.kind, other.role), factor.name
    described = {factor.name: (factor.role, factor.kind) for factor in imported}
    assert described["frip"] == (None, "number")
    assert described["organism"] == (None, "category")
    assert "system" not in described  # nothing is known of it
    assert imported["organ"].values.tolist() == little.store.factors["organ"].values.tolist()
    assert imported["lab"].values.tolist() == ["michael-snyder", None, None] * 3 + ["michael-snyder", None]
    assert imported["age"].values[1] == 50.0
    assert imported["age_unit"].values.tolist()[:3] == [None, "year", None]
    assert imported["age"].missing.sum() == 10
    assert np.isnat(imported["date_released"].values[0])
    assert imported["life_stage"].values.tolist()[:2] == [None, "adult"]
    assert imported["frip"].values[2] == 0.25


def test_import__keeps_an_age_that_is_no_number_beside(tmp_path: Path) -> None:
    release = Release()
    release.rows[3]["proc_age_bin"] = "40-60"
    factors = Store(_import(release.write(tmp_path), tmp_path / "x.zarr").path).factors
    assert np.isnan(factors["age"].values[3])
    assert factors["proc_age_bin"].values.tolist()[:4] == [None, "50.0", None, "40-60"]
    assert factors["proc_age_bin"].role is None


@pytest.mark.parametrize("spell", [lambda name: name.replace(".", "_"), lambda name: name.replace(".", " ")])
def test_import__reads_headers_with_other_marks_between_words(tmp_path: Path, spell: Any) -> None:
    release = Release()
    release.rows = [
        {spell(name): value for name, value in row.items()} | {"Other": "x"} for row in release.rows
    ]
    factors = Store(_import(release.write(tmp_path), tmp_path / "x.zarr").path).factors
    assert factors["organ"].values[5] == ("blood", "liver")
    assert factors["other"].values.tolist() == ["x"] * 11


def test_import__finds_the_metadata_by_accession(little: Little, tmp_path: Path) -> None:
    release = Release()
    release.rows.reverse()
    imported = Store(_import(release.write(tmp_path), tmp_path / "x.zarr").path)
    assert imported.experiments == tuple(ACCESSIONS)
    assert imported.factors["organ"].values.tolist() == little.store.factors["organ"].values.tolist()


def test_import__leaves_out_regions_of_unknown_bases_and_other_sequences_and_counts_them(
    tmp_path: Path,
) -> None:
    release = Release()
    release.regions.append(("Un_9", 0, 128))
    n = len(release.regions)
    release.pairs += [(n - 1, 0), (n - 1, 1)]
    whole = _import(release.write(tmp_path), tmp_path / "x.zarr").counts
    assert (whole.regions_on_other_sequences, whole.pairs_on_other_sequences) == (1, 2)
    first = release.regions[0]
    sequence = list(release.world.sequences["chr1"])
    sequence[first[1] + 5] = "N"
    release.world.sequences["chr1"] = "".join(sequence)
    counts = _import(release.write(tmp_path / "other"), tmp_path / "y.zarr").counts
    assert counts.regions_with_blank == 1
    assert counts.windows == whole.windows - 1 == n - 2
    assert counts.positive_pairs == whole.positive_pairs - sum(row == 0 for row, _ in release.pairs)


def test_import__of_some_chromosomes(little: Little, tmp_path: Path) -> None:
    sources = Release().write(tmp_path)
    report = _import(sources, tmp_path / "x.zarr", chroms=("9", "1", "8"), allow_empty=True)
    assert Store(report.path).chroms == ("chr1", "chr8", "chr9")
    assert report.counts.regions_on_other_sequences == 0
    blocks = SplitOptions(blocks=(0.4, 0.3, 0.3), gap=0)
    one = _import(sources, tmp_path / "y.zarr", chroms=("chr9",), splits=blocks, allow_empty=True)
    labels = np.unpackbits(Store(one.path).label_bits(), axis=1, count=11)
    rows = [row for row, (chrom, _) in enumerate(little.expected.bins) if chrom == "chr9"]
    np.testing.assert_array_equal(labels, little.expected.labels[rows])


def test_import__counts_pairs_that_stand_there_twice(tmp_path: Path) -> None:
    release = Release()
    release.pairs.insert(1, release.pairs[0])
    counts = _import(release.write(tmp_path), tmp_path / "x.zarr").counts
    assert counts.pairs_repeated == 1
    assert counts.positive_pairs == counts.pairs - 1


def test_import__passes_verification_against_the_peaks(little: Little, tmp_path: Path) -> None:
    path = _import(Release().write(tmp_path), tmp_path / "x.zarr").path
    found = verify_store(
        path, peaks=little.sources.peaks, fasta=little.sources.fasta, blacklist=little.sources.blacklist
    )
    told = {finding.check: finding.sound for finding in found.findings}
    assert told["labels from peaks"] is True
    assert told["filters"] is True
    assert told["peak files"] is None
    assert found.sound
    without = verify_store(path, peaks=little.sources.peaks)
    assert {finding.check: finding.sound for finding in without.findings}["filters"] is None


def test_import__refuses_settings_that_contradict(little: Little, tmp_path: Path) -> None:
    sources = Release().write(tmp_path)
    with pytest.raises(ConfigError, match="--min-overlap: found 129 bp; expected 1 bp to the width"):
        _import(sources, tmp_path / "x.zarr", min_overlap=129)
    least = int(little.store.n_positive.min())
    message = rf"found {least} experiment\(s\) in region .*pass --min-experiments {least}"
    with pytest.raises(SourceError, match=message):
        _import(sources, tmp_path / "x.zarr", min_experiments=least + 1)
    with pytest.raises(ConfigError, match="--report"):
        _import(
            ReleaseSources(
                sources.regions, sources.overlaps, sources.metadata, sources.fasta, sources.metadata
            ),
            tmp_path / "x.zarr",
        )
    assert not (tmp_path / "x.zarr").exists()


# real data


@pytest.mark.real
def test_import__of_the_release_equals_the_build_from_peaks(
    real_chr22: BuildReport, real_data: Path, real_fasta: Path, tmp_path: Path
) -> None:
    release = real_data / "mfd-release"
    sources = ReleaseSources(
        release / "regions.bed.gz", release / "overlaps.h5", release / "metadata.tsv", real_fasta
    )
    blocks = SplitOptions(blocks=(0.8, 0.1, 0.1))
    report = import_release(sources, tmp_path / "x.zarr", ImportSettings("hg38", splits=blocks))
    imported, built = Store(report.path), Store(real_chr22.path)
    order = [built.experiments.index(name) for name in imported.experiments]
    for name in (schema.START, schema.END, schema.CHROM, schema.SPLIT, schema.N_POSITIVE):
        np.testing.assert_array_equal(imported.read(name), built.read(name))
    np.testing.assert_array_equal(imported.codes("chr22"), built.codes("chr22"))
    by_experiment = schema.LABEL_BITS_BY_EXPERIMENT
    np.testing.assert_array_equal(imported.read(by_experiment), built.read(by_experiment)[order])
    labels = np.unpackbits(built.label_bits(), axis=1, count=148)[:, order]
    np.testing.assert_array_equal(imported.label_bits(), np.packbits(labels, axis=1))
    for name in ("target", "biosample", "assay", "date_released"):
        values = built.factors[name].values[order]
        np.testing.assert_array_equal(imported.factors[name].values, values)
    assert verify_store(report.path, fasta=real_fasta).sound

    with np.load(release / "expected.npz") as golden:
        expected = {name: golden[name] for name in golden.files}
    with sources.metadata.open(encoding="utf-8") as table:
        accessions = [row["File.accession"] for row in csv.DictReader(table, delimiter="\t")]
    columns = [imported.experiments.index(name) for name in accessions]
    rows = expected["rows"]
    assert len(rows) == 200
    forward = next(iter(Loader(imported, rows=rows, batch_size=200)))
    reverse = next(iter(Loader(imported, rows=rows, batch_size=200, strand="reverse")))
    np.testing.assert_array_equal(forward.codes.numpy(), expected["codes"])
    np.testing.assert_array_equal(reverse.codes.numpy(), expected["codes_reverse_complement"])
    found = np.unpackbits(imported.label_bits()[rows], axis=1, count=148)[:, columns]
    np.testing.assert_array_equal(np.packbits(found, axis=1), expected["labels"])

    chr22 = real_data / "hg38-chr22"
    portal = ReleaseSources(
        sources.regions, sources.overlaps, chr22 / "metadata.tsv", real_fasta, chr22 / "experiment_report.tsv"
    )
    again = import_release(portal, tmp_path / "y.zarr", ImportSettings("hg38", splits=blocks))
    assert again.digest == real_chr22.digest
