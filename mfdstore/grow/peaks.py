"""Peak files of experiments to their labels in given windows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore.bitmaps import set_runs_in_rows
from mfdstore.build.gathering import gather_crew
from mfdstore.build.peaks import PeakFile, Piece, Runs, files_at_once, pieces, put_together, raster_piece
from mfdstore.build.settings import Resources
from mfdstore.genomes import Genome
from mfdstore.grow.content import Progress
from mfdstore.windows import Tiling, WindowTable


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
    found = put_together(parts, values)
    return Runs.of(folder, found), found


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
        if not len(bins):
            return rows
        ranks = np.searchsorted(bins, np.arange(bins[0], bins[-1] + 2)).astype(np.int32)
        for piece in range(len(self._runs.counts)):
            set_runs_in_rows(*self._runs.piece(piece), int(bins[0]), ranks, rows, piece)
        return rows
