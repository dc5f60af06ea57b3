"""Peak files of experiments to their labels in given windows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore.bitmaps import cut_runs, set_in_rows
from mfdstore.build.gathering import gather_crew
from mfdstore.build.peaks import PeakFile, Piece, Runs, files_at_once, pieces, raster_piece
from mfdstore.build.settings import Resources
from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.grow.content import Progress
from mfdstore.sources.bed import peak_stem
from mfdstore.windows import Tiling, WindowTable


def find_peak_files(folder: Path, option: str) -> dict[str, Path]:
    """Find the peak files of a folder by their names' stems.

    Raises
    ------
    SourceError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise SourceError(
            folder,
            found="no such folder",
            expected="a folder of peak files",
            remedy=f"Check the path given to {option}.",
        )
    return {stem: path for path in sorted(folder.iterdir()) if (stem := peak_stem(path)) is not None}


def raster_files(
    folder: Path,
    files: Mapping[str, Path],
    *,
    md5: Mapping[str, str],
    genome: Genome,
    tiling: Tiling,
    min_overlap: int,
    resources: Resources,
    on_progress: Progress,
) -> tuple[Runs, dict[str, PeakFile]]:
    """Read peak files and write the runs of the bins that they label.

    Parameters
    ----------
    folder
        Where the runs are written, in ``scratch``.
    files
        Peak file by experiment.
    md5
        Of each file, as far as its metadata says.
    genome, tiling
        Names and lengths of the chromosomes, and their bins.
    min_overlap
        In bp.
    resources
        How many files at a time.
    on_progress
        Told of the files.

    Raises
    ------
    SourceError
        If a file cannot be used.
    """
    parts = pieces(files)

    def raster(piece: Piece) -> Any:
        known = {name: md5[name] for name in piece.names if name in md5}
        return raster_piece(folder, piece, genome, tiling, known, min_overlap, True).value

    n_jobs = resources.n_jobs
    at_once = files_at_once(files.values(), resources.bytes_per_task, n_jobs)
    with gather_crew("threads", n_jobs) as crew:
        values = crew.run(
            raster, parts, at_once=at_once, on_done=lambda done: on_progress("peak files", done, len(parts))
        )
    found = {
        name: PeakFile(**entry)
        for piece, entries in zip(parts, values, strict=True)
        for name, entry in zip(piece.names, entries, strict=True)
    }
    return Runs.of(folder, found), found


def check_some_here(folder: Path, files: Mapping[str, PeakFile], tiling: Tiling) -> None:
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
            found=f"{len(empty)} experiment(s) without a peak on {some(tiling.chroms)}: {some(empty)}",
            expected="a peak in each experiment",
            remedy="Leave these files out, or pass --allow-empty to keep them; check that they are of the store's "
            "assembly.",
        )


class RunLabels:
    """Labels of experiments whose runs are written, in given windows.

    Parameters
    ----------
    runs
        Of the experiments.
    windows
        Ascending tiled bins.
    tiling
        Of their chromosomes.
    """

    def __init__(self, runs: Runs, windows: WindowTable, tiling: Tiling) -> None:
        self._runs = runs
        places = tiling.offsets[windows.chrom] + windows.start // tiling.bin_size
        self._bins: NDArray[np.int32] = places.astype(np.int32)

    def rows(self, begin: int, end: int) -> NDArray[np.uint8]:
        """Give packed labels of windows [begin, end), shape ``(window, label_byte)``."""
        bins = self._bins[begin:end]
        rows = np.zeros((end - begin, len(self._runs.counts)), np.uint8)
        for piece in range(len(self._runs.counts)):
            for bit, (first, stop) in enumerate(self._runs.piece(piece)):
                cut = cut_runs(first, stop, int(bins[0]), int(bins[-1]) + 1)
                low, high = (np.searchsorted(bins, side).astype(np.int32) for side in cut)
                set_in_rows(low, high, rows, piece, 0x80 >> bit)
        return rows
