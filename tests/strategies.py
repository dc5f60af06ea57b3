"""What hypothesis draws: sequences, intervals, bins, packed labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mfdstore.windows import WindowTable

IUPAC = "ACGTacgtNnRYSWKMBDHVryswkmbdhv-."


def sequences(max_size: int = 60, min_size: int = 0) -> st.SearchStrategy[str]:
    """Letters of a sequence, mostly bases, of either case, with IUPAC letters among them."""
    letters = st.sampled_from("ACGT") | st.sampled_from("acgt") | st.sampled_from(IUPAC)
    return st.text(letters, min_size=min_size, max_size=max_size)


def intervals(limit: int, max_width: int = 400) -> st.SearchStrategy[tuple[int, int]]:
    """An interval [start, end) of at least one base within [0, limit)."""
    return st.integers(0, limit - 1).flatmap(
        lambda start: st.tuples(st.just(start), st.integers(start + 1, min(limit, start + max_width)))
    )


@dataclass(frozen=True)
class Tiling:
    """Tiled bins and peaks over them."""

    n_bins: int
    bin_size: int
    min_overlap: int
    peaks: list[tuple[int, int]]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Starts of the peaks, shape ``(peak,)``."""
        return np.array([start for start, _ in self.peaks], np.int64)

    @property
    def ends(self) -> NDArray[np.int64]:
        """Ends of the peaks, shape ``(peak,)``."""
        return np.array([end for _, end in self.peaks], np.int64)


@st.composite
def tilings(draw: st.DrawFn, max_peaks: int = 8) -> Tiling:
    """Draw a tiling, an overlap to reach, and peaks that often end near the edges of bins."""
    bin_size = draw(st.integers(2, 16))
    n_bins = draw(st.integers(0, 10))
    rest = draw(st.integers(0, bin_size - 1))  # the chromosome's end that fills no bin
    limit = n_bins * bin_size + rest
    peaks = draw(st.lists(intervals(limit, 3 * bin_size), max_size=max_peaks)) if limit else []
    return Tiling(n_bins, bin_size, draw(st.integers(1, bin_size)), peaks)


@st.composite
def window_tables(draw: st.DrawFn, bin_size: int = 128, max_bins: int = 300) -> WindowTable:
    """Draw the windows of one chromosome: some of its tiled bins, ascending, all of them train."""
    kept = draw(st.sets(st.integers(0, max_bins - 1), min_size=1, max_size=60))
    start = np.array(sorted(kept), np.int32) * np.int32(bin_size)
    n = len(start)
    return WindowTable(("chr1",), np.zeros(n, np.int16), start, np.zeros(n, np.int8), bin_size)


def label_matrices(max_windows: int = 40, max_experiments: int = 20) -> st.SearchStrategy[NDArray[np.bool_]]:
    """Labels (window, experiment); numbers of both that are no multiples of eight among them."""
    return hnp.arrays(
        np.bool_,
        st.tuples(st.integers(0, max_windows), st.integers(1, max_experiments)),
        elements=st.booleans(),
    )
