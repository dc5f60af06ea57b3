"""Gives what was written its name only when it is whole.

A directory grows hidden beside its final name and is renamed at the end, so a program that is killed leaves
nothing under that name. What it leaves hidden is removed by the next one of the same machine that wants the name.
"""

from __future__ import annotations

import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfdstore.errors import StoreError


@contextmanager
def published(out: Path) -> Iterator[Path]:
    """Give a hidden name beside `out` to fill; it becomes `out` on success and is removed on failure.

    Yields
    ------
    Path of a directory that does not exist yet.

    Raises
    ------
    StoreError
        If `out` exists, before or by the time all is written, or its folder does not exist.
    """
    if out.exists() or out.is_symlink():
        raise _exists(out)
    if not out.parent.is_dir():
        raise StoreError(
            out,
            found=f"no folder {out.parent}",
            expected="an existing folder to write to",
            remedy="Create it first.",
        )
    owner = f".{out.name}.writing-{socket.gethostname()}-"
    for left in out.parent.glob(f"{glob.escape(owner)}*"):
        number = left.name.rpartition("-")[2]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    hidden = out.parent / f"{owner}{os.getpid()}"
    try:
        yield hidden
        if out.exists():
            raise _exists(out)
        hidden.rename(out)
    except PermissionError as error:
        raise StoreError(
            out,
            found=f"a folder that cannot be written ({error.strerror})",
            expected="leave to write",
            remedy="Choose another name for --out.",
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _alive(process: int) -> bool:
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
