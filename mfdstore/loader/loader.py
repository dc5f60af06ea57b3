"""Batches of one epoch, assembled by threads ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.batch import Batch
from mfdstore.loader.kernels import gather
from mfdstore.loader.ram import DEFAULT_FLANK, RamData, reach
from mfdstore.sampler import Augmentation, check_rank, draw_augmentation, epoch_order
from mfdstore.schema import DEFAULT_POSITIONS, Split
from mfdstore.windows import check_split

if TYPE_CHECKING:
    from mfdstore.store import Store

Strand = Literal["forward", "reverse", "random"]
STRANDS: Final[tuple[Strand, ...]] = get_args(Strand)

WINDOWS_A_TASK: Final = 2048
"""A thread assembles several small batches at a time, about so many windows: to hand one task over and back
takes as long as to copy some hundred windows."""


class Loader:
    """Iterate over the batches of one epoch, in an order that depends on integers alone.

    Threads cut the next batches out of RAM while the consumer works on the last. They live while an
    iterator does: they are gone when it is exhausted, closed or dropped, so nothing runs between epochs and
    the process may fork there. What fails in a thread is raised in the consumer.

    Several iterators of one loader, and several loaders of one `RamData`, may be used at the same time.

    Parameters
    ----------
    store
        To be read.
    split
        Whose windows are read; all windows of the store where neither `split` nor `rows` is given.
    rows
        Windows to be read, in this order, instead of a split; shape ``(window,)``.
    batch_size
        Windows in a batch.
    positions
        Of a window (1152 in the paper).
    strand
        Which strand is read; ``random`` draws it for each window.
    max_shift
        Farthest random shift either way, in bp, drawn for each window; 0 for none, 3 in the paper.
    shuffle
        Whether each epoch has an order of its own; else windows come in the order of the store or of `rows`.
    drop_last
        Whether an incomplete batch is left out. With several processes it also makes them all give equally
        many batches, which training needs; without it one process may give one more than another.
    seed
        Of order, strand and shift.
    rank, world_size
        Which process this is, and of how many; together they read every window once.
    threads
        That assemble batches; 0 to assemble them in the consumer's.
    ahead
        Batches that are assembled or under way while the consumer works on one.
    data
        The store's content in RAM, where several loaders share it; else it is read here.
    pin_memory
        Whether batches lie in memory that a CUDA device copies from by itself; without effect where there
        is none.

    Raises
    ------
    ConfigError
        If a number is out of range, there is no such split, the rows are no integers, or no batch is left.
    StoreError
        If there is no such window, `data` is another store's, or the store does not fit in memory.
    ValueError
        If both `split` and `rows` are given, or there is no such rank.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        split: Split | None = None,
        rows: NDArray[np.int64] | None = None,
        positions: int = DEFAULT_POSITIONS,
        strand: Strand = "forward",
        max_shift: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        ahead: int = 16,
        data: RamData | None = None,
        pin_memory: bool = False,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("positions", positions, 1),
            ("max_shift", max_shift, 0),
            ("threads", threads, 0),
            ("ahead", ahead, 1),
        ):
            if value < least:
                raise ConfigError(
                    name, found=str(value), expected=f"at least {least}", remedy="Give another number."
                )
        if strand not in STRANDS:
            raise ConfigError(
                "strand", found=repr(strand), expected=f"one of {', '.join(STRANDS)}", remedy="Choose one."
            )
        check_rank(rank, world_size)
        self._rows = _choose_rows(store, split, rows)
        self._batch_size = batch_size
        self._positions = positions
        self._strand: Strand = strand
        self._max_shift = max_shift
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._threads, self._ahead = threads, ahead
        self._epoch = self._start_batch = 0
        self._n_batches = self._count_batches()
        if data is None:
            data = RamData(store, flank=max(DEFAULT_FLANK, reach(positions, max_shift)))
        if data.digest != store.digest:
            raise StoreError(
                store.path,
                found=f"data in RAM of a store of digest {data.digest[:12]}",
                expected=f"of this one, {store.digest[:12]}",
                remedy="Hold each store in a RamData of its own.",
            )
        data.check_reach(positions=positions, max_shift=max_shift)
        self._data = data
        self._pin = pin_memory and torch.cuda.is_available()

    @property
    def data(self) -> RamData:
        """What the batches are cut from, for further loaders of the same store."""
        return self._data

    def set_epoch(self, epoch: int, *, start_batch: int = 0) -> None:
        """Choose the epoch that the next iterators give, and where in it they begin.

        Parameters
        ----------
        epoch
            Counted from 0; iterating twice without a change gives the same batches twice.
        start_batch
            Batches to pass over, for a run that stopped behind them; the others are as they would have been.

        Raises
        ------
        ValueError
            If the epoch is negative, or has fewer batches.
        """
        if epoch < 0 or not 0 <= start_batch <= self._n_batches:
            raise ValueError(f"epoch {epoch} cannot begin at batch {start_batch} of {self._n_batches}")
        self._epoch = epoch
        self._start_batch = start_batch

    def __len__(self) -> int:
        """Batches that an iterator gives now."""
        return self._n_batches - self._start_batch

    def __iter__(self) -> Iterator[Batch]:
        # what an iterator gives is settled here, not at its first step
        return self._run(self._epoch, self._start_batch)

    def _run(self, epoch: int, start_batch: int) -> Iterator[Batch]:
        rows = self._share(epoch)[start_batch * self._batch_size : self._n_batches * self._batch_size]
        a_task = max(1, min(WINDOWS_A_TASK // self._batch_size, self._ahead // 2))
        step = a_task * self._batch_size
        parts = (rows[first : first + step] for first in range(0, len(rows), step))
        if self._threads == 0:
            for part in parts:
                yield from self._assemble(part, epoch)
            return
        pending: deque[Future[list[Batch]]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="mfdstore-loader") as pool:
            try:
                for part in parts:
                    pending.append(pool.submit(self._assemble, part, epoch))
                    if len(pending) * a_task > self._ahead:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _share(self, epoch: int) -> NDArray[np.int64]:
        """Order this process's windows of one epoch."""
        if not self._shuffle:
            return self._rows[self._rank :: self._world_size]
        order = epoch_order(
            len(self._rows), seed=self._seed, epoch=epoch, rank=self._rank, world_size=self._world_size
        )
        return self._rows[order]

    def _assemble(self, rows: NDArray[np.int64], epoch: int) -> list[Batch]:
        """Cut some batches; each has memory of its own, which lives as long as its tensors."""
        data = self._data
        label_bytes = data.label_bits.shape[1]
        code_offsets = data.offsets(
            rows, positions=self._positions, augmentation=self._augmentation(rows, epoch)
        )
        label_offsets = rows * label_bytes
        batches = []
        for first in range(0, len(rows), self._batch_size):
            these = slice(first, first + self._batch_size)
            window = rows[these].copy()
            codes = self._empty(len(window), self._positions)
            label_bits = self._empty(len(window), label_bytes)
            gather(data.strands, code_offsets[these], codes.numpy())
            gather(data.label_bits.reshape(-1), label_offsets[these], label_bits.numpy())
            batches.append(Batch(codes, label_bits, torch.from_numpy(window)))
        return batches

    def _augmentation(self, rows: NDArray[np.int64], epoch: int) -> Augmentation:
        drawn = draw_augmentation(rows, seed=self._seed, epoch=epoch, max_shift=self._max_shift)
        if self._strand == "random":
            return drawn
        return Augmentation(np.full(len(rows), self._strand == "reverse"), drawn.shift)

    def _empty(self, n_windows: int, width: int) -> Tensor:
        """Allocate afresh: to recycle batches was measured to be no quicker, and asks for trust.

        Pinned memory torch keeps for later itself, and knows when a copy to the device has read it to the end.
        """
        if self._pin:
            return torch.empty((n_windows, width), dtype=torch.uint8, pin_memory=True)
        return torch.from_numpy(np.empty((n_windows, width), np.uint8))

    def _count_batches(self) -> int:
        n_windows = len(self._rows)
        if self._drop_last:
            # the share of the process that has fewest
            n_batches = n_windows // self._world_size // self._batch_size
        else:
            share = len(range(self._rank, n_windows, self._world_size))
            n_batches = -(-share // self._batch_size)
        if n_batches == 0:
            raise ConfigError(
                "batch_size",
                found=f"{self._batch_size} windows a batch, {self._world_size} processes",
                expected=f"at least one batch of the {n_windows} windows for each process",
                remedy="Take smaller batches or fewer processes.",
            )
        return n_batches


def _choose_rows(store: Store, split: Split | None, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """List the windows to be read, and refuse to read none."""
    if split is not None and rows is not None:
        raise ValueError("give a split or rows, not both")
    if rows is not None:
        given = np.asarray(rows)
        if given.dtype.kind not in "iu" and given.size:
            raise ConfigError(
                "rows",
                found=f"an array of {given.dtype}",
                expected="integers, the windows to be read in their order",
                remedy="Give np.flatnonzero(mask) for a mask." if given.dtype == bool else "Give integers.",
            )
        chosen = given.astype(np.int64)
        if chosen.ndim != 1 or (chosen.size and (chosen.min() < 0 or chosen.max() >= store.n_windows)):
            raise StoreError(
                store.path,
                found=f"rows from {chosen.min()} to {chosen.max()}",
                expected=f"a list of rows from 0 to {store.n_windows - 1}",
                remedy="Ask for windows that the store has.",
            )
    elif split is not None:
        check_split(split)
        chosen = store.windows.rows(split)
    else:
        chosen = np.arange(store.n_windows)
    if not chosen.size:
        what = "rows" if split is None else f"split {split}"
        raise StoreError(
            store.path,
            found=f"no window in {what}",
            expected="at least one",
            remedy="See `mfdstore info` for the splits that this store has.",
        )
    return chosen
