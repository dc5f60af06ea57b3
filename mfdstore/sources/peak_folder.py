"""A folder of peak files, one an experiment, named by its accession."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.sources.bed import PEAK_ENDINGS, Intervals, peak_stem, read_intervals


def list_peak_files(folder: Path, option: str = "--peaks") -> dict[str, Path]:
    """List the peak files of a folder by accession, sorted; other files are of no interest.

    Raises
    ------
    SourceError
        If there is no such folder, or an accession has two files.
    """
    if not folder.is_dir():
        raise SourceError(
            folder,
            found="no such folder",
            expected="a folder of peak files",
            remedy=f"Check the path given to {option}.",
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = peak_stem(path)
        if stem is None:
            continue
        if stem in found:
            raise SourceError(
                path,
                found=f"a second file of {stem}, beside {found[stem].name}",
                expected="one file an accession",
                remedy="Remove one of the two.",
            )
        found[stem] = path
    return found


def match_peak_files(folder: Path, experiments: Sequence[str], allow_missing: bool) -> dict[str, Path]:
    """Find the peak file of each experiment, in the metadata's order.

    Raises
    ------
    SourceError
        If the folder is missing or holds no peak files, a file has no row, an experiment has two files, or has
        none and `allow_missing` is false.
    """
    found = list_peak_files(folder)
    if not found:
        raise SourceError(
            folder,
            found="no peak file",
            expected=f"files <accession>{{{', '.join(PEAK_ENDINGS)}}}",
            remedy="Check the path given to --peaks.",
        )
    strangers = sorted(set(found) - set(experiments))
    if strangers:
        raise SourceError(
            folder,
            found=f"peak files without a row in the metadata: {some(strangers)}",
            expected="one row of the genome's assembly for each file",
            remedy="Add their rows, correct --genome, or move the files away.",
        )
    lacking = [name for name in experiments if name not in found]
    if lacking and not allow_missing:
        raise SourceError(
            folder,
            found=f"no peak file for {len(lacking)} experiment(s) of the metadata: {some(lacking)}",
            expected="one file for each row",
            remedy="Download them, or pass --allow-missing to build without these experiments.",
        )
    return {name: found[name] for name in experiments if name in found}


def read_peak_file(path: Path, genome: Genome, *, md5: str | None, may_be_elsewhere: bool) -> Intervals:
    """Read a peak file, and hold it against its digest where one is known.

    Parameters
    ----------
    path
        Of the file.
    genome
        Names and lengths of the chromosomes.
    md5
        Of the file as the metadata says.
    may_be_elsewhere
        Accept a file none of whose peaks lies on a chromosome of the genome.

    Raises
    ------
    SourceError
        If the file cannot be used (see `read_intervals`), or its md5 differs.
    """
    intervals = read_intervals(path, genome, may_be_elsewhere=may_be_elsewhere)
    if md5 is not None and md5 != intervals.file.md5:
        raise SourceError(
            path,
            found=f"md5 {intervals.file.md5}",
            expected=f"{md5}, as the metadata says",
            remedy="Download the file again; if you changed it on purpose, correct its md5sum in the table.",
        )
    return intervals
