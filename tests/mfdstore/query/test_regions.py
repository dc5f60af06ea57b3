"""Windows by where they are, judged by pyranges."""

from __future__ import annotations

import gzip
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.errors import ConfigError, SourceError
from tests.mfdstore.conftest import Little
from tests.strategies import intervals
from tests.worlds import SIZES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyranges

SPELT = {"chr1": ["chr1", "1", "CHR1"], "chr8": ["8", "Chr8"], "chr9": ["chr9"], "chrUn_1": ["chrUn_1"]}
ELSEWHERE = ["chr7", "NC_000001.11"]
Row = tuple[str, str, int, int]
"""Of an interval: the store's name of the chromosome, that of the file, start and end."""


def _open(little: Little, **options: Any) -> xr.Dataset:
    return xr.open_dataset(little.path, engine="mfdstore", **options)


def _rows() -> st.SearchStrategy[list[Row]]:
    """Intervals on chromosomes of the store under any of their names, and some elsewhere."""
    here = st.sampled_from(list(SPELT)).flatmap(
        lambda chrom: st.tuples(st.just(chrom), st.sampled_from(SPELT[chrom]), intervals(SIZES[chrom]))
    )
    there = st.sampled_from(ELSEWHERE).flatmap(
        lambda chrom: st.tuples(st.just(chrom), st.just(chrom), intervals(10**6))
    )
    rows = st.tuples(st.lists(here, min_size=1, max_size=12), st.lists(there, max_size=2))
    return rows.flatmap(lambda both: st.permutations([*both[0], *both[1]])).map(
        lambda drawn: [(chrom, name, start, end) for chrom, name, (start, end) in drawn]
    )


def _table(rows: list[Row], names: tuple[str, str, str] = ("Chromosome", "Start", "End")) -> pd.DataFrame:
    return pd.DataFrame([row[1:] for row in rows], columns=list(names))


