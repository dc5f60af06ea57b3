"""Errors that a user can mend: each says where, what was found, what was expected and what to do."""

from __future__ import annotations

import errno
import re
from pathlib import PurePath
from typing import Final

FULL_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the system's errors that say that there is no room."""

_KEYS: Final = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*:/{1,2})[^\s'\"]*@")
_SIGNATURE: Final = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*:/{1,2}[^\s'\"?#]*)[?#][^\s'\"]*")
_LOST_SLASH: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/(?!/)")


def without_keys(text: str) -> str:
    """Leave out of addresses what may be secret: all before an ``@``, and what is behind a ``?`` or ``#``."""
    return _SIGNATURE.sub(r"\1?...", _KEYS.sub(r"\1...@", text))


class MfdError(Exception):
    """A fault of the input, not of the program; the commands print it as a sentence and exit with 1.

    Parameters
    ----------
    where
        The file, store, option or name at fault; its text is what is told.
    found
        What was met there.
    expected
        What should have been there.
    remedy
        What the user can do now.
    line
        Line of a text file, counted from 1, where there is one.
    """

    def __init__(
        self,
        where: object,
        *,
        found: str,
        expected: str,
        remedy: str,
        line: int | None = None,
    ) -> None:
        # a path may be an address with keys, typed where none is taken; a path has lost one of its slashes
        text = str(where)
        if isinstance(where, PurePath) or _LOST_SLASH.match(text):
            text = without_keys(text)
        elif isinstance(where, str):
            text = _KEYS.sub(r"\1...@", text)  # what is asked of the portal stands behind a ?
        self.where = text
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.line = line
        place = self.where if line is None else f"{self.where}, line {line}"
        super().__init__(f"{place}: found {found}; expected {expected}. {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when the error crosses a process boundary."""
        return _rebuild, (type(self), self.where, self.found, self.expected, self.remedy, self.line)


def _rebuild(
    kind: type[MfdError], where: str, found: str, expected: str, remedy: str, line: int | None
) -> MfdError:
    return kind(where, found=found, expected=expected, remedy=remedy, line=line)


class SourceError(MfdError):
    """A source file (FASTA, BED, metadata, ...) cannot be used as it is."""


class StoreError(MfdError):
    """A store is missing, damaged, of another version, or lacks what was asked of it."""


class RemoteError(StoreError):
    """A store elsewhere could not be reached, read or written now; what is there may be whole all the same."""


class ConfigError(MfdError):
    """An option or a configuration file asks for what cannot be done."""


class CrewError(MfdError):
    """Who should do the work is gone or never came; what was done before stays where it is."""


class RunError(MfdError):
    """A run folder or checkpoint is missing, damaged or belongs to another store."""


class DivergedError(RunError):
    """A training came to numbers that are none."""


class DownloadError(MfdError):
    """What was asked of a server did not come, or not as it should be.

    Attributes
    ----------
    status
        The HTTP status that ended it; `None` where it was none.
    """

    status: int | None = None
