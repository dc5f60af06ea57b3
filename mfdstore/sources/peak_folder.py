"""A folder of peak files, one an experiment, named by its accession."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.sources.bed import PEAK_ENDINGS, Intervals, peak_stem, read_intervals


def match_peak_files(folder: Path, experiments: Sequence[str], allow_missing: bool) -> dict[str, Path]:
    """Find the peak file of each experiment, in the metadata's order.

    Raises
    ------
    SourceError
        If the folder is missing or holds no peak files, a file has no row, an experiment has two files, or has
        none and `allow_missing` is false.
    """
    if not folder.is_dir():
        raise SourceError(
            folder,
            found="no such folder",
            expected="a folder of peak files",
            remedy="Check the path given to --peaks.",
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


def read_peak_files(
    files: Mapping[str, Path],
    genome: Genome,
    *,
    md5: Mapping[str, str],
    may_be_elsewhere: bool,
    on_progress: Callable[[int, int], None],
) -> dict[str, Intervals]:
    """Read all peak files, several at a time, and hold them against the digests that are known.

    Parameters
    ----------
    files
        Path by experiment.
    genome
        Names and lengths of the chromosomes.
    md5
        Digest by experiment, where one is known.
    may_be_elsewhere
        Accept a file none of whose peaks lies on a chromosome of the genome.
    on_progress
        Called with the files read and their number.

    Raises
    ------
    SourceError
        If a file cannot be used (see `read_intervals`), or its md5 differs.
    """

    def read(name: str) -> Intervals:
        intervals = read_intervals(files[name], genome, may_be_elsewhere=may_be_elsewhere)
        if name in md5 and md5[name] != intervals.file.md5:
            raise SourceError(
                files[name],
                found=f"md5 {intervals.file.md5}",
                expected=f"{md5[name]}, as the metadata says",
                remedy="Download the file again; if you changed it on purpose, correct its md5sum in the table.",
            )
        return intervals

    peaks: dict[str, Intervals] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (name, intervals) in enumerate(zip(files, pool.map(read, files), strict=True), start=1):
            peaks[name] = intervals
            on_progress(done, len(files))
    return peaks


def check_not_empty(folder: Path, peaks: Mapping[str, Intervals], chroms: Sequence[str]) -> None:
    """Refuse experiments without a peak on any of the chromosomes.

    Raises
    ------
    SourceError
        If there is one.
    """
    empty = [name for name, file in peaks.items() if not any(chrom in file.by_chrom for chrom in chroms)]
    if empty:
        raise SourceError(
            folder,
            found=f"{len(empty)} experiment(s) without a peak on {some(chroms)}: {some(empty)}",
            expected="a peak in each experiment",
            remedy="Build more chromosomes, leave these files out, or pass --allow-empty to keep them.",
        )
