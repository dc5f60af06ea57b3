"""Loops over packed labels, compiled by numba: they go from set bit to set bit, for few of the labels are set.

None holds the GIL and nothing is cached on disk, as in the loader. Groups of an experiment come as offsets and
members: experiment e is in ``members[offsets[e]:offsets[e + 1]]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Kernel = TypeVar("Kernel", bound=Callable[..., None])
Integers = NDArray[np.int64]


def _compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call, for the types it is called with."""
    return cast(Kernel, numba.njit(nogil=True)(kernel))


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
    for row in range(bits.shape[0]):
        for byte in range(bits.shape[1]):
            rest = bits[row, byte]
            if rest == 0:
                continue
            for place in range(8):
                if rest & (0x80 >> place):
                    experiment = byte * 8 + place
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
    seen = np.full(windows.shape[1], -1, np.int64)
    for row in range(bits.shape[0]):
        part = parts[row]
        if part < 0:
            continue
        for byte in range(bits.shape[1]):
            rest = bits[row, byte]
            if rest == 0:
                continue
            for place in range(8):
                if rest & (0x80 >> place):
                    experiment = byte * 8 + place
                    for at in range(offsets[experiment], offsets[experiment + 1]):
                        member = members[at]
                        labels[part, member] += 1
                        if seen[member] != row:
                            seen[member] = row
                            windows[part, member] += 1


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
    seen = np.full(both.shape[0], -1, np.int64)
    here = np.empty(both.shape[0], np.int64)
    for row in range(bits.shape[0]):
        n_here = 0
        for byte in range(bits.shape[1]):
            rest = bits[row, byte]
            if rest == 0:
                continue
            for place in range(8):
                if rest & (0x80 >> place):
                    experiment = byte * 8 + place
                    for at in range(offsets[experiment], offsets[experiment + 1]):
                        member = members[at]
                        if seen[member] != row:
                            seen[member] = row
                            here[n_here] = member
                            n_here += 1
        for first in range(n_here):
            for second in range(first + 1):
                both[here[first], here[second]] += 1
