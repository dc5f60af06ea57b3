"""Reference genomes: plain, gzip or BGZF FASTA, whatever its case and letters.

Plain and BGZF files are read by pysam through an index, which is made when it is missing: beside the FASTA,
or in a folder for the time of reading where that folder cannot be written. Plain gzip cannot be indexed; it
is read from front to back. What htslib mends without a word (a name twice, a sequence without a base, blanks
between bases) is an error in all three.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

import pysam
from pysam.utils import SamtoolsError

from mfdstore.errors import SourceError
from mfdstore.schema import NAME_BYTES
from mfdstore.sources.fasta_index import index_fits

GZIP_MAGIC: Final = b"\x1f\x8b"
_BGZF_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every whole BGZF file."""
_SCAN_BYTES: Final = 1 << 24
"""Read at a time when the names are looked for; longer than any header line."""
_DAMAGE: Final = (OSError, EOFError, zlib.error)
"""What Python's gzip raises on a file that is damaged or breaks off."""


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
        except (OSError, ValueError) as error:
            raise _damaged(self._path, f"sequence {name} that cannot be read ({error})") from error
        if len(bases) != self.sizes[name]:
            raise _damaged(
                self._path, f"{len(bases):,} bp of {name}, while its index says {self.sizes[name]:,}"
            )
        return _checked(self._path, name, bases)


class _ScannedFasta:
    """A gzip file without blocks, held in memory: 1 byte a base."""

    def __init__(self, path: Path, sequences: dict[str, bytes]) -> None:
        self._path = path
        self._sequences = sequences
        self.sizes: Mapping[str, int] = {name: len(bases) for name, bases in sequences.items()}

    def bases(self, name: str) -> bytes:
        return _checked(self._path, name, self._sequences[name])


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
    if head.startswith(GZIP_MAGIC) and not _is_bgzf(head):
        yield _ScannedFasta(path, _scan(path))
        return
    if _is_bgzf(head):
        with path.open("rb") as raw:
            raw.seek(-min(len(_BGZF_END), path.stat().st_size), os.SEEK_END)
            if raw.read() != _BGZF_END:
                raise _damaged(path, "a BGZF file without its closing block: it is truncated")
    try:
        with _open_text(path) as start:
            _check_first_line(path, start.read(4096))
    except _DAMAGE as error:
        raise _damaged(path, f"a BGZF file with a damaged block ({error})") from error
    with _indexed(path) as handle:
        yield _IndexedFasta(path, handle)


def check_chrom_names(path: Path, chroms: Iterable[str]) -> None:
    """Refuse names that cannot name an array of a store.

    Parameters
    ----------
    path
        Of the FASTA, for messages.
    chroms
        The names that a store would use.

    Raises
    ------
    SourceError
        If one is unfit.
    """
    for chrom in chroms:
        unfit = "/" in chrom or chrom in (".", "..", "zarr.json") or chrom.startswith("__")
        if unfit or len(chrom.encode()) > NAME_BYTES:
            raise SourceError(
                path,
                found=f"sequence name {chrom[:60]!r}, {len(chrom.encode())} bytes long",
                expected=f"a name for an array of the store: without '/', at most {NAME_BYTES} bytes",
                remedy="Rename the sequence, or choose others by --chroms.",
            )


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


