"""Intervals from BED, narrowPeak and broadPeak files, plain or gzip.

A plain file is read in one pass by `bed_lines`. Polars (`bed_tables`) parses what is less plain; only a file at fault
is read a third time, line by line, to say where the fault is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.provenance import SourceFile, describe_bytes
from mfdstore.sources.bed_lines import scan_intervals
from mfdstore.sources.fasta_text import DAMAGE, GZIP_MAGIC

PEAK_ENDINGS: Final = tuple(
    f".{kind}{packed}" for kind in ("bed", "narrowPeak", "broadPeak") for packed in ("", ".gz")
)
_COMMENTS: Final = ("#", "track", "browser")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}")
_LARGEST: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Intervals:
    """Intervals of one file by chromosome, 0-based half-open bp.

    Parameters
    ----------
    file
        Name, size and digest of the file read.
    by_chrom
        For each chromosome of the genome that occurs: starts and ends, int64, shape ``(interval,)`` each.
    n_intervals
        How many there are in the whole file.
    n_elsewhere
        How many lie on sequences that the genome does not have, and so were left out.
    elsewhere
        Names of those sequences, as the file has them.
    """

    file: SourceFile
    by_chrom: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    n_intervals: int
    n_elsewhere: int
    elsewhere: tuple[str, ...] = ()


def read_intervals(path: Path, genome: Genome, *, may_be_elsewhere: bool = False) -> Intervals:
    """Read the first three columns of a BED-like file and hold them against the genome.

    Lines that start with ``#``, ``track`` or ``browser`` are comments, as in the format's specification.

    Parameters
    ----------
    path
        Of the file; compressed or not, told apart by content.
    genome
        Names and lengths of the chromosomes.
    may_be_elsewhere
        Accept a file none of whose intervals lies on a chromosome of the genome.

    Raises
    ------
    SourceError
        If the file is missing, truncated, has no intervals, or any line is not an interval within its
        chromosome; the message names the line. Also if no chromosome's name is known to the genome.
    """
    raw, content = _read(path)
    file = describe_bytes(path.name, raw)
    found = _by_name(content)
    if found is None:
        raise find_fault(path, content, genome)
    if not found:
        raise SourceError(
            path,
            found="no intervals",
            expected="at least one line of chromosome, start and end",
            remedy="Leave this file out, or download it again if it should hold peaks.",
        )
    by_chrom: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    n_intervals = n_elsewhere = 0
    elsewhere: list[str] = []
    for name, (starts, ends) in found.items():
        chrom = genome.resolve(name)
        n_intervals += len(starts)
        limit = genome.sizes[chrom] if chrom is not None else _LARGEST
        if (starts < 0).any() or (starts >= ends).any() or (ends > limit).any():
            raise find_fault(path, content, genome)
        if chrom is None:
            n_elsewhere += len(starts)
            elsewhere.append(name)
        elif chrom in by_chrom:
            before = by_chrom[chrom]
            by_chrom[chrom] = (np.concatenate([before[0], starts]), np.concatenate([before[1], ends]))
        else:
            by_chrom[chrom] = (starts, ends)
    if not by_chrom and not may_be_elsewhere:
        raise SourceError(
            path,
            found=f"chromosomes {some(found)}",
            expected=f"names of the genome: {some(genome.sizes)}",
            remedy="Use files of one assembly, or rename the chromosomes of one of the two.",
        )
    return Intervals(file, by_chrom, n_intervals, n_elsewhere, tuple(elsewhere))


def peak_stem(path: Path) -> str | None:
    """Give a peak file's name without its ending (its accession); `None` for any other file."""
    for ending in PEAK_ENDINGS:
        if path.name.endswith(ending) and not path.name.startswith("."):
            return path.name[: -len(ending)]
    return None


