"""Batches of one epoch after another, assembled by threads ahead of the consumer."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mfdstore.loader import options
from mfdstore.loader.batch import Batch
from mfdstore.loader.content import Content, check_reach
from mfdstore.loader.epoch import Cutting, Pass, Strand, View
from mfdstore.loader.modes import Mode, open_content
from mfdstore.loader.processes import check_process, rank_here
from mfdstore.loader.progress import Progress
from mfdstore.loader.sampling import choose_sampling
from mfdstore.loader.samplings import Sampling
from mfdstore.loader.stats import LoaderStats, Meter
from mfdstore.sampler.dealing import check_rank, take
from mfdstore.sampler.order import Ordering, Shuffle
from mfdstore.schema import DEFAULT_POSITIONS, Split, n_bytes

if TYPE_CHECKING:
    from mfdstore.store import Store

log = logging.getLogger(__name__)

DEFAULT_BLOCK: Final = 512
DEFAULT_POOL: Final = 32_768


class Loader:
    """Iterate over the batches of one epoch after another, in an order that depends on integers alone.

    Each iteration is an epoch of its own: the first is epoch 0, or the one that `set_epoch` or `load_state_dict` said,
    the next one follows it. Threads cut the next batches while the consumer works on the last. They live while an
    iterator does: they are gone when it is exhausted, closed or dropped, so nothing runs between epochs.

    Several iterators of one loader, and several loaders of one content, may be used at the same time.

    Parameters
    ----------
    store
        To be read.
    split
        Whose windows are read; all windows of the store where none of `split`, `rows`, `sampling` is given.
    rows
        Windows to be read, in this order, instead of a split; shape ``(window,)``.
    sampling
        What chooses the windows of each epoch, instead of either (`sampling`).
    batch_size
        Windows in a batch.
    positions
        Of a window (1152 in the paper).
    strand
        Which strand is read; ``random`` draws it for each window.
    max_shift
        Farthest random shift either way, in bp, drawn for each window; 0 for none, 3 in the paper.
    shuffle
        Whether each epoch has an order of its own: ``full``, ``blocks`` (docs/loading.md), or True for the one that
        suits the mode. Else windows come in the order of the store or of `rows`.
    block, pool
        Of ``blocks``: rows of the store that stay together until they are mixed, and windows that are mixed.
    drop_last
        Whether what does not fill a batch in every process is left out of the epoch, so that all give equally many full
        batches, as training needs. Fewer than ``batch_size * world_size`` windows are, others in each
        epoch that is shuffled.
    pad
        Whether all processes give equally many full batches by rows that are no windows; `Batch.mask` tells them.
    seed
        Of order, strand and shift.
    rank, world_size
        Which process this is, and of how many; together they read every window once. `None` for those of
        ``torch.distributed`` where it is initialised when an iteration begins, else one process.
    threads
        That cut windows, and read them in mode ``stream``; 0 to do all in the consumer's.
    ahead
        Batches that are cut or under way while the consumer works on one; at least two pieces are.
    data
        The store's content, where several loaders share it; else it is opened here, by `mode`.
    mode, memory, device
        As of `modes.open_content`.
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
        If more than one of `split`, `rows` and `sampling` is given, or there is no such rank.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        split: Split | None = None,
        rows: NDArray[np.int64] | None = None,
        sampling: Sampling | None = None,
        positions: int = DEFAULT_POSITIONS,
        strand: Strand = "forward",
        max_shift: int = 0,
        shuffle: bool | Shuffle = False,
        block: int = DEFAULT_BLOCK,
        pool: int = DEFAULT_POOL,
        drop_last: bool = False,
        pad: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int = 2,
        ahead: int = 16,
        data: Content | None = None,
        mode: Mode = "auto",
        memory: int | None = None,
        device: torch.device | str | None = None,
        pin_memory: bool = False,
    ) -> None:
        batch_size, positions, max_shift, threads, ahead, block, pool = options.check_numbers(
            ("batch_size", batch_size, 1),
            ("positions", positions, 1),
            ("max_shift", max_shift, 0),
            ("threads", threads, 0),
            ("ahead", ahead, 1),
            ("block", block, 1),
            ("pool", pool, block),
        )
        seed = options.as_integer("seed", seed)
        options.check_words(strand, drop_last=drop_last, pad=pad)
        self._process = os.getpid()
        self._is_worker = False
        self._rank_of = options.check_place(rank, world_size)
        self._sampling = choose_sampling(store, split, rows, sampling)
        self._digest = store.digest
        self._batch_size = batch_size
        self._strand: Strand = strand
        self._drop_last, self._pad = drop_last, pad
        self._threads, self._ahead = threads, ahead
        if data is None:
            data = open_content(
                store, mode, positions=positions, max_shift=max_shift, memory=memory, device=device
            )
        options.check_content(data, store, positions=positions, max_shift=max_shift)
        self._data = data
        self._ordering = Ordering(options.choose_shuffle(shuffle, data), seed, store.n_windows, block, pool)
        self._cutting = Cutting(
            seed=seed,
            epoch=0,
            n_rows=store.n_windows,
            label_bytes=n_bytes(store.n_experiments),
            positions=positions,
            max_shift=max_shift,
            views=(),
            pinned=pin_memory and torch.cuda.is_available(),
        )
        self._meter = Meter()
        self._next = self._running = self._start_of(0)
        self._given = 0
        self._check_batches()

    @property
    def data(self) -> Content:
        """What the batches are cut from, for further loaders of the same store."""
        return self._data

    @property
    def shuffle(self) -> Shuffle:
        """How epochs are shuffled; an order is the same in all modes that can give it."""
        return self._ordering.shuffle

    def stats(self) -> LoaderStats:
        """Tell what was handed over so far, and what the time went on."""
        return self._meter.sums()

    def set_epoch(self, epoch: int, *, start_batch: int = 0) -> None:
        """Choose the epoch that the next iterator gives, and where in it it begins.

        Parameters
        ----------
        epoch
            Counted from 0.
        start_batch
            Batches to pass over, for a run that stopped behind them; the others are as they would have been.

        Raises
        ------
        ValueError
            If the epoch is negative, or has fewer batches.
        """
        epoch, start_batch = (
            options.as_integer("epoch", epoch),
            options.as_integer("start_batch", start_batch),
        )
        start = self._start_of(max(0, epoch))
        n_batches = self._count(start)
        if epoch < 0 or not 0 <= start_batch <= n_batches:
            raise ValueError(f"epoch {epoch} cannot begin at batch {start_batch} of {n_batches}")
        self._next = self._behind(start, start_batch)
        self._running, self._given = self._next, 0

    def state_dict(self) -> dict[str, Any]:
        """Tell how far the iterator that was begun last is: what was handed over is done.

        All processes of a run have the same state, as long as they were given equally many batches.
        """
        state = self._behind(self._running, self._given)
        # what is left others are still to be given, unless nobody is
        if self._given and (
            not state.left or (self._drop_last and self._given == self._count(self._running))
        ):
            state = self._start_of(state.epoch + 1)
        return state.to_state(self._order_parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: the next iterator gives what was not handed over then, to however many processes.

        Raises
        ------
        ConfigError
            If it is no state, or that of a loader whose epochs have another order.
        """
        self._next = Progress.from_state(state, self._order_parts(), self._sampling.n_windows)
        self._running, self._given = self._next, 0

    def be_one_of(self, worker: int, n_workers: int) -> None:
        """Read the share of one of several workers that this process has divided its own share between.

        Raises
        ------
        ValueError
            If there is no such worker.
        ConfigError
            If ends are left out and no batch is left for a worker.
        """
        check_rank(worker, n_workers)
        rank, world_size = self._place()
        if not self._is_worker:
            self._rank_of = rank * n_workers + worker, world_size * n_workers
        self._is_worker = True
        self._check_batches()

    def _check_batches(self) -> None:
        if self._drop_last and self._next == self._start_of(self._next.epoch):
            # without drop_last a process without a window has nothing to do
            options.check_batches(
                self._count(self._next), self._batch_size, self._sampling.n_windows, self._place()[1]
            )

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process without threads and counts; workers of a process that has a rank are of that rank."""
        return {**self.__dict__, "_rank_of": self._rank_of or rank_here(), "_meter": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._process, self._meter = os.getpid(), Meter()

    def __len__(self) -> int:
        """Batches of the epoch that comes next, with those that a loaded state has behind it."""
        return self._next.batches + self._count(self._next)

    def __iter__(self) -> Iterator[Batch]:
        for (batch,) in self.views():
            yield batch

    def views(
        self, strands: Sequence[Strand] | None = None, shifts: Sequence[int] = (0,)
    ) -> Iterator[tuple[Batch, ...]]:
        """Iterate over an epoch, each batch in several views: of either strand, and shifted.

        Averages over views are what a model is asked for in the end (test-time augmentation).

        Parameters
        ----------
        strands
            Each with all shifts; `None` for the loader's own strand and its drawn shifts.
        shifts
            Of all windows, in bp towards the chromosome's end, beside those that are drawn.

        Returns
        -------
        Tuples of batches of the same windows, in the order of ``for strand in strands for shift in shifts``.

        Raises
        ------
        ConfigError
            If a strand is none, or a shift reaches beyond what is held.
        """
        views = options.choose_views([self._strand] if strands is None else list(strands), shifts)
        farthest = max(abs(shift) for _, shift in views)
        held = self._cutting
        check_reach(self._data, positions=held.positions, max_shift=held.max_shift + farthest)
        return self._run(views)  # settled at the first step: trainers make iterators that they never use

    def _run(self, views: tuple[View, ...]) -> Iterator[tuple[Batch, ...]]:
        check_process(self._process)
        began = time.perf_counter()
        start = self._next
        self._next = self._start_of(start.epoch + 1)
        self._running, self._given = start, 0
        rank, world_size = self._place()
        n_batches = self._count(start)
        share = start.share(rank=rank, world_size=world_size, in_turns=self._ordering.in_turns)
        one = Pass(
            self._data,
            self._ordering.of(
                self._sampling.tickets(seed=self._ordering.seed, epoch=start.epoch), start.epoch
            ),
            take(share, 0, n_batches * self._batch_size),
            n_batches,
            self._batch_size,
            self._pad,
            replace(self._cutting, epoch=start.epoch, views=views),
            self._threads,
            self._ahead,
            self._process,
        )
        with closing(one.batches(self._meter, began)) as batches:  # type: ignore[type-var]
            for batch in batches:
                if self._running is start:
                    self._given += 1
                yield batch
        if self._running is start:  # a process whose share is empty has done the epoch as well
            self._running, self._given = self._start_of(start.epoch + 1), 0

    def _place(self) -> tuple[int, int]:
        return self._rank_of or rank_here() or (0, 1)

    def _count(self, progress: Progress) -> int:
        rank, world_size = self._place()
        return progress.n_batches(
            batch_size=self._batch_size,
            rank=rank,
            world_size=world_size,
            drop_last=self._drop_last,
            pad=self._pad,
            in_turns=self._ordering.in_turns,
        )

    def _behind(self, progress: Progress, n_batches: int) -> Progress:
        sizes = {"batch_size": self._batch_size, "world_size": self._place()[1]}
        return progress.behind(n_batches, **sizes, in_turns=self._ordering.in_turns)

    def _start_of(self, epoch: int) -> Progress:
        return Progress(epoch, 0, (range(self._sampling.n_windows),))

    def _order_parts(self) -> dict[str, Any]:
        """Say all that the order of an epoch depends on."""
        return {"store": self._digest, "windows": self._sampling.name, **self._ordering.parts}
