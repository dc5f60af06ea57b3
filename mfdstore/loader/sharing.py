"""One copy of a store in memory for all processes of a machine that read it.

The copy is a file in a folder that is memory (``/dev/shm`` on Linux). Each process that uses it holds a shared lock on
it, which the system takes back however the process ends; the last one to leave removes it, and whoever makes another
one removes what killed processes left.
"""

from __future__ import annotations

import copyreg
import fcntl
import logging
import os
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mfdstore.errors import StoreError
from mfdstore.loader.content import DEFAULT_FLANK
from mfdstore.loader.ram import RamData, RamLayout

if TYPE_CHECKING:
    from mfdstore.store import Store

log = logging.getLogger(__name__)

MEMORY_FOLDER: Final = Path("/dev/shm")
_PREFIX: Final = "mfdstore-"
_WHOLE: Final = b"whole"
"""Stands behind the arrays when they are filled."""


def share_ram(
    store: Store,
    *,
    flank: int = DEFAULT_FLANK,
    folder: Path | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> RamData:
    """Hold a store in memory together with the other processes of this machine that do so.

    The first one reads it while the others wait for it. The arrays are not to be written to.

    Parameters
    ----------
    store
        To be read.
    flank
        Blanks around each chromosome, in bp; processes with another one have another copy.
    folder
        That is memory; ``/dev/shm`` where there is one, else that of temporary files.
    on_progress
        Told how many bytes are read, of how many, by the one that reads.

    Raises
    ------
    StoreError
        If there is no room, or the store is damaged.
    """
    where = folder or (MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else Path(tempfile.gettempdir()))
    layout = RamLayout(store, flank)
    path = where / f"{_PREFIX}{os.getuid()}-{store.digest[:32]}-{flank}"
    _remove_unused(where, path)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # the first has it alone until it is filled
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_named(descriptor, path):
            break
        os.close(descriptor)  # the last one to leave removed it between the two calls
    try:
        n_labels = layout.labels_shape[0] * layout.labels_shape[1]
        length = layout.n_codes + n_labels + len(_WHOLE)
        filled = _is_whole(descriptor, length)
        if not filled:
            _make_room(store, descriptor, length, where)
        memory = np.memmap(path, np.uint8, mode="r+", shape=(length,))
        codes = memory[: layout.n_codes]
        label_bits = memory[layout.n_codes : layout.n_codes + n_labels].reshape(layout.labels_shape)
        data = RamData(store, flank=flank, arrays=(codes, label_bits), filled=filled, on_progress=on_progress)
        memory[-len(_WHOLE) :] = np.frombuffer(_WHOLE, np.uint8)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    weakref.finalize(data, _leave, descriptor, path, os.getpid())
    return data


def _reopen(store: Store, flank: int) -> RamData:
    return share_ram(store, flank=flank)


def _send(data: RamData) -> tuple[Callable[..., RamData], tuple[Store, int]]:
    return _reopen, (data.store, data.flank)


# what goes to other processes is not sent: those hold one copy together
copyreg.pickle(RamData, _send)


def _is_named(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _is_whole(descriptor: int, length: int) -> bool:
    if os.fstat(descriptor).st_size != length:
        return False
    return os.pread(descriptor, len(_WHOLE), length - len(_WHOLE)) == _WHOLE


def _make_room(store: Store, descriptor: int, length: int, where: Path) -> None:
    """Take the memory now: to find none while it is filled would kill the process."""
    try:
        os.ftruncate(descriptor, 0)
        os.posix_fallocate(descriptor, 0, length)
    except OSError as error:
        raise StoreError(
            store.path,
            found=f"no room for {length:,} bytes in {where} ({error.strerror})",
            expected="memory for all processes to share",
            remedy='Give a folder that has room, do without sharing, or read it with mode="stream".',
        ) from error


def _leave(descriptor: int, path: Path, process: int) -> None:
    """Give the lock back, and remove the copy where no other process holds one."""
    if os.getpid() != process:
        return  # a fork shares the lock of the process that it is a copy of
    with suppress(OSError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            if _is_named(descriptor, path):
                path.unlink()
        os.close(descriptor)


def _remove_unused(folder: Path, wanted: Path) -> None:
    """Remove copies of this user that no process holds."""
    for path in folder.glob(f"{_PREFIX}{os.getuid()}-*"):
        if path == wanted:
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            _leave(descriptor, path, os.getpid())
