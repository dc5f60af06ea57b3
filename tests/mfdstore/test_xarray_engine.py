"""The decoded view: lazy labels and sequences against eager numpy, under any indexer and under dask."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildReport
from mfdstore.errors import ConfigError, StoreError
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.oracles import naive_window
from tests.worlds import ACCESSIONS, GENOME, World
from tests.worlds import settings as world_settings

POSITIONS = 301


def _open(little: Little, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_dataset(little.path, engine="mfdstore", **options)


@pytest.fixture(scope="module")
def lazy(little: Little) -> xr.Dataset:
    """Open once, without keeping what is read: every selection goes to the store."""
    return _open(little, positions=POSITIONS, cache=False)


@pytest.fixture(scope="module")
def windows(little: Little) -> np.ndarray:
    """Every window, cut out of the letters one by one; shape (window, position)."""
    return np.array(
        [
            naive_window(little.world.sequences[chrom], start, 128, POSITIONS)
            for chrom, start in little.expected.bins
        ],
        np.uint8,
    )


def test_engine__shows_dims_coordinates_and_roles(little: Little) -> None:
    dataset = _open(little)
    n = len(little.expected.bins)
    assert dict(dataset.sizes) == {"window": n, "experiment": 11, "position": 1152}
    assert set(dataset.data_vars) == {"label", "sequence"}
    assert (dataset.label.dims, dataset.label.dtype) == (("window", "experiment"), np.bool_)
    assert (dataset.sequence.dims, dataset.sequence.dtype) == (("window", "position"), np.uint8)
    found = list(zip(dataset.chrom.values.tolist(), dataset.start.values.tolist(), strict=True))
    assert found == little.expected.bins
    assert (dataset.end - dataset.start == 128).all()
    assert set(dataset.split.values.tolist()) == {"train", "valid", "test"}
    np.testing.assert_array_equal(dataset.n_positive, little.expected.labels.sum(axis=1))
    assert dataset.experiment.values.tolist() == ACCESSIONS
    for factor in little.store.factors:
        assert dataset[factor.name].attrs["role"] == (factor.role or "")
        assert dataset[factor.name].attrs["kind"] == factor.kind
        np.testing.assert_array_equal(dataset[factor.name].isnull(), factor.missing)
    assert dataset.attrs["genome"] == GENOME
    assert dataset.attrs["digest"] == little.report.digest


def test_engine__missing_stays_missing(little: Little) -> None:
    dataset = _open(little)
    assert np.flatnonzero(dataset.target.isnull()).tolist() == [9]
    assert np.flatnonzero(dataset.organ.isnull()).tolist() == [2, 4, 6, 9]
    assert np.isnan(dataset.read_length.values[3])
    assert np.isnat(dataset.date_released.values[1])
    assert dataset.organ.values[0] == "exocrine gland,liver"


def test_engine__whole_arrays_are_those_of_the_definition(little: Little, windows: np.ndarray) -> None:
    dataset = _open(little, positions=POSITIONS)
    np.testing.assert_array_equal(dataset.label, little.expected.labels)
    np.testing.assert_array_equal(dataset.sequence, windows)


@pytest.mark.parametrize("positions", [1, 2, 127, 128, 129, 5000])
def test_engine__windows_of_any_width_reach_over_the_ends(little: Little, positions: int) -> None:
    dataset = _open(little, positions=positions)
    for row in (0, len(little.expected.bins) // 2, -1):
        chrom, start = little.expected.bins[row]
        expected = naive_window(little.world.sequences[chrom], start, 128, positions)
        assert dataset.sequence[row].values.tolist() == expected


def test_engine__what_lies_beyond_a_chromosome_is_blank_even_where_it_ends_in_bases(tmp_path: Path) -> None:
    sequences = {chrom: "GATTACACCA" * 128 for chrom in ("chr1", "chr8", "chr9")}
    peaks = {name: {chrom: [(0, 1280)] for chrom in sequences} for name in ACCESSIONS}
    sources = World(sequences, peaks, {"chr1": [(640, 641)]}).write(tmp_path)
    build_store(sources, tmp_path / "x.zarr", world_settings())
    dataset = xr.open_dataset(tmp_path / "x.zarr", engine="mfdstore", positions=3001)
    for chrom, start, codes in zip(
        dataset.chrom.values, dataset.start.values, dataset.sequence.values, strict=True
    ):
        assert codes.tolist() == naive_window(sequences[chrom], int(start), 128, 3001)


def _indexers(size: int) -> st.SearchStrategy[Any]:
    bound = st.integers(-size, size - 1)
    steps = st.sampled_from([None, 1, 2, 3, -1, -2, 7])
    return (
        bound
        # xarray itself stumbles over an empty slice that runs backwards
        | st.builds(slice, st.none() | bound, st.none() | bound, steps).filter(
            lambda cut: (cut.step or 1) > 0 or len(range(*cut.indices(size))) > 0
        )
        | st.lists(bound, max_size=12).map(lambda rows: np.array(rows, np.int64))
        | st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)
    )


N = 48
both = st.tuples(_indexers(N), _indexers(11))
cuts = st.tuples(_indexers(N), _indexers(POSITIONS))


def _outer(values: np.ndarray, key: tuple[Any, Any]) -> np.ndarray:
    """Index one axis after the other; the second first, so that an integer does not shift the axes."""
    return values[:, key[1]][key[0]]


@settings(max_examples=120)
@given(both)
def test_engine__lazy_labels_equal_eager_ones(little: Little, lazy: xr.Dataset, key: tuple[Any, Any]) -> None:
    assert len(little.expected.bins) == N
    found = lazy.label.isel(window=key[0], experiment=key[1])
    np.testing.assert_array_equal(found.values, _outer(little.expected.labels, key))
    assert found.dtype == np.bool_


@settings(max_examples=120)
@given(cuts)
def test_engine__lazy_sequences_equal_eager_ones(
    lazy: xr.Dataset, windows: np.ndarray, key: tuple[Any, Any]
) -> None:
    found = lazy.sequence.isel(window=key[0], position=key[1])
    np.testing.assert_array_equal(found.values, _outer(windows, key))
    assert found.dtype == np.uint8


@settings(max_examples=40)
@given(both, cuts, st.tuples(st.integers(5, 30), st.integers(3, 6), st.integers(100, 200)))
def test_engine__equal_under_dask_whatever_the_chunks(
    little: Little,
    lazy: xr.Dataset,
    windows: np.ndarray,
    key: tuple[Any, Any],
    cut: tuple[Any, Any],
    sizes: tuple[int, int, int],
) -> None:
    chunks = dict(zip(("window", "experiment", "position"), sizes, strict=True))
    dataset = lazy.chunk(chunks)
    assert dataset.label.chunks is not None
    found = dataset.label.isel(window=key[0], experiment=key[1])
    np.testing.assert_array_equal(found.values, _outer(little.expected.labels, key))
    found = dataset.sequence.isel(window=cut[0], position=cut[1])
    np.testing.assert_array_equal(found.values, _outer(windows, cut))


@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=9), st.data())
def test_engine__pointwise_selection_equals_eager(
    little: Little, lazy: xr.Dataset, rows: list[int], data: st.DataObject
) -> None:
    columns = data.draw(st.lists(st.integers(0, 10), min_size=len(rows), max_size=len(rows)))
    points = {"window": xr.DataArray(rows, dims="point"), "experiment": xr.DataArray(columns, dims="point")}
    np.testing.assert_array_equal(lazy.label.isel(points), little.expected.labels[rows, columns])


def test_engine__labels_over_many_shards(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "ROWS_PER_SHARD", 5)  # of the reader's steps
    rows = np.array([47, 0, 3, 4, 5, 6, 30, 3])
    found = _open(little).label.isel(window=rows)
    np.testing.assert_array_equal(found, little.expected.labels[rows])


def test_engine__reads_nothing_large_on_opening(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Store.read

    def spy(self: Store, name: str, selection: Any = slice(None)) -> Any:
        read.append(name)
        return whole(self, name, selection)

    monkeypatch.setattr(Store, "read", spy)
    dataset = _open(little)
    assert not {"label_bits", "label_bits_by_experiment"} & set(read)
    assert not any(name.startswith("sequence/") for name in read)
    read.clear()
    _ = dataset.label.isel(experiment=3).values
    assert read == ["label_bits_by_experiment"]  # all windows of one experiment are one read
    read.clear()
    _ = dataset.label.isel(window=slice(3, 9)).values
    assert read == ["label_bits"]
    read.clear()
    _ = dataset.sequence.isel(window=[0, 1]).values
    assert read == ["sequence/chr1"]


def test_engine__can_be_sent_to_another_process(little: Little, windows: np.ndarray) -> None:
    dataset = _open(little, positions=POSITIONS)
    _ = dataset.sequence.isel(window=0).values
    for sent in (pickle.loads(pickle.dumps(dataset)), dataset.copy(deep=True)):  # noqa: S301
        np.testing.assert_array_equal(sent.sequence, windows)
        np.testing.assert_array_equal(sent.label, little.expected.labels)


def test_engine__opens_in_chunks_when_asked(little: Little) -> None:
    dataset = _open(little, chunks={}).chunk({"window": 20})
    assert dataset.label.chunks == ((20, 20, 8), (11,))
    np.testing.assert_array_equal(dataset.label, little.expected.labels)


def test_engine__chunks_are_shards_where_nothing_is_said(little: Little) -> None:
    dataset = _open(little, chunks={})
    rows = dataset.sizes["window"]
    assert dataset.label.encoding["preferred_chunks"] == {"window": schema.ROWS_PER_SHARD, "experiment": 11}
    assert dataset.sequence.encoding["preferred_chunks"] == {
        "window": schema.ROWS_PER_SHARD,
        "position": 1152,
    }
    assert dataset.label.chunks == ((rows,), (11,))


def test_engine__sequences_of_many_rows_are_those_of_few(
    little: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _open(little).sequence.values
    monkeypatch.setattr("mfdstore.xarray_engine._ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(_open(little).sequence.values, whole)


def test_engine__drops_variables_and_refuses_no_positions(little: Little) -> None:
    assert "label" not in _open(little, drop_variables="label")
    dataset = _open(little, drop_variables=["sequence", "target"])
    assert "sequence" not in dataset
    assert "target" not in dataset.coords
    with pytest.raises(ConfigError, match="positions: found 0"):
        _open(little, positions=0)


def test_engine__of_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no directory"):
        xr.open_dataset(tmp_path / "x.zarr", engine="mfdstore")


@pytest.mark.real
@pytest.mark.slow
def test_engine__agrees_with_the_authors_loaders(real_chr22: BuildReport, real_data: Path) -> None:
    import csv
    import gzip

    release = real_data / "mfd-release"
    expected = np.load(release / "expected.npz")
    dataset = xr.open_dataset(real_chr22.path, engine="mfdstore")
    with gzip.open(release / "regions.bed.gz", "rt") as handle:
        regions = [line.split("\t")[:3] for line in handle]
    assert [int(start) for _, start, _ in regions] == dataset.start.values.tolist()
    assert {chrom for chrom, _, _ in regions} == {"22"}
    with (release / "metadata.tsv").open() as handle:
        order = [row["File.accession"] for row in csv.DictReader(handle, delimiter="\t")]
    rows = expected["rows"]
    chosen = dataset.isel(window=rows).sel(experiment=order)
    np.testing.assert_array_equal(np.packbits(chosen.label.values, axis=1), expected["labels"])
    np.testing.assert_array_equal(chosen.sequence, expected["codes"])
    turned = np.array(
        [[15 - (4 * (code % 4) + code // 4) if code < 16 else 16 for code in range(17)]], np.uint8
    )[0]
    np.testing.assert_array_equal(
        turned[chosen.sequence.values[:, ::-1]], expected["codes_reverse_complement"]
    )


def test_engine__what_is_selected_is_written_in_silence_and_read_back(little: Little, tmp_path: Path) -> None:
    chosen = xr.open_dataset(little.path, engine="mfdstore").isel(window=slice(3, 9), experiment=[0, 3])
    # a warning is an error here; that of consolidated metadata is of any Zarr 3 group
    chosen.to_zarr(tmp_path / "part.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "part.zarr", consolidated=False).load()
    for name in ("chrom", "split", "experiment", "target"):
        assert again[name].values.tolist() == chosen[name].values.tolist(), name
    np.testing.assert_array_equal(again["label"].values, chosen["label"].values)
