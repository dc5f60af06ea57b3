"""The text of FASTA files, plain or compressed: its first line, its headers, its bases, and its faults."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import IO, Any, Final

from isal import igzip, isal_zlib

from mfdstore.errors import SourceError

GZIP_MAGIC: Final = b"\x1f\x8b"
SCAN_BYTES: Final = 1 << 24
"""Read at a time; longer than any header line."""
_ISAL_DAMAGE: Any = isal_zlib.IsalError  # its stubs call it an instance
_CONTROL: Final = bytes([*range(9), 11, 12, *range(14, 32), 127])
"""Signs that no text holds."""
_BEYOND_ASCII: Final = re.compile(rb"(?:\A|\n)[^>\n][^\n]*?[\x80-\xff]")
"""In a sequence; a header may hold any letters."""
GZIP_DAMAGE: Final[tuple[type[Exception], ...]] = (gzip.BadGzipFile, EOFError, zlib.error, _ISAL_DAMAGE)
"""What a gzip file that is damaged or breaks off raises, and no other fault of a file does."""
DAMAGE: Final[tuple[type[Exception], ...]] = (OSError, *GZIP_DAMAGE)
"""What reading a gzip file that is damaged or breaks off raises."""


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file, which tell its kind.

    Raises
    ------
    SourceError
        If it cannot be read, or is empty.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise SourceError(
            path,
            found="a pipe or a device",
            expected="a FASTA file, which is read more than once",
            remedy="Write it to a file first.",
        )
    try:
        with path.open("rb") as handle:
            head = handle.read(4096)
    except OSError as error:
        raise SourceError(
            path,
            found=f"no readable file ({error.strerror})",
            expected="a FASTA file",
            remedy="Check the path given to --fasta.",
        ) from error
    if not head:
        raise SourceError(path, found="an empty file", expected="a FASTA file", remedy="Download it again.")
    return head


def is_bgzf(head: bytes) -> bool:
    """Say whether a gzip member carries the extra field ``BC`` of a BGZF block."""
    return len(head) >= 16 and head[3] & 4 != 0 and head[12:14] == b"BC"


def open_text(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Open a file for reading what it says, compressed or not."""
    if read_head(path).startswith(GZIP_MAGIC):
        return igzip.IGzipFile(path, "rb")
    return path.open("rb")


def check_first_line(path: Path, text: bytes) -> None:
    """Refuse text that does not begin with a header."""
    first = text.split(b"\n", 1)[0]
    if not first.startswith(b">"):
        raise SourceError(
            path,
            line=1,
            found=repr(first[:40].decode("ascii", "replace")),
            expected="a line that starts with '>'",
            remedy="Give --fasta a FASTA file; 2bit and GenBank files must be converted first.",
        )


def damaged(path: Path, found: str, line: int | None = None) -> SourceError:
    """Describe a file that is not whole."""
    return SourceError(
        path,
        line=line,
        found=found,
        expected="a whole FASTA file",
        remedy="Download it again; remove a .fai or .gzi beside it that belongs to another file.",
    )


def read_names(path: Path) -> dict[str, int]:
    """Read all names and the line of each, a large piece at a time."""
    names: dict[str, int] = {}
    line, rest = 1, b"\n"  # as if a line ended before the file, so that every header follows a line's end
    try:
        with open_text(path) as handle:
            while piece := handle.read(SCAN_BYTES):
                text, before = rest + piece, line
                at = text.find(b"\n>")
                done = 0
                while at >= 0 and (end := text.find(b"\n", at + 1)) >= 0:
                    line += text.count(b"\n", done, at)
                    add_name(path, names, text[at + 2 : end], line)
                    done, at = at, text.find(b"\n>", end)
                # keep what may be the beginning of a header; count the lines before it
                keep = at if at >= 0 else len(text) - 1
                _check_signs(path, text, before)
                line += text.count(b"\n", done, keep)
                rest = text[keep:]
            if rest.startswith(b"\n>"):
                add_name(path, names, rest[2:], line)
    except DAMAGE as error:
        raise damaged(path, f"a file that breaks off or is damaged ({error})") from error
    return names


def _check_signs(path: Path, text: bytes, line: int) -> None:
    """Refuse what htslib leaves out of a sequence without a word.

    Parameters
    ----------
    path
        For the message.
    text
        A piece that begins on a line, or with the end of the one before.
    line
        Which line that is.
    """
    at = -1
    if len(text.translate(None, _CONTROL)) != len(text):
        at = min(place for sign in _CONTROL if (place := text.find(sign)) >= 0)
    elif not text.isascii() and (strange := _BEYOND_ASCII.search(text)):
        at = strange.end() - 1
    if at >= 0:
        found = f"sign {text[at]:#04x}, which is no letter"
        raise damaged(path, found, line + text.count(b"\n", 0, at) - (1 if text.startswith(b"\n") else 0))


def add_name(path: Path, names: dict[str, int], header: bytes, line: int) -> None:
    """Note the name in a header line (without its ``>``); complain if there is none or it is known."""
    words = header.split()
    name = words[0].decode("utf-8", "replace") if words and not header[:1].isspace() else ""
    if "\ufffd" in name or not name.isprintable():
        raise SourceError(
            path,
            line=line,
            found=f"sequence name {name[:60]!r}, which is no text",
            expected="names in UTF-8 without control characters",
            remedy="Rename the sequence, or save the file as UTF-8.",
        )
    if not name or name in names:
        raise SourceError(
            path,
            line=line,
            found=f"sequence name {name!r} a second time" if name else "a sequence without a name",
            expected="one name for each sequence",
            remedy="Rename or remove it.",
        )
    names[name] = line


def find_fault(path: Path) -> SourceError:
    """Read line by line for what keeps a file from being indexed."""
    width = short = 0
    name = ""
    try:
        with open_text(path) as handle:
            for number, line in enumerate(handle, start=1):
                if line.startswith(b">"):
                    if name and not width:
                        return damaged(path, f"sequence {name} without a base", number - 1)
                    name, width, short = line[1:].split()[0].decode("utf-8", "replace"), 0, 0
                    continue
                length = len(line.rstrip())
                if (short and length) or (width and length > width):
                    return damaged(path, f"lines of different lengths in sequence {name}", short or number)
                width = width or length
                short = number if length < width else short
    except DAMAGE as error:
        return damaged(path, f"a file that breaks off or is damaged ({error})")
    if name and not width:
        return damaged(path, f"sequence {name} without a base", number)
    return damaged(path, "text that cannot be indexed")
