"""Peak files to runs of labelled bins, one task for the eight experiments of a byte of labels."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.bitmaps import find_runs, new_bitmap, raster_peaks
from mfdstore.build.once import Done, Task, key_of, save_array
from mfdstore.build.plan import Plan
from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.sources.peak_folder import read_peak_file
from mfdstore.windows import Tiling

PER_PIECE: Final = 8
"""Experiments of a task: the bits of one byte of a row."""
_UNPACKED: Final = 40
"""Memory that a compressed peak file takes while it is read, in its own size: its text, and its table."""


@dataclass(frozen=True)
class Piece:
    """Eight experiments and where the runs of their bins are written.

    Parameters
    ----------
    index
        Of the byte of labels.
    names, paths
        Experiments and their peak files.
    """

    index: int
    names: tuple[str, ...]
    paths: tuple[Path, ...]

    @property
    def runs_file(self) -> str:
        """Runs of all experiments, one after another, shape ``(2, run)``."""
        return f"scratch/runs/{self.index}.npy"


@dataclass(frozen=True)
class PeakFile:
    """What one peak file held.

    Parameters
    ----------
    name, size, md5
        Of the file; size in bytes.
    n_intervals
        Peaks in the whole file.
    n_elsewhere
        Those on sequences that the FASTA does not have.
    n_here
        Those on the chromosomes that are built.
    n_runs
        Runs of labelled bins.
    """

    name: str
    size: int
    md5: str
    n_intervals: int
    n_elsewhere: int
    n_here: int
    n_runs: int


def pieces(files: Mapping[str, Path]) -> list[Piece]:
    """Part the experiments by bytes of labels."""
    names = list(files)
    return [
        Piece(index, tuple(part), tuple(files[name] for name in part))
        for index, part in enumerate(
            names[first : first + PER_PIECE] for first in range(0, len(names), PER_PIECE)
        )
    ]


def peak_tasks(plan: Plan) -> list[Task]:
    """List the tasks of all peak files."""
    settings = plan.settings
    tasks = []
    for piece in pieces(plan.files):
        md5 = {name: plan.table.md5[name] for name in piece.names if name in plan.table.md5}
        tasks.append(
            Task(
                name=f"peaks/{piece.index}",
                key=key_of(
                    names=piece.names,
                    paths=list(
                        map(str, piece.paths)
                    ),  # the record digests what it read, not what is to be read
                    md5=md5,
                    genome=plan.genome.name,
                    sizes=list(plan.genome.sizes.items()),
                    tiling=asdict(plan.tiling),
                    min_overlap=settings.min_overlap,
                    elsewhere=settings.allow_empty,
                ),
                work=raster_piece,
                arguments=(
                    piece,
                    plan.genome,
                    plan.tiling,
                    md5,
                    settings.min_overlap,
                    settings.allow_empty,
                ),
            )
        )
    return tasks


def files_at_once(paths: Iterable[Path], bytes_per_task: int, n_jobs: int) -> int:
    """Bound the peak files read at a time by what the largest of them takes."""
    largest = max(path.stat().st_size for path in paths) * _UNPACKED
    return max(1, min(n_jobs, bytes_per_task * n_jobs // max(1, largest)))


def raster_piece(
    folder: Path,
    piece: Piece,
    genome: Genome,
    tiling: Tiling,
    md5: Mapping[str, str],
    min_overlap: int,
    may_be_elsewhere: bool,
) -> Done:
    """Read the peak files of a piece, and write the runs of the bins that they label."""
    bitmap = new_bitmap(tiling.n_bins)
    runs, found, inputs = [], [], {}
    for name, path in zip(piece.names, piece.paths, strict=True):
        intervals = read_peak_file(path, genome, md5=md5.get(name), may_be_elsewhere=may_be_elsewhere)
        n_here = 0
        bitmap[:] = 0
        for index, chrom in enumerate(tiling.chroms):
            if chrom not in intervals.by_chrom:
                continue
            first, stop = tiling.span(index)
            starts, ends = intervals.by_chrom[chrom]
            n_here += len(starts)
            raster_peaks(
                starts,
                ends,
                bitmap,
                first_bin=first,
                n_bins=stop - first,
                bin_size=tiling.bin_size,
                min_overlap=min_overlap,
            )
        runs.append(np.stack(find_runs(bitmap)))
        inputs[str(path)] = intervals.file.md5
        found.append(
            PeakFile(
                **asdict(intervals.file),
                n_intervals=intervals.n_intervals,
                n_elsewhere=intervals.n_elsewhere,
                n_here=n_here,
                n_runs=runs[-1].shape[1],
            )
        )
    save_array(folder / piece.runs_file, np.concatenate(runs, axis=1))
    return Done([asdict(file) for file in found], (piece.runs_file,), inputs)


def put_together(parts: Sequence[Piece], values: Sequence[Any]) -> dict[str, PeakFile]:
    """Put together what the tasks of all pieces found, by experiment."""
    return {
        name: PeakFile(**file)
        for piece, files in zip(parts, values, strict=True)
        for name, file in zip(piece.names, files, strict=True)
    }


def check_some_here(folder: Path, files: Mapping[str, PeakFile], chroms: Sequence[str]) -> None:
    """Refuse experiments without a peak on any of the chromosomes.

    Raises
    ------
    SourceError
        If there is one.
    """
    empty = [name for name, file in files.items() if not file.n_here]
    if empty:
        raise SourceError(
            folder,
            found=f"{len(empty)} experiment(s) without a peak on {some(chroms)}: {some(empty)}",
            expected="a peak in each experiment",
            remedy="Check that the files are of the assembly; take more chromosomes, leave these files out, or pass "
            "--allow-empty to keep them.",
        )


@dataclass(frozen=True)
class Runs:
    """Where the runs of all experiments are written.

    Parameters
    ----------
    folder
        Of the build.
    counts
        Runs of each experiment of each piece.
    """

    folder: Path
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, folder: Path, files: Mapping[str, PeakFile]) -> Runs:
        """Find the runs of experiments."""
        n_runs = [file.n_runs for file in files.values()]
        return cls(
            folder,
            tuple(tuple(n_runs[first : first + PER_PIECE]) for first in range(0, len(n_runs), PER_PIECE)),
        )

    def piece(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Give first bins and bins behind of all runs of a piece, and how many each experiment has.

        Returns
        -------
        Shapes ``(2, run)`` and ``(experiment,)``; the runs are read when they are used.
        """
        counts = np.array(self.counts[index], np.int64)
        n_runs = int(counts.sum())
        # read as often as there are pieces and chromosomes: numpy's own mapping takes half a millisecond each time
        with (self.folder / f"scratch/runs/{index}.npy").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        runs = np.frombuffer(mapped, np.int32, 2 * n_runs, len(mapped) - 8 * n_runs)
        return runs.reshape(2, n_runs), counts
