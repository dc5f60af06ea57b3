"""Counts by group against sums of plain booleans; shards are read once each, whatever is asked."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.mfdstore.query.conftest import Wide
from tests.worlds import ACCESSIONS

Members = dict[Any, NDArray[np.bool_]]
N = 48


def _holding(dataset: xr.Dataset, names: list[str]) -> Members:
    """Say for each value, or combination of values, which experiments have it; by loops, from the coordinates."""
    cells: list[list[tuple[Any, ...]]] = [[()] for _ in range(dataset.sizes["experiment"])]
    for name in names:
        for row, value in enumerate(dataset[name].values):
            if dataset[name].attrs.get("kind") == "multi_category":
                values = value.split(",") if isinstance(value, str) else []
            else:
                values = [] if dataset[name].isnull().values[row] else [value]
            cells[row] = [(*before, one) for before in cells[row] for one in values]
    keys = sorted({key for held in cells for key in held})
    return {key if len(names) > 1 else key[0]: np.array([key in held for held in cells]) for key in keys}


def _check_windows(dataset: xr.Dataset, by: str | list[str], labels: NDArray[np.bool_]) -> xr.DataArray:
    """Hold all counts of `by` against sums over `labels`, which are the dataset's."""
    holding = _holding(dataset, [by] if isinstance(by, str) else by)
    counts = dataset.mfd.count_experiments(by)
    dim = by if isinstance(by, str) else "group"
    assert counts.dims == ("window", dim)
    assert [*counts.get_index(dim)] == [*holding]
    expected = np.stack([labels[:, held].sum(axis=1) for held in holding.values()], axis=1)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(counts.n_experiments, [held.sum() for held in holding.values()])
    np.testing.assert_array_equal(counts.start, dataset.start)
    np.testing.assert_array_equal(dataset.mfd.count_labels(by), expected.sum(axis=0))
    np.testing.assert_array_equal(dataset.mfd.count_windows(by), (expected > 0).sum(axis=0))
    for per in ("chrom", "split"):
        found = dataset.mfd.count_windows(by, per=per)
        assert found.dims == (per, dim)
        for value in found[per].values:
            mine = dataset[per].values == value
            np.testing.assert_array_equal(found.sel({per: value}), (expected[mine] > 0).sum(axis=0))
            assert found.n_windows.sel({per: value}) == mine.sum()
        assert found.n_windows.sum() == dataset.sizes["window"]
    return counts


BY: list[str | list[str]] = [
    "target",
    "organ",
    "read_length",
    "date_released",
    "experiment",
    ["target", "biosample"],
    ["organ", "assay", "target"],
]


@pytest.mark.parametrize("by", BY, ids=str)
@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_counts__are_sums_of_labels(wide: Wide, by: str | list[str], chunks: Any) -> None:
    with dask.config.set(scheduler="threads", num_workers=3):
        _check_windows(wide.open(chunks=chunks), by, wide.labels)


