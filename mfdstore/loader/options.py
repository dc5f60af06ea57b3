"""The options of a loader: what is out of range or makes no sense together is refused."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.content import Content, check_reach
from mfdstore.loader.epoch import STRANDS, Strand, View
from mfdstore.loader.stream import StreamData
from mfdstore.sampler.dealing import check_rank
from mfdstore.sampler.order import SHUFFLES, Shuffle

if TYPE_CHECKING:
    from mfdstore.store import Store


def check_numbers(*options: tuple[str, int, int]) -> tuple[int, ...]:
    """Take integers of Python or numpy, and refuse those too small; an option is its name, the number, and the least.

    Raises
    ------
    ConfigError
        If one is.
    """
    taken = tuple(as_integer(name, value) for name, value, _ in options)
    for (name, _, least), value in zip(options, taken, strict=True):
        if value < least:
            raise ConfigError(
                name, found=str(value), expected=f"at least {least}", remedy="Give another number."
            )
    return taken


def as_integer(name: str, value: object) -> int:
    """Take a number of Python or numpy that is whole by its type.

    Raises
    ------
    ConfigError
        If it is none.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(
            name, found=repr(value), expected="an integer", remedy="Give one, such as int(...)."
        ) from error


def check_words(strand: str, *, drop_last: bool, pad: bool) -> None:
    """Refuse a strand that is none, and ends that are both left out and filled up.

    Raises
    ------
    ConfigError
        If so.
    """
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


def check_place(rank: int | None, world_size: int | None) -> tuple[int, int] | None:
    """Give rank and number of processes where they are said.

    Raises
    ------
    ValueError
        If one of them is, or there is no such rank.
    """
    if rank is None and world_size is None:
        return None
    if rank is None or world_size is None:
        raise ValueError("give rank and world_size together, or neither")
    rank, world_size = as_integer("rank", rank), as_integer("world_size", world_size)
    check_rank(rank, world_size)
    return rank, world_size


def check_content(data: Content, store: Store, *, positions: int, max_shift: int) -> None:
    """Refuse another store's content, and windows that could reach beyond what is held.

    Raises
    ------
    StoreError
        If it is another store's.
    ConfigError
        If the windows are too long.
    """
    if data.digest != store.digest:
        raise StoreError(
            store.path,
            found=f"data in memory of a store of digest {data.digest[:12]}",
            expected=f"of this one, {store.digest[:12]}",
            remedy="Open the content of each store by itself.",
        )
    check_reach(data, positions=positions, max_shift=max_shift)


def check_batches(n_batches: int, batch_size: int, n_windows: int, n_processes: int) -> None:
    """Refuse batches so large that no process gets one.

    Raises
    ------
    ConfigError
        If they are.
    """
    if n_batches == 0:
        raise ConfigError(
            "batch_size",
            found=f"{batch_size} windows a batch, {n_processes} processes",
            expected=f"at least one batch of the {n_windows} windows for each process",
            remedy="Take smaller batches or fewer processes.",
        )


def choose_shuffle(shuffle: bool | Shuffle, data: Content) -> Shuffle:
    """Take the shuffling that is asked for, or that suits the mode.

    Raises
    ------
    ConfigError
        If there is no such one, or the mode cannot give it.
    """
    streamed = isinstance(data, StreamData)
    if isinstance(shuffle, bool | np.bool_):
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


def choose_views(strands: Sequence[Strand], shifts: Sequence[int]) -> tuple[View, ...]:
    """Pair each strand with all shifts.

    Raises
    ------
    ConfigError
        If a strand or a shift is none, or there is none.
    """
    if (
        isinstance(shifts, int)
        or not strands
        or not len(shifts)
        or any(strand not in STRANDS for strand in strands)
    ):
        raise ConfigError(
            "views",
            found=f"strands {list(strands)} and shifts {shifts}",
            expected=f"at least one shift, and strands of {', '.join(STRANDS)}",
            remedy="Choose some.",
        )
    moved = [as_integer("shifts", shift) for shift in shifts]
    return tuple((strand, shift) for strand in strands for shift in moved)
