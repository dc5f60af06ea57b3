"""Loops over packed labels, compiled by numba: they go from set bit to set bit, for few of the labels are set.

None holds the GIL and nothing is cached on disk, as in the loader. Groups of an experiment come as offsets and
members: experiment e is in ``members[offsets[e]:offsets[e + 1]]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Integers = NDArray[np.int64]


def _compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call, for the types it is called with."""
    return cast(Kernel, numba.njit(nogil=True)(kernel))


_PLACES: Final = np.array(
    [sorted(range(8), key=lambda place: not byte >> (7 - place) & 1) for byte in range(256)]
)
"""Places of the set bits of each byte, the high one first; behind them those of the others."""
_N_SET: Final = np.bitwise_count(np.arange(256, dtype=np.uint8)).astype(np.int64)


@_compiled
def _list_set(row: NDArray[np.uint8], found: Integers) -> int:  # pragma: no cover - compiled
    """Write the experiments that label a window to the front of `found`, and give their number."""
    n = 0
    for byte in range(row.shape[0]):
        bits = row[byte]
        if bits != 0:
            for index in range(_N_SET[bits]):
                found[n] = byte * 8 + _PLACES[bits, index]
                n += 1
    return n


@_compiled
def add_experiments(
    bits: NDArray[np.uint8], offsets: Integers, members: Integers, counts: NDArray[np.int32]
) -> None:  # pragma: no cover - compiled
    """Count, for each window, the experiments of each group that label it.

    Parameters
    ----------
    bits
        Packed labels, shape ``(window, label_byte)``.
    offsets, members
        Groups of each experiment.
    counts
        Added to, shape ``(window, group)``.
    """
    found = np.empty(8 * bits.shape[1], np.int64)
    for row in range(bits.shape[0]):
        for experiment in found[: _list_set(bits[row], found)]:
            for at in range(offsets[experiment], offsets[experiment + 1]):
                counts[row, members[at]] += 1


@_compiled
def add_windows(
    bits: NDArray[np.uint8],
    parts: Integers,
    offsets: Integers,
    members: Integers,
    windows: Integers,
    labels: Integers,
) -> None:  # pragma: no cover - compiled
    """Count, for each part of the windows and each group, the windows labelled by any of it, and all labels.

    Parameters
    ----------
    bits
        Packed labels, shape ``(window, label_byte)``.
    parts
        Which part each window belongs to, -1 for none, shape ``(window,)``.
    offsets, members
        Groups of each experiment.
    windows, labels
        Added to, shape ``(part, group)``.
    """
    found = np.empty(8 * bits.shape[1], np.int64)
    seen_in = np.full(windows.shape[1], -1, np.int64)
    for row in range(bits.shape[0]):
        if parts[row] < 0:
            continue
        my_windows, my_labels = windows[parts[row]], labels[parts[row]]
        for experiment in found[: _list_set(bits[row], found)]:
            for at in range(offsets[experiment], offsets[experiment + 1]):
                member = members[at]
                my_labels[member] += 1
                my_windows[member] += seen_in[member] != row
                seen_in[member] = row


@_compiled
def add_pairs(
    bits: NDArray[np.uint8], offsets: Integers, members: Integers, both: Integers
) -> None:  # pragma: no cover - compiled
    """Count, for each two groups, the windows that both label, on one side of the diagonal or the other.

    Parameters
    ----------
    bits
        Packed labels, shape ``(window, label_byte)``.
    offsets, members
        Groups of each experiment.
    both
        Added to, shape ``(group, group)``: each window once for every two groups, at either of their two
        places; the diagonal counts the windows of each group.
    """
    found = np.empty(8 * bits.shape[1], np.int64)
    seen_in = np.full(both.shape[0], -1, np.int64)
    here = np.empty(both.shape[0], np.int64)
    for row in range(bits.shape[0]):
        n_here = 0
        for experiment in found[: _list_set(bits[row], found)]:
            for at in range(offsets[experiment], offsets[experiment + 1]):
                member = members[at]
                if seen_in[member] != row:
                    seen_in[member] = row
                    here[n_here] = member
                    n_here += 1
        for first in range(n_here):
            for second in range(first + 1):
                both[here[first], here[second]] += 1
