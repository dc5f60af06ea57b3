"""Copies a store from one place to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mfdstore.errors import ConfigError, RemoteError, StoreError
from mfdstore.places.address import Address, AnyPlace, Place, find_place
from mfdstore.places.files import open_files
from mfdstore.publish import check_free
from mfdstore.store import Store
from mfdstore.transfer.download import download
from mfdstore.transfer.listing import ROOT, Listing
from mfdstore.transfer.upload import check_free_for, open_target, upload

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class CopyReport:
    """What was copied.

    Parameters
    ----------
    path
        Of the copy.
    digest
        Of the store; empty where a damaged one does not tell.
    n_files
        Of the store.
    n_there
        Of these, files that an earlier copy that broke off had brought already.
    damaged
        Files that are not as they were written, and what is wrong with them; only of a copy that was asked for so.
    """

    path: Place
    digest: str
    n_files: int
    n_there: int
    damaged: tuple[str, ...] = ()


def copy_store(
    source: AnyPlace,
    target: AnyPlace,
    on_progress: Progress = lambda what, done, total: None,
    *,
    damaged: bool = False,
) -> CopyReport:
    """Copy a store: to a disk, or to S3; from a disk, S3 or HTTP.

    Every file is held against the manifest on the way, and nothing appears under the new name until the copy is whole.
    A copy that broke off is gone on with by the same call.

    Parameters
    ----------
    source, target
        Paths or addresses.
    on_progress
        Told how many files are done.
    damaged
        Copy a damaged store as it is, to a disk, to be repaired there.

    Raises
    ------
    ConfigError
        If `damaged` is asked for and the target is no disk.
    StoreError
        If there is no store, a file of it is damaged, or the target exists or cannot be written.
    RemoteError
        If a server fails.
    """
    there, out = find_place(source), find_place(target)
    if damaged and isinstance(out, Address):
        raise ConfigError(
            "--damaged",
            found=str(out),
            expected="a path: only on disk is a store repaired",
            remedy="Copy it to disk, repair it, then copy it to its address.",
        )
    remote = open_target(out) if isinstance(out, Address) else None
    if remote is not None:
        check_free_for(remote)
    elif isinstance(out, Path):
        check_free(out)
    digest = _digest_of(there, damaged=damaged)
    listing = Listing(open_files(there), damaged=damaged)
    if not damaged and digest.encode() not in listing.read(ROOT):
        raise StoreError(
            there,
            found="another store, which has taken the name since",
            expected=f"digest {digest[:12]}, that of the store which was opened",
            remedy="Run it again, when whoever replaces it is done.",
        )

    def tell(done: int, total: int) -> None:
        on_progress("files", done, total)

    faults: list[str] = []
    if remote is not None:
        n_there = upload(listing, remote, tell)
    else:
        assert isinstance(out, Path)
        n_there, faults = download(listing, out, tell, damaged=damaged)
    return CopyReport(out, digest, len(listing.names), n_there, tuple(faults))


def _digest_of(place: Place, *, damaged: bool) -> str:
    """Open the store, for what is none should be told before anything is copied."""
    try:
        return Store(place).digest
    except RemoteError:
        raise
    except StoreError:
        if damaged:
            return ""
        raise
