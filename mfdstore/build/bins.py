"""Which bins are kept, and their coordinates: one task a chromosome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore.bitmaps import add_runs
from mfdstore.build.once import Done, Task, key_of, save_array
from mfdstore.build.peaks import PeakFile, Runs
from mfdstore.build.plan import Plan
from mfdstore.build.sequence import read_blank
from mfdstore.build.settings import BuildSettings
from mfdstore.splitting import Splitter, count_splits
from mfdstore.windows import bins_touching


@dataclass(frozen=True)
class Chromosome:
    """What decides which bins of a chromosome are kept.

    Parameters
    ----------
    name, size
        Of the chromosome; in bp.
    begin, end
        Its bins among those of all chromosomes.
    listed
        Starts and ends of the blacklist's intervals on it, in bp, shape ``(2, interval)``.
    """

    name: str
    size: int
    begin: int
    end: int
    listed: NDArray[np.int64]

    @property
    def rows_file(self) -> str:
        """Bin, number of positive experiments and split of each window, shape ``(3, window)``."""
        return f"scratch/windows/{self.name}.npy"


def bin_tasks(plan: Plan, files: Mapping[str, PeakFile], folder: Path) -> list[Task]:
    """List the tasks of all chromosomes."""
    runs = Runs.of(folder, files)
    blacklist = plan.blacklist.by_chrom if plan.blacklist else {}
    tasks = []
    for index, (name, size) in enumerate(zip(plan.tiling.chroms, plan.tiling.sizes, strict=True)):
        listed = np.stack(blacklist[name]) if name in blacklist else np.empty((2, 0), np.int64)
        chromosome = Chromosome(name, size, *plan.tiling.span(index), listed)
        tasks.append(
            Task(
                name=f"bins/{name}",
                key=key_of(
                    peaks=[file.md5 for file in files.values()],
                    fasta=plan.fasta_file.md5,
                    blacklist=plan.blacklist.file.md5 if plan.blacklist else None,
                    settings=asdict(plan.settings),
                    chromosome=[name, size, chromosome.begin],
                ),
                work=keep_bins,
                arguments=(runs, chromosome, plan.settings, plan.splitter),
            )
        )
    return tasks


def keep_bins(
    folder: Path, runs: Runs, chromosome: Chromosome, settings: BuildSettings, splitter: Splitter
) -> Done:
    """Count the experiments of each bin, pass the filters, and write what is left."""
    begin, n_bins = chromosome.begin, chromosome.end - chromosome.begin
    steps = np.zeros(n_bins + 1, np.int32)
    for piece in range(len(runs.counts)):
        add_runs(*runs.piece(piece), begin, chromosome.end, steps)
    n_positive = np.cumsum(steps[:-1], dtype=np.int32)
    keep = n_positive >= settings.min_experiments
    counts = {"bins": n_bins, "bins_below_min_experiments": int((~keep).sum())}
    blank = bins_touching(n_bins, settings.bin_size, *read_blank(folder, chromosome.name, chromosome.size))
    counts["bins_with_blank"] = int((keep & blank).sum())
    keep &= ~blank
    listed = bins_touching(n_bins, settings.bin_size, *chromosome.listed)
    counts["bins_blacklisted"] = int((keep & listed).sum())
    keep &= ~listed
    bins = np.flatnonzero(keep).astype(np.int32)
    split = splitter.split(chromosome.name, bins * np.int32(settings.bin_size), settings.bin_size)
    rows = np.stack([bins, n_positive[keep], split.astype(np.int32)])
    save_array(folder / chromosome.rows_file, rows)
    counts |= {"windows": len(bins), "positive_pairs": int(rows[1].sum(dtype=np.int64))}
    value: dict[str, Any] = {"counts": counts, "by_split": count_splits(split)}
    return Done(value, (chromosome.rows_file,))
