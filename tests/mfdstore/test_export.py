"""What is exported, read by others' readers: h5py and scipy, pyranges, polars; and by the import, which returns it."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pyranges
import pytest
from scipy.sparse import coo_array

from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildReport
from mfdstore.export import choice as choice_module
from mfdstore.export import parquet
from mfdstore.export.choice import Choice
from mfdstore.export.exporting import FORMATS, Format, export_store
from mfdstore.import_mfd import ImportReport, ImportSettings, ReleaseSources, import_release
from mfdstore.provenance import digest_values
from mfdstore.splitting import SplitOptions
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.releases import HEADERS, Release
from tests.worlds import ACCESSIONS, GENOME, World, settings


def _labels(store: Store) -> np.ndarray:
    return np.unpackbits(store.label_bits(), axis=1, count=store.n_experiments).astype(np.bool_)


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def _import(folder: Path, fasta: Path, out: Path, genome: str = GENOME, **changes: Any) -> ImportReport:
    sources = ReleaseSources(
        folder / "regions.bed.gz", folder / "overlaps.h5", folder / "metadata.tsv", fasta
    )
    return import_release(sources, out, ImportSettings(genome, **changes))


# ---- the authors' release


def test_release__read_as_a_sparse_matrix_is_the_labels(little: Little, tmp_path: Path) -> None:
    export_store(little.path, tmp_path / "e", "mfd-hdf5", Choice())
    with gzip.open(tmp_path / "e" / "regions.bed.gz", "rt") as handle:
        lines = [line.rstrip("\n").split("\t") for line in handle]
    with h5py.File(tmp_path / "e" / "overlaps.h5") as file:
        query, target = file["query"][:], file["target"][:]
        names, counts = file["target"].attrs["labels"].tolist(), file["target"].attrs["N"]
    assert names == ACCESSIONS
    assert (np.diff(query) >= 0).all()
    shape = (len(lines), len(names))
    dense = coo_array((np.ones(len(query), np.int8), (query, target[:, 0])), shape).toarray()
    np.testing.assert_array_equal(dense.sum(axis=0), counts)
    expected = sorted(
        zip(little.expected.bins, little.expected.labels, strict=True),
        key=lambda one: (one[0][0].removeprefix("chr"), one[0][1]),
    )
    assert [(chrom, int(start)) for chrom, start, *_ in lines] == [
        (chrom.removeprefix("chr"), start) for (chrom, start), _ in expected
    ]
    np.testing.assert_array_equal(dense, [labels for _, labels in expected])


def test_release__is_laid_out_as_the_authors_are(little: Little, tmp_path: Path) -> None:
    """The release that the tests write by loops stands for theirs; the real one is compared below."""
    made, given = tmp_path / "e", Release().write(tmp_path / "r")
    export_store(little.path, made, "mfd-hdf5", Choice())
    assert _unpacked(made / "regions.bed.gz") == _unpacked(given.regions)
    with h5py.File(made / "overlaps.h5") as ours, h5py.File(given.overlaps) as theirs:
        _compare_pairs(ours, theirs)
    with (made / "metadata.tsv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert list(rows[0])[: len(HEADERS)] == HEADERS
    assert rows[2]["Biosample.organ.slims"] == "NA"
    assert rows[5]["Biosample.organ.slims"] == "blood,liver"
    assert rows[0]["proc_Biosample_life_stage"] == "unknown"
    assert (rows[0]["proc_age_bin"], rows[1]["proc_age_bin"]) == ("15.0", "unknown")


def _compare_pairs(ours: h5py.File, theirs: h5py.File) -> None:
    for name in ("query", "target"):
        first, second = ours[name], theirs[name]
        assert (first.dtype, first.shape, first.maxshape) == (second.dtype, second.shape, second.maxshape)
        np.testing.assert_array_equal(first[:], second[:])
        assert set(first.attrs) == set(second.attrs)
        for key in second.attrs:
            assert first.attrs.get_id(key).dtype == second.attrs.get_id(key).dtype
            np.testing.assert_array_equal(first.attrs[key], second.attrs[key])


def test_release__comes_back_as_the_same_store(little: Little, tmp_path: Path) -> None:
    export_store(little.path, tmp_path / "e", "mfd-hdf5", Choice())
    back = _import(tmp_path / "e", little.sources.fasta, tmp_path / "x.zarr")
    assert back.digest == little.report.digest
    assert Store(back.path).array_digests == little.store.array_digests
    assert Store(back.path).provenance["exported_from"] == little.report.digest
    again = export_store(back.path, tmp_path / "again", "mfd-hdf5", Choice())
    for name in again.files:
        assert (again.path / name).read_bytes() == (tmp_path / "e" / name).read_bytes(), name


def test_release__comes_back_whatever_was_set_in_the_build(tmp_path: Path) -> None:
    world = World()
    world.sequences = dict(reversed(world.sequences.items()))
    chosen = settings(bin_size=100, min_overlap=10, min_experiments=1, blocks=(0.5, 0.2, 0.3), gap=300)
    sources = world.write(tmp_path)
    built = build_store(sources, tmp_path / "built.zarr", chosen)
    export_store(built.path, tmp_path / "e", "mfd-hdf5", Choice())
    assert _import(tmp_path / "e", sources.fasta, tmp_path / "x.zarr").digest == built.digest


def test_release__of_a_part(little: Little, tmp_path: Path) -> None:
    part = Choice(splits=("valid", "train"), chroms=("1", "8"), where=(("organ", "blood"), ("organ", "lung")))
    report = export_store(little.path, tmp_path / "e", "mfd-hdf5", part)
    back = Store(_import(tmp_path / "e", little.sources.fasta, tmp_path / "x.zarr").path)
    windows = little.store.windows
    rows = np.flatnonzero(np.isin(windows.split, [0, 1]) & np.isin(windows.chrom, [0, 1]))
    columns = [1, 5, 7, 8, 10]
    assert back.experiments == tuple(ACCESSIONS[index] for index in columns)
    assert back.chroms == ("chr1", "chr8")
    assert (report.n_windows, report.n_experiments) == (len(rows), 5)
    expected = _labels(little.store)[np.ix_(rows, columns)]
    np.testing.assert_array_equal(_labels(back), expected)
    assert report.n_pairs == expected.sum()
    np.testing.assert_array_equal(back.windows.start, windows.start[rows])
    np.testing.assert_array_equal(back.windows.split, windows.split[rows])


def test_release__takes_new_splits_if_asked(little: Little, tmp_path: Path) -> None:
    export_store(little.path, tmp_path / "e", "mfd-hdf5", Choice())
    splits = SplitOptions(("chr9",), ("chr8",))
    back = Store(_import(tmp_path / "e", little.sources.fasta, tmp_path / "x.zarr", splits=splits).path)
    names = np.array(schema.SPLITS)[back.windows.split]
    assert set(names[back.windows.chrom == 2]) == {"valid"}


def test_release__holds_thousands_of_experiments(little: Little, tmp_path: Path) -> None:
    """Attributes of so many labels are longer than HDF5's oldest layout holds."""
    release = Release()
    release.accessions = [f"EXPERIMENT{index:05d}" for index in range(4200)]
    release.counts = np.bincount([one for _, one in release.pairs], minlength=4200).tolist()
    release.rows = [
        release.rows[index % 11] | {"File.accession": name} for index, name in enumerate(release.accessions)
    ]
    sources = release.write(tmp_path)
    settings_ = ImportSettings(GENOME, splits=SplitOptions(("chr8",), ("chr9",)), allow_empty=True)
    first = import_release(sources, tmp_path / "first.zarr", settings_)
    export_store(first.path, tmp_path / "e", "mfd-hdf5", Choice())
    back = _import(tmp_path / "e", sources.fasta, tmp_path / "x.zarr", allow_empty=True)
    assert back.digest == first.digest


