"""Bins, blank bins, blacklists and splits against loops over bases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfdstore.schema import SPLITS
from mfdstore.windows import (
    WindowTable,
    bins_touching,
    split_by_blocks,
    split_by_chrom,
    tile,
)
from tests.oracles import naive_bases_read, naive_bins_touching
from tests.strategies import Tiling, tilings, window_tables


@given(st.integers(0, 2000), st.integers(2, 300))
def test_tile__covers_the_chromosome_but_for_an_incomplete_bin(size: int, bin_size: int) -> None:
    starts = tile(size, bin_size)
    assert starts.tolist() == [start for start in range(0, size, bin_size) if start + bin_size <= size]
    assert starts.dtype == np.int32


@settings(max_examples=200)
@given(tilings())
def test_bins_touching__agrees_with_the_definition(tiling: Tiling) -> None:
    found = bins_touching(tiling.n_bins, tiling.bin_size, tiling.starts, tiling.ends)
    expected = naive_bins_touching(tiling.peaks, n_bins=tiling.n_bins, bin_size=tiling.bin_size)
    np.testing.assert_array_equal(found, expected)


def test_split_by_chrom__prefers_what_is_held_out() -> None:
    assert [split_by_chrom(chrom, ["chr8"], ["chr9"]) for chrom in ("chr8", "chr9", "chr1")] == [
        "valid",
        "test",
        "train",
    ]


fractions = st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10)).filter(any)


@given(window_tables(), fractions, st.sampled_from([0, 1, 127, 128, 129, 1152, 5000]))
def test_split_by_blocks__keeps_the_gap_and_the_order(
    windows: WindowTable, parts: tuple[int, int, int], gap: int
) -> None:
    shares = (parts[0] / sum(parts), parts[1] / sum(parts), parts[2] / sum(parts))
    split = split_by_blocks(windows.start, bin_size=128, fractions=shares, gap=gap)
    named = [SPLITS[code] for code in split]
    held = [(name, start) for name, start in zip(named, windows.start.tolist(), strict=True) if name != "gap"]
    order = [SPLITS.index(name) for name, _ in held]
    assert order == sorted(order)
    for (first, start), (second, following) in itertools.pairwise(held):
        if first != second:
            assert following - (start + 128) >= gap
    for code, share in enumerate(shares):
        at_most = share * len(windows) + 1
        assert named.count(SPLITS[code]) <= at_most
        if gap == 0:
            assert named.count(SPLITS[code]) >= share * len(windows) - 1
    if gap == 0:
        assert "gap" not in named


@given(window_tables(max_bins=120), st.integers(0, 3))
def test_split_by_blocks__a_gap_as_wide_as_a_window_parts_all_bases(
    windows: WindowTable, max_shift: int
) -> None:
    split = split_by_blocks(windows.start, bin_size=128, fractions=(0.6, 0.2, 0.2), gap=1152)
    read: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for start, code in zip(windows.start.tolist(), split.tolist(), strict=True):
        if code != SPLITS.index("gap"):
            read[code] |= naive_bases_read(start, 128, 1152, max_shift)
    assert not read[0] & read[1]
    assert not read[0] & read[2]
    assert not read[1] & read[2]


def test_split_by_blocks__without_windows() -> None:
    assert split_by_blocks(np.empty(0, np.int32), bin_size=128, fractions=(0.8, 0.1, 0.1), gap=1152).size == 0


@given(window_tables(), st.integers(1, 3000))
def test_first_position__centres_the_window_on_the_bin(windows: WindowTable, n_positions: int) -> None:
    first = windows.first_position(n_positions)
    assert first.dtype == np.int64
    for begin, start in zip(first.tolist(), windows.start.tolist(), strict=True):
        centre = start + 64
        assert begin <= centre
        assert centre - begin == n_positions // 2
    assert (windows.end - windows.start == 128).all()


@pytest.mark.parametrize("split", SPLITS)
def test_rows__lists_the_windows_of_a_split(split: str) -> None:
    codes = np.array([0, 1, 2, 3, 2, 1, 0, 0], np.int8)
    windows = WindowTable(("a",), np.zeros(8, np.int16), np.arange(8, dtype=np.int32) * 128, codes, 128)
    expected = [row for row, code in enumerate(codes) if SPLITS[code] == split]
    assert windows.rows(split).tolist() == expected  # type: ignore[arg-type]
