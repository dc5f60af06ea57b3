"""Windows in parts that lie apart: one to fit on, one to tune by, one to score; windows rotated, and re-paired.

What is near on a genome is alike: neighbouring windows share bases, and whole regions share their level. So each part
is one stretch of the genome with a gap before the next, intervals draw blocks of neighbours rather than windows, and
where nothing is to find windows are turned about the genome as a whole, each side as smooth as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

N_BLOCKS: Final = 60
"""Blocks that windows are cut into, fewer where they would be too short."""

_SHARES: Final = (0.45, 0.15, 0.4)
_SPANS: Final = 3
"""A block is at least as long as so many windows' spans, so that little is lost at its borders."""


@dataclass(frozen=True)
class Parts:
    """Windows by what they are used for; parts are stretches of the genome, with gaps that no part has.

    The genome is a circle here, so that one part may hold the last windows and the first.

    Parameters
    ----------
    fit, tune, score
        Indices of windows: to fit on, to stop and shrink by, to score. Ascending.
    block
        Of each window, ascending from 0 in the order of the genome, shape ``(window,)``.
    n_dropped
        Windows that no part has: those of the gaps, and those that share bases with another part's.
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
    """Cut windows into blocks of neighbours and give each part a stretch of them, with a gap of a block or so between.

    Parameters
    ----------
    chrom, start
        Of the windows' bins, sorted by both, start in bp, shape ``(window,)`` each.
    span
        Bases that a window reads, in bp: starts on one chromosome that are nearer than this share bases.
    seed
        Of the draw of the block that the first part begins with.

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
    part_of = _stretches(np.bincount(block), length, np.random.default_rng(seed))[block] if n else block
    kept = (part_of >= 0) & _apart(place, part_of, span)
    fit, tune, score = (np.flatnonzero(kept & (part_of == part)) for part in range(len(_SHARES)))
    return Parts(fit, tune, score, block=block, n_dropped=int(n - kept.sum()))


def rotations(n_windows: int, n_rotations: int) -> NDArray[np.int64]:
    """Turn windows about the genome, joined end to end, by multiples of one angle that together make a full turn.

    Both sides of a pair keep all that ties a window to its neighbours. If nothing ties the sides to each other, no
    turn, the true one of 0 among them, is likelier than another to give the highest of any measure.

    Parameters
    ----------
    n_windows
        In the order of the genome.
    n_rotations
        To make, the true one aside.

    Returns
    -------
    Of each rotation the window that comes to each place, shape ``(rotation, window)``.
    """
    offsets = np.arange(1, n_rotations + 1) * n_windows // (n_rotations + 1)
    return np.asarray((np.arange(n_windows) + offsets[:, None]) % max(1, n_windows), np.int64)


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


def _stretches(sizes: NDArray[np.int64], gap: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Give blocks, in a circle from one that is drawn, to the parts in turn; -1 is a gap, of about so many windows."""
    first = int(rng.integers(len(sizes)))
    turned = np.roll(sizes, -first)
    middle = np.cumsum(turned) - turned / 2
    shared = max(0, int(sizes.sum()) - len(_SHARES) * gap)
    stretches = [length for share in _SHARES for length in (share * shared, gap)]
    stretch = np.searchsorted(np.cumsum(stretches[:-1]), middle, side="right")
    return np.roll(np.where(stretch % 2 == 0, stretch // 2, -1), first)


def _apart(place: NDArray[np.int64], part_of: NDArray[np.int64], span: int) -> NDArray[np.bool_]:
    """Keep windows, in the order of the genome, that share no base with one kept for another part; gaps have none."""
    kept = np.ones(len(place), np.bool_)
    last = [-span - 1] * len(_SHARES)
    for index, (at, part) in enumerate(zip(place.tolist(), part_of.tolist(), strict=True)):
        if part < 0:
            continue
        if any(at - last[other] < span for other in range(len(_SHARES)) if other != part):
            kept[index] = False
        else:
            last[part] = at
    return kept
