"""Reference genomes: plain, gzip or BGZF FASTA, whatever its case and letters.

Plain and BGZF files are read by pysam through an index, which is made when it is missing: beside the FASTA,
or in a folder for the time of reading where that folder cannot be written. Plain gzip cannot be indexed; its bases
are unpacked into that folder, so that any stretch of any file can be read on its own. What htslib mends without a word
(a name twice, a sequence without a base, blanks between bases) is an error in all three.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pysam
from pysam.utils import SamtoolsError

from mfdstore.errors import FULL_DISK, SourceError
from mfdstore.schema import NAME_BYTES
from mfdstore.sources.fasta_index import index_fits
from mfdstore.sources.fasta_lines import unpack_bases
from mfdstore.sources.fasta_text import (
    DAMAGE,
    GZIP_MAGIC,
    check_first_line,
    damaged,
    find_fault,
    is_bgzf,
    open_text,
    read_head,
    read_names,
)
from mfdstore.sources.fasta_unpack import unpack

_BGZF_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every whole BGZF file."""


class Fasta(Protocol):
    """Sequences of one FASTA file; can be sent to another thread or process that sees the same files."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length in bp of each sequence, by its name in the file, in the file's order."""
        ...

    def bases(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a stretch of a sequence, or the whole, as ASCII letters; 0-based half-open bp.

        Letters other than A, C, G and T may be given as N, and lower case as upper.
        """
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
            raise damaged(self.path, f"sequence {name} that cannot be read ({error})") from error
        if len(bases) != stop - start:
            found = f"{start + len(bases):,} bp of {name}, while its index says {self.sizes[name]:,}"
            raise damaged(self.path, found)
        return _checked(self.path, name, bases)


@dataclass(frozen=True)
class _UnpackedFasta:
    """A gzip file without blocks: all its bases, one after another, two a byte, in a file of their own."""

    path: Path
    unpacked: Path
    spans: Mapping[str, tuple[int, int]]

    @property
    def sizes(self) -> Mapping[str, int]:
        return {name: end - begin for name, (begin, end) in self.spans.items()}

    def bases(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        begin, end = self.spans[name]
        stop = end - begin if stop is None else stop
        first, last = (begin + start) // 2, -(-(begin + stop) // 2)
        packed = np.fromfile(self.unpacked, np.uint8, last - first, offset=first)
        skipped = begin + start - 2 * first
        return _checked(self.path, name, unpack_bases(packed)[skipped : skipped + stop - start].tobytes())


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
    head = read_head(path)
    with _folder(scratch) as folder:
        if head.startswith(GZIP_MAGIC) and not is_bgzf(head):
            bases = folder / "bases"
            yield _UnpackedFasta(path, bases, _unpack(path, bases, own=scratch is None))
            return
        if is_bgzf(head):
            with path.open("rb") as raw:
                raw.seek(-min(len(_BGZF_END), path.stat().st_size), os.SEEK_END)
                if raw.read() != _BGZF_END:
                    raise damaged(path, "a BGZF file without its closing block: it is truncated")
        try:
            with open_text(path) as start:
                check_first_line(path, start.read(4096))
        except DAMAGE as error:
            raise damaged(path, f"a BGZF file with a damaged block ({error})") from error
        yield _index(path, folder)


def _unpack(path: Path, bases: Path, *, own: bool) -> dict[str, tuple[int, int]]:
    """Unpack; where the folder is one for the time, nobody else knows to say that it has no room."""
    try:
        return unpack(path, bases)
    except OSError as error:
        if not own or error.errno not in FULL_DISK:
            raise
        raise SourceError(
            path,
            found=f"no room in {bases.parent.parent} to unpack it ({error.strerror})",
            expected="room for all of its bases: a gzip file without blocks cannot be read in parts",
            remedy="Name a folder with room by the variable TMPDIR, or pack the file by bgzip.",
        ) from error


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


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
        yield scratch
        return
    with tempfile.TemporaryDirectory(prefix="mfd-fasta-") as folder:
        yield Path(folder)


def _checked(path: Path, name: str, bases: bytes) -> bytes:
    """Give the bases back if they are letters without anything between them.

    An index that belongs to another file cuts sequences out in the wrong places, over line ends and headers.
    """
    if not bases.isascii() or any(sign in bases for sign in (b">", b" ", b"\t", b"\r", b"\n")):
        raise damaged(path, f"signs in sequence {name} that are no bases: blanks, '>' or bytes beyond ASCII")
    return bases


def _index(path: Path, scratch: Path) -> _IndexedFasta:
    """Find the index; one that is missing, older than the file or of another text is made anew."""
    fai, gzi = Path(f"{path}.fai"), Path(f"{path}.gzi")
    blocks = gzi if is_bgzf(read_head(path)) else None
    fresh = _fresh(path, fai) and (blocks is None or _fresh(path, blocks))
    if not fresh or not index_fits(path, fai, blocks):
        made_fai, made_gzi = scratch / "index.fai", scratch / "index.gzi"
        names = read_names(path)
        _make_index(path, made_fai, made_gzi)
        without = names.keys() - {entry.split("\t")[0] for entry in made_fai.read_text().splitlines()}
        for name in sorted(without, key=names.__getitem__):
            raise damaged(path, f"sequence {name} without a base", names[name])
        fai = _settle(made_fai, fai)
        gzi = _settle(made_gzi, gzi) if made_gzi.exists() else gzi
    # pysam asks for the second index of any file that it is named for, compressed or not
    compressed = gzi if gzi.exists() else None
    try:
        with _open_indexed(path, fai, compressed) as handle:
            sizes = dict(zip(handle.references, handle.lengths, strict=True))
    except (OSError, ValueError) as error:
        raise damaged(path, f"a file that cannot be opened ({error})") from error
    if not sizes:
        raise damaged(path, "no sequence")
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
        raise find_fault(path) from error
    finally:
        pysam.set_verbosity(verbosity)