def _open_text(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Open a file for reading what it says, compressed or not."""
    if _read_head(path).startswith(GZIP_MAGIC):
        return gzip.open(path, "rb")
    return path.open("rb")


def _check_first_line(path: Path, text: bytes) -> None:
    first = text.split(b"\n", 1)[0]
    if not first.startswith(b">"):
        raise SourceError(
            path,
            line=1,
            found=repr(first[:40].decode("ascii", "replace")),
            expected="a line that starts with '>'",
            remedy="Give --fasta a FASTA file; 2bit and GenBank files must be converted first.",
        )


def _checked(path: Path, name: str, bases: bytes) -> bytes:
    """Give the bases back if they are letters without anything between them.

    An index that belongs to another file cuts sequences out in the wrong places, over line ends and headers.
    """
    if not bases.isascii() or any(sign in bases for sign in (b">", b" ", b"\t", b"\r", b"\n")):
        raise _damaged(path, f"signs in sequence {name} that are no bases: blanks, '>' or bytes beyond ASCII")
    return bases


def _damaged(path: Path, found: str, line: int | None = None) -> SourceError:
    return SourceError(
        path,
        line=line,
        found=found,
        expected="a whole FASTA file",
        remedy="Download it again; remove a .fai or .gzi beside it that belongs to another file.",
    )


@contextmanager
def _indexed(path: Path) -> Iterator[pysam.FastaFile]:
    """Open with pysam; an index that is missing, older than the file or of another text is made anew."""
    with tempfile.TemporaryDirectory(prefix="mfd-fai-") as scratch:
        fai, gzi = Path(f"{path}.fai"), Path(f"{path}.gzi")
        blocks = gzi if _is_bgzf(_read_head(path)) else None
        fresh = _fresh(path, fai) and (blocks is None or _fresh(path, blocks))
        if not fresh or not index_fits(path, fai, blocks):
            made_fai, made_gzi = Path(scratch, "index.fai"), Path(scratch, "index.gzi")
            names = _read_names(path)
            _make_index(path, made_fai, made_gzi)
            without = names.keys() - {entry.split("\t")[0] for entry in made_fai.read_text().splitlines()}
            for name in sorted(without, key=names.__getitem__):
                raise _damaged(path, f"sequence {name} without a base", names[name])
            fai = _settle(made_fai, fai)
            gzi = _settle(made_gzi, gzi) if made_gzi.exists() else gzi
        # pysam asks for the second index of any file that it is named for, compressed or not
        compressed = str(gzi) if gzi.exists() else None
        verbosity = pysam.set_verbosity(0)  # htslib would write its own account of a fault to the terminal
        try:
            handle = pysam.FastaFile(str(path), filepath_index=str(fai), filepath_index_compressed=compressed)
        except (OSError, ValueError) as error:
            raise _damaged(path, f"a file that cannot be opened ({error})") from error
        finally:
            pysam.set_verbosity(verbosity)
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


def _make_index(path: Path, fai: Path, gzi: Path) -> None:
    verbosity = pysam.set_verbosity(0)
    try:
        pysam.faidx(str(path), "--fai-idx", str(fai), "--gzi-idx", str(gzi))
    except SamtoolsError as error:
        raise _find_fault(path) from error
    finally:
        pysam.set_verbosity(verbosity)


def _read_names(path: Path) -> dict[str, int]:
    """Read all names and the line of each, a large piece at a time."""
    names: dict[str, int] = {}
    line, rest = 1, b"\n"  # as if a line ended before the file, so that every header follows a line's end
    try:
        with _open_text(path) as handle:
            while piece := handle.read(_SCAN_BYTES):
                text = rest + piece
                at = text.find(b"\n>")
                done = 0
                while at >= 0 and (end := text.find(b"\n", at + 1)) >= 0:
                    line += text.count(b"\n", done, at)
                    _add_name(path, names, text[at + 2 : end], line)
                    done, at = at, text.find(b"\n>", end)
                # keep what may be the beginning of a header; count the lines before it
                keep = at if at >= 0 else len(text) - 1
                line += text.count(b"\n", done, keep)
                rest = text[keep:]
            if rest.startswith(b"\n>"):
                _add_name(path, names, rest[2:], line)
    except _DAMAGE as error:
        raise _damaged(path, f"a file that breaks off or is damaged ({error})") from error
    return names


def _add_name(path: Path, names: dict[str, int], header: bytes, line: int) -> None:
    """Note the name in a header line (without its ``>``); complain if there is none or it is known."""
    words = header.split()
    name = words[0].decode("utf-8", "replace") if words and not header[:1].isspace() else ""
    if "\ufffd" in name:
        raise SourceError(
            path,
            line=line,
            found=f"sequence name {name[:60]!r}, which is no text",
            expected="names in UTF-8",
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


def _find_fault(path: Path) -> SourceError:
    """Read line by line for what keeps a file from being indexed."""
    width = short = 0
    name = ""
    try:
        with _open_text(path) as handle:
            for number, line in enumerate(handle, start=1):
                if line.startswith(b">"):
                    if name and not width:
                        return _damaged(path, f"sequence {name} without a base", number - 1)
                    name, width, short = line[1:].split()[0].decode("utf-8", "replace"), 0, 0
                    continue
                length = len(line.rstrip())
                if (short and length) or (width and length > width):
                    return _damaged(path, f"lines of different lengths in sequence {name}", short or number)
                width = width or length
                short = number if length < width else short
    except _DAMAGE as error:
        return _damaged(path, f"a file that breaks off or is damaged ({error})")
    if name and not width:
        return _damaged(path, f"sequence {name} without a base", number)
    return _damaged(path, "text that cannot be indexed")


def _scan(path: Path) -> dict[str, bytes]:
    names: dict[str, int] = {}
    sequences: list[bytearray] = []
    try:
        with gzip.open(path, "rb") as handle:
            for number, line in enumerate(handle, start=1):
                if number == 1:
                    _check_first_line(path, line)
                if line.startswith(b">"):
                    _add_name(path, names, line[1:], number)
                    sequences.append(bytearray())
                else:
                    sequences[-1] += line.rstrip()
    except _DAMAGE as error:
        raise _damaged(path, f"a gzip file that breaks off or is damaged ({error})") from error
    if not names:
        raise SourceError(path, found="an empty file", expected="a FASTA file", remedy="Download it again.")
    for (name, number), bases in zip(names.items(), sequences, strict=True):
        if not bases:
            raise _damaged(path, f"sequence {name} without a base", number)
    return {name: bytes(bases) for name, bases in zip(names, sequences, strict=True)}
