"""Peaks to bits of tiled bins, and bits to runs and rows; the inner loops of a build, compiled by numba.

A bitmap has one bit a bin of the whole genome, the first bin in the high bit. It is sparse, so what is kept
of it are its runs: stretches [first, stop) of labelled bins. No loop holds the GIL.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfdstore.compiled import compiled


def new_bitmap(n_bins: int) -> NDArray[np.uint8]:
    """Make an empty bitmap, shape ``(byte,)``: as long as whole words of 64 bins."""
    return np.zeros(-(-n_bins // 64) * 8, np.uint8)


def raster_peaks(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    bitmap: NDArray[np.uint8],
    *,
    first_bin: int,
    n_bins: int,
    bin_size: int,
    min_overlap: int,
) -> None:
    """Set the bits of the bins that a single peak overlaps by at least `min_overlap` bp.

    Bin b of the chromosome is [b * B, (b + 1) * B). Its overlap with a peak [s, e) is the least of e - s, B,
    e - b * B and (b + 1) * B - s, so the bins that reach the minimum are a run without holes.

    Parameters
    ----------
    starts, ends
        Peaks of one experiment on one chromosome, 0-based half-open bp, any order, shape ``(peak,)``.
    bitmap
        Changed in place, shape ``(byte,)``.
    first_bin
        Bit of the chromosome's first bin.
    n_bins, bin_size
        Of the chromosome's tiling; size in bp.
    min_overlap
        In bp, from 1 to `bin_size`.

    Raises
    ------
    ValueError
        If `min_overlap` cannot be reached by any bin, or the bitmap is too short.
    """
    if not 1 <= min_overlap <= bin_size:
        raise ValueError(f"min_overlap {min_overlap} is not within 1 to the bin size, {bin_size}")
    if first_bin < 0 or first_bin + n_bins > 8 * len(bitmap):
        raise ValueError(f"bins {first_bin} to {first_bin + n_bins} are not in {8 * len(bitmap)} bits")
    _raster(starts, ends, bitmap, first_bin, n_bins, bin_size, min_overlap)


@compiled
def _raster(  # pragma: no cover - compiled
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    bitmap: NDArray[np.uint8],
    first_bin: int,
    n_bins: int,
    bin_size: int,
    min_overlap: int,
) -> None:
    for peak in range(len(starts)):
        start, end = starts[peak], ends[peak]
        if end - start < min_overlap:
            continue
        first = max((start + min_overlap + bin_size - 1) // bin_size - 1, 0)
        last = min((end - min_overlap) // bin_size, n_bins - 1)
        for bit in range(first_bin + first, first_bin + last + 1):
            bitmap[bit >> 3] |= np.uint8(0x80 >> (bit & 7))


def find_runs(bitmap: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Find the runs of set bits.

    Returns
    -------
    First bit of each run and first bit behind it, ascending, shape ``(run,)`` each.
    """
    words = bitmap.view(np.uint64)
    # a run that begins is a set bit behind one that is not: there are no more runs than set bits
    runs = np.empty((2, int(np.bitwise_count(words).sum())), np.int32)
    n_runs = _write_runs(words, bitmap, runs)
    return runs[0, :n_runs].copy(), runs[1, :n_runs].copy()


@compiled
def _write_runs(  # pragma: no cover - compiled
    words: NDArray[np.uint64], bitmap: NDArray[np.uint8], runs: NDArray[np.int32]
) -> int:
    """Write the runs, and count them; words and bytes all of one kind are gone through in one step."""
    n_runs = 0
    inside = False
    for index in range(len(words)):
        if words[index] == 0 and not inside:
            continue
        for byte in range(8 * index, 8 * index + 8):
            held = bitmap[byte]
            if held == (0xFF if inside else 0):
                continue
            for bit in range(8):
                if ((held >> (7 - bit)) & 1) != inside:
                    inside = not inside
                    if inside:
                        runs[0, n_runs] = 8 * byte + bit
                    else:
                        runs[1, n_runs] = 8 * byte + bit
                        n_runs += 1
    if inside:
        runs[1, n_runs] = 64 * len(words)
        n_runs += 1
    return n_runs


