"""Which mode of the loader a store is read by, and its content opened in that mode."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import torch

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.content import DEFAULT_FLANK, Content, reach
from mfdstore.loader.memory import available_memory
from mfdstore.loader.on_device import DeviceData
from mfdstore.loader.ram import RamData, RamLayout
from mfdstore.loader.sharing import share_ram
from mfdstore.loader.stream import DEFAULT_CACHE, StreamData
from mfdstore.places.address import Address

if TYPE_CHECKING:
    from mfdstore.store import Store

log = logging.getLogger(__name__)

Mode = Literal["auto", "ram", "stream", "device"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

_SHARE: Final = 0.6
"""Of the memory that is available: the rest is the model's, and other programs'."""
_STREAM_SHARE: Final = 0.25
"""Of the memory that is available, where a store is streamed; it is taken as chunks of the sequence are read."""
_DEVICE_SHARE: Final = 0.4
"""Of the device's free memory."""
_LEAST_CACHE: Final = 1 << 26
_DEVICES: Final = ("cpu", "cuda", "mps")


def open_content(
    store: Store,
    mode: Mode = "auto",
    *,
    positions: int,
    max_shift: int = 0,
    memory: int | None = None,
    device: torch.device | str | None = None,
    shared: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Content:
    """Open a store's content for any number of loaders.

    Parameters
    ----------
    store
        To be read.
    mode
        ``ram``: all is read into memory first. ``stream``: blocks are read while they are used. ``device``: all is
        read into a device's memory first. ``auto``: by `choose_mode`.
    positions, max_shift
        Of the windows that will be read, at most.
    memory
        That the content may take, in bytes; `None` for what `choose_mode` says, and a quarter of the memory available
        where a store is streamed. Batches that are ready or in use are not counted (docs/loading.md).
    device
        That the batches are used on.
    shared
        Whether processes of this machine that read the same store in RAM hold it once together.
    on_progress
        Told how many bytes are read, of how many.

    Raises
    ------
    ConfigError
        If there is no such mode, or the device is not said.
    StoreError
        If the store does not fit in memory, or is damaged.
    """
    if mode not in MODES:
        raise ConfigError(
            "mode", found=repr(mode), expected=f"one of {', '.join(MODES)}", remedy="Choose one."
        )
    if memory is not None and (not isinstance(memory, int | np.integer) or memory < 1):
        raise ConfigError(
            "memory",
            found=f"{memory} bytes",
            expected="an integer of at least 1",
            remedy="Give more, or leave it out.",
        )
    check_device(device)
    flank = max(DEFAULT_FLANK, reach(positions, max_shift))
    chosen = choose_mode(store, memory=memory, device=device, flank=flank) if mode == "auto" else mode
    log.info("%s is read by mode %s", store.path, chosen)
    if chosen != "stream" and memory is not None:
        _check_budget(store, memory, flank)
    if chosen == "stream":
        available = available_memory()
        share = DEFAULT_CACHE if available is None else int(_STREAM_SHARE * available)
        budget = share if memory is None else memory
        # the rest is for the pools
        return StreamData(store, cache_bytes=max(_LEAST_CACHE, budget * 3 // 4), flank=flank)
    if chosen == "device":
        if device is None:
            raise ConfigError(
                "mode",
                found="device",
                expected="the device that holds the store",
                remedy='Give one, such as device="cuda".',
            )
        return DeviceData(store, device, flank=flank)
    if shared:
        return share_ram(store, flank=flank, on_progress=on_progress)
    return RamData(store, flank=flank, on_progress=on_progress)


def _check_budget(store: Store, memory: int, flank: int) -> None:
    needed = RamLayout(store, flank).n_bytes
    if needed > memory:
        raise StoreError(
            store.path,
            found=f"content that takes {needed:,} bytes",
            expected=f"no more than the {memory:,} bytes of `memory`",
            remedy='Allow more, or read it with mode="stream".',
        )


def check_device(device: torch.device | str | None) -> None:
    """Refuse a device that is none, or is not there.

    Raises
    ------
    ConfigError
        If so.
    """
    if device is None:
        return
    try:
        found = torch.device(device)
        if found.type not in _DEVICES:
            raise ValueError(found.type)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            "device", found=repr(device), expected="cpu, cuda, cuda:1, mps", remedy="Choose one."
        ) from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[found.type]:
        raise ConfigError(
            "device",
            found=f"{found}, which torch does not find here",
            expected="a device of this machine",
            remedy="Leave it out, or install torch for that device and its driver.",
        )


def choose_mode(
    store: Store,
    *,
    memory: int | None = None,
    device: torch.device | str | None = None,
    flank: int = DEFAULT_FLANK,
) -> Mode:
    """Choose a mode by where the store is, how large it is, and what memory there is.

    A store elsewhere is streamed. One that takes less than 40 % of a CUDA device's free memory is held there; one
    that takes less than `memory`, or 60 % of the memory available, in RAM; any other is streamed.

    Parameters
    ----------
    store, memory, device
        As of `open_content`.
    flank
        Blanks around each chromosome, in bp.
    """
    if isinstance(store.path, Address):
        return "stream"
    needed = RamLayout(store, flank).n_bytes
    available = available_memory()
    budget = memory if memory is not None else None if available is None else int(_SHARE * available)
    fits = budget is None or needed <= budget
    if fits and device is not None and torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        if needed <= _DEVICE_SHARE * free:
            return "device"
    return "ram" if fits else "stream"
