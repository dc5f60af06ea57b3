"""One experiment's windows, however the dataset was cut, turned and copied before."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.build.run import build_store
from mfdstore.errors import ConfigError, StoreError
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.worlds import ACCESSIONS, settings

N = 48
Change = Callable[[xr.Dataset], xr.Dataset]


def _open(little: Little, **options: Any) -> xr.Dataset:
    return xr.open_dataset(little.path, engine="mfdstore", **options)


def _bins(dataset: xr.Dataset) -> list[tuple[str, int]]:
    return list(zip(dataset.chrom.values.tolist(), dataset.start.values.tolist(), strict=True))


def _labelled(little: Little, accession: str) -> set[tuple[str, int]]:
    column = ACCESSIONS.index(accession)
    return {
        bin_ for bin_, row in zip(little.expected.bins, little.expected.labels, strict=True) if row[column]
    }


CHANGES: dict[str, Change] = {
    "nothing": lambda ds: ds,
    "region": lambda ds: ds.mfd.region("chr8"),
    "split": lambda ds: ds.mfd.split("test"),
    "experiments by factor": lambda ds: ds.mfd.experiments({"organ": "lung"}),
    "other experiments": lambda ds: ds.isel(experiment=[0, 3]),
    "an experiment by name": lambda ds: ds.sel(experiment=["ENCFF002AAA"]),
    "backwards": lambda ds: ds.isel(window=slice(None, None, -1), experiment=slice(None, None, -1)),
    "every third": lambda ds: ds.thin(window=3),
    "sorted by something else": lambda ds: ds.sortby("n_positive"),
    "chunks": lambda ds: ds.chunk({"window": 7}),
    "chunks, loaded": lambda ds: ds.chunk({"window": 7}).compute(),
    "where": lambda ds: ds.where((ds.n_positive > 3).compute(), drop=True),
    "copied": lambda ds: ds.copy(deep=True),
    "sent": lambda ds: pickle.loads(pickle.dumps(ds)),  # noqa: S301
    "glued": lambda ds: xr.concat([ds.mfd.region("chr9"), ds.isel(window=[2, 0])], "window"),
    "without labels": lambda ds: ds.drop_vars("label"),
    "the labels alone": lambda ds: ds.label.to_dataset(),
    "merged": lambda ds: xr.merge([ds, xr.Dataset({"score": ("window", np.arange(N))})]),
    "by chromosome": lambda ds: ds.groupby(ds.chrom.compute()).map(
        lambda part: part.isel(window=slice(None, None, -1))
    ),
    "no windows": lambda ds: ds.isel(window=slice(0)),
}


@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_positives__are_right_after_any_change(little: Little, change: Change, chunks: Any) -> None:
    changed = change(_open(little, chunks=chunks))
    for accession in ("ENCFF000AAA", "ENCFF010AAA"):
        found = changed.mfd.positives(accession)
        labelled = _labelled(little, accession)
        assert _bins(found) == [bin_ for bin_ in _bins(changed) if bin_ in labelled]
        assert found.sizes["experiment"] == changed.sizes["experiment"]


@given(st.lists(st.integers(0, N - 1), max_size=60), st.sampled_from(ACCESSIONS))
def test_positives__of_any_rows_in_any_order(little: Little, rows: list[int], accession: str) -> None:
    changed = _open(little).isel(window=rows)
    labelled = _labelled(little, accession)
    assert _bins(changed.mfd.positives(accession)) == [bin_ for bin_ in _bins(changed) if bin_ in labelled]


@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_positives__is_one_read(little: Little, monkeypatch: pytest.MonkeyPatch, chunks: Any) -> None:
    read: list[tuple[str, Any]] = []
    whole = Store.read

    def spy(self: Store, name: str, selection: Any = slice(None)) -> Any:
        read.append((name, selection))
        return whole(self, name, selection)

    dataset = _open(little, chunks=chunks).mfd.region("chr8")
    monkeypatch.setattr(Store, "read", spy)
    dataset.mfd.positives("ENCFF004AAA")
    assert read == [("label_bits_by_experiment", 4)]


def test_positives__what_else_labels_them(little: Little) -> None:
    share = _open(little).mfd.positives("ENCFF004AAA").label.mean("window")
    labels = little.expected.labels
    np.testing.assert_allclose(share, labels[labels[:, 4]].mean(axis=0))


def test_positives__refuses_an_unknown_experiment(little: Little) -> None:
    with pytest.raises(
        ConfigError, match=r"'ENCFF999AAA': found no such .*expected ENCFF000AAA, .*and 5 more"
    ):
        _open(little).mfd.positives("ENCFF999AAA")


def test_positives__of_a_damaged_store(copied: Path) -> None:
    dataset = xr.open_dataset(copied, engine="mfdstore")
    chunk = next(path for path in (copied / "label_bits_by_experiment" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[::-1])
    with pytest.raises(StoreError, match="array label_bits_by_experiment with a damaged chunk"):
        dataset.mfd.positives("ENCFF004AAA")


def test_positives__refuses_another_store_that_has_taken_the_name(
    copied: Path, little: Little, tmp_path: Path
) -> None:
    dataset = xr.open_dataset(copied, engine="mfdstore")
    sent = pickle.dumps(dataset)
    expected = dataset.mfd.positives("ENCFF004AAA").sizes["window"]
    # the same content under the name is as good
    shutil.move(copied, tmp_path / "before.zarr")
    shutil.copytree(little.path, copied)
    assert dataset.mfd.positives("ENCFF004AAA").sizes["window"] == expected
    assert pickle.loads(sent).mfd.positives("ENCFF004AAA").sizes["window"] == expected  # noqa: S301
    shutil.rmtree(copied)
    build_store(little.sources, copied, settings(min_overlap=1))
    with pytest.raises(StoreError, match=r"copy.zarr: found a store of digest .* taken the name"):
        dataset.mfd.positives("ENCFF004AAA")
    with pytest.raises(StoreError, match="taken the name"):
        dataset.label[3].load()
    with pytest.raises(StoreError, match="taken the name"):
        pickle.loads(sent)  # noqa: S301


def test_positives__refuses_windows_of_a_store_that_counts_others(little: Little, tmp_path: Path) -> None:
    other = tmp_path / "other.zarr"
    build_store(little.sources, other, settings(min_overlap=1))
    first = _open(little)
    known = set(_bins(first))
    second = xr.open_dataset(other, engine="mfdstore")
    second = second.isel(window=[row for row, bin_ in enumerate(_bins(second)) if bin_ in known])
    both = xr.concat([first.mfd.region("chr1"), second.mfd.region("chr8")], "window")
    for ask in (
        lambda: both.mfd.positives("ENCFF004AAA"),
        lambda: both.mfd.count_windows("target").compute(),
        lambda: both.mfd.jaccard("target").compute(),
    ):
        with pytest.raises(ConfigError, match=r"experiments that label it, which are \d+ in .*little.zarr"):
            ask()
    # a user's own counts are nobody's business
    own = first.mfd.experiments({"organ": "lung"})
    own = own.assign_coords(n_positive=own.label.sum("experiment"))
    assert own.mfd.positives("ENCFF000AAA").sizes["window"]


def _read_back(little: Little, folder: Path) -> xr.Dataset:
    _open(little).isel(window=slice(5)).to_zarr(folder / "part.zarr", consolidated=False)
    return xr.open_zarr(folder / "part.zarr", consolidated=False)


@pytest.mark.parametrize(
    "ask", ["positives", "count_experiments", "count_windows", "count_labels", "jaccard"]
)
def test_origin__says_that_there_is_no_store(little: Little, tmp_path: Path, ask: str) -> None:
    by = "ENCFF004AAA" if ask == "positives" else "target"
    for dataset in (
        _read_back(little, tmp_path),
        _open(little).drop_encoding(),
        xr.Dataset({"label": (("window", "experiment"), np.ones((2, 2), bool))}),
        xr.open_zarr(little.path),
    ):
        with pytest.raises(ConfigError, match=r"dataset: found no store behind it.*engine="):
            getattr(dataset.mfd, ask)(by)


def test_origin__refuses_windows_that_are_none_of_the_store(little: Little) -> None:
    dataset = _open(little)
    for moved, found in (
        (dataset.assign_coords(start=dataset.start + 1), r"window 0 of the dataset: found a bin at chr1:\d+"),
        (dataset.assign_coords(chrom=("window", ["chr7"] * N)), "a bin at chr7"),
        (dataset.assign_coords(chrom=("window", [None] * N)), "no chromosome:"),
        (dataset.drop_vars("chrom"), "coordinate 'chrom': found no such coordinate of the windows"),
        (dataset.isel(window=3), "coordinate 'start': found no such coordinate of the windows"),
    ):
        with pytest.raises(ConfigError, match=found):
            moved.mfd.positives("ENCFF004AAA")


def test_origin__refuses_two_stores_in_one(little: Little, wide: Any) -> None:
    windows = _open(little).drop_dims("experiment")
    experiments = wide.open().drop_dims("window")
    with pytest.raises(
        ConfigError, match=r"windows and experiments of two stores: .*little.zarr, .*wide.zarr"
    ):
        xr.merge([windows, experiments], combine_attrs="drop").mfd.positives("ENCFF004AAA")
    both = xr.concat(
        [_open(little), wide.open().isel(window=slice(9))],
        "window",
        join="override",
        coords="minimal",
        compat="override",
    )
    with pytest.raises(ConfigError, match="found a bin at"):
        both.mfd.positives("ENCFF004AAA")
    renamed = _open(little).assign_coords(experiment=[f"x{index}" for index in range(11)])
    with pytest.raises(ConfigError, match="experiment 'x0': found no such experiment"):
        renamed.mfd.count_experiments("target")
    with pytest.raises(ConfigError, match="no coordinate experiment by experiment"):
        _open(little).drop_vars("experiment").mfd.count_experiments("target")