def _pyranges(rows: list[Row]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pyranges.PyRanges(_table(rows))


def _bed(rows: list[Row], path: Path) -> Path:
    text = "".join(f"{name}\t{start}\t{end}\tx\n" for _, name, start, end in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


FORMS: dict[str, Callable[[list[Row], Path], Any]] = {
    "bed": lambda rows, folder: _bed(rows, folder / "x.bed"),
    "path as text": lambda rows, folder: str(_bed(rows, folder / "x.bed")),
    "gz": lambda rows, folder: _bed(rows, folder / "x.bed.gz"),
    "pyranges": lambda rows, folder: _pyranges(rows),
    "table of pyranges": lambda rows, folder: _table(rows),
    "table of bed": lambda rows, folder: _table(rows, ("chrom", "start", "end")).astype(
        {"chrom": "category"}
    ),
    "polars": lambda rows, folder: pl.DataFrame(_table(rows, ("chrom", "start", "end")).to_dict("list")),
}


def _judge(dataset: xr.Dataset, rows: list[Row]) -> list[int]:
    """Ask pyranges which windows overlap, by their place in the dataset."""
    bins = pd.DataFrame({"Chromosome": dataset.chrom, "Start": dataset.start, "End": dataset.end})
    table = pd.DataFrame([(chrom, *rest) for chrom, _, *rest in rows], columns=["Chromosome", "Start", "End"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pyranges.PyRanges(bins.assign(place=range(len(bins)))).overlap(pyranges.PyRanges(table)).df
    return sorted(set(found["place"].tolist())) if len(found) else []


@given(rows=_rows(), form=st.sampled_from(list(FORMS)), data=st.data())
def test_overlapping__agrees_with_pyranges(
    little: Little, tmp_path_factory: pytest.TempPathFactory, rows: list[Row], form: str, data: st.DataObject
) -> None:
    dataset = _open(little)
    dataset = dataset.isel(window=data.draw(st.permutations(range(dataset.sizes["window"]))))
    found = dataset.mfd.overlapping(FORMS[form](rows, tmp_path_factory.mktemp("bed")))
    expected = dataset.isel(window=_judge(dataset, rows))
    for name in ("chrom", "start"):
        assert found[name].values.tolist() == expected[name].values.tolist()


@given(rows=_rows())
def test_overlapping__of_a_selection_without_its_store(little: Little, rows: list[Row]) -> None:
    dataset = _open(little, chunks={}).mfd.region("chr1").drop_encoding()
    rows = [("chr1", "1", 0, 1), *rows]
    found = dataset.mfd.overlapping(_table(rows))
    assert found.start.values.tolist() == dataset.isel(window=_judge(dataset, rows)).start.values.tolist()


def test_overlapping__counts_what_lies_elsewhere(little: Little, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("chr7", "chr7", 1, 2), ("chr1", "1", 0, 9999 // 2), ("chrX", "X", 5, 6)]
    with caplog.at_level(logging.WARNING):
        found = _open(little).mfd.overlapping(_table(rows))
    assert found.sizes["window"]
    assert "intervals: 2 of 3 intervals lie on sequences that the store lacks" in caplog.text
    assert "match nothing: chr7, X" in caplog.text


@pytest.mark.parametrize("form", FORMS)
def test_overlapping__refuses_what_is_all_elsewhere(little: Little, tmp_path: Path, form: str) -> None:
    rows = [("", "NC_1", 5, 6), ("", "chr7", 1, 2)]
    with pytest.raises(
        ConfigError,
        match=r"only chromosomes NC_1, chr7; expected any of the store's: chr1, chr8, chr9, chrUn_1",
    ):
        _open(little).mfd.overlapping(FORMS[form](rows, tmp_path))


def test_overlapping__on_chromosomes_that_the_selection_lacks_is_nothing(little: Little) -> None:
    chosen = _open(little).mfd.region("chr1").mfd.overlapping(_table([("chr8", "8", 0, 1000)]))
    assert chosen.sizes["window"] == 0


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("chr1\t5\t5", r"x.bed, line 2: found start 5 and end 5"),
        ("chr1\t-5\t5", r"x.bed, line 2: found start -5 and end 5"),
        ("chr8\t1\t1793", r"line 2: found an interval to 1,793; expected at most 1,792.*file and the genome"),
        ("chr1\t1.5\t5", r"line 2: found '1.5' as start"),
        ("chr1\t15", r"line 2: found 2 column"),
        ("chr1\t1\t5\r", r"line 2: found a line that ends in CR LF"),
    ],
)
def test_overlapping__names_a_bad_line(little: Little, tmp_path: Path, line: str, found: str) -> None:
    (tmp_path / "x.bed").write_text(f"chr1\t1\t2\n{line}\n", newline="")
    with pytest.raises(SourceError, match=found):
        _open(little).mfd.overlapping(tmp_path / "x.bed")


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("1", 5, 5)], r"row 1 of 2: found 1, start 5 and end 5; expected .* <= 5,157"),
        ([("1", -1, 5)], r"row 1 of 2: found 1, start -1"),
        ([("1", 1, 5158)], r"row 1 of 2: found 1, start 1 and end 5158"),
        ([(None, 1, 5)], r"row 1 of 2: found no chromosome, start 1"),
        ([("1", 1, None)], r"column End of the intervals: found values of type float64"),
        ([("1", 1.5, 3)], r"column Start of the intervals: found values of type float64"),
        ([("1", "1", 3)], r"column Start of the intervals: found values of type object"),
        ([("1", 2**70, 2**71)], r"column Start of the intervals: found values of type object"),
    ],
)
def test_overlapping__names_a_bad_row(little: Little, rows: list[Any], found: str) -> None:
    table = pd.DataFrame([("1", 1, 2), *rows], columns=["Chromosome", "Start", "End"])
    with pytest.raises(ConfigError, match=found):
        _open(little).mfd.overlapping(table)


def test_overlapping__refuses_what_is_none_of_them(little: Little, tmp_path: Path) -> None:
    dataset = _open(little)
    for what, found in (
        (7, "a int"),
        (None, "a NoneType"),
        (pd.DataFrame({"seqid": ["1"], "start": [1]}), "a DataFrame with columns seqid, start; expected"),
        (_table([]), "intervals: found none"),
        (pyranges.PyRanges(), "intervals: found none"),
        ("peaks.bed.gz", r"'peaks.bed.gz', which is no file and no region; expected .* chr1, chr8"),
        ("chr7", "'chr7', which is no file and no region"),
        ("chr7:1-2", "region: found 'chr7'"),
        ("chr1:2-1", "'chr1:2-1', which is no file and no region"),
    ):
        with pytest.raises(ConfigError, match=found):
            dataset.mfd.overlapping(what)
    with pytest.raises(SourceError, match="no readable file"):
        dataset.mfd.overlapping(tmp_path / "peaks.bed")
    (tmp_path / "empty.bed").touch()
    with pytest.raises(SourceError, match="found no intervals"):
        dataset.mfd.overlapping(tmp_path / "empty.bed")


