"""Bitmaps against two loops and against pyranges; runs and rows against the bits themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from mfdstore.bitmaps import (
    add_runs,
    find_runs,
    new_bitmap,
    raster_peaks,
    set_runs_in_lines,
    set_runs_in_rows,
)
from tests.oracles import naive_label_bins
from tests.strategies import Tiling, tilings


def _raster(
    starts: ArrayLike, ends: ArrayLike, n_bins: int, bin_size: int, min_overlap: int, at: int = 0
) -> np.ndarray:
    bitmap = new_bitmap(at + n_bins)
    raster_peaks(
        np.asarray(starts, np.int64),
        np.asarray(ends, np.int64),
        bitmap,
        first_bin=at,
        n_bins=n_bins,
        bin_size=bin_size,
        min_overlap=min_overlap,
    )
    bits = np.unpackbits(bitmap).astype(np.bool_)
    assert not bits[:at].any()
    assert not bits[at + n_bins :].any()
    return bits[at : at + n_bins]


def _label(tiling: Tiling, at: int = 0) -> np.ndarray:
    return _raster(tiling.starts, tiling.ends, tiling.n_bins, tiling.bin_size, tiling.min_overlap, at)


@settings(max_examples=300, deadline=None)
@given(tilings(), st.integers(0, 200))
def test_raster_peaks__agrees_with_the_definition(tiling: Tiling, at: int) -> None:
    expected = naive_label_bins(
        tiling.peaks, n_bins=tiling.n_bins, bin_size=tiling.bin_size, min_overlap=tiling.min_overlap
    )
    np.testing.assert_array_equal(_label(tiling, at), expected)


@settings(max_examples=40, deadline=None)
@given(tilings())
def test_raster_peaks__agrees_with_pyranges(tiling: Tiling) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyranges 0.1 calls functions that pandas has deprecated
        import pyranges

        expected = np.zeros(tiling.n_bins, np.bool_)
        if tiling.n_bins and tiling.peaks:
            edges = np.arange(tiling.n_bins) * tiling.bin_size
            bins = pd.DataFrame({"Chromosome": "c", "Start": edges, "End": edges + tiling.bin_size})
            peaks = pd.DataFrame({"Chromosome": "c", "Start": tiling.starts, "End": tiling.ends})
            joined = pyranges.PyRanges(bins).join(pyranges.PyRanges(peaks), report_overlap=True).df
            if len(joined):
                good = joined[joined["Overlap"] >= tiling.min_overlap]
                expected[good["Start"].to_numpy() // tiling.bin_size] = True
    np.testing.assert_array_equal(_label(tiling), expected)


def test_raster_peaks__two_peaks_do_not_add_up() -> None:
    labels = _raster([0, 40], [40, 63], n_bins=2, bin_size=128, min_overlap=64)
    assert labels.tolist() == [False, False]
    together = _raster([0], [64], n_bins=2, bin_size=128, min_overlap=64)
    assert together.tolist() == [True, False]


@pytest.mark.parametrize("min_overlap", [0, -1, 129])
def test_raster_peaks__refuses_an_overlap_that_means_nothing(min_overlap: int) -> None:
    with pytest.raises(ValueError, match=f"min_overlap {min_overlap} "):
        _raster([0], [1], n_bins=1, bin_size=128, min_overlap=min_overlap)


def test_raster_peaks__refuses_bins_beyond_the_bitmap() -> None:
    with pytest.raises(ValueError, match="not in 64 bits"):
        raster_peaks(
            np.array([0]), np.array([1]), new_bitmap(60), first_bin=60, n_bins=5, bin_size=8, min_overlap=1
        )


def bit_rows() -> st.SearchStrategy[np.ndarray]:
    """Bits of whole words, with long stretches of either kind."""
    lengths = st.lists(st.integers(1, 150), min_size=1, max_size=20)
    return lengths.map(
        lambda parts: np.resize(np.repeat(np.arange(len(parts)) % 2 == 1, parts), -(-sum(parts) // 64) * 64)
    )


@settings(deadline=None)
@given(bit_rows())
def test_find_runs__gives_the_longest_stretches(bits: np.ndarray) -> None:
    first, stop = find_runs(np.packbits(bits))
    back = np.zeros(len(bits), np.bool_)
    for begin, end in zip(first, stop, strict=True):
        assert begin < end
        back[begin:end] = True
    np.testing.assert_array_equal(back, bits)
    assert (first[1:] > stop[:-1]).all()  # neither overlap nor touch


@settings(deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=150, max_size=150), min_size=1, max_size=8),
    st.integers(0, 150),
    st.integers(0, 150),
    st.integers(0, 2**32),
)
def test_runs_of_a_piece__are_counted_and_set_in_rows_and_lines(
    drawn: list[list[bool]], one: int, other: int, seed: int
) -> None:
    bits = np.array(drawn)
    begin, end = min(one, other), max(one, other)
    parts = [np.stack(find_runs(np.packbits(np.pad(line, (0, 42))))) for line in bits]
    runs, counts = np.concatenate(parts, axis=1), np.array([part.shape[1] for part in parts])
    steps = np.zeros(end - begin + 1, np.int32)
    add_runs(runs, counts, begin, end, steps)
    np.testing.assert_array_equal(np.cumsum(steps[:-1]), bits[:, begin:end].sum(axis=0))

    keep = np.random.default_rng(seed).random(150) < 0.5
    ranks = np.concatenate([[0], np.cumsum(keep[begin:end])]).astype(np.int32)
    rows = np.zeros((ranks[-1], 3), np.uint8)
    set_runs_in_rows(runs, counts, begin, ranks, rows, 1)
    expected = np.packbits(bits[:, begin:end][:, keep[begin:end]].T, axis=1)
    np.testing.assert_array_equal(rows[:, 1], expected[:, 0])
    assert not rows[:, [0, 2]].any()

    rank = np.concatenate([[0], np.cumsum(keep)]).astype(np.int32)
    lines = np.zeros((len(bits), -(-rank[-1] // 8)), np.uint8)
    set_runs_in_lines(runs, counts, rank, lines)
    np.testing.assert_array_equal(lines, np.packbits(bits[:, keep], axis=1))
