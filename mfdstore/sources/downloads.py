"""Files from the web: resumed where they broke off, checked by length and digest, then given their name.

A file grows as ``.NAME.part`` beside its name. Killed at any moment, the next run goes on from there if the server can
(Range and If-Range), and from the start if it cannot. Whoever writes into a folder holds it by `cache.held`, so that
two processes do not write to one part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from mfdstore.errors import ConfigError, DownloadError
from mfdstore.sources.web import Stumble, Web

LARGEST_FILE: Final = 1 << 36
"""Bytes that no file may exceed whose length is not known: a server that never ends would fill the disk."""
_LENGTHS: Final = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

OnBytes = Callable[[int, int], None]
"""Told how many bytes are there, and how many there will be; 0 if that is not known."""


@dataclass(frozen=True)
class Wanted:
    """A file to have.

    Parameters
    ----------
    address
        Where it is.
    path
        Where it shall be.
    digest
        ``md5:...`` or ``sha256:...``; `None` if none is known.
    size
        In bytes, if known.
    source
        Who says so, for messages: ``the metadata``.
    """

    address: str
    path: Path
    digest: str | None = None
    size: int | None = None
    source: str = "its source"


def check_name(name: str) -> str:
    """Refuse a name that is not one plain file in its folder; give it back otherwise.

    Raises
    ------
    DownloadError
        If it holds a separator or whatever else is unusual.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise DownloadError(
            repr(name[:200]),
            found="a name unfit for a file",
            expected="letters, digits, '_', '-' and '.' only",
            remedy="Correct it.",
        )
    return name


def check_digest(digest: str) -> str:
    """Bring a digest into the form ``md5:0123...``; without a kind, its length tells the kind.

    Raises
    ------
    ConfigError
        If it is no digest.

    >>> check_digest("0CC175B9C0F1B6A831C399E269772661")
    'md5:0cc175b9c0f1b6a831c399e269772661'
    """
    kind, _, value = digest.strip().lower().rpartition(":")
    kinds = [kind] if kind else [name for name, length in _LENGTHS.items() if length == len(value)]
    if not kinds or _LENGTHS.get(kinds[0]) != len(value) or not re.fullmatch("[0-9a-f]+", value):
        raise ConfigError(
            "--digest",
            found=repr(digest[:150]),
            expected=f"{', '.join(_LENGTHS)}, a colon and hexadecimal digits",
            remedy="Copy it from where the file is published.",
        )
    return f"{kinds[0]}:{value}"


