"""The inner loops of the loader, compiled by numba; none holds the GIL, none allocates.

Nothing is compiled in parallel and nothing is cached on disk: numba files the serial and the parallel
version of a function under one name, does not see when a constant of another module changes, and refuses to
import where it may not write. Compiling takes some tenths of a second, once a process.

The loops run over one-dimensional slices, because only then does LLVM see that nothing wraps around or
overlaps and copies 32 bytes at a time: six times faster than ``out[i, j] = source[start + j]`` and than
``out[i] = source[a:b]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Kernel = TypeVar("Kernel", bound=Callable[..., None])


def _compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call, for the types it is called with."""
    return cast(Kernel, numba.njit(nogil=True)(kernel))


@_compiled
def gather(
    source: NDArray[np.uint8], offsets: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:  # pragma: no cover - compiled
    """Copy one stretch of `source` into each row of `out`; nothing is checked.

    Parameters
    ----------
    source
        Shape ``(byte,)``.
    offsets
        Where each stretch begins, shape ``(window,)``.
    out
        Shape ``(window, width)``; the width is the length of the stretches.
    """
    width = out.shape[1]
    for i in range(out.shape[0]):
        stretch = source[offsets[i] :]
        row = out[i]
        for j in range(width):
            row[j] = stretch[j]


@_compiled
def complement_backwards(
    codes: NDArray[np.uint8], complement: NDArray[np.uint8], out: NDArray[np.uint8]
) -> None:  # pragma: no cover - compiled
    """Write the reverse complement of `codes` to `out`; numpy's indexing would take 8 bytes a base more.

    Parameters
    ----------
    codes, out
        Shape ``(position,)``.
    complement
        Code of the reverse complement of each code, shape ``(17,)``.
    """
    last = codes.shape[0] - 1
    for i in range(codes.shape[0]):
        out[i] = complement[codes[last - i]]


@_compiled
def expand_codes(
    codes: NDArray[np.uint8], zero_one: NDArray[Any], out: NDArray[Any]
) -> None:  # pragma: no cover - compiled
    """Set the channel of each code; a code that has no channel (blank) sets none.

    Parameters
    ----------
    codes
        Shape ``(window, position)``.
    zero_one
        What stands for 0 and for 1, shape ``(2,)``.
    out
        Same dtype as `zero_one`, shape ``(window, dinucleotide, position)``.
    """
    zero, one = zero_one[0], zero_one[1]
    for i in range(codes.shape[0]):
        row = codes[i]
        for channel in range(out.shape[1]):
            track = out[i, channel]
            for j in range(row.shape[0]):
                track[j] = one if row[j] == channel else zero


@_compiled
def expand_bits(
    bits: NDArray[np.uint8], zero_one: NDArray[Any], out: NDArray[Any]
) -> None:  # pragma: no cover - compiled
    """Spread packed bits over columns, the highest bit of a byte first; what is left over is left out.

    Parameters
    ----------
    bits
        Shape ``(window, label_byte)``.
    zero_one
        What stands for 0 and for 1, shape ``(2,)``.
    out
        Same dtype as `zero_one`, shape ``(window, experiment)``.
    """
    zero, one = zero_one[0], zero_one[1]
    n_columns = out.shape[1]
    for i in range(bits.shape[0]):
        row = bits[i]
        spread = out[i]
        for j in range(n_columns):
            spread[j] = one if (row[j >> 3] >> (7 - (j & 7))) & 1 else zero
