"""A store to a disk: files grow hidden beside its name, which the whole gets at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mfdstore.places.files import LocalFiles
from mfdstore.publish import resumed
from mfdstore.transfer.listing import Listing
from mfdstore.transfer.side import side_by_side


def download(
    source: Listing, out: Path, on_progress: Callable[[int, int], None], *, damaged: bool = False
) -> tuple[int, list[str]]:
    """Copy all files of a store to a directory.

    A copy that broke off is gone on with by the next call; what it had is held against the source's manifest.

    Parameters
    ----------
    source
        Of the store; each file is held against it when it comes.
    out
        Name to publish it under.
    on_progress
        Called with files done and their number.
    damaged
        Take files that are damaged as they are, and do without those that are missing.

    Returns
    -------
    How many files were there already, and what is wrong with those that are damaged.

    Raises
    ------
    StoreError
        If `out` exists or cannot be written, or a file is damaged.
    RemoteError
        If the server fails; then what came stays.
    """
    reused: list[str] = []
    faults: list[str] = []
    with resumed(out, "copying") as folder:
        target = folder / "store"
        target.mkdir(exist_ok=True)
        have = set(LocalFiles(target).names())
        for name in have - set(source.names):
            (target / name).unlink()  # begun, or of what was at the address before

        def fetch(name: str) -> None:
            if name in have and source.knows(name):
                content: bytes | None = (target / name).read_bytes()
                if content is not None and source.find_fault(name, content) is None:
                    reused.append(name)
                    return
            if not damaged:
                content = source.read(name)
            else:
                content, fault = source.take(name)
                if fault is not None:
                    faults.append(f"{name}: {fault}")
            if content is not None:
                _write(target / name, content)

        side_by_side(fetch, source.names, lambda done: on_progress(done, len(source.names)))
        for left in target.rglob("*"):
            if left.is_dir() and not any(left.iterdir()):
                left.rmdir()
    return len(reused), sorted(faults)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    beside.write_bytes(content)
    beside.replace(path)
