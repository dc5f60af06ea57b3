"""Whether an index (.fai) is that of the FASTA file beside it.

An index made of another file, of an older state of this one, or cut off, would drop sequences or cut them out in the
wrong places. Its entries say where each sequence lies, so what lies between them must be exactly the headers that it
names: to check this, only those bytes are read.
"""

from __future__ import annotations

import bisect
import struct
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

_READ_BYTES: Final = 65_536
_LONGEST_HEADER: Final = 65_536

_ReadAt: TypeAlias = Callable[[int, int], bytes]
"""Reads so many bytes of the text from an offset in it; fewer where it ends."""


@dataclass(frozen=True)
class _Entry:
    """A line of an index: a name, and where its bases lie in the text."""

    name: bytes
    length: int
    offset: int
    line_bases: int
    line_bytes: int

    @property
    def end(self) -> int:
        """Offset behind the last base."""
        full_lines, rest = divmod(self.length, self.line_bases)
        return self.offset + full_lines * self.line_bytes + (rest or self.line_bases - self.line_bytes)


def index_fits(path: Path, fai: Path, gzi: Path | None) -> bool:
    """Say whether an index names every sequence of a FASTA file, where it is.

    Parameters
    ----------
    path
        Of the FASTA file, plain or BGZF.
    fai
        The index.
    gzi
        Of the blocks, where the file is BGZF.
    """
    try:
        entries = sorted(_read_entries(fai), key=lambda entry: entry.offset)
        if not entries:
            return False
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            read_at = _text_of(raw) if gzi is None else _text_of_blocks(raw, gzi)
            end = 0
            for entry in entries:
                gap = entry.offset - end
                if not 0 < gap <= _LONGEST_HEADER or entry.length < 1:
                    return False
                between = read_at(end, gap)
                header = between.strip(b"\r\n")
                words = header[1:].split()
                if not between.endswith(b"\n") or b"\n" in header or not header.startswith(b">"):
                    return False
                if not words or words[0] != entry.name:
                    return False
                end = entry.end
            return not read_at(end, _LONGEST_HEADER).strip()
    except (OSError, ValueError, IndexError, zlib.error, struct.error):
        return False


def _read_entries(fai: Path) -> list[_Entry]:
    entries = []
    for line in fai.read_bytes().splitlines():
        name, *numbers = line.split(b"\t")
        length, offset, line_bases, line_bytes = map(int, numbers)
        if not 0 < line_bases <= line_bytes:
            raise ValueError(f"lines of {line_bases} bases in {line_bytes} bytes")
        entries.append(_Entry(name, length, offset, line_bases, line_bytes))
    return entries


def _text_of(raw: BinaryIO) -> _ReadAt:
    def read_at(offset: int, size: int) -> bytes:
        raw.seek(offset)
        return raw.read(size)

    return read_at


def _text_of_blocks(raw: BinaryIO, gzi: Path) -> _ReadAt:
    """Read by the index of blocks: pairs of where a block begins, in the file and in its text."""
    packed = gzi.read_bytes()
    (n_blocks,) = struct.unpack_from("<Q", packed)
    if len(packed) != 8 + 16 * n_blocks:
        raise ValueError(f"{len(packed)} bytes for {n_blocks} blocks")
    blocks = [(0, 0), *struct.iter_unpack("<QQ", packed[8:])]
    begins = [begin for _, begin in blocks]

    def read_at(offset: int, size: int) -> bytes:
        place, begin = blocks[bisect.bisect_right(begins, offset) - 1]
        raw.seek(place)
        wanted = offset - begin + size
        text, rest = b"", b""
        while len(text) < wanted and (rest or (rest := raw.read(_READ_BYTES))):
            block = zlib.decompressobj(zlib.MAX_WBITS | 16)
            text += block.decompress(rest)
            while not block.eof:
                more = raw.read(_READ_BYTES)
                if not more:
                    raise ValueError("a block that breaks off")
                text += block.decompress(more)
            rest = block.unused_data
        return text[offset - begin : wanted]

    return read_at