@pytest.mark.real
def test_release__of_real_data_is_the_authors_file_and_comes_back(
    real_chr22: BuildReport, real_data: Path, real_fasta: Path, tmp_path: Path
) -> None:
    export_store(real_chr22.path, tmp_path / "e", "mfd-hdf5", Choice())
    release = real_data / "mfd-release"
    text = _unpacked(tmp_path / "e" / "regions.bed.gz")
    assert text == _unpacked(release / "regions.bed.gz")
    with h5py.File(tmp_path / "e" / "overlaps.h5") as ours, h5py.File(release / "overlaps.h5") as theirs:
        _compare_pairs(ours, theirs)
        assert ours["query"].attrs["md5"] == hashlib.md5(text).hexdigest()
        for name in ("query", "target"):
            assert ours[name].chunks == theirs[name].chunks
            assert (ours[name].compression, ours[name].compression_opts) == ("gzip", 6)
    with (
        (tmp_path / "e" / "metadata.tsv").open(encoding="utf-8") as ours_table,
        (release / "metadata.tsv").open(encoding="utf-8") as theirs_table,
    ):
        pairs = zip(
            csv.DictReader(ours_table, delimiter="\t"),
            csv.DictReader(theirs_table, delimiter="\t"),
            strict=True,
        )
        for first, second in pairs:
            for header in ("File.accession", "Biosample.term.name", "proc_Assay_lvl1", "proc_target"):
                assert first[header] == second[header]
    back = _import(tmp_path / "e", real_fasta, tmp_path / "x.zarr", "hg38")
    assert back.digest == real_chr22.digest
    assert Store(back.path).array_digests == Store(real_chr22.path).array_digests


