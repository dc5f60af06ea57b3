"""One copy of a store in memory for all processes of a machine that read it.

The copy is a file in a folder that is memory (``/dev/shm`` on Linux). Each process that uses it holds a shared lock on
it, which the system takes back however the process ends; the last one to leave removes it, and whoever makes another
one removes what killed processes left.
"""

from __future__ import annotations

import copyreg
import errno
import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
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
_TURN_SECONDS: Final = 0.01


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
    n_labels = layout.labels_shape[0] * layout.labels_shape[1]
    length = layout.n_codes + n_labels + len(_WHOLE)
    path = where / f"{_PREFIX}{os.getuid()}-{store.digest[:32]}-{flank}"
    _remove_unused(where, path)
    descriptor, filled = _hold(store, path, length)
    try:
        if not filled:
            _make_room(store, descriptor, length, where)
        with open(descriptor, "r+b", closefd=False) as file:
            memory = np.memmap(file, np.uint8, mode="r+", shape=(length,))
        codes = memory[: layout.n_codes]
        label_bits = memory[layout.n_codes : layout.n_codes + n_labels].reshape(layout.labels_shape)
        data = RamData(store, flank=flank, arrays=(codes, label_bits), filled=filled, on_progress=on_progress)
        if not filled:
            memory.flush()  # where the folder is no memory after all, the mark is not to survive what it is of
            memory[-len(_WHOLE) :] = np.frombuffer(_WHOLE, np.uint8)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        _leave(descriptor, path, os.getpid())
        raise
    weakref.finalize(data, _leave, descriptor, path, os.getpid())
    return data


def _reopen(store: Store, flank: int) -> RamData:
    return share_ram(store, flank=flank)


def _send(data: RamData) -> tuple[Callable[..., RamData], tuple[Store, int]]:
    return _reopen, (data.store, data.flank)


# what goes to other processes is not sent: those hold one copy together
copyreg.pickle(RamData, _send)


def _hold(store: Store, path: Path, length: int) -> tuple[int, bool]:
    """Open the copy: with others where it is filled, alone where it is still to be filled; tells which."""
    while True:
        descriptor = _open(store, path)
        try:
            # the one that fills it has it alone: the others wait here
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # the last one to leave may have removed it between the two calls
            if _is_named(descriptor, path):
                if _is_whole(descriptor, length):
                    return descriptor, True
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # the system gives the one lock back before it gives the other
                if _is_named(descriptor, path) and not _is_whole(descriptor, length):
                    return descriptor, False
        except BlockingIOError:
            time.sleep(_TURN_SECONDS)  # another one is at it as well
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(store: Store, path: Path) -> int:
    """Open a file of this user, or make it; what another user put under its name is not trusted."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _refused(store, f"{path}, which cannot be opened ({error.strerror})") from error
    if not _is_ours(os.fstat(descriptor)):
        os.close(descriptor)
        raise _refused(store, f"{path}, which is no file of this user")
    return descriptor


def _refused(store: Store, found: str) -> StoreError:
    return StoreError(
        store.path,
        found=found,
        expected="memory for all processes to share",
        remedy='Give a folder that has room, do without sharing, or read it with mode="stream".',
    )


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _is_named(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _is_whole(descriptor: int, length: int) -> bool:
    if os.fstat(descriptor).st_size != length:
        return False
    return os.pread(descriptor, len(_WHOLE), length - len(_WHOLE)) == _WHOLE


def _make_room(store: Store, descriptor: int, length: int, where: Path) -> None:
    """Take the memory now: to find none while it is filled would kill the process."""
    try:
        os.ftruncate(descriptor, 0)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, length)
            return
        free = shutil.disk_usage(where).free  # a system that cannot take it can at least tell
        if free < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(descriptor, length)
    except OSError as error:
        raise _refused(store, f"no room for {length:,} bytes in {where} ({error.strerror})") from error


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
            if _is_ours(path.lstat()):
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                _leave(descriptor, path, os.getpid())
