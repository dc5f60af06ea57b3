"""Addresses of stores: what a user types, checked before anything is asked of a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from mfdstore.errors import ConfigError, StoreError

Scheme = Literal["s3", "http", "https"]
EXPECTED: Final = "a path, s3://bucket/folder/x.zarr or https://host/folder/x.zarr"

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_LOST_SLASH: Final = re.compile(r"(s3|https?):/(?!/)", re.IGNORECASE)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_KEYS: Final = "Take the keys out of it: they are read from the environment alone (docs/remote.md)."


@dataclass(frozen=True)
class Address:
    """A checked address of a store; `find_place` makes it.

    Parameters
    ----------
    text
        As a user types it, without a slash at its end; it holds no credentials.
    """

    text: str

    def __str__(self) -> str:
        """Give the text, from which the same address can be made again."""
        return self.text

    @property
    def scheme(self) -> Scheme:
        """What speaks there."""
        if self.text.startswith("s3:"):
            return "s3"
        return "https" if self.text.startswith("https:") else "http"

    @property
    def bucket(self) -> str:
        """The bucket of an address on S3, the host of another."""
        return self.text.split("/", 3)[2]

    @property
    def key(self) -> str:
        """What stands behind the bucket or host."""
        return self.text.split("/", 3)[3] if self.text.count("/") > 2 else ""

    @property
    def name(self) -> str:
        """Name of the store, as that of a path."""
        return self.text.rsplit("/", 1)[-1]


Place: TypeAlias = Path | Address
AnyPlace: TypeAlias = str | Path | Address
"""What `find_place` takes."""


def find_place(given: AnyPlace) -> Place:
    """Tell whether a user means a path or an address, and check the address.

    Raises
    ------
    StoreError
        If it is an address of another kind, or one that holds keys, a query, or steps upwards.
    """
    if isinstance(given, Address):
        return given
    text = os.fspath(given)
    match = None if isinstance(given, Path) else _SCHEME.match(text)
    if match is None:
        path = Path(text)
        if _LOST_SLASH.match(text) and not path.exists():
            remedy = "Give the address as text, with two slashes."
            raise _refused(text, "an address that lost a slash, as one does that is made a path", remedy)
        return path
    scheme = match["scheme"].lower()
    rest = text[match.end() :].rstrip("/")
    if scheme not in ("s3", "http", "https"):
        raise _refused(text, f"an address that begins with {scheme}://", "Give one of these.")
    if "?" in rest or "#" in rest:
        raise _refused(text, "a query or fragment in it", _KEYS)
    if _CONTROL.search(rest):
        raise _refused(text, "a character that cannot be printed", "Correct the address.")
    host, _, key = rest.partition("/")
    if scheme == "s3":
        _check_s3(text, host, key)
    else:
        _check_http(text, f"{scheme}://{rest}")
    for segment in unquote(key).split("/") if key else ():
        if segment in ("", ".", ".."):
            raise _refused(text, f"{segment!r} between two slashes", "Write out the whole address.")
    return Address(f"{scheme}://{rest}")


def here(option: str, text: str | Path) -> Path:
    """Take the place that an option names if it is a path, for what writes to disk alone.

    Raises
    ------
    ConfigError
        If it is an address.
    """
    if _SCHEME.match(str(text)) or _LOST_SLASH.match(str(text)):
        raise ConfigError(
            option,
            found=f"the address {_shown(str(text))}",
            expected="a path: this is written to disk",
            remedy="Name a path; a store on disk is taken elsewhere by `mfdstore copy`.",
        )
    return Path(text)


def _check_s3(text: str, bucket: str, key: str) -> None:
    if "@" in text:
        raise _refused(text, "an @, behind which keys could stand", _KEYS)
    if not _BUCKET.fullmatch(bucket):
        raise _refused(text, "no name of a bucket behind s3://", "Correct the address.")
    if not key:
        raise _refused(text, "a bucket and nothing behind it", "Name the store within the bucket.")


def _check_http(text: str, address: str) -> None:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _refused(text, "a host or port that is none", "Correct the address.") from None
    if "@" in parts.netloc:
        raise _refused(text, "a user or password in it", _KEYS)
    if not host:
        raise _refused(text, "no host", "Correct the address.")


def _refused(text: str, found: str, remedy: str) -> StoreError:
    return StoreError(_shown(text), found=found, expected=EXPECTED, remedy=remedy)


def _shown(text: str) -> str:
    """Give as much of an address as holds no secret: nothing before an @ and nothing behind a ``?`` or ``#``."""
    scheme, behind, rest = text.partition(":")
    if "@" in rest:  # first, for a password may hold the other signs
        rest = f"//...@{rest.rsplit('@', 1)[1]}"
    rest = re.split(r"[?#]", rest)[0]
    return _CONTROL.sub("?", scheme + behind + rest)
