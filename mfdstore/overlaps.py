"""The one module that knows pyranges: labels of bins by a join, and the table in a PyRanges object.

The join is the second way to labels, that `verify` holds a store against; it shares nothing with
`bitmaps.raster_peaks`, which the build uses.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def label_bins_by_join(
    chrom: str,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    *,
    n_bins: int,
    bin_size: int,
    min_overlap: int,
) -> NDArray[np.bool_]:
    """Label the tiled bins of one chromosome that a single peak overlaps by enough.

    Parameters
    ----------
    chrom
        Its name.
    starts, ends
        Of the peaks, 0-based half-open bp, shape ``(interval,)``.
    n_bins
        Bins on the chromosome, tiled from its first base.
    bin_size, min_overlap
        In bp.

    Returns
    -------
    Shape ``(bin,)``.
    """
    labelled = np.zeros(n_bins, np.bool_)
    # only bins that a peak touches need to be laid out for the join
    touched = _touched(starts // bin_size, (ends - 1) // bin_size)
    touched = touched[touched < n_bins]
    if len(touched):
        overlap = _join(chrom, starts, ends, touched * bin_size, bin_size)
        good = overlap["Overlap"].to_numpy() >= min_overlap
        labelled[overlap["Start_b"].to_numpy()[good] // bin_size] = True
    return labelled


def table_of(intervals: object) -> object:
    """Give the table (columns Chromosome, Start, End) in a PyRanges object; anything else as it is.

    The object is known by the module of its class, so that pyranges is not imported to tell what is none.
    """
    if type(intervals).__module__.split(".")[0] != "pyranges" or isinstance(intervals, pd.DataFrame):
        return intervals
    with _quiet_pyranges():
        return getattr(intervals, "df", intervals)


def _touched(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """List the bins from first to last of each pair, each bin once, ascending."""
    lengths = last - first + 1
    offsets = np.repeat(first - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.unique(np.arange(lengths.sum()) + offsets)


def _join(
    chrom: str, starts: NDArray[np.int64], ends: NDArray[np.int64], bins: NDArray[np.int64], bin_size: int
) -> pd.DataFrame:
    """Join peaks with bins by pyranges; a row for each pair that overlaps, with columns Start_b and Overlap."""
    with _quiet_pyranges():
        import pyranges

        left = pyranges.PyRanges(pd.DataFrame({"Chromosome": chrom, "Start": starts, "End": ends}))
        right = pyranges.PyRanges(pd.DataFrame({"Chromosome": chrom, "Start": bins, "End": bins + bin_size}))
        # told not to add a strand, or it would tell the user that it has none to add
        joined: pd.DataFrame = left.join(right, report_overlap=True, apply_strand_suffix=False).df
    return joined


@contextmanager
def _quiet_pyranges() -> Iterator[None]:
    """Keep pyranges 0.1's calls of deprecated pandas functions out of the user's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
