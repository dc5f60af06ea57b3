"""Reference genomes: plain, gzip or BGZF FASTA, whatever its case and letters.

Plain and BGZF files are read by pysam through an index, which is made when it is missing: beside the FASTA,
or in a folder for the time of reading where that folder cannot be written. Plain gzip cannot be indexed; its bases
are unpacked into that folder, so that any stretch of any file can be read on its own. What htslib mends without a word
(a name twice, a sequence without a base, blanks between bases) is an error in all three.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

import numpy as np
import pysam
from pysam.utils import SamtoolsError

from mfdstore.errors import FULL_DISK, SourceError
from mfdstore.sources.fasta_index import index_fits

GZIP_MAGIC: Final = b"\x1f\x8b"
_BGZF_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every whole BGZF file."""
_SCAN_BYTES: Final = 1 << 24
"""Read at a time when the names are looked for; longer than any header line."""
_LINE_ENDS: Final = b"\r\n"
_DAMAGE: Final = (OSError, EOFError, zlib.error)
"""What Python's gzip raises on a file that is damaged or breaks off."""


class Fasta(Protocol):
    """Sequences of one FASTA file; can be sent to another thread or process that sees the same files."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length in bp of each sequence, by its name in the file, in the file's order."""
        ...

    def bases(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a stretch of a sequence, or the whole, as ASCII letters; 0-based half-open bp."""
        ...


@dataclass(frozen=True)
class _IndexedFasta:
    path: Path
    fai: Path
    gzi: Path | None
    sizes: Mapping[str, int]

    def bases(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        stop = self.sizes[name] if stop is None else stop
        try:
            # one handle a call: htslib's are for one thread
            with _open_indexed(self.path, self.fai, self.gzi) as handle:
                bases: bytes = handle.fetch(name, start, stop).encode("ascii")
        except (OSError, ValueError) as error:
            raise _damaged(self.path, f"sequence {name} that cannot be read ({error})") from error
        if len(bases) != stop - start:
            found = f"{start + len(bases):,} bp of {name}, while its index says {self.sizes[name]:,}"
            raise _damaged(self.path, found)
        return _checked(self.path, name, bases)


@dataclass(frozen=True)
class _UnpackedFasta:
    """A gzip file without blocks: all its bases, one after another, in a file of their own."""

    path: Path
    unpacked: Path
    offsets: Mapping[str, int]
    sizes: Mapping[str, int]

    def bases(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        stop = self.sizes[name] if stop is None else stop
        with self.unpacked.open("rb") as handle:
            handle.seek(self.offsets[name] + start)
            return _checked(self.path, name, handle.read(stop - start))


@contextmanager
def open_fasta(path: Path, scratch: Path | None = None) -> Iterator[Fasta]:
    """Open a FASTA file for reading sequences, or stretches of them.

    Parameters
    ----------
    path
        Plain, gzip or BGZF; told apart by content, not by name.
    scratch
        Folder for what cannot lie beside the FASTA, to be kept while it is read; one for the time, if not given.

    Raises
    ------
    SourceError
        If the file is missing, empty, truncated, or not FASTA.
    """
    head = _read_head(path)
    with _folder(scratch) as folder:
        if head.startswith(GZIP_MAGIC) and not _is_bgzf(head):
            yield _unpack(path, folder / "bases")
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
        yield _index(path, folder)


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
        yield scratch
        return
    with tempfile.TemporaryDirectory(prefix="mfd-fasta-") as folder:
        yield Path(folder)


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


def _index(path: Path, scratch: Path) -> _IndexedFasta:
    """Find the index; one that is missing, older than the file or of another text is made anew."""
    fai, gzi = Path(f"{path}.fai"), Path(f"{path}.gzi")
    blocks = gzi if _is_bgzf(_read_head(path)) else None
    fresh = _fresh(path, fai) and (blocks is None or _fresh(path, blocks))
    if not fresh or not index_fits(path, fai, blocks):
        made_fai, made_gzi = scratch / "index.fai", scratch / "index.gzi"
        names = _read_names(path)
        _make_index(path, made_fai, made_gzi)
        without = names.keys() - {entry.split("\t")[0] for entry in made_fai.read_text().splitlines()}
        for name in sorted(without, key=names.__getitem__):
            raise _damaged(path, f"sequence {name} without a base", names[name])
        fai = _settle(made_fai, fai)
        gzi = _settle(made_gzi, gzi) if made_gzi.exists() else gzi
    # pysam asks for the second index of any file that it is named for, compressed or not
    compressed = gzi if gzi.exists() else None
    try:
        with _open_indexed(path, fai, compressed) as handle:
            sizes = dict(zip(handle.references, handle.lengths, strict=True))
    except (OSError, ValueError) as error:
        raise _damaged(path, f"a file that cannot be opened ({error})") from error
    if not sizes:
        raise _damaged(path, "no sequence")
    return _IndexedFasta(path, fai, compressed, sizes)


def _open_indexed(path: Path, fai: Path, gzi: Path | None) -> pysam.FastaFile:
    verbosity = pysam.set_verbosity(0)  # htslib would write its own account of a fault to the terminal
    try:
        compressed = None if gzi is None else str(gzi)
        return pysam.FastaFile(str(path), filepath_index=str(fai), filepath_index_compressed=compressed)
    finally:
        pysam.set_verbosity(verbosity)


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


def _unpack(path: Path, unpacked: Path) -> _UnpackedFasta:
    """Write the bases of a gzip file, without line ends, and note where each sequence begins."""
    names: dict[str, int] = {}
    bounds: list[int] = []
    written, line, rest = 0, 1, b"\n"  # as in `_read_names`
    try:
        with gzip.open(path, "rb") as packed, unpacked.open("wb") as bases:
            while piece := packed.read(_SCAN_BYTES):
                if not names:
                    _check_first_line(path, piece)
                text = rest + piece
                done = counted = 0
                at = text.find(b"\n>")
                while at >= 0 and (end := text.find(b"\n", at + 1)) >= 0:
                    written += bases.write(text[done:at].translate(None, _LINE_ENDS))
                    line += text.count(b"\n", counted, at)
                    _add_name(path, names, text[at + 2 : end], line)
                    bounds.append(written)
                    done, counted, at = end, at, text.find(b"\n>", end)
                keep = at if at >= 0 else len(text) - 1
                written += bases.write(text[done:keep].translate(None, _LINE_ENDS))
                line += text.count(b"\n", counted, keep)
                rest = text[keep:]
            if rest.startswith(b"\n>"):
                _add_name(path, names, rest[2:], line)
                bounds.append(written)
            else:
                written += bases.write(rest.translate(None, _LINE_ENDS))
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        raise _damaged(path, f"a gzip file that breaks off or is damaged ({error})") from error
    if not names:
        raise SourceError(path, found="an empty file", expected="a FASTA file", remedy="Download it again.")
    sizes = dict(zip(names, np.diff([*bounds, written]).tolist(), strict=True))
    for name, number in names.items():
        if not sizes[name]:
            raise _damaged(path, f"sequence {name} without a base", number)
    return _UnpackedFasta(path, unpacked, dict(zip(names, bounds, strict=True)), sizes)