def digest_file(path: Path, kind: str) -> str:
    """Digest a file as ``kind:hexadecimal``."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, lambda: hashlib.new(kind, usedforsecurity=False))
    return f"{kind}:{digest.hexdigest()}"


def is_whole(wanted: Wanted) -> bool:
    """Say whether a file is there and is what is wanted, as far as its size and digest are known."""
    if not wanted.path.is_file():
        return False
    if wanted.size is not None and wanted.path.stat().st_size != wanted.size:
        return False
    return wanted.digest is None or digest_file(wanted.path, wanted.digest.partition(":")[0]) == wanted.digest


def download(web: Web, wanted: Wanted, on_bytes: OnBytes = lambda done, total: None) -> None:
    """Get a file, whatever is under its name already.

    Raises
    ------
    DownloadError
        If it does not come, or comes twice otherwise than it should be.
    OSError
        If it cannot be written; names the file.
    """
    check_name(wanted.path.name)
    part = _Part(wanted)
    differing = 0

    def attempt() -> None:
        nonlocal differing
        part.fill(web, on_bytes)
        found = part.fault()
        if found is not None:
            part.discard()
            differing += 1
            if differing > 1:  # once may be an accident on the way, or a part of another file
                raise DownloadError(
                    wanted.address,
                    found=found,
                    expected=f"{wanted.digest or f'{wanted.size:,} bytes'}, as {wanted.source} says",
                    remedy="It may have been replaced there: get the tables or the digest anew.",
                )
            raise Stumble(found, pause=0)

    web.persist(wanted.address, attempt, part.size)
    part.publish()


class _Part:
    """The file ``.NAME.part`` and, beside it, what the server called the version that it is a part of."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._path = wanted.path.with_name(f".{wanted.path.name}.part")
        self._version = wanted.path.with_name(f".{wanted.path.name}.part.version")

    def size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def publish(self) -> None:
        self._path.replace(self._wanted.path)
        self._version.unlink(missing_ok=True)

    def fault(self) -> str | None:
        """Say what is wrong with a part that should be the whole."""
        wanted = self._wanted
        if wanted.size is not None and self.size() != wanted.size:
            return f"{self.size():,} bytes"
        if wanted.digest is not None:
            digest = digest_file(self._path, wanted.digest.partition(":")[0])
            if digest != wanted.digest:
                return f"{digest.replace(':', ' ')} ({self.size():,} bytes)"
        return None

    def fill(self, web: Web, on_bytes: OnBytes) -> None:
        """Ask for what is lacking and write it."""
        wanted, have = self._wanted, self.size()
        if wanted.size is not None and have >= wanted.size:
            if have == wanted.size and wanted.digest is not None:
                return  # killed between its last byte and its name
            self.discard()
            have = 0
        headers = self._resuming(have)
        have = have if headers else 0
        with web.open(wanted.address, headers, accepted=(200, 206, 416)) as response:
            begin, total = _content_range(response)
            if response.status_code == 416:
                if not headers or total != have:
                    self.discard()
                    raise Stumble(f"{response.status_code} {response.reason}", pause=0)
                return
            if response.status_code == 206 and (not headers or begin != have):
                self.discard()
                raise Stumble(f"another part than was asked for ({response.headers.get('Content-Range')})", 0)
            if response.status_code == 200:
                have = 0
                total = _number(response.headers.get("Content-Length"))
                self._note_version(response)
            most = wanted.size or total or LARGEST_FILE
            on_bytes(have, wanted.size or total or 0)
            with _naming(self._path), self._path.open("ab" if have else "wb") as handle:
                for block in web.blocks(response, decode=False):
                    have += len(block)
                    if have > most:
                        break
                    handle.write(block)
                    handle.flush()  # what came is not lost if this process is killed
                    on_bytes(have, wanted.size or total or 0)
            if have > most:
                self.discard()
                raise DownloadError(
                    wanted.address,
                    found=f"more than {most:,} bytes",
                    expected=f"{most:,} bytes"
                    + (f", as {wanted.source} says" if wanted.size else " at the most"),
                    remedy="It may have been replaced there: get the tables or the digest anew.",
                )
            if total is not None and have < total:
                raise Stumble(f"an answer that breaks off after {have:,} of {total:,} bytes")

    def _resuming(self, have: int) -> dict[str, str]:
        """Give the headers that ask for the rest of the same version; empty if it cannot be told to be the same."""
        if not have:
            return {}
        headers = {"Range": f"bytes={have}-"}
        known = self._version.read_text().splitlines() if self._version.is_file() else []
        if len(known) == 2 and known[0] == self._wanted.address:
            return headers | {"If-Range": known[1]}
        # what is put together of two versions would be found out by its digest, but only by that
        return headers if self._wanted.digest is not None else {}

    def _note_version(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        if not tag.startswith('"'):  # a weak one (W/) says that the meaning is the same, not the bytes
            tag = response.headers.get("Last-Modified", "")
        with _naming(self._version):
            if tag:
                self._version.write_text(f"{self._wanted.address}\n{tag}\n")
            else:
                self._version.unlink(missing_ok=True)


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return (_number(match[1]), _number(match[2])) if match else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make an `OSError` of writing name its file: a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def download_all(
    web: Web, wanted: Sequence[Wanted], *, jobs: int, on_progress: Callable[[int, int], None]
) -> list[DownloadError]:
    """Get files side by side.

    Parameters
    ----------
    web
        The client; stopped if anything but a server's fault ends this.
    wanted
        Of different paths.
    jobs
        How many at a time.
    on_progress
        Called with the files done and their number.

    Returns
    -------
    The faults of the files that could not be had; the others are there nevertheless.

    Raises
    ------
    OSError
        If one cannot be written: then no others are tried.
    """
    faults: list[DownloadError] = []
    on_progress(0, len(wanted))
    with ThreadPoolExecutor(jobs, thread_name_prefix="download") as pool:
        futures = [pool.submit(download, web, one) for one in wanted]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                error = future.exception()
                if isinstance(error, DownloadError):
                    faults.append(error)
                elif error is not None:
                    raise error
                on_progress(done, len(wanted))
        except BaseException:
            web.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return faults