@pytest.mark.parametrize("text", ["chr8", "8", "8:1-900", "chr9:1,000-1,001"])
def test_overlapping__takes_a_region(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chr8").touch()  # a file of that name is read by its Path
    dataset = _open(little)
    found = dataset.mfd.overlapping(text)
    assert found.start.values.tolist() == dataset.mfd.region(text).start.values.tolist()


@pytest.mark.real
@pytest.mark.slow
def test_overlapping__of_real_peaks(real_chr22: Any, real_data: Path) -> None:
    dataset = xr.open_dataset(real_chr22.path, engine="mfdstore", chunks={})
    path = real_data / "hg38-chr22" / "peaks" / f"{dataset.experiment.values[0]}.bed.gz"
    table = pd.read_csv(path, sep="\t", header=None, usecols=[0, 1, 2])
    rows = [(chrom, chrom, start, end) for chrom, start, end in table.itertuples(index=False)]
    found = dataset.mfd.overlapping(path)
    assert found.start.values.tolist() == dataset.isel(window=_judge(dataset, rows)).start.values.tolist()
    # a window that a peak labels shares 64 bases with it, so it is among those that share any
    assert np.isin(dataset.mfd.positives(path.name[: -len(".bed.gz")]).start, found.start).all()
    assert len(dataset.mfd.overlapping("NC_000022.11").start) == dataset.sizes["window"]


@pytest.mark.parametrize("chrom", ["chr8", "8"])
def test_region__keeps_bins_that_share_a_base(little: Little, chrom: str) -> None:
    dataset = _open(little)
    starts = [start for name, start in little.expected.bins if name == "chr8"]
    assert dataset.mfd.region(chrom).start.values.tolist() == starts
    first, last = starts[1], starts[4]
    found = dataset.mfd.region(f"{chrom}:{first + 127:,}-{last + 1}")
    assert found.start.values.tolist() == starts[1:5]
    np.testing.assert_array_equal(
        found.label, dataset.label.values[dataset.start.isin(starts[1:5]) & (dataset.chrom == "chr8")]
    )
    assert dataset.mfd.region(f"{chrom}:{first + 128}-{last}").start.values.tolist() == starts[2:4]


@pytest.mark.parametrize(
    "region", ["", "chr1:5", "chr1:9-5", "chr1:5-5", "chr1:a-b", "chr1:,-_", "chr1:-5-9", "chr7", ":1-2"]
)
def test_region__refuses_what_is_none(little: Little, region: str) -> None:
    with pytest.raises(ConfigError, match="region: found"):
        _open(little).mfd.region(region)


def test_split__refuses_what_is_none(little: Little) -> None:
    with pytest.raises(ConfigError, match="split: found 'tset'"):
        _open(little).mfd.split("tset")


def test_split__keeps_its_windows(little: Little) -> None:
    for split in ("train", "valid", "test"):
        rows = little.store.windows.rows(split)
        np.testing.assert_array_equal(_open(little).mfd.split(split).label, little.expected.labels[rows])


def test_region__of_a_selection_without_windows_says_so(little: Little) -> None:
    nothing = xr.open_dataset(little.path, engine="mfdstore").isel(window=slice(0))
    with pytest.raises(ConfigError, match="the selection holds none"):
        nothing.mfd.region("chr1")


@pytest.mark.parametrize("ask", ["region", "overlapping"])
def test_region__that_begins_behind_the_end_is_refused(little: Little, ask: str) -> None:
    dataset = xr.open_dataset(little.path, engine="mfdstore")
    size = little.store.chrom_sizes[little.store.chroms.index("chr8")]
    with pytest.raises(ConfigError, match=rf"expected a start before the end of chr8, {size:,} bp"):
        getattr(dataset.mfd, ask)(f"chr8:{size}-{size + 9}")
    assert getattr(dataset.mfd, ask)(f"chr8:{size - 1}-{size + 9}").sizes["window"] <= 1


def test_query__of_what_is_no_question(little: Little) -> None:
    dataset = xr.open_dataset(little.path, engine="mfdstore")
    asked: list[tuple[str, object]] = [("region", 5), ("experiments", "target=CTCF"), ("positives", ["x"])]
    for ask, wanted in asked:
        with pytest.raises(ConfigError):
            getattr(dataset.mfd, ask)(wanted)


def test_query__of_arrays_as_they_are_stored(little: Little) -> None:
    dataset = xr.open_zarr(little.path)
    with pytest.raises(ConfigError, match="found codes, as the store keeps them"):
        dataset.mfd.region("chr8")
    assert "chromosome  " not in repr(dataset.mfd)