@compiled
def add_runs(  # pragma: no cover - compiled
    runs: NDArray[np.int32], counts: NDArray[np.int64], begin: int, end: int, steps: NDArray[np.int32]
) -> None:
    """Add the runs of several experiments to what is counted of the bins [begin, end).

    Parameters
    ----------
    runs
        First bin of each run and the bin behind it, those of one experiment behind those of another, ascending
        within each, shape ``(2, run)``.
    counts
        Runs of each experiment, shape ``(experiment,)``.
    begin, end
        Bins that are counted.
    steps
        Changed in place: by how much each bin's count differs from that of the bin before, shape ``(bin + 1,)``.
    """
    behind = 0
    for experiment in range(len(counts)):
        run = _first_beyond(runs, behind, behind + counts[experiment], begin)
        behind += counts[experiment]
        while run < behind and runs[0, run] < end:
            steps[max(runs[0, run], begin) - begin] += 1
            steps[min(runs[1, run], end) - begin] -= 1
            run += 1


@compiled
def set_runs_in_rows(  # pragma: no cover - compiled
    runs: NDArray[np.int32],
    counts: NDArray[np.int64],
    begin: int,
    ranks: NDArray[np.int32],
    rows: NDArray[np.uint8],
    byte: int,
) -> None:
    """Set the bits of up to eight experiments in the rows of the bins that their runs cover.

    Parameters
    ----------
    runs, counts
        As for `add_runs`; at most eight experiments, that of the high bit first.
    begin
        The bin of the first rank.
    ranks
        Row of each bin, or of the next that has one, and of the bin behind the last, shape ``(bin + 1,)``.
    rows
        Packed labels, changed in place, shape ``(window, label_byte)``.
    byte
        Which byte of each row.
    """
    end = begin + len(ranks) - 1
    behind = 0
    for experiment in range(len(counts)):
        mask = np.uint8(0x80 >> experiment)
        run = _first_beyond(runs, behind, behind + counts[experiment], begin)
        behind += counts[experiment]
        while run < behind and runs[0, run] < end:
            low = ranks[max(runs[0, run], begin) - begin]
            high = ranks[min(runs[1, run], end) - begin]
            for row in range(low, high):
                rows[row, byte] |= mask
            run += 1


@compiled
def _first_beyond(  # pragma: no cover - compiled
    runs: NDArray[np.int32], low: int, high: int, begin: int
) -> int:
    """Find the first of some ascending runs that ends behind a bin."""
    while low < high:
        middle = (low + high) // 2
        if runs[1, middle] <= begin:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def set_runs_in_lines(  # pragma: no cover - compiled
    runs: NDArray[np.int32], counts: NDArray[np.int64], rank: NDArray[np.int32], lines: NDArray[np.uint8]
) -> None:
    """Set the bits of the windows that the runs of each experiment cover, the first window in the high bit.

    Parameters
    ----------
    runs, counts
        As for `add_runs`.
    rank
        How many bins before each are kept, shape ``(bin + 1,)``.
    lines
        Packed labels, changed in place, shape ``(experiment, window_byte)``.
    """
    run = 0
    for experiment in range(len(counts)):
        for _ in range(counts[experiment]):
            for bit in range(rank[runs[0, run]], rank[runs[1, run]]):
                lines[experiment, bit >> 3] |= np.uint8(0x80 >> (bit & 7))
            run += 1


@compiled
def turn_rows(  # pragma: no cover - compiled
    rows: NDArray[np.uint8], lines: NDArray[np.uint8]
) -> None:
    """Turn labels by window into labels by experiment, eight windows and eight experiments at a time.

    Parameters
    ----------
    rows
        Packed labels, shape ``(window, label_byte)``.
    lines
        Zeros that are filled, shape ``(experiment, window_byte)``; may have fewer experiments than `rows` has bits.
    """
    n_windows, n_lines = len(rows), len(lines)
    for group in range(lines.shape[1]):
        for byte in range(rows.shape[1]):
            word = np.uint64(0)
            for window in range(8 * group, min(8 * group + 8, n_windows)):
                word |= np.uint64(rows[window, byte]) << np.uint64(56 - 8 * (window & 7))
            if word == 0:
                continue
            # a square of 8 x 8 bits over its diagonal: blocks of 1, then of 2, then of 4
            swap = (word ^ (word >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
            word ^= swap ^ (swap << np.uint64(7))
            swap = (word ^ (word >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
            word ^= swap ^ (swap << np.uint64(14))
            swap = (word ^ (word >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
            word ^= swap ^ (swap << np.uint64(28))
            for bit in range(min(8, n_lines - 8 * byte)):
                lines[8 * byte + bit, group] = np.uint8((word >> np.uint64(56 - 8 * bit)) & np.uint64(0xFF))