CHANGES: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "region": lambda ds: ds.mfd.region("chr8:100,000-900,000"),
    "every seventh": lambda ds: ds.thin(window=7),
    "backwards": lambda ds: ds.isel(window=slice(None, None, -1)),
    "shuffled": lambda ds: ds.isel(window=np.random.default_rng(1).permutation(ds.sizes["window"])),
    "one window": lambda ds: ds.isel(window=[16_384]),
    "the experiments of an organ": lambda ds: ds.mfd.experiments({"organ": ["liver", "blood"]}),
    "experiments twice, backwards": lambda ds: ds.isel(experiment=[9, 9, 5, 1, 0, 0]),
    "in chunks of another size": lambda ds: ds.chunk({"window": 999, "experiment": 2}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_counts__are_right_after_any_change(wide: Wide, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
    plain = wide.open().drop_vars(["label", "sequence"])
    plain = change(plain.assign(label=(("window", "experiment"), wide.labels)))
    for by in ("target", "organ"):
        _check_windows(change(wide.open()), by, plain.label.values)


@settings(max_examples=30)
@given(st.lists(st.integers(0, N - 1), max_size=60), st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_counts__of_any_rows_and_columns(little: Little, rows: list[int], columns: list[int]) -> None:
    dataset = xr.open_dataset(little.path, engine="mfdstore").isel(window=rows, experiment=columns)
    by = "experiment" if len(set(columns)) == len(columns) else "assay"
    _check_windows(dataset, by, little.expected.labels[rows][:, columns])


def test_counts__are_lazy_and_read_each_shard_once(wide: Wide, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, Any]] = []
    whole = Store.read

    def spy(self: Store, name: str, selection: Any = slice(None)) -> Any:
        read.append((name, selection))
        return whole(self, name, selection)

    dataset = wide.open(chunks={})
    n, rows = dataset.sizes["window"], schema.ROWS_PER_SHARD
    assert n > 2 * rows
    assert dataset.label.chunks == ((rows, rows, n - 2 * rows), (11,))  # chunks are shards
    shuffled = dataset.isel(window=np.random.default_rng(2).permutation(n))
    shards = [("label_bits", slice(first, min(first + rows, n))) for first in range(0, n, rows)]
    monkeypatch.setattr(Store, "read", spy)
    asked = dataset.mfd.count_experiments("target")
    assert asked.chunks == (dataset.label.chunks[0], (asked.sizes["target"],))
    for lazy in (
        asked,
        asked.sum("window"),
        dataset.mfd.count_windows("target", per="split"),
        shuffled.mfd.count_labels("target", per="chrom"),
        shuffled.mfd.count_experiments("target").sum("window"),
        dataset.mfd.jaccard("target"),
    ):
        assert dask.is_dask_collection(lazy)
        assert not read
        lazy.compute(scheduler="threads", num_workers=3)
        assert sorted(read, key=lambda entry: entry[1].start) == shards
        read.clear()
    dataset.mfd.region("chr8").mfd.count_windows("target").compute()
    first, last = np.flatnonzero(dataset.chrom.values == "chr8")[[0, -1]]
    assert [(cut.start, cut.stop) for _, cut in sorted(read, key=lambda entry: entry[1].start)] == [
        (first, rows) if first < rows <= last else (first, last + 1),
        *([(rows, last + 1)] if first < rows <= last else []),
    ]


def test_counts__can_be_sent_to_another_process(wide: Wide) -> None:
    for counts in (wide.open().mfd.count_windows("target"), wide.open().mfd.count_experiments("organ")):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(counts)), counts)  # noqa: S301


def test_counts__of_a_store_built_anew_have_another_name(little: Little, tmp_path: Path) -> None:
    path = Path(shutil.copytree(little.path, tmp_path / "x.zarr"))

    def name() -> Any:
        return xr.open_dataset(path, engine="mfdstore").mfd.count_experiments("organ").data.name

    before = name()
    assert name() == before  # so that a cluster may keep what it has
    attributes = json.loads((path / "zarr.json").read_text())
    attributes["attributes"]["mfdstore"]["digest"] = "0" * 64
    (path / "zarr.json").write_text(json.dumps(attributes))
    assert name() != before


def test_counts__report_what_is_missing(wide: Wide) -> None:
    dataset = wide.open()
    assert dataset.mfd.count_experiments("organ").attrs == {"n_experiments_of_all": 11, "n_without_organ": 4}
    both = dataset.mfd.count_windows(["organ", "target"]).attrs
    assert both == {"n_experiments_of_all": 11, "n_without_organ": 4, "n_without_target": 1}
    assert None not in dataset.mfd.count_windows("target").target.values.tolist()
    chosen = dataset.assign_coords(batch=("window", np.where(dataset.start % 256 == 0, "even", None)))
    found = chosen.mfd.count_windows("target", per="batch")
    assert found.batch.values.tolist() == ["even"]
    assert found.attrs["n_windows_left_out"] == (dataset.start % 256 != 0).sum()
    np.testing.assert_array_equal(
        found[0], dataset.isel(window=dataset.start.values % 256 == 0).mfd.count_windows("target")
    )


