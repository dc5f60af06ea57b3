"""Peaks to labels of tiled bins, and labels to packed bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfdstore.schema import n_bytes


def label_bins(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    *,
    n_bins: int,
    bin_size: int,
    min_overlap: int,
) -> NDArray[np.bool_]:
    """Label the tiled bins of a chromosome that a single peak overlaps by at least `min_overlap` bp.

    Bin b is [b * B, (b + 1) * B). Its overlap with a peak [s, e) is the least of e - s, B, e - b * B and
    (b + 1) * B - s, so the bins that reach the minimum are a run without holes; only its two ends are computed.

    Parameters
    ----------
    starts, ends
        Peaks of one experiment on one chromosome, 0-based half-open bp, any order, shape ``(peak,)``.
    n_bins, bin_size
        Of the tiling; size in bp.
    min_overlap
        In bp, from 1 to `bin_size`.

    Returns
    -------
    Shape ``(bin,)``.

    Raises
    ------
    ValueError
        If `min_overlap` cannot be reached by any bin.
    """
    if not 1 <= min_overlap <= bin_size:
        raise ValueError(f"min_overlap {min_overlap} is not within 1 to the bin size, {bin_size}")
    wide = ends - starts >= min_overlap
    first = -(-(starts[wide] + min_overlap) // bin_size) - 1
    last = (ends[wide] - min_overlap) // bin_size
    first = np.clip(first, 0, n_bins)
    last = np.clip(last, -1, n_bins - 1)
    reaches = first <= last
    steps = np.bincount(first[reaches], minlength=n_bins + 1)
    steps -= np.bincount(last[reaches] + 1, minlength=n_bins + 1)
    return np.asarray(np.cumsum(steps[:n_bins]) > 0)


def pack_labels(labels: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack labels, 8 experiments a byte, the first in the high bit, spare bits 0.

    Parameters
    ----------
    labels
        Shape ``(window, experiment)``.

    Returns
    -------
    Shape ``(window, label_byte)``.
    """
    return np.packbits(labels, axis=-1)


def unpack_labels(bits: NDArray[np.uint8], n: int) -> NDArray[np.bool_]:
    """Undo `pack_labels` (or its transpose): the first `n` bits of the last axis as booleans."""
    return np.unpackbits(bits, axis=-1, count=n).view(np.bool_)


def set_experiment(packed: NDArray[np.uint8], experiment: int, labels: NDArray[np.bool_]) -> None:
    """Write one experiment's labels into packed rows, in place.

    Parameters
    ----------
    packed
        Shape ``(bin, label_byte)``; the experiment's bits are 0 before.
    experiment
        Its index.
    labels
        Shape ``(bin,)``.
    """
    packed[labels, experiment // 8] |= np.uint8(0x80 >> (experiment % 8))


def count_positive(bits: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Count the experiments that label each row.

    Parameters
    ----------
    bits
        Packed labels, shape ``(window, label_byte)``.

    Returns
    -------
    Shape ``(window,)``.
    """
    return np.asarray(np.bitwise_count(bits).sum(axis=1, dtype=np.int32))


def transpose_bits(
    bits: NDArray[np.uint8], n_experiments: int, rows_per_block: int = 65_536
) -> NDArray[np.uint8]:
    """Turn window-major packed labels into experiment-major ones.

    Parameters
    ----------
    bits
        Shape ``(window, label_byte)``.
    n_experiments
        How many bits of a row count.
    rows_per_block
        Windows unpacked at a time, a multiple of 8; bounds the memory taken.

    Returns
    -------
    Shape ``(experiment, window_byte)``: 8 windows a byte, the first in the high bit.
    """
    n_windows = len(bits)
    turned = np.zeros((n_experiments, n_bytes(n_windows)), np.uint8)
    for begin in range(0, n_windows, rows_per_block):
        block = np.unpackbits(bits[begin : begin + rows_per_block], axis=1, count=n_experiments)
        packed = np.packbits(np.ascontiguousarray(block.T), axis=1)
        turned[:, begin // 8 : begin // 8 + packed.shape[1]] = packed
    return turned