def _read(path: Path) -> tuple[bytes, bytes]:
    """Read a file as it lies on disk, and what it says."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(
            path,
            found=f"no readable file ({error.strerror})",
            expected="a BED, narrowPeak or broadPeak file",
            remedy="Check the path, or download the file.",
        ) from error
    if not raw.startswith(GZIP_MAGIC):
        return raw, raw
    try:
        return raw, igzip.decompress(raw)
    except DAMAGE as error:
        raise SourceError(
            path,
            found=f"a gzip file that breaks off or is damaged ({error})",
            expected="a whole file",
            remedy="Download it again.",
        ) from error


def _by_name(content: bytes) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
    """Parse starts and ends by chromosome, in the order of first occurrence; `None` where anything looks wrong."""
    scanned = scan_intervals(content)
    if scanned is not None:
        return scanned
    # importing polars takes a quarter of a second, and nearly all files are plain
    from mfdstore.sources.bed_tables import parse_intervals

    table = parse_intervals(content)
    if table is None:
        return None
    parts = table.partition_by("chrom", as_dict=True, maintain_order=True).items()
    return {str(name): (rows["start"].to_numpy(), rows["end"].to_numpy()) for (name,), rows in parts}


def find_fault(path: Path, content: bytes, genome: Genome, *, first_line: int = 1) -> SourceError:
    """Read line by line and describe the first line that is not an interval.

    Parameters
    ----------
    path
        Of the file, for the message.
    content
        Whole lines of it.
    genome
        Names and lengths of the chromosomes.
    first_line
        Where they stand in the file, counted from 1.
    """

    def fault(number: int, found: str, expected: str, remedy: str) -> SourceError:
        return SourceError(path, line=number, found=found, expected=expected, remedy=remedy)

    n_columns = 0
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), start=first_line):
        if line.endswith("\r"):
            return fault(
                number,
                "a line that ends in CR LF, as Windows writes it",
                "lines that end in LF",
                "Convert the file, for example with: sed -i 's/\\r$//' FILE (gunzip it first).",
            )
        if not line or line.startswith(_COMMENTS):
            if not line and number < first_line + content.count(b"\n"):
                return fault(number, "an empty line", "chromosome, start and end", "Remove the line.")
            continue
        problem = _line_fault(line, genome.resolve, genome.sizes)
        if problem is not None:
            return fault(number, *problem)
        found_columns = line.count("\t") + 1
        n_columns = n_columns or found_columns
        if found_columns != n_columns:
            return fault(
                number,
                f"{found_columns} columns",
                f"{n_columns}, as in the lines before",
                "The file may be cut off, or two files may have been joined: download it again.",
            )
        if "\r" in line or "\ufffd" in line:
            return fault(
                number,
                f"signs that are no text in {line[:60]!r}",
                "text in UTF-8, lines that end in LF",
                "Download the file again, or convert it.",
            )
    return SourceError(
        path,
        found="text that is not a table of intervals",
        expected="tab-separated chromosome, start and end",
        remedy="Check that this is a BED, narrowPeak or broadPeak file.",
    )


def _line_fault(
    line: str, resolve: Callable[[str], str | None], sizes: Mapping[str, int]
) -> tuple[str, str, str] | None:
    """Say what is found, what is expected and what to do about one line; `None` if it is sound."""
    cells = line.split("\t")
    if len(cells) < 3:
        return (
            f"{len(cells)} column(s) in {line[:60]!r}",
            "at least 3, separated by tabs",
            "Put tabs between columns.",
        )
    chrom, start_text, end_text = cells[:3]
    if not chrom:
        return "an empty chromosome name", "a name", "Correct or remove the line."
    for what, text in (("start", start_text), ("end", end_text)):
        if not _INTEGER.fullmatch(text):
            remedy = "If this is a header line, remove it or begin it with '#'; otherwise correct the number."
            return f"{text[:40]!r} as {what}", "a whole number", remedy
    start, end = int(start_text), int(end_text)
    if start < 0 or start >= end:
        return (
            f"start {start} and end {end}",
            "0 <= start < end (0-based, half-open)",
            "Correct or remove the line.",
        )
    known = resolve(chrom)
    if known is None and end > _LARGEST:
        return f"an interval to {end:,}", f"at most {_LARGEST:,}", "Correct or remove the line."
    if known is not None and end > sizes[known]:
        return (
            f"an interval to {end:,}",
            f"at most {sizes[known]:,}, the length of {known}",
            "Check that the file and the genome are of one assembly.",
        )
    return None