def test_counts__are_found_by_name(wide: Wide) -> None:
    dataset = wide.open()
    ctcf = dataset.mfd.experiments({"target": "CTCF"}).label.values
    by_target = dataset.mfd.count_windows("target", per=["split", "chrom"])
    assert by_target.dims == ("split", "chrom", "target")
    assert by_target.split.values.tolist() == ["train", "valid", "test"]
    assert by_target.chrom.values.tolist() == ["chr1", "chr8", "chr9"]
    assert by_target.sel(target="CTCF").sum() == ctcf.any(axis=1).sum()
    assert by_target.sel(split="train", chrom="chr8", target="CTCF") == 0
    in_k562 = dataset.mfd.experiments({"target": "CTCF", "biosample": "K562"}).label.values
    both = dataset.mfd.count_experiments(["target", "biosample"])
    np.testing.assert_array_equal(both.sel(target="CTCF", biosample="K562").squeeze(), in_k562.sum(axis=1))
    table = dataset.mfd.count_windows("target", per="split").to_pandas()
    assert table.loc["train", "CTCF"] == ctcf[dataset.split.values == "train"].any(axis=1).sum()


def test_counts__by_a_column_of_ones_own(wide: Wide) -> None:
    dataset = wide.open().assign_coords(half=("experiment", np.array([0, 1] * 5 + ["x"], object)))
    found = dataset.mfd.count_labels("half")
    assert found.sel(half="x") == wide.labels[:, 10].sum()
    assert found.sel(half=0) == wide.labels[:, :10:2].sum()


def test_counts__of_no_windows(wide: Wide) -> None:
    nothing = wide.open().isel(window=slice(0))
    assert nothing.mfd.count_experiments("target").shape == (0, 5)
    assert nothing.mfd.count_windows("target").values.tolist() == [0] * 5
    assert nothing.mfd.count_windows("target", per="split").shape == (0, 5)
    assert np.isnan(nothing.mfd.jaccard("target").values).all()


@pytest.mark.parametrize("by", ["experiment", "target", "organ"])
def test_jaccard__agrees_with_scipy(wide: Wide, by: str) -> None:
    dataset = wide.open()
    holding = _holding(dataset, [by])
    labelled = np.stack([wide.labels[:, held].any(axis=1) for held in holding.values()])
    found = dataset.mfd.jaccard(by)
    assert found.dims == (by, f"{by}_other")
    np.testing.assert_allclose(found, 1 - cdist(labelled, labelled, "jaccard"), rtol=1e-12)
    assert found[f"{by}_other"].values.tolist() == found[by].values.tolist() == [*holding]


@pytest.mark.parametrize(
    ("by", "per", "found"),
    [
        ("tragte", (), "factor 'tragte': found no such factor; expected .*target"),
        ("start", (), "factor 'start': found no such factor"),
        ([], (), r"by: found \[\]; expected each factor once"),
        (["target", "target"], (), "by: found .*; expected each factor once"),
        ("target", "splits", "coordinate 'splits': found no such coordinate of the windows; expected chrom"),
        ("target", "target", "coordinate 'target': found no such coordinate|'target' twice"),
        ("target", ("split", "split"), "'split' twice among the names"),
        ("nothing", (), "no group: of 11 experiments nothing is missing in 11"),
        ("n_windows", (), "'n_windows' twice among the names of the result.*rename"),
        ("n_experiments", (), "'n_experiments' twice among the names of the result"),
    ],
)
def test_counts__refuse_what_cannot_be_counted(wide: Wide, by: Any, per: Any, found: str) -> None:
    own = {name: ("experiment", ACCESSIONS) for name in ("n_windows", "n_experiments")}
    dataset = wide.open().assign_coords(own | {"nothing": ("experiment", np.array([None] * 11, object))})
    with pytest.raises(ConfigError, match=found):
        dataset.mfd.count_windows(by, per=per)


@pytest.mark.real
@pytest.mark.slow
def test_counts__of_a_real_store(real_chr22: Any) -> None:
    dataset = xr.open_dataset(real_chr22.path, engine="mfdstore", chunks={})
    labels = dataset.label.values
    _check_windows(dataset, "target", labels)
    _check_windows(dataset.mfd.split("test"), ["target", "biosample"], labels[dataset.split.values == "test"])
    for accession in dataset.experiment.values[[0, 77, 147]]:
        positive = labels[:, dataset.experiment.values == accession][:, 0]
        found = dataset.mfd.positives(accession)
        assert found.start.values.tolist() == dataset.start.values[positive].tolist()
