"""Reference genomes: plain, gzip or BGZF FASTA, whatever its case and letters.

Plain and BGZF files are read by pysam through an index, which is made when it is missing: beside the FASTA,
or in a folder for the time of reading where that folder cannot be written. Plain gzip cannot be indexed; it
is read from front to back.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import pysam
from pysam.utils import SamtoolsError

from mfdstore.errors import SourceError

GZIP_MAGIC: Final = b"\x1f\x8b"
_BGZF_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every whole BGZF file."""


class Fasta(Protocol):
    """Sequences of one open FASTA file."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length in bp of each sequence, by its name in the file, in the file's order."""
        ...

    def bases(self, name: str) -> bytes:
        """Read one whole sequence as ASCII letters."""
        ...


class _IndexedFasta:
    def __init__(self, path: Path, handle: pysam.FastaFile) -> None:
        self._path = path
        self._handle = handle
        self.sizes: Mapping[str, int] = dict(zip(handle.references, handle.lengths, strict=True))

    def bases(self, name: str) -> bytes:
        try:
            bases: bytes = self._handle.fetch(name).encode("ascii")
        except (OSError, ValueError, UnicodeEncodeError) as error:
            raise _damaged(self._path, f"sequence {name} that cannot be read ({error})") from error
        if len(bases) != self.sizes[name]:
            raise _damaged(
                self._path, f"{len(bases):,} bp of {name}, while its index says {self.sizes[name]:,}"
            )
        return bases


class _ScannedFasta:
    """A gzip file without blocks, held in memory: 1 byte a base."""

    def __init__(self, sequences: dict[str, bytes]) -> None:
        self._sequences = sequences
        self.sizes: Mapping[str, int] = {name: len(bases) for name, bases in sequences.items()}

    def bases(self, name: str) -> bytes:
        return self._sequences[name]


@contextmanager
def open_fasta(path: Path) -> Iterator[Fasta]:
    """Open a FASTA file for reading whole sequences.

    Parameters
    ----------
    path
        Plain, gzip or BGZF; told apart by content, not by name.

    Raises
    ------
    SourceError
        If the file is missing, empty, truncated, or not FASTA.
    """
    head = _read_head(path)
    if not head.startswith(GZIP_MAGIC):
        _check_first_line(path, head)
        with _indexed(path) as handle:
            yield _IndexedFasta(path, handle)
    elif _is_bgzf(head):
        with path.open("rb") as raw:
            raw.seek(-min(len(_BGZF_END), path.stat().st_size), os.SEEK_END)
            if raw.read() != _BGZF_END:
                raise _damaged(path, "a BGZF file without its closing block: it is truncated")
        with gzip.open(path, "rb") as start:
            _check_first_line(path, start.read(4096))
        with _indexed(path) as handle:
            yield _IndexedFasta(path, handle)
    else:
        yield _ScannedFasta(_scan(path))


def _read_head(path: Path) -> bytes:
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


def _is_bgzf(head: bytes) -> bool:
    """Say whether a gzip member carries the extra field ``BC`` of a BGZF block."""
    return len(head) >= 16 and head[3] & 4 != 0 and head[12:14] == b"BC"


def _check_first_line(path: Path, text: bytes) -> None:
    first = text.lstrip().split(b"\n", 1)[0]
    if not first.startswith((b">", b";")):
        raise SourceError(
            path,
            line=1,
            found=repr(first[:40].decode("ascii", "replace")),
            expected="a line that starts with '>'",
            remedy="Give --fasta a FASTA file; 2bit and GenBank files must be converted first.",
        )


def _damaged(path: Path, found: str) -> SourceError:
    return SourceError(
        path,
        found=found,
        expected="a whole FASTA file",
        remedy="Download it again; remove a .fai or .gzi beside it that belongs to another file.",
    )


@contextmanager
def _indexed(path: Path) -> Iterator[pysam.FastaFile]:
    """Open with pysam; an index that is missing or older than the file is made anew."""
    with tempfile.TemporaryDirectory(prefix="mfd-fai-") as scratch:
        fai, gzi = Path(f"{path}.fai"), Path(f"{path}.gzi")
        if not _fresh(path, fai) or (_is_bgzf(_read_head(path)) and not _fresh(path, gzi)):
            made_fai, made_gzi = Path(scratch, "index.fai"), Path(scratch, "index.gzi")
            try:
                pysam.faidx(str(path), "--fai-idx", str(made_fai), "--gzi-idx", str(made_gzi))
            except SamtoolsError as error:
                reason = str(error).strip().splitlines()[-1]
                raise _damaged(path, f"text that cannot be indexed ({reason})") from error
            fai = _settle(made_fai, fai)
            gzi = _settle(made_gzi, gzi) if made_gzi.exists() else gzi
        try:
            handle = pysam.FastaFile(str(path), filepath_index=str(fai), filepath_index_compressed=str(gzi))
        except (OSError, ValueError) as error:
            raise _damaged(path, f"a file that cannot be opened ({error})") from error
        with handle:
            if not handle.references:
                raise _damaged(path, "no sequence")
            yield handle


def _fresh(path: Path, index: Path) -> bool:
    return index.exists() and index.stat().st_mtime >= path.stat().st_mtime


def _settle(made: Path, wanted: Path) -> Path:
    """Move a new index beside the FASTA; leave it where it is if that folder cannot be written."""
    beside = wanted.with_name(f".{wanted.name}.{os.getpid()}")
    try:
        shutil.copyfile(made, beside)
        beside.replace(wanted)
    except OSError:
        beside.unlink(missing_ok=True)
        return made
    return wanted


def _scan(path: Path) -> dict[str, bytes]:
    sequences: dict[str, bytearray] = {}
    current: bytearray | None = None
    try:
        with gzip.open(path, "rb") as handle:
            for number, line in enumerate(handle, start=1):
                if line.startswith(b">"):
                    if number == 1:
                        _check_first_line(path, line)
                    name = line[1:].split()[0].decode("ascii", "replace") if line[1:].split() else ""
                    if not name or name in sequences:
                        raise SourceError(
                            path,
                            line=number,
                            found=f"sequence name {name!r}" + (" a second time" if name else ""),
                            expected="one name for each sequence",
                            remedy="Rename or remove it.",
                        )
                    current = sequences[name] = bytearray()
                elif current is None:
                    _check_first_line(path, line)
                else:
                    current += line.rstrip()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"a gzip file that breaks off ({error})") from error
    return {name: bytes(bases) for name, bases in sequences.items()}
