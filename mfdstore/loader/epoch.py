"""One pass over the windows of one process: pieces cut ahead, divided into batches, handed over and counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mfdstore.loader.ahead import in_order
from mfdstore.loader.batch import Batch
from mfdstore.loader.batches import as_batches, padding
from mfdstore.loader.content import Content, Cut, Piece
from mfdstore.loader.kernels import augment
from mfdstore.loader.processes import check_process
from mfdstore.loader.stats import Meter
from mfdstore.sampler.dealing import Stretches, pieces
from mfdstore.sampler.draws import AUGMENTATION, key_of
from mfdstore.sampler.order import Order

log = logging.getLogger(__name__)

Strand = Literal["forward", "reverse", "random"]
STRANDS: Final[tuple[Strand, ...]] = get_args(Strand)
"""In the order of their numbers in `kernels.augment`."""

View = tuple[Strand, int]
"""A strand, and a shift of all windows beside those that are drawn, in bp."""


@dataclass(frozen=True)
class Cutting:
    """How windows are cut in an epoch.

    Parameters
    ----------
    seed, epoch
        Of what is drawn.
    n_rows, label_bytes
        Windows of the store, and bytes of its labels for each.
    positions, max_shift
        Of a window, in bp.
    views
        Of each window.
    pinned
        Whether to memory that a CUDA device copies from by itself.
    """

    seed: int
    epoch: int
    n_rows: int
    label_bytes: int
    positions: int
    max_shift: int
    views: tuple[View, ...]
    pinned: bool

    def cut(
        self, cut: Callable[[Piece], Cut], order: Order, positions: Stretches
    ) -> tuple[NDArray[np.int64], list[Cut]]:
        """Cut the windows at some positions of the order, in each view."""
        parts = [order.at(stretch) for stretch in positions]
        tickets = parts[0] if len(parts) == 1 else np.concatenate(parts)
        key = np.uint64(key_of(self.seed, self.epoch, AUGMENTATION))
        made = []
        rows = np.empty(len(tickets), np.int64)
        for strand, shift_all in self.views:
            reverse, shift = np.empty(len(tickets), np.bool_), np.empty(len(tickets), np.int64)
            kind = STRANDS.index(strand)
            augment(tickets, self.n_rows, key, kind, self.max_shift, shift_all, rows, reverse, shift)
            made.append(cut(Piece(rows, reverse, shift, self.positions, self.pinned)))
        return rows, made

    def fill_up(
        self, views: tuple[Batch, ...] | None, batch_size: int, device: torch.device
    ) -> tuple[Batch, ...]:
        """Add rows that are no windows until the batch is full; `None` is a batch without any window."""
        n = batch_size - (0 if views is None else len(views[0]))
        blank = padding(n, self.positions, self.label_bytes, device)
        if views is None:
            return (blank,) * len(self.views)
        return tuple(view.followed_by(blank) for view in views)


@dataclass(frozen=True)
class Pass:
    """What one process reads of an epoch.

    Parameters
    ----------
    content
        That windows are cut from.
    order
        Of the epoch.
    share
        Positions of the order that this process reads, no more than fill its batches.
    n_batches, batch_size
        That it gives; the last one may be smaller unless `pad`.
    pad
        Whether batches are filled up.
    cutting
        How windows are cut.
    threads, ahead
        That cut them; batches that are cut or under way while one is used.
    made_in
        Number of the process that may read.
    """

    content: Content
    order: Order
    share: Stretches
    n_batches: int
    batch_size: int
    pad: bool
    cutting: Cutting
    threads: int
    ahead: int
    made_in: int

    def batches(self, meter: Meter, began: float) -> Iterator[tuple[Batch, ...]]:
        """Give the batches, each in all views; what fails in a thread is raised here.

        The first one was waited for from `began` on, a time of ``perf_counter``: an order takes time as well.
        """
        content = self.content
        a_piece = max(1, content.windows_a_piece // self.batch_size) * self.batch_size
        cutters = self.threads if content.cutters is None else min(self.threads, content.cutters)
        ahead = max(content.pieces_ahead, -(-self.ahead * self.batch_size // a_piece))
        device = getattr(content, "device", torch.device("cpu"))
        last = began
        stop = threading.Event()
        with content.open(self.threads, meter, stop) as cut:
            tasks = (
                partial(self.cutting.cut, cut, self.order, piece)
                for piece in pieces(self.share, borders=self.order.borders, size=a_piece)
            )
            cut_pieces = in_order(tasks, threads=cutters, ahead=ahead, stop=stop, leave=content.leave)
            with closing(cut_pieces) as results:  # type: ignore[type-var]
                batches = as_batches(results, self.batch_size)
                for _ in range(self.n_batches):
                    check_process(self.made_in)  # it may have been forked since the last one
                    asked = began if last == began else time.perf_counter()
                    batch = next(batches, None)
                    filled = self.pad and (batch is None or len(batch[0]) < self.batch_size)
                    if filled:
                        batch = self.cutting.fill_up(batch, self.batch_size, device)
                    assert batch is not None
                    now = time.perf_counter()
                    n_windows = int(batch[0].mask.sum()) if filled else len(batch[0])
                    meter.add_batch(n_windows, wait=now - asked, seconds=now - last)
                    last = now
                    if meter.storage_is_slow():
                        log.warning("storage is slower than its consumer: %s", meter.sums())
                    yield batch
