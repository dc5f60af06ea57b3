"""Random numbers by counter, and the strand and shift that they give each window.

Nothing here has state. Strand and shift of a window are functions of (seed, epoch, ticket). So neither the batch
size, nor threads, nor the number of processes, nor where a run was resumed changes what is drawn for a window.

A ticket is one reading of a window in an epoch: the window's row in the store, plus the number of windows of the
store for each time that the window came before in the epoch. Where each window is read once, tickets are rows.

The draws are splitmix64 (Steele, Lea and Flood, OOPSLA 2014), counted instead of stepped: with
``mix`` its output function and G = 0x9E3779B97F4A7C15 its increment, all modulo 2^64,

- key(w_1, ..., w_m) = k_m, with k_0 = 0 and k_i = mix((k_(i-1) + G) xor w_i);
- draw(key, i) = mix(key + (i + 1) G).

``mix`` and the multiplication by the odd G are bijections, so that no two counters of one key draw the same
number: sorting by draws gives a permutation without ties, the same on every machine and with every version
of numpy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_WORD: Final = (1 << 64) - 1
_INCREMENT: Final = 0x9E3779B97F4A7C15
_MULTIPLY_1: Final = 0xBF58476D1CE4E5B9
_MULTIPLY_2: Final = 0x94D049BB133111EB

# One key for each use. Were they shared, the windows read first in an epoch would all have the same strand.
ORDER: Final = 0
AUGMENTATION: Final = 1
BLOCKS: Final = 2
POOLS: Final = 3
CHOICE: Final = 4


class Augmentation(NamedTuple):
    """What is drawn for each of some windows.

    Parameters
    ----------
    reverse
        True where the window is read from the other strand, shape ``(window,)``.
    shift
        By how many positions the window is moved towards the chromosome's end, int64, shape ``(window,)``.
    """

    reverse: NDArray[np.bool_]
    shift: NDArray[np.int64]


def key_of(*words: int) -> int:
    """Mix integers, each taken modulo 2^64, into the key of one stream of draws; their order matters."""
    key = 0
    for word in words:
        key = _mix_one(((key + _INCREMENT) & _WORD) ^ (word & _WORD))
    return key


def draw(key: int, counters: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Draw the numbers of a stream that stand at `counters`, in any order.

    Parameters
    ----------
    key
        Of the stream, from `key_of`.
    counters
        Of any shape, not negative.

    Returns
    -------
    Uniform on all 64-bit integers, same shape; distinct where the counters are.
    """
    state = counters.astype(np.uint64)
    state += np.uint64(1)
    state *= np.uint64(_INCREMENT)
    state += np.uint64(key)
    scratch = state >> np.uint64(30)
    for shift, multiply in ((27, _MULTIPLY_1), (31, _MULTIPLY_2)):
        state ^= scratch
        state *= np.uint64(multiply)
        np.right_shift(state, np.uint64(shift), out=scratch)
    state ^= scratch
    return state


def draw_augmentation(tickets: NDArray[np.int64], *, seed: int, epoch: int, max_shift: int) -> Augmentation:
    """Draw strand and shift of each window, independent of each other and of the order.

    The strand is the highest bit of the window's draw from ``key(seed, epoch, 1)``, the shift its low 32
    bits u scaled to ``floor(u (2 max_shift + 1) / 2^32) - max_shift``: uniform to one part in 10^8 for
    shifts of some tens of bp.

    Parameters
    ----------
    tickets
        Of the windows, shape ``(window,)``.
    seed, epoch
        Of the run; of the pass over the data, counted from 0.
    max_shift
        Farthest shift either way, in bp (3 in the paper), less than 2^30.

    Returns
    -------
    Strands, reverse with probability 1/2, and shifts, uniform on [-max_shift, max_shift].

    Raises
    ------
    ValueError
        If `max_shift` is out of range.
    """
    if not 0 <= max_shift < 1 << 30:
        raise ValueError(f"max_shift is {max_shift} bp; it must be from 0 to 2^30 - 1")
    drawn = draw(key_of(seed, epoch, AUGMENTATION), tickets)
    reverse = (drawn >> np.uint64(63)).astype(np.bool_)
    low = drawn & np.uint64(0xFFFFFFFF)
    shift = ((low * np.uint64(2 * max_shift + 1)) >> np.uint64(32)).astype(np.int64) - max_shift
    return Augmentation(reverse, shift)


def _mix_one(state: int) -> int:
    """Output function of splitmix64, on one Python integer."""
    state = ((state ^ (state >> 30)) * _MULTIPLY_1) & _WORD
    state = ((state ^ (state >> 27)) * _MULTIPLY_2) & _WORD
    return state ^ (state >> 31)
