"""Which positions of an epoch's order each process reads, and which are left when a run stops.

What is left of an epoch is a few stretches of positions, the same for all processes. So a run that stopped may go
on with other processes than before: what is left is dealt anew, and every position is read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Stretches = tuple[range, ...]
"""Positions in the order in which they are read; each range ascends and is not empty."""


def deal(left: Stretches, *, rank: int, world_size: int, in_turns: bool) -> Stretches:
    """Deal the positions that are left; the shares of two processes differ by one at most.

    Parameters
    ----------
    left
        Positions that nobody has read yet, ranges of step 1.
    rank, world_size
        Which process this is, and of how many.
    in_turns
        True: as cards are dealt, so that the windows read at a time do not depend on the number of processes.
        False: each process reads a stretch of its own, so that none reads what another one reads too.

    Raises
    ------
    ValueError
        If there is no such rank.
    """
    check_rank(rank, world_size)
    if in_turns:
        dealt, before = [], 0
        for stretch in left:
            dealt.append(stretch[(rank - before) % world_size :: world_size])
            before += len(stretch)
        return tuple(stretch for stretch in dealt if stretch)
    n = count(left)
    return take(left, rank * n // world_size, (rank + 1) * n // world_size)


def left_behind(left: Stretches, n_read: int, *, world_size: int, in_turns: bool) -> Stretches:
    """Find what is left when each process has read so many windows of its share, or all that it had.

    Parameters
    ----------
    left
        Positions that were dealt.
    n_read
        By each process.
    world_size, in_turns
        As they were dealt.
    """
    if in_turns:
        return take(left, min(n_read * world_size, count(left)), count(left))
    rest: list[range] = []
    for rank in range(world_size):
        share = deal(left, rank=rank, world_size=world_size, in_turns=False)
        for stretch in take(share, min(n_read, count(share)), count(share)):
            if rest and rest[-1].stop == stretch.start:
                rest[-1] = range(rest[-1].start, stretch.stop)
            else:
                rest.append(stretch)
    return tuple(rest)


def count(stretches: Stretches) -> int:
    """Count the positions."""
    return sum(len(stretch) for stretch in stretches)


def take(stretches: Stretches, start: int, stop: int) -> Stretches:
    """Give the positions from the `start`-th to the one before the `stop`-th."""
    taken, before = [], 0
    for stretch in stretches:
        taken.append(stretch[max(0, start - before) : max(0, stop - before)])
        before += len(stretch)
    return tuple(stretch for stretch in taken if stretch)


def pieces(share: Stretches, *, borders: NDArray[np.int64] | None, size: int) -> Iterator[Stretches]:
    """Cut a share into what is read at a time.

    Parameters
    ----------
    share
        Of one process.
    borders
        Where a new piece begins, ascending positions from 0; `None` to begin one every `size` positions.
    size
        Positions of a piece, where there are no borders.
    """
    if borders is None:
        n = count(share)
        for start in range(0, n, size):
            yield take(share, start, min(start + size, n))
        return
    for stretch in share:
        inner = borders[(borders > stretch[0]) & (borders <= stretch[-1])]
        # a stretch may step over positions: cut it before the first of its own behind each border
        cuts = (-(-(inner - stretch.start) // stretch.step)).tolist()
        for start, stop in zip([0, *cuts], [*cuts, len(stretch)], strict=True):
            if start < stop:
                yield (stretch[start:stop],)


def as_lists(stretches: Stretches) -> list[list[int]]:
    """Write stretches of step 1 as pairs of first position and first behind."""
    return [[stretch.start, stretch.stop] for stretch in stretches]


def from_lists(pairs: Sequence[Sequence[int]], n_positions: int) -> Stretches:
    """Read stretches back.

    Raises
    ------
    ValueError
        If they are not ascending stretches, apart from each other, of so many positions.
    """
    stretches, behind = [], 0
    for pair in pairs:
        start, stop = pair
        if not (isinstance(start, int) and isinstance(stop, int) and behind <= start < stop <= n_positions):
            raise ValueError(f"{pair} is no stretch of {n_positions} positions behind {behind}")
        stretches.append(range(start, stop))
        behind = stop
    return tuple(stretches)


def check_rank(rank: int, world_size: int) -> None:
    """Refuse a process number outside its world.

    Raises
    ------
    ValueError
        If not 0 <= rank < world_size.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not one of {world_size} processes, counted from 0")
