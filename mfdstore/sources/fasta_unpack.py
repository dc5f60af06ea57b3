"""Gzip FASTA files without blocks: unpacked once, in one stream, to bases that can be read from any place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from gzip import GzipFile
from itertools import pairwise
from pathlib import Path
from typing import IO, Final

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from mfdstore.errors import FULL_DISK, SourceError
from mfdstore.sources.fasta_lines import pack_bases, take_bases
from mfdstore.sources.fasta_text import DAMAGE, SCAN_BYTES, add_name, check_first_line, damaged

_AHEAD: Final = 4
"""Pieces that are unpacked before they are asked for: at first, while the loops below are loaded."""


def _read_ahead(file: IO[bytes] | GzipFile) -> Iterator[bytes]:
    """Read piece by piece; while one is used, the next ones are unpacked."""
    with ThreadPoolExecutor(1) as reader:
        waiting = deque(reader.submit(file.read, SCAN_BYTES) for _ in range(_AHEAD))
        try:
            while piece := waiting.popleft().result():
                waiting.append(reader.submit(file.read, SCAN_BYTES))
                yield piece
        finally:
            for left in waiting:
                left.cancel()


class _WriteBehind:
    """Writes in a thread of its own, one piece while the next is made."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer = ThreadPoolExecutor(1)
        self._waiting: Future[int] | None = None

    def __enter__(self) -> _WriteBehind:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.shutdown()
        if self._waiting is not None and exception[0] is None:
            self._waiting.result()

    def write(self, content: memoryview) -> None:
        """Write content, which stays as it is until the next call; raises what went wrong with the one before."""
        if self._waiting is not None:
            self._waiting.result()
        self._waiting = self._writer.submit(self._file.write, content)


class _Bases:
    """Bases on their way into a file, packed two a byte; an odd one waits for the next."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = _WriteBehind(file)
        self._letters = np.zeros(2, np.uint8)
        # one is filled while the other is written
        self._packed = [np.empty(0, np.uint8), np.empty(0, np.uint8)]
        self._n_waiting = 0
        self.n_before = 0
        """Bases that were given before the ones at hand."""

    def __enter__(self) -> _Bases:
        self._file.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if exception[0] is None and self._n_waiting:
                self._letters[1] = ord("N")
                self._send(2)
        finally:
            self._file.__exit__(*exception)

    def room(self, n_bases: int) -> tuple[NDArray[np.uint8], int]:
        """Give letters to fill in with as many bases, and where to begin."""
        if len(self._letters) < n_bases + 2:
            letters = np.empty(n_bases + 2, np.uint8)
            letters[:1] = self._letters[:1]
            self._letters = letters
        return self._letters, self._n_waiting

    def take(self, filled: int) -> None:
        """Send what was filled in."""
        self.n_before += filled - self._n_waiting
        self._n_waiting = filled % 2
        self._send(filled - self._n_waiting)
        self._letters[0] = self._letters[max(0, filled - 1)]

    def _send(self, n_letters: int) -> None:
        self._packed.reverse()
        if len(self._packed[0]) < n_letters // 2:
            self._packed[0] = np.empty(n_letters // 2, np.uint8)
        packed = self._packed[0][: n_letters // 2]
        pack_bases(self._letters[:n_letters], packed)
        self._file.write(packed.data)


def unpack(path: Path, unpacked: Path) -> dict[str, tuple[int, int]]:
    """Write the bases of a gzip file one after another, without headers and line ends, as `pack_bases` packs them.

    Returns
    -------
    Where the bases of each sequence begin among all, and where they end.

    Raises
    ------
    SourceError
        If the file is truncated, damaged, or not FASTA.
    """
    names: dict[str, int] = {}
    bounds: list[int] = []
    line, at_start, rest = 1, True, b""
    try:
        with igzip.open(path, "rb") as packed, unpacked.open("wb") as file, _Bases(file) as bases:
            for piece in _read_ahead(packed):
                if not names:
                    check_first_line(path, rest + piece)
                text = rest + piece if rest else piece
                # the two signs of a line's end stay together
                held = b"\r" if text.endswith(b"\r") else b""
                text = text[: len(text) - len(held)]
                signs = np.frombuffer(text, np.uint8)
                letters, begun = bases.room(len(text))
                at, filled = 0, begun
                while at < len(text):
                    if at_start and text[at : at + 1] == b">":
                        end = text.find(b"\n", at)
                        if end < 0:
                            break  # the header goes on in the next piece
                        add_name(path, names, text[at + 1 : end], line)
                        bounds.append(bases.n_before + filled - begun)
                        line, at = line + 1, end + 1
                    at, filled, n_lines, at_start = take_bases(signs, at, at_start, letters, filled)
                    line += n_lines
                rest = text[at:] + held
                bases.take(filled)
            rest = rest.removesuffix(b"\r")
            if rest:
                add_name(path, names, rest[1:], line)
                bounds.append(bases.n_before)
            written = bases.n_before
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        raise damaged(path, f"a gzip file that breaks off or is damaged ({error})") from error
    if not names:
        raise SourceError(path, found="an empty file", expected="a FASTA file", remedy="Download it again.")
    spans = dict(zip(names, pairwise([*bounds, written]), strict=True))
    for name, (begin, end) in spans.items():
        if begin == end:
            raise damaged(path, f"sequence {name} without a base", names[name])
    return spans
