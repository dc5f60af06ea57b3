"""Batches of one epoch after another, assembled by threads ahead of the consumer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.ahead import in_order
from mfdstore.loader.batch import Batch
from mfdstore.loader.batches import as_batches, padding
from mfdstore.loader.content import Content, Cut, Piece, check_reach
from mfdstore.loader.modes import Mode, open_content
from mfdstore.loader.processes import check_process, place_among_processes
from mfdstore.loader.progress import Progress
from mfdstore.loader.sampling import Sampling, choose_sampling
from mfdstore.loader.stats import LoaderStats, Meter
from mfdstore.loader.stream import StreamData
from mfdstore.sampler.dealing import Stretches, check_rank, pieces, take
from mfdstore.sampler.draws import Augmentation, draw_augmentation
from mfdstore.sampler.order import SHUFFLES, AsGiven, BlockShuffle, FullShuffle, Order, Shuffle
from mfdstore.schema import DEFAULT_POSITIONS, Split, n_bytes

if TYPE_CHECKING:
    from mfdstore.store import Store

log = logging.getLogger(__name__)

Strand = Literal["forward", "reverse", "random"]
STRANDS: Final[tuple[Strand, ...]] = get_args(Strand)

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
        batches, as training needs. Fewer than ``batch_size * world_size`` windows are, others in each epoch.
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
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("positions", positions, 1),
            ("max_shift", max_shift, 0),
            ("threads", threads, 0),
            ("ahead", ahead, 1),
            ("block", block, 1),
            ("pool", pool, block),
        ):
            if value < least:
                raise ConfigError(
                    name, found=str(value), expected=f"at least {least}", remedy="Give another number."
                )
        if strand not in STRANDS:
            raise ConfigError(
                "strand", found=repr(strand), expected=f"one of {', '.join(STRANDS)}", remedy="Choose one."
            )
        if drop_last and pad:
            raise ConfigError(
                "drop_last, pad",
                found="both",
                expected="one: what does not fill a batch is left out, or filled up",
                remedy="Leave drop_last to training and pad to evaluation.",
            )
        if (rank is None) != (world_size is None):
            raise ValueError("give rank and world_size together, or neither")
        if rank is not None and world_size is not None:
            check_rank(rank, world_size)
        self._process = os.getpid()
        self._is_worker = False
        self._rank_of = None if rank is None or world_size is None else (rank, world_size)
        self._sampling = choose_sampling(store, split, rows, sampling)
        self._n_rows = store.n_windows
        self._label_bytes = n_bytes(store.n_experiments)
        self._digest = store.digest
        self._batch_size, self._positions = batch_size, positions
        self._strand: Strand = strand
        self._max_shift = max_shift
        self._drop_last, self._pad = drop_last, pad
        self._seed = seed
        self._threads, self._ahead = threads, ahead
        if data is None:
            data = open_content(
                store, mode, positions=positions, max_shift=max_shift, memory=memory, device=device
            )
        if data.digest != store.digest:
            raise StoreError(
                store.path,
                found=f"data in memory of a store of digest {data.digest[:12]}",
                expected=f"of this one, {store.digest[:12]}",
                remedy="Open the content of each store by itself.",
            )
        check_reach(data, positions=positions, max_shift=max_shift)
        self._data = data
        self._shuffle = _choose_shuffle(shuffle, data)
        self._block, self._pool = block, pool
        self._pin = pin_memory and torch.cuda.is_available()
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
        return self._shuffle

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
        if self._given and self._given == self._count(self._running):
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
        """
        check_rank(worker, n_workers)
        rank, world_size = self._place()
        if not self._is_worker:
            self._rank_of = rank * n_workers + worker, world_size * n_workers
        self._is_worker = True

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process without threads and counts; that process is of the same rank."""
        return {**self.__dict__, "_rank_of": self._place(), "_meter": None}

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
        chosen = [self._strand] if strands is None else list(strands)
        if not chosen or not len(shifts) or any(strand not in STRANDS for strand in chosen):
            raise ConfigError(
                "views",
                found=f"strands {chosen} and shifts {list(shifts)}",
                expected=f"at least one shift, and strands of {', '.join(STRANDS)}",
                remedy="Choose some.",
            )
        farthest = max(abs(int(shift)) for shift in shifts)
        check_reach(self._data, positions=self._positions, max_shift=self._max_shift + farthest)
        # settled at the first step: trainers make iterators that they never use
        return self._run([(strand, int(shift)) for strand in chosen for shift in shifts])

    def _run(self, views: list[tuple[Strand, int]]) -> Iterator[tuple[Batch, ...]]:
        check_process(self._process)
        start = self._next
        self._next = self._start_of(start.epoch + 1)
        self._running, self._given = start, 0
        rank, world_size = self._place()
        n_batches = self._count(start)
        share = start.share(rank=rank, world_size=world_size, in_turns=self._in_turns)
        share = take(share, 0, n_batches * self._batch_size)
        order = self._order(start.epoch)
        a_piece = max(1, self._data.windows_a_piece // self._batch_size) * self._batch_size
        cutters = self._threads if self._data.cutters is None else min(self._threads, self._data.cutters)
        ahead = max(2, -(-self._ahead * self._batch_size // a_piece))
        if cutters == 0:
            ahead = 0
        last = time.perf_counter()
        stop = threading.Event()
        with self._data.open(self._threads, self._meter, stop) as cut:
            tasks = (
                partial(self._cut, cut, order, piece, start.epoch, views)
                for piece in pieces(share, borders=order.borders, size=a_piece)
            )
            with closing(  # type: ignore[type-var]
                in_order(tasks, threads=cutters, ahead=ahead, stop=stop, leave=self._data.leave)
            ) as results:
                batches = as_batches(results, self._batch_size)
                for _ in range(n_batches):
                    check_process(self._process)  # it may have been forked since the last one
                    asked = time.perf_counter()
                    batch = next(batches, None)
                    filled = self._pad and (batch is None or len(batch[0]) < self._batch_size)
                    if filled:
                        batch = self._fill_up(batch, len(views))
                    assert batch is not None
                    now = time.perf_counter()
                    if self._running is start:
                        self._given += 1
                    self._meter.add_batch(
                        int(batch[0].mask.sum()) if filled else len(batch[0]),
                        wait=now - asked,
                        seconds=now - last,
                    )
                    last = now
                    if self._meter.storage_is_slow():
                        log.warning("storage is slower than its consumer: %s", self._meter.sums())
                    yield batch

    def _cut(
        self,
        cut: Callable[[Piece], Cut],
        order: Order,
        positions: Stretches,
        epoch: int,
        views: list[tuple[Strand, int]],
    ) -> tuple[NDArray[np.int64], list[Cut]]:
        """Cut the windows at some positions of the order, in each view."""
        tickets = np.concatenate([order.at(stretch) for stretch in positions])
        rows = tickets % self._n_rows
        drawn = self._draw(tickets, epoch)
        made = []
        for strand, shift in views:
            reverse = drawn.reverse if strand == "random" else np.full(len(rows), strand == "reverse")
            made.append(cut(Piece(rows, reverse, drawn.shift + shift, self._positions, self._pin)))
        return rows, made

    def _draw(self, tickets: NDArray[np.int64], epoch: int) -> Augmentation:
        return draw_augmentation(tickets, seed=self._seed, epoch=epoch, max_shift=self._max_shift)

    def _fill_up(self, views: tuple[Batch, ...] | None, n_views: int) -> tuple[Batch, ...]:
        """Add rows that are no windows until the batch is full."""
        device = getattr(self._data, "device", torch.device("cpu"))
        n = self._batch_size - (0 if views is None else len(views[0]))
        blank = padding(n, self._positions, self._label_bytes, device)
        if views is None:
            return (blank,) * n_views
        return tuple(view.followed_by(blank) for view in views)

    @property
    def _in_turns(self) -> bool:
        return self._shuffle == "full"

    def _place(self) -> tuple[int, int]:
        return self._rank_of or place_among_processes()

    def _count(self, progress: Progress) -> int:
        rank, world_size = self._place()
        return progress.n_batches(
            batch_size=self._batch_size,
            rank=rank,
            world_size=world_size,
            drop_last=self._drop_last,
            pad=self._pad,
            in_turns=self._in_turns,
        )

    def _behind(self, progress: Progress, n_batches: int) -> Progress:
        _, world_size = self._place()
        return progress.behind(
            n_batches, batch_size=self._batch_size, world_size=world_size, in_turns=self._in_turns
        )

    def _start_of(self, epoch: int) -> Progress:
        n_windows = self._sampling.n_windows
        return Progress(epoch, 0, (range(n_windows),) if n_windows else ())

    def _order(self, epoch: int) -> Order:
        tickets = self._sampling.tickets(seed=self._seed, epoch=epoch)
        if self._shuffle == "full":
            return FullShuffle(tickets, seed=self._seed, epoch=epoch)
        if self._shuffle == "blocks":
            return BlockShuffle(
                tickets, seed=self._seed, epoch=epoch, n_rows=self._n_rows, block=self._block, pool=self._pool
            )
        return AsGiven(tickets)

    def _order_parts(self) -> dict[str, Any]:
        """Say all that the order of an epoch depends on."""
        parts = {
            "store": self._digest,
            "windows": self._sampling.name,
            "seed": self._seed,
            "shuffle": self._shuffle,
        }
        return {**parts, "block": self._block, "pool": self._pool} if self._shuffle == "blocks" else parts

    def _check_batches(self) -> None:
        # where incomplete batches count, a process without a window has nothing to do
        if self._drop_last and self._count(self._next) == 0:
            _, world_size = self._place()
            raise ConfigError(
                "batch_size",
                found=f"{self._batch_size} windows a batch, {world_size} processes",
                expected=f"at least one batch of the {self._sampling.n_windows} windows for each process",
                remedy="Take smaller batches or fewer processes.",
            )


def _choose_shuffle(shuffle: bool | Shuffle, data: Content) -> Shuffle:
    streamed = isinstance(data, StreamData)
    if isinstance(shuffle, bool):
        return "none" if not shuffle else "blocks" if streamed else "full"
    if shuffle not in SHUFFLES or (shuffle == "full" and streamed):
        raise ConfigError(
            "shuffle",
            found=repr(shuffle),
            expected='True, False, "blocks"' if streamed else f"True, False, or one of {', '.join(SHUFFLES)}",
            remedy='A store that is streamed cannot be read window by window; hold it in RAM for "full".'
            if streamed
            else "Choose one.",
        )
    return shuffle
