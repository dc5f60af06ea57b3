"""The regions of the authors' release: a BED of bins, read block by block.

Only the starts of the bins are kept: 4 bytes a region, whatever the number of experiments.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.provenance import SourceFile
from mfdstore.sources.bed import find_fault
from mfdstore.sources.bed_tables import parse_intervals
from mfdstore.sources.fasta_text import GZIP_MAGIC

_BLOCK: Final = 1 << 24
"""Text parsed at a time, in bytes."""
_LARGEST: Final = int(np.iinfo(np.int32).max)
_SORTED: Final = "Sort the regions by chromosome and start, and count the rows of overlaps.h5 anew."


@dataclass(frozen=True)
class RegionRun:
    """The regions of one chromosome, which stand together in the file.

    Parameters
    ----------
    name
        Of the chromosome, as the file spells it.
    chrom
        The store's name of it; `None` if the FASTA has no such sequence.
    first, last
        Its rows, counted from 0, half-open.
    starts
        Of the bins in bp, ascending, shape ``(region,)``; empty where `chrom` is `None`.
    """

    name: str
    chrom: str | None
    first: int
    last: int
    starts: NDArray[np.int32]


@dataclass(frozen=True)
class Regions:
    """All regions of a release.

    Parameters
    ----------
    file
        Name, size and digest of the file as it lies on disk.
    unpacked_md5
        Digest of its text.
    bin_size
        Width of every region in bp.
    n_regions
        Rows of the file.
    runs
        One a chromosome, in the file's order.
    """

    file: SourceFile
    unpacked_md5: str
    bin_size: int
    n_regions: int
    runs: tuple[RegionRun, ...]


def read_regions(
    path: Path, genome: Genome, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Regions:
    """Read the regions and check that they can be the bins of a store.

    Parameters
    ----------
    path
        A BED file, plain or gzip; columns behind the third are not read.
    genome
        Names and lengths of the chromosomes. The release leaves "chr" out, so ``Un_1`` may be ``chrUn_1``.
    on_progress
        Called with the bytes read and their number.

    Raises
    ------
    SourceError
        If the file cannot be read, is damaged, a line is no interval, or the regions are not bins tiled from the
        chromosome's first base, of one width, within it, each once, sorted; or if no chromosome is the genome's.
    """
    size = _size(path)
    reading = _Reading(path, genome)
    raw_digest, digest = (hashlib.md5(usedforsecurity=False) for _ in range(2))
    for block in _blocks(path, raw_digest.update, lambda done: on_progress(done, size)):
        digest.update(block)
        reading.add(block)
    runs = reading.finish()
    if not any(run.chrom is not None for run in runs):
        raise SourceError(
            path,
            found=f"chromosomes {some(run.name for run in runs)}",
            expected=f"names of the FASTA: {some(genome.sizes)}",
            remedy="Give the FASTA of the release's assembly, or rename the chromosomes of one of the two.",
        )
    file = SourceFile(path.name, size, raw_digest.hexdigest())
    return Regions(file, digest.hexdigest(), reading.bin_size, reading.n_rows, runs)


class _Reading:
    """Takes the file's blocks of whole lines one by one, and checks each row against the one before."""

    def __init__(self, path: Path, genome: Genome) -> None:
        self._path = path
        self._genome = genome
        self._line = 1
        self._runs: list[RegionRun] = []
        self._name: str | None = None
        self._first = 0
        self._before = -1
        self._starts: list[NDArray[np.int32]] = []
        self.n_rows = 0
        self.bin_size = 0

    def add(self, block: bytes) -> None:
        """Read one block."""
        table = parse_intervals(block)
        if table is None or bool(((table["start"] < 0) | (table["start"] >= table["end"])).any()):
            raise find_fault(self._path, block, self._genome, first_line=self._line)
        starts, ends = table["start"].to_numpy(), table["end"].to_numpy()
        if len(starts):
            self.bin_size = self.bin_size or int(ends[0] - starts[0])
            self._check_bins(block, starts, ends)
            begin = 0
            for run in table["chrom"].rle().struct.unnest().iter_rows(named=True):
                end = begin + int(run["len"])
                self._add_run(block, str(run["value"]), begin, starts[begin:end])
                begin = end
        self.n_rows += len(starts)
        self._line += block.count(b"\n")

    def finish(self) -> tuple[RegionRun, ...]:
        """Close the last chromosome."""
        if not self.n_rows:
            raise SourceError(
                self._path,
                found="no regions",
                expected="at least one line of chromosome, start and end",
                remedy="Check the path given to --regions, or download the file again.",
            )
        self._close_run(self.n_rows)
        return tuple(self._runs)

    def _check_bins(self, block: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        size = self.bin_size
        if not 2 <= size <= _LARGEST:
            raise self._fault(
                block, 0, f"a region of {size:,} bp", "bins of at least 2 bp", "Check the file."
            )
        other = np.flatnonzero(ends - starts != size)
        if len(other):
            row = int(other[0])
            raise self._fault(
                block,
                row,
                f"a region of {ends[row] - starts[row]:,} bp",
                f"{size:,} bp, the width of the regions before",
                "Only bins of one width can be a store's: leave this one out, with its pairs.",
            )
        off = np.flatnonzero(starts % size)
        if len(off):
            row = int(off[0])
            raise self._fault(
                block,
                row,
                f"a region that starts at {starts[row]:,}",
                f"a multiple of {size:,}: a store's bins are tiled from the chromosome's first base, counted from 0",
                "Tile the genome from base 0, and label those bins.",
            )

    def _add_run(self, block: bytes, name: str, row: int, starts: NDArray[np.int64]) -> None:
        if name != self._name:
            self._close_run(self.n_rows + row)
            self._open_run(block, name, row)
        chrom = _resolve(self._genome, name)
        steps = np.diff(starts, prepend=self._before)
        back = np.flatnonzero(steps <= 0)
        if len(back):
            at = int(back[0])
            again = steps[at] == 0
            raise self._fault(
                block,
                row + at,
                f"a region at {name}:{starts[at]:,}"
                + (" a second time" if again else " behind one that starts later"),
                "each region once" if again else "regions sorted by start within their chromosome",
                "Remove it, with its pairs." if again else _SORTED,
            )
        limit = self._genome.sizes[chrom] if chrom is not None else _LARGEST
        beyond = np.flatnonzero(starts > limit - self.bin_size)
        if len(beyond):
            at = int(beyond[0])
            raise self._fault(
                block,
                row + at,
                f"a region to {starts[at] + self.bin_size:,}",
                f"at most {limit:,}, the length of {chrom}" if chrom else f"at most {limit:,}",
                "Check that the release and the FASTA are of one assembly.",
            )
        self._before = int(starts[-1])
        if chrom is not None:
            self._starts.append(starts.astype(np.int32))

    def _open_run(self, block: bytes, name: str, row: int) -> None:
        chrom = _resolve(self._genome, name)
        for run in self._runs:
            if run.name == name or (chrom is not None and run.chrom == chrom):
                raise self._fault(
                    block,
                    row,
                    f"chromosome {name!r} again, behind {self._runs[-1].name!r}"
                    if run.name == name
                    else f"chromosome {name!r}, which is {chrom} as {run.name!r} was",
                    "the regions of a chromosome together, under one name",
                    _SORTED,
                )
        self._name, self._first, self._before = name, self.n_rows + row, -1
        self._starts = [np.empty(0, np.int32)]

    def _close_run(self, last: int) -> None:
        if self._name is not None:
            chrom = _resolve(self._genome, self._name)
            starts = np.concatenate(self._starts)
            self._runs.append(RegionRun(self._name, chrom, self._first, last, starts))

    def _fault(self, block: bytes, row: int, found: str, expected: str, remedy: str) -> SourceError:
        """Describe a row of the block, counted from 0, by its line in the file."""
        numbers = [
            number
            for number, line in enumerate(block.split(b"\n"), start=self._line)
            if line and not line.startswith((b"#", b"track", b"browser"))
        ]
        return SourceError(self._path, line=numbers[row], found=found, expected=expected, remedy=remedy)


def _resolve(genome: Genome, name: str) -> str | None:
    """Give the store's name of a chromosome that the release may have bared of its "chr"."""
    return genome.resolve(name) or genome.resolve(f"chr{name}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        path,
        found=f"no readable file ({error.strerror})",
        expected="the release's BED file of regions",
        remedy="Check the path given to --regions.",
    )


class _Tapped(io.RawIOBase):
    """A file that tells of each piece that is read from it."""

    def __init__(self, raw: IO[bytes], on_read: Callable[[memoryview], None]) -> None:
        self._raw = raw
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._raw.read(len(view))
        view[: len(piece)] = piece
        self._on_read(view[: len(piece)])
        return len(piece)


def _blocks(
    path: Path, on_raw: Callable[[memoryview], None], on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    """Unpack a file in blocks of whole lines; the bytes as they lie on disk go to `on_raw`."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            tapped = io.BufferedReader(_Tapped(file, on_raw), 1 << 20)
            text: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=tapped) if packed else tapped
            rest = b""
            while piece := text.read(_BLOCK):
                on_progress(file.tell())
                block = rest + piece
                end = block.rfind(b"\n") + 1
                rest = block[end:]
                if end:
                    yield block[:end]
                elif len(rest) > _BLOCK:
                    raise SourceError(
                        path,
                        found=f"a line of more than {_BLOCK:,} letters",
                        expected="lines of chromosome, start and end",
                        remedy="Check the path given to --regions.",
                    )
            if rest:
                yield rest
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            path,
            found=f"a gzip file that breaks off or is damaged ({error})",
            expected="a whole file",
            remedy="Download it again.",
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
