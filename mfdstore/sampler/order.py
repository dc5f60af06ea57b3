"""In which order the windows of an epoch are read.

The order is a function of (windows, seed, epoch) alone. Processes, threads and batches are none of its concern:
`dealing` gives each process positions of the order, and whoever reads them asks for the tickets that stand there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mfdstore.sampler.draws import BLOCKS, ORDER, POOLS, draw, key_of
from mfdstore.sampler.sorting import SortedByDraw

Shuffle = Literal["none", "full", "blocks"]
SHUFFLES: Final[tuple[Shuffle, ...]] = get_args(Shuffle)


class Order(Protocol):
    """The tickets of one epoch, by position."""

    @property
    def borders(self) -> NDArray[np.int64] | None:
        """Positions that begin a stretch which is read together, ascending from 0; `None` where any is as good."""
        ...

    def __len__(self) -> int:
        """Count the positions."""
        ...

    def at(self, positions: range) -> NDArray[np.int64]:
        """Give the tickets at some positions, shape ``(window,)``."""
        ...


class AsGiven:
    """Tickets in the order given.

    Parameters
    ----------
    tickets
        Shape ``(window,)``.
    """

    borders: None = None

    def __init__(self, tickets: NDArray[np.int64]) -> None:
        self._tickets = tickets

    def __len__(self) -> int:
        return len(self._tickets)

    def at(self, positions: range) -> NDArray[np.int64]:
        """Give the tickets at some positions."""
        return self._tickets[positions.start : positions.stop : positions.step]


class FullShuffle:
    """Every order of all windows is as likely as any other.

    Window i stands where its draw from ``key(seed, epoch, 0)`` stands among all draws. They are sorted as they are
    asked for (`sorting`): an epoch of 16 million windows begins within half a second.

    Parameters
    ----------
    tickets
        Shape ``(window,)``.
    seed, epoch
        Of the run; of the pass over the data, counted from 0.
    """

    borders: None = None

    def __init__(self, tickets: NDArray[np.int64], *, seed: int, epoch: int) -> None:
        self._tickets = tickets
        self._sorted = SortedByDraw(key_of(seed, epoch, ORDER), len(tickets))

    def __len__(self) -> int:
        return len(self._tickets)

    def at(self, positions: range) -> NDArray[np.int64]:
        """Give the tickets at some positions; quickest where they are close together."""
        return self._tickets[self._sorted.at(positions)]


class BlockShuffle:
    """Blocks of neighbouring windows in random order, some of them at a time mixed in a pool.

    For what is too large to be read window by window. A block is the windows of the epoch within `block`
    consecutive rows of the store. Blocks stand as their draws from ``key(seed, epoch, 2)`` do; consecutive ones make
    a pool, until it would have more than `pool` windows if all its blocks were full, or has more as some come more than
    once; within a pool windows stand as the draws of their tickets from ``key(seed, epoch, 3)`` do.

    Parameters
    ----------
    tickets
        Shape ``(window,)``; they are sorted here by their rows.
    seed, epoch
        Of the run; of the pass over the data, counted from 0.
    n_rows
        Windows of the store.
    block
        Rows of a block.
    pool
        Windows that are mixed; no less than a block.
    """

    def __init__(
        self, tickets: NDArray[np.int64], *, seed: int, epoch: int, n_rows: int, block: int, pool: int
    ) -> None:
        self._tickets = sorted_by_row(tickets, n_rows)
        repeated = len(self._tickets) > 0 and int(self._tickets.max()) >= n_rows
        rows = self._tickets % n_rows if repeated else self._tickets
        first = np.searchsorted(rows, np.arange(0, n_rows + block, block))
        size = np.diff(first)
        number = np.flatnonzero(size)
        turn = number[np.argsort(draw(key_of(seed, epoch, BLOCKS), number))]
        self._first, self._size = first[turn], size[turn]
        self._key = key_of(seed, epoch, POOLS)
        ends = np.cumsum(self._size)
        self._pools = _divide(ends, max(1, pool // block), pool)
        self.borders: NDArray[np.int64] = np.concatenate(([0], ends[self._pools[1:-1] - 1]))

    def __len__(self) -> int:
        return len(self._tickets)

    def at(self, positions: range) -> NDArray[np.int64]:
        """Give the tickets at some positions; quickest where they are all of one pool."""
        if not positions:
            return self._tickets[:0]
        low, high = min(positions[0], positions[-1]), max(positions[0], positions[-1])
        first, last = np.searchsorted(self.borders, (low, high), side="right") - 1
        mixed = np.concatenate([self._mix(pool) for pool in range(first, last + 1)])
        wanted = np.arange(positions.start, positions.stop, positions.step)
        wanted -= self.borders[first]
        return np.asarray(mixed[wanted])

    def _mix(self, pool: int) -> NDArray[np.int64]:
        blocks = slice(self._pools[pool], self._pools[pool + 1])
        spans = zip(self._first[blocks], self._size[blocks], strict=True)
        tickets = np.concatenate([self._tickets[first : first + size] for first, size in spans])
        return tickets[np.argsort(draw(self._key, tickets))]


def _divide(ends: NDArray[np.int64], n_blocks: int, n_windows: int) -> NDArray[np.int64]:
    """Find the first block of each pool, and the number of all: a pool has so many blocks and windows at most.

    A block that alone has more windows is a pool by itself.

    Parameters
    ----------
    ends
        Windows up to the end of each block, shape ``(block,)``.
    n_blocks, n_windows
        Of a pool.
    """
    first = [0]
    while first[-1] < len(ends):
        here = first[-1]
        before = int(ends[here - 1]) if here else 0
        full = int(np.searchsorted(ends, before + n_windows, side="right"))
        first.append(min(max(full, here + 1), here + n_blocks, len(ends)))
    return np.array(first, np.int64)


@dataclass(frozen=True)
class Ordering:
    """How the epochs of a loader are ordered.

    Parameters
    ----------
    shuffle
        Kind of order.
    seed
        Of the run.
    n_rows
        Windows of the store.
    block, pool
        Of a `BlockShuffle`.
    """

    shuffle: Shuffle
    seed: int
    n_rows: int
    block: int
    pool: int

    @property
    def in_turns(self) -> bool:
        """Whether windows are dealt one by one (`dealing.deal`): those of a full shuffle share no blocks."""
        return self.shuffle == "full"

    @property
    def parts(self) -> dict[str, str | int]:
        """All that an order depends on beside the windows and the epoch."""
        parts: dict[str, str | int] = {"seed": self.seed, "shuffle": self.shuffle}
        return parts | {"block": self.block, "pool": self.pool} if self.shuffle == "blocks" else parts

    def of(self, tickets: NDArray[np.int64], epoch: int) -> Order:
        """Order the tickets of one epoch."""
        if self.shuffle == "full":
            return FullShuffle(tickets, seed=self.seed, epoch=epoch)
        if self.shuffle == "blocks":
            return BlockShuffle(
                tickets, seed=self.seed, epoch=epoch, n_rows=self.n_rows, block=self.block, pool=self.pool
            )
        return AsGiven(tickets)


def tickets_of(rows: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    """Number the readings of windows that may come more than once, in the order given.

    Parameters
    ----------
    rows
        Of the windows in the store, shape ``(window,)``.
    n_rows
        Windows of the store.

    Returns
    -------
    Row plus `n_rows` for each time that it came before, shape ``(window,)``.
    """
    if _ascends(rows):
        return rows
    turn = np.argsort(rows, kind="stable")
    ordered = rows[turn]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    if len(first) == len(rows):
        return rows
    before = np.arange(len(rows)) - np.repeat(first, np.diff(first, append=len(rows)))
    tickets = np.empty_like(rows)
    tickets[turn] = ordered + n_rows * before
    return tickets


def sorted_by_row(tickets: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    """Sort tickets by their rows, the readings of one window in their order."""
    if len(tickets) == 0 or (tickets[-1] < n_rows and _ascends(tickets)):
        return tickets
    return tickets[np.lexsort((tickets, tickets % n_rows))]


def _ascends(numbers: NDArray[np.int64]) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())
