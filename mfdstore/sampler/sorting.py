"""Sorting counters by what is drawn for them, a part at a time.

A full shuffle sorts all windows of a store. Done at once it takes as long as the epoch that it is for: eight seconds
for 16 million windows on one core. Here they are only thrown into buckets by the highest bits of their draws, in two
passes over nothing but the counters; a bucket is sorted when somebody asks for what is in it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.compiled import compiled
from mfdstore.sampler.draws import draw

_A_BUCKET: Final = 512
"""Counters in a bucket, about: few enough to be sorted within the processor's cache."""
_INCREMENT: Final = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2: Final = np.uint64(0x94D049BB133111EB)


@compiled
def _fill_buckets(
    key: np.uint64, shift: np.uint64, first: NDArray[np.int64], counters: NDArray[np.uint32]
) -> None:  # pragma: no cover - compiled
    """Sort counters by the bits of their draws from `shift` on.

    Parameters
    ----------
    key
        Of the stream of draws.
    shift
        Bits that do not count.
    first
        Zeros; filled with the place of each bucket's first counter and, at last, their number: shape ``(bucket + 1,)``.
    counters
        Filled with the counters from 0 on, shape ``(counter,)``.
    """
    n = counters.shape[0]
    n_buckets = first.shape[0] - 1
    numbers = np.empty(n, np.uint32)
    for i in range(n):
        state = key + (np.uint64(i) + np.uint64(1)) * _INCREMENT  # `draws.draw`
        state = (state ^ (state >> np.uint64(30))) * _MULTIPLY_1
        state = (state ^ (state >> np.uint64(27))) * _MULTIPLY_2
        bucket = (state ^ (state >> np.uint64(31))) >> shift
        numbers[i] = bucket
        first[bucket + np.uint64(1)] += 1
    for one in range(n_buckets):
        first[one + 1] += first[one]
    free = first[:-1].copy()
    for i in range(n):
        counters[free[numbers[i]]] = i
        free[numbers[i]] += 1


class SortedByDraw:
    """The counters from 0 on, in the order of their draws.

    Parameters
    ----------
    key
        Of the stream of draws (`draws.key_of`).
    n
        Counters, fewer than 2^32.
    """

    def __init__(self, key: int, n: int) -> None:
        bits = max(0, (n // _A_BUCKET).bit_length())
        self._key = key
        self._first = np.zeros((1 << bits) + 1, np.int64)
        self._counters = np.empty(n, np.uint32)
        # to shift by all 64 bits is undefined; with one bucket any number of bits is as good where n is small
        if bits:
            _fill_buckets(np.uint64(key), np.uint64(64 - bits), self._first, self._counters)
        else:
            self._first[1] = n
            self._counters[:] = np.arange(n, dtype=np.uint32)

    def __len__(self) -> int:
        return len(self._counters)

    def at(self, positions: range) -> NDArray[np.int64]:
        """Give the counters that stand at some positions, shape ``(position,)``."""
        if not positions:
            return np.zeros(0, np.int64)
        low, high = min(positions[0], positions[-1]), max(positions[0], positions[-1])
        first, last = np.searchsorted(self._first, (low, high), side="right") - 1
        begin, end = self._first[first], self._first[last + 1]
        members = self._counters[begin:end].astype(np.int64)
        ordered = members[np.argsort(draw(self._key, members))]
        return np.asarray(ordered[positions.start - begin :: positions.step][: len(positions)])
