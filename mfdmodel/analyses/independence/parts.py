"""Windows in parts that share no base: one to fit on, one to tune by, one to score; and windows re-paired.

Neighbouring windows share bases, and what is near on a genome is alike. So windows are cut into blocks of
neighbours, a block goes to one part as a whole, and intervals draw blocks rather than windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

N_BLOCKS: Final = 80
"""Blocks that windows are cut into, fewer where they would be too short."""

_SHARES: Final = (0.45, 0.15, 0.4)
_SPANS: Final = 3
"""A block is at least as long as so many windows' spans, so that little is lost at its borders."""


@dataclass(frozen=True)
class Parts:
    """Windows by what they are used for; no window of one part shares a base with one of another.

    Parameters
    ----------
    fit, tune, score
        Indices of windows: to fit on, to stop and shrink by, to score. Ascending.
    block
        Of each window, ascending from 0 in the order of the genome, shape ``(window,)``.
    n_dropped
        Windows that no part has, as they share bases with another part's.
    """

    fit: NDArray[np.int64]
    tune: NDArray[np.int64]
    score: NDArray[np.int64]
    block: NDArray[np.int64]
    n_dropped: int

    @property
    def n_scored_blocks(self) -> int:
        """Blocks that windows are scored in."""
        return len(np.unique(self.block[self.score]))


def part_windows(chrom: NDArray[np.integer], start: NDArray[np.integer], *, span: int, seed: int) -> Parts:
    """Cut windows into blocks of neighbours and give each block to a part.

    Parameters
    ----------
    chrom, start
        Of the windows' bins, sorted by both, start in bp, shape ``(window,)`` each.
    span
        Bases that a window reads, in bp: starts on one chromosome that are nearer than this share bases.
    seed
        Of the draw of the blocks.

    Raises
    ------
    ValueError
        If the windows are not sorted.
    """
    n = len(start)
    chrom, start = chrom.astype(np.int64), start.astype(np.int64)
    if n and (np.lexsort((start, chrom)) != np.arange(n)).any():
        raise ValueError("windows that are not sorted by chromosome and start")
    place = chrom * (int(start.max(initial=0)) + span + 1) + start  # far apart on different chromosomes
    sharing = np.searchsorted(place, place + span) - np.arange(n)
    length = max(1, round(n / N_BLOCKS), _SPANS * int(np.ceil(sharing.mean() if n else 1)))
    cut = np.arange(n) // length
    new = np.concatenate([[True], (np.diff(cut) > 0) | (np.diff(chrom) > 0)]) if n else np.empty(0, np.bool_)
    block = np.cumsum(new) - 1
    part_of = _deal(np.bincount(block), np.random.default_rng(seed))[block] if n else block
    kept = _apart(place, part_of, span)
    fit, tune, score = (np.flatnonzero(kept & (part_of == part)) for part in range(len(_SHARES)))
    return Parts(fit, tune, score, block=block, n_dropped=int(n - kept.sum()))


def repair(block: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Give each row another row, of another block, as its partner; each row is the partner of one.

    Parameters
    ----------
    block
        Of each row, shape ``(window,)``.
    rng
        Draws the partners.

    Raises
    ------
    ValueError
        If more than half of the rows are of one block, so that not all can have a partner.
    """
    n = len(block)
    if n and 2 * np.bincount(block).max() > n:
        raise ValueError(f"more than half of {n} windows in one block: they have no partners elsewhere")
    partner = rng.permutation(n)
    while len(wrong := np.flatnonzero(block[partner] == block)):
        for row in wrong:
            other = int(rng.integers(n))
            # only exchanges after which both rows are right, so that the number of wrong ones falls
            if block[partner[other]] != block[row] and block[partner[row]] != block[other]:
                partner[row], partner[other] = partner[other], partner[row]
    return partner


def _deal(sizes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the part of each block: each goes to the part that lacks most of its share of the windows."""
    part_of = np.empty(len(sizes), np.int64)
    taken = np.zeros(len(_SHARES))
    for one in rng.permutation(len(sizes)):
        part_of[one] = int(np.argmax(np.array(_SHARES) * sizes.sum() - taken))
        taken[part_of[one]] += sizes[one]
    return part_of


def _apart(place: NDArray[np.int64], part_of: NDArray[np.int64], span: int) -> NDArray[np.bool_]:
    """Keep windows, in the order of the genome, that share no base with one kept for another part."""
    kept = np.ones(len(place), np.bool_)
    last = [-span - 1] * len(_SHARES)
    for index, (at, part) in enumerate(zip(place.tolist(), part_of.tolist(), strict=True)):
        if any(at - last[other] < span for other in range(len(_SHARES)) if other != part):
            kept[index] = False
        else:
            last[part] = at
    return kept