# ---- BED


@pytest.mark.parametrize("packed", [True, False])
def test_bed__read_by_pyranges_holds_the_windows_and_the_positive_ones(
    little: Little, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfdstore.export.bed._ROWS", 7)
    ending = ".bed.gz" if packed else ".bed"
    report = export_store(little.path, tmp_path / "e", "bed", Choice(experiments=("all",)), packed=packed)
    store, expected = little.store, little.expected
    table = pl.read_csv(tmp_path / "e" / f"windows{ending}", separator="\t")
    assert table.columns == ["#chrom", "start", "end", "name", "score", "strand", "n_positive", "split"]
    assert list(zip(table["#chrom"], table["start"], strict=True)) == expected.bins
    assert (table["end"] - table["start"]).unique().to_list() == [128]
    assert table["n_positive"].to_list() == expected.labels.sum(axis=1).tolist() == table["score"].to_list()
    assert table["split"].to_list() == [schema.SPLITS[code] for code in store.windows.split]
    assert table["name"].to_list() == [f"w{row}" for row in range(len(expected.bins))]
    for index, name in enumerate(ACCESSIONS):
        ranges = pyranges.read_bed(str(tmp_path / "e" / "positives" / f"{name}{ending}"), as_df=True)
        found = sorted(zip(ranges["Chromosome"].astype(str), ranges["Start"], strict=True))
        assert found == [expected.bins[row] for row in np.flatnonzero(expected.labels[:, index])]
    assert report.n_pairs == expected.labels.sum()
    with (tmp_path / "e" / "experiments.tsv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["experiment"] for row in rows] == ACCESSIONS
    assert rows[0]["date_released"] == "2011-10-29"
    assert rows[1]["date_released"] == ""


def test_bed__writes_the_positive_windows_of_the_experiments_that_are_named(
    little: Little, tmp_path: Path
) -> None:
    export_store(little.path, tmp_path / "none", "bed", Choice(splits=("test",)))
    assert not (tmp_path / "none" / "positives").exists()
    export_store(
        little.path, tmp_path / "some", "bed", Choice(splits=("test",), experiments=(ACCESSIONS[3],))
    )
    (file,) = (tmp_path / "some" / "positives").iterdir()
    lines = _unpacked(file).decode().splitlines()
    held = [bin_ for bin_, row in zip(little.expected.bins, little.expected.labels, strict=True) if row[3]]
    assert [(line.split("\t")[0], int(line.split("\t")[1])) for line in lines] == [
        bin_ for bin_ in held if bin_[0] == "chr9"
    ]


# ---- Parquet


@pytest.mark.parametrize("rows", [1 << 20, 13])
def test_parquet__read_by_polars_holds_windows_labels_and_factors(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(parquet, "_ROWS_PER_GROUP", rows)
    monkeypatch.setattr(choice_module, "_LABELS", rows)
    report = export_store(little.path, tmp_path / "e", "parquet", Choice())
    expected, store = little.expected, little.store
    windows = pl.read_parquet(tmp_path / "e" / "windows.parquet")
    assert windows["window"].to_list() == list(range(store.n_windows))
    assert list(zip(windows["chrom"], windows["start"], strict=True)) == expected.bins
    assert windows["n_positive"].to_list() == expected.labels.sum(axis=1).tolist()
    assert windows["split"].to_list() == [schema.SPLITS[code] for code in store.windows.split]
    labels = pl.read_parquet(tmp_path / "e" / "labels.parquet")
    dense = np.zeros(expected.labels.shape, np.bool_)
    columns = [ACCESSIONS.index(name) for name in labels["experiment"].to_list()]
    dense[labels["window"].to_numpy(), columns] = True
    np.testing.assert_array_equal(dense, expected.labels)
    assert len(labels) == report.n_pairs == expected.labels.sum()
    experiments = pl.read_parquet(tmp_path / "e" / "experiments.parquet")
    assert experiments["experiment"].to_list() == ACCESSIONS
    assert experiments["organ"].to_list()[5] == ["blood", "liver"]
    assert experiments["organ"].to_list()[2] is None
    assert experiments["date_released"].dtype == pl.Date
    assert experiments["read_length"].to_list()[:3] == [36.0, None, 50.5]


def test_parquet__of_a_part_keeps_the_windows_of_the_store(little: Little, tmp_path: Path) -> None:
    part = Choice(splits=("test",), experiments=(ACCESSIONS[1], ACCESSIONS[8]))
    export_store(little.path, tmp_path / "e", "parquet", part)
    rows = little.store.windows.rows("test")
    windows = pl.read_parquet(tmp_path / "e" / "windows.parquet")
    assert windows["window"].to_list() == rows.tolist()
    labels = pl.read_parquet(tmp_path / "e" / "labels.parquet")
    expected = {
        (int(row), ACCESSIONS[index])
        for row in rows
        for index in (1, 8)
        if little.expected.labels[row, index]
    }
    assert set(labels.with_columns(pl.col("experiment").cast(pl.String)).iter_rows()) == expected


# ---- all


@pytest.mark.parametrize("format", FORMATS)
def test_export__gives_the_same_bytes_each_time(little: Little, tmp_path: Path, format: Format) -> None:
    for name in ("a", "b"):
        export_store(little.path, tmp_path / name, format, Choice(experiments=("all",)))
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) >= 3
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("format", FORMATS)
def test_export__tells_how_far_it_is(little: Little, tmp_path: Path, format: Format) -> None:
    told: list[tuple[str, int, int]] = []
    export_store(
        little.path, tmp_path / "e", format, Choice(), on_progress=lambda *progress: told.append(progress)
    )
    assert told[-1][1] == told[-1][2] > 0


def test_carried_digests_are_those_of_the_sequence(little: Little) -> None:
    for chrom in little.store.chroms:
        name = f"{schema.SEQUENCE}/{chrom}"
        assert digest_values(little.store.codes(chrom)) == little.store.array_digests[name]
