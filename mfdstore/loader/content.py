"""What every mode of the loader has in common: a store's content, of which pieces are cut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.recycling import Recycler
from mfdstore.loader.stats import Meter
from mfdstore.opening import damaged
from mfdstore.schema import n_bytes

if TYPE_CHECKING:
    from mfdstore.store import Store

DEFAULT_FLANK: Final = 8192
"""Blanks around each chromosome, in bp: windows of up to 16 kb may reach over its ends."""
_FARTHEST: Final = 1 << 20
"""That a window may reach, in bp; more is a slip, and would take memory for each chromosome's ends."""


@dataclass(frozen=True)
class Piece:
    """Windows that are cut at a time.

    Parameters
    ----------
    rows
        Of the windows in the store, shape ``(window,)``.
    reverse
        Whether each is read from the other strand, shape ``(window,)``.
    shift
        By how many positions it is moved towards the chromosome's end, shape ``(window,)``.
    positions
        Of a window.
    pinned
        Whether they are to lie in memory that a CUDA device copies from by itself.
    """

    rows: NDArray[np.int64]
    reverse: NDArray[np.bool_]
    shift: NDArray[np.int64]
    positions: int
    pinned: bool


Cut = tuple[Tensor, Tensor]
"""Codes, shape ``(window, position)``, and packed labels, shape ``(window, label_byte)``, both uint8."""


class Content(Protocol):
    """A store's content in one of the modes, shared by any number of loaders."""

    @property
    def digest(self) -> str:
        """Of the store's content."""
        ...

    @property
    def flank(self) -> int:
        """How far a window may reach from the centre of its bin, in bp."""
        ...

    @property
    def windows_a_piece(self) -> int:
        """How many windows are best cut at a time where nothing else decides."""
        ...

    @property
    def cutters(self) -> int | None:
        """How many pieces are best cut side by side; `None` for as many as there are threads."""
        ...

    @property
    def pieces_ahead(self) -> int:
        """How many pieces are at least to be ready or under way while one is used."""
        ...

    @property
    def leave(self) -> bool:
        """Whether threads that cut are left to themselves when nobody wants what they do (`start_threads`)."""
        ...

    def open(
        self, threads: int, meter: Meter, stop: threading.Event
    ) -> AbstractContextManager[Callable[[Piece], Cut]]:
        """Give what cuts pieces, from any thread, until the context ends; once `stop` is set nobody wants them."""
        ...

    def label_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give packed labels of some windows, shape ``(window, label_byte)``."""
        ...


def reach(positions: int, max_shift: int) -> int:
    """How far a window can reach from the centre of its bin to either side, in bp.

    Raises
    ------
    ConfigError
        If that is more than a million.
    """
    farthest = (positions + 1) // 2 + max_shift
    if farthest > _FARTHEST:
        raise ConfigError(
            "positions, max_shift",
            found=f"{positions} positions and shifts of up to {max_shift} bp",
            expected=f"windows that reach at most {_FARTHEST:,} bp from the centre of their bin",
            remedy="Read shorter windows, or shift them less.",
        )
    return farthest


def check_reach(content: Content, *, positions: int, max_shift: int) -> None:
    """Refuse windows that could reach beyond the flank of a chromosome.

    Raises
    ------
    ConfigError
        If the flank is too narrow for so many positions and such a shift.
    """
    needed = reach(positions, max_shift)
    if needed > content.flank:
        raise ConfigError(
            "positions",
            found=f"{positions} positions and shifts of up to {max_shift} bp",
            expected=f"windows that reach at most {content.flank} bp from the centre of their bin",
            remedy=f"Hold the store with a flank of at least {needed} bp, or read shorter windows.",
        )


def check_windows(store: Store) -> None:
    """Refuse bins outside their chromosome: the copies are not checked one by one.

    Raises
    ------
    StoreError
        If there is one.
    """
    table = store.windows
    if len(table) != store.n_windows:
        raise damaged(store.path, f"{len(table)} windows instead of {store.n_windows}")
    sizes = dict(zip(store.chroms, store.chrom_sizes, strict=True))
    last = np.array([sizes.get(chrom, -1) - table.bin_size for chrom in table.chroms], np.int32)
    outside = (table.start < 0) | (table.start > last[table.chrom])
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        chrom = table.chroms[table.chrom[row]]
        raise StoreError(
            store.path,
            found=f"window {row} on {chrom} at {table.start[row]}",
            expected=f"a bin inside {chrom}, which has {sizes.get(chrom, 'no')} bp",
            remedy="Run `mfdstore verify` on it, with --repair if it is damaged.",
        )


def empty_cut(n_windows: int, *, positions: int, n_experiments: int, pinned: bool, recycler: Recycler) -> Cut:
    """Give memory for a piece; pinned memory torch keeps for later itself."""
    shapes = ((n_windows, positions), (n_windows, n_bytes(n_experiments)))
    if pinned:
        codes, bits = (torch.empty(shape, dtype=torch.uint8, pin_memory=True) for shape in shapes)
    else:
        codes, bits = (torch.from_numpy(recycler.take(shape)) for shape in shapes)
    return codes, bits
