"""What a cell shows: the counts that a user wants, nothing read for it, no word of the metadata let loose."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from mfdstore.build.run import build_store
from mfdstore.metadata import Factor, FactorTable
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.mfdstore.query.conftest import Wide
from tests.mfdstore.test_display import _Reader
from tests.worlds import World, settings

HOSTILE = "<img src=x onerror=f()>\u202e"


def _open(little: Little, **options: Any) -> xr.Dataset:
    return xr.open_dataset(little.path, engine="mfdstore", **options)


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.split("\n")]


@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_mfd__shows_windows_factors_and_how_to_ask(wide: Wide, chunks: Any) -> None:
    dataset = wide.open(chunks=chunks)
    text = repr(dataset.mfd)
    lines = _lines(text)
    counts = {
        chrom: [
            f"{int(((dataset.chrom == chrom) & (dataset.split == split)).sum()):,}"
            for split in ("train", "valid", "test")
        ]
        for chrom in ("chr1", "chr8", "chr9")
    }
    assert text.startswith(
        f"mfd: genome little, {dataset.sizes['window']:,} windows, 11 experiments, bins of 128 bp"
    )
    assert ["chromosome", "train", "valid", "test"] in lines  # no window is in the gap
    for chrom, numbers in counts.items():
        assert [chrom, *numbers] in lines
    assert ["all", counts["chr1"][0], counts["chr8"][1], counts["chr9"][2]] in lines
    target = ["target", "biological", "category", "10", "1", "5"]
    assert [
        *target,
        *["CTCF", "(3),", "Accessible", "DNA", "(2),", "H3K27ac", "(2),", "MAX", "(2)", "..."],
    ] in lines
    assert next(line[:6] for line in lines if line[:1] == ["organ"]) == [
        *("organ", "biological", "multi_category", "7", "4", "4")
    ]
    assert ["date_released", "technical", "date", "10", "1", "3", "2011-10-29", "to", "2020-02-29"] in lines
    assert "known as well: " in text
    for name in (
        "region",
        "overlapping",
        "split",
        "experiments",
        "positives",
        "count_experiments",
        "jaccard",
    ):
        assert f"ds.mfd.{name}(" in text
    page = _Reader(dataset.mfd._repr_html_()).text
    for word in ("genome little", "chr8", "CTCF (3), ", "2011-10-29 to 2020-02-29", "ds.mfd.positives("):
        assert word in page


def test_mfd__reads_no_labels_to_show_itself(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _open(little)

    def fail(self: Store, name: str, selection: Any = slice(None)) -> Any:
        raise AssertionError(name)

    monkeypatch.setattr(Store, "read", fail)
    assert "11 experiments" in repr(dataset.mfd) + dataset.mfd._repr_html_()
    assert "11" in repr(Store(little.path)) + Store(little.path)._repr_html_()


def test_mfd__shows_whatever_is_left_of_a_dataset(little: Little) -> None:
    dataset = _open(little)
    for left in (
        xr.Dataset(),
        dataset.isel(window=slice(0)),
        dataset.isel(window=3, experiment=2),
        dataset.drop_vars(["chrom", "target"]),
        dataset.drop_dims("experiment"),
        dataset.isel(experiment=slice(0)),
        dataset.sum("window"),
        xr.open_zarr(little.path),
        dataset.assign_coords(
            rank=("experiment", np.arange(11)),
            good=("experiment", np.arange(11) > 3),
            note=("experiment", [HOSTILE] * 11),
            target=("experiment", np.full(11, np.nan)),
        ),
    ):
        assert repr(left.mfd).startswith("mfd: genome ")
        assert _Reader(left.mfd._repr_html_()).text.startswith("mfd: genome ")


def test_mfd__of_many_chromosomes_shows_some(little: Little) -> None:
    dataset = _open(little).assign_coords(chrom=("window", [f"c{index}" for index in range(48)]))
    lines = _lines(repr(dataset.mfd))
    assert ["and", "18", "more"] in lines
    assert ["c29", "1", "0", "0"] in lines


def test_mfd__lets_no_word_of_the_metadata_loose(tmp_path: Path) -> None:
    sources = World().write(tmp_path)
    with sources.metadata.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        row["Biosample term name"] = HOSTILE
    columns = [*rows[0], HOSTILE]
    lines = ["\t".join(columns), *("\t".join([*row.values(), HOSTILE]) for row in rows)]
    sources.metadata.write_text("".join(f"{line}\n" for line in lines))
    report = build_store(sources, tmp_path / "x.zarr", settings())
    dataset = xr.open_dataset(report.path, engine="mfdstore")
    shown = "<img src=x onerror=f()>\\u202e"
    for owner in (dataset.mfd, Store(report.path).factors):
        assert shown in repr(owner)
        assert "\u202e" not in repr(owner)
        assert shown in _Reader(owner._repr_html_()).text
        assert "<img" not in owner._repr_html_()


def test_store__says_what_it_holds(little: Little) -> None:
    store = Store(little.path)
    for text in (repr(store), _Reader(store._repr_html_()).text):
        for word in (
            "little.zarr",
            "chr1, chr8, chr9",
            f"{store.n_windows}, with bins of 128 bp",
            store.digest,
        ):
            assert word in text
        assert "target, " in text


def test_factors__say_what_they_hold() -> None:
    values = np.empty(3, object)
    values[:] = [("liver", "lung"), None, ("lung",)]
    organ = Factor("organ", "multi_category", "biological", values)
    assert repr(organ) == (
        "Factor organ: biological, multi_category; known of 2 experiments, missing in 1; "
        "2 values: lung (2), liver (1)"
    )
    age = Factor("age", "number", None, np.array([15.0, np.nan, 0.5]), "years")
    assert repr(age) == (
        "Factor age: without role, number; known of 2 experiments, missing in 1; 2 values: 0.5 to 15 years"
    )
    none = Factor("day", "date", "technical", np.full(3, "NaT", "datetime64[D]"))
    assert repr(none).endswith("known of 0 experiments, missing in 3; 0 values: ")
    table = FactorTable(("A", "B", "C"), (organ, age, none))
    assert " ".join(_lines(repr(table))[2]) == "organ biological multi_category 2 1 2 lung (2), liver (1)"
    assert "0.5 to 15 years" in table._repr_html_()
