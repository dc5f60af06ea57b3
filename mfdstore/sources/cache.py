"""The cache of downloads: a folder of the user's, held by one process at a time, kept by pooch."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pooch

from mfdstore.places.address import here
from mfdstore.sources.downloads import OnBytes, Wanted, download
from mfdstore.sources.web import Web

log = logging.getLogger(__name__)

CACHE_VARIABLE: Final = "MFD_CACHE"
LOCK: Final = ".lock"
"""File by which a folder is held."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes that fetch into it; waits while one of them holds it.

    The lock ends with the process, however that ends. It needs a file system with locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("%s: another process fetches into it; waiting for its end", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def cache_folder(given: Path | None = None) -> Path:
    """Choose the cache: the one given, that of the variable MFD_CACHE, or the user's own of this system.

    Raises
    ------
    ConfigError
        If it is an address.
    """
    named = given or os.environ.get(CACHE_VARIABLE)
    return here("--cache", named).expanduser() if named else Path(pooch.os_cache("mfd"))


def cached(
    web: Web, wanted: Wanted, on_bytes: OnBytes = lambda done, total: None, *, refresh: bool = False
) -> Path:
    """Give a file of the cache, downloaded if it is not there or not what it should be.

    The caller holds its folder.

    Parameters
    ----------
    web
        The client.
    wanted
        The file; its folder is the cache's.
    on_bytes
        Told how the download goes on.
    refresh
        Download it even if it is there.

    Raises
    ------
    DownloadError
        See `download`.
    """

    def fetch(address: str, output: str, _: object) -> None:
        # pooch makes an empty file of a passing name, which a killed process would leave behind; ours has a name
        # that the next process finds again
        Path(output).unlink(missing_ok=True)
        download(web, wanted, on_bytes)
        try:
            os.link(wanted.path, output)
        except OSError:  # a file system without links
            wanted.path.rename(output)

    if refresh:
        wanted.path.unlink(missing_ok=True)
    files = pooch.create(
        path=wanted.path.parent,
        base_url="",
        registry={wanted.path.name: wanted.digest},
        urls={wanted.path.name: wanted.address},
    )
    log_of_pooch = pooch.get_logger()
    level = log_of_pooch.level
    log_of_pooch.setLevel(logging.WARNING)  # it writes to stderr of its own accord
    try:
        return Path(files.fetch(wanted.path.name, downloader=fetch))
    finally:
        log_of_pooch.setLevel(level)
