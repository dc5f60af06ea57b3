"""Labels as packed bits: by window for training, by experiment for questions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfdstore.schema import n_bytes


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
