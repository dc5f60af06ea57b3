"""Gives what was written its name only when it is whole.

A directory grows hidden beside its final name and is renamed at the end, so a program that is killed leaves
nothing under that name. What it leaves hidden is removed by the next one of the same machine that wants the name.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mfdstore.errors import StoreError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    owner = f".{out.name}.writing-{socket.gethostname()}-"
    hidden = out.parent / f"{owner}{os.getpid()}"
    try:
        if out.exists() or out.is_symlink():
            raise _exists(out)
        if not out.parent.is_dir():
            raise StoreError(
                out,
                found=f"no folder {out.parent}",
                expected="an existing folder to write to",
                remedy="Create it first.",
            )
        for left in out.parent.glob(f"{glob.escape(owner)}*"):
            # digits only: what begins like this host's name may be of another, as "node-2" is not "node"
            number = left.name.removeprefix(owner)
            if number.isdigit() and not _alive(int(number)):
                shutil.rmtree(left, ignore_errors=True)
        hidden.mkdir()  # before anything is read, so that a folder that cannot be written is told at once
    except OSError as error:
        raise _explain(out, error) from error
    try:
        yield hidden
        if out.exists():
            raise _exists(out)
        hidden.rename(out)
    except OSError as error:
        if error.errno in _FULL or str(hidden) in (error.filename, error.filename2):
            raise _explain(out, error) from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _explain(out: Path, error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreError(
            out,
            found=f"no room ({error.strerror})",
            expected="space on the disk for the whole of it",
            remedy="Make room, or choose another disk for --out.",
        )
    return StoreError(
        out,
        found=f"a folder or name that cannot be written ({error.strerror})",
        expected="leave to write it",
        remedy="Choose another name for --out.",
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
