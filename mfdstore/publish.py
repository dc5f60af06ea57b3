"""Gives what was written its name only when it is whole.

A directory grows hidden beside its final name and is renamed at the end, so a program that is killed leaves
nothing under that name. What it leaves hidden is removed by the next one of the same machine that wants the name.
"""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from mfdstore.errors import FULL_DISK, CrewError, MfdError, RemoteError, StoreError

ROOT_MARK: Final = b'"mfdstore"'
"""Stands in the description of a store's root: the name of its attributes."""
RECORDS: Final = "records"
"""Folder of what is noted of the work done, in a folder that is filled."""


@contextmanager
def published(out: Path) -> Iterator[Path]:
    """Give a hidden name beside `out` to fill; it becomes `out` on success and is removed on failure.

    Yields
    ------
    Path of an empty directory.

    Raises
    ------
    StoreError
        If `out` exists, before or by the time all is written, its folder does not exist or cannot be written,
        or the disk is full.
    """
    try:
        check_free(out)
        _check_parent(out)
        # before anything is read, so that a folder that cannot be written is told at once
        hidden = _make_hidden(out, "writing")
    except OSError as error:
        raise _explain(out, error) from error
    try:
        yield hidden
        if out.exists():
            raise _exists(out)
        hidden.rename(out)
    except OSError as error:
        if error.errno in FULL_DISK or str(hidden) in (error.filename, error.filename2):
            raise _explain(out, error) from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside a store to prepare files in; it is removed in the end, however that comes.

    Raises
    ------
    StoreError
        If it cannot be written, or the disk is full.
    """
    try:
        hidden = _make_hidden(path, "repairing")
    except OSError as error:
        raise _explain(path, error, "Let this user write beside the store, or mend a copy of it.") from error
    try:
        yield hidden
    except OSError as error:
        if error.errno in FULL_DISK:
            raise _explain(
                path, error, "Make room on the disk of the store, or mend a copy of it."
            ) from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file that has its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # not by the number of the process: two machines may have the same, and do the same task
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _make_hidden(out: Path, doing: str) -> Path:
    """Make a folder of this process beside a name, and remove those of processes that are no more."""
    owner = f".{out.name}.{doing}-{socket.gethostname()}-"
    for left in out.parent.glob(f"{glob.escape(owner)}*"):
        # digits only: what begins like this host's name may be of another, as "node-2" is not "node"
        number = left.name.removeprefix(owner)
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    hidden = out.parent / f"{owner}{os.getpid()}"
    hidden.mkdir()
    return hidden


@contextmanager
def resumed(out: Path, doing: str = "building") -> Iterator[Path]:
    """Give a hidden folder beside `out` to fill; its ``store`` becomes `out` on success.

    The folder stays when the block is left by anything but a fault of the input or a full disk, so that the
    next call of this name finds what was done; a killed process leaves it as it was. What is there from before stays
    on a fault of the input too: it took longer than to correct the fault.

    Yields
    ------
    Path of the folder, locked for this process.

    Raises
    ------
    StoreError
        As `published`, and if another process fills the folder now.
    """
    hidden = out.parent / f".{out.name}.{doing}"
    try:
        check_free(out)
        _check_parent(out)
        lock = _lock(out, hidden)
    except OSError as error:
        raise _explain(out, error) from error
    with lock:
        if out.exists():  # published by the one that held the lock before
            shutil.rmtree(hidden, ignore_errors=True)
            raise _exists(out)
        with _kept_if_it_can_go_on(out, hidden):
            yield hidden
            if out.exists():
                raise _exists(out)
            (hidden / "store").rename(out)


@contextmanager
def resumed_for(address: object, hidden: Path) -> Iterator[Path]:
    """Give a folder to fill with what will lie elsewhere; the block itself takes it there.

    The folder stays as that of `resumed` does, and also when it could not be taken there.

    Parameters
    ----------
    address
        Where it will lie.
    hidden
        The folder; it is made, and removed when the block ends well.

    Yields
    ------
    The same path, locked for this process.

    Raises
    ------
    StoreError
        If another process fills the folder now, it cannot be written, or the disk is full.
    """
    try:
        hidden.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(address, hidden)
    except OSError as error:
        raise _explain(hidden, error) from error
    with lock, _kept_if_it_can_go_on(hidden, hidden):
        yield hidden


@contextmanager
def _kept_if_it_can_go_on(out: Path, hidden: Path) -> Iterator[None]:
    """Remove a hidden folder when the block ends well, and when calling again would end as badly."""
    before = (hidden / RECORDS).exists()
    try:
        yield
    except RemoteError:
        raise  # a server that does not answer now may answer later
    except MfdError as error:
        if before or (isinstance(error, CrewError) and (hidden / RECORDS).exists()):
            raise  # it took longer than to correct the fault
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    except OSError as error:
        if error.errno in FULL_DISK:
            shutil.rmtree(hidden, ignore_errors=True)
            raise _explain(out, error) from error
        raise
    shutil.rmtree(hidden, ignore_errors=True)


def is_store_root(path: Path) -> bool:
    """Whether a file describes the root of one of our stores; others may hold stores within."""
    return path.is_file() and ROOT_MARK in path.read_bytes()


def check_free(out: Path) -> None:
    """Refuse a name that is taken.

    Raises
    ------
    StoreError
        If it is.
    """
    if out.exists() or out.is_symlink():
        raise _exists(out)
    absolute = out.absolute()
    for above in {*absolute.parents, *absolute.resolve().parents}:  # a link may lead into a store
        if is_store_root(above / "zarr.json"):
            raise StoreError(
                out,
                found=f"a name within the store {above}",
                expected="a name outside of any store",
                remedy="Choose a name beside it.",
            )


def _lock(out: object, hidden: Path) -> IO[str]:
    """Lock the folder for this process; the system takes the lock back when the process ends, however it ends."""
    while True:
        hidden.mkdir(exist_ok=True)
        lock = (hidden / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # whoever held it before may have removed the folder, and a third have made it anew
            if os.fstat(lock.fileno()).st_ino == (hidden / "lock").stat().st_ino:
                return lock
        except BlockingIOError as error:
            lock.close()
            raise StoreError(
                out,
                found="another process that is building it",
                expected="one at a time",
                remedy="Wait for it, or choose another name for --out.",
            ) from error
        except FileNotFoundError:
            pass
        lock.close()


def _check_parent(out: Path) -> None:
    if not out.parent.is_dir():
        raise StoreError(
            out,
            found=f"no folder {out.parent}",
            expected="an existing folder to write to",
            remedy="Create it first.",
        )


def _explain(out: Path, error: OSError, remedy: str = "") -> StoreError:
    if error.errno in FULL_DISK:
        return StoreError(
            out,
            found=f"no room ({error.strerror})",
            expected="space on the disk for the whole of it",
            remedy=remedy or "Make room, or choose another disk for it.",
        )
    return StoreError(
        out,
        found=f"a folder or name that cannot be written ({error.strerror})",
        expected="leave to write it",
        remedy=remedy or "Choose another name for it.",
    )


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False  # a process of this number ended before: containers give the same few numbers again and again
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _exists(out: Path) -> StoreError:
    return StoreError(
        out,
        found="something there already",
        expected="a name that is free",
        remedy="Remove it, or choose another name for --out.",
    )
