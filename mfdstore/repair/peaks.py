"""Peak files to runs and windows, by the tasks of the build; what they need is read from the store itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.build.bins import Chromosome, keep_bins
from mfdstore.build.crew import Crew
from mfdstore.build.labels import Kept
from mfdstore.build.once import save_array
from mfdstore.build.peaks import PER_PIECE, Piece, Runs, raster_piece
from mfdstore.build.sequence import stretches
from mfdstore.build.settings import BuildSettings
from mfdstore.build.settings import settings_of as build_settings_of
from mfdstore.dinucleotides import find_blank
from mfdstore.provenance import describe_file
from mfdstore.repair.bench import Bench, check_source
from mfdstore.sources.bed import read_intervals
from mfdstore.splitting import Splitter
from mfdstore.store import Store
from mfdstore.verify.labels import find_peak_files, recorded_md5


def raster(bench: Bench, store: Store, folder: Path, pieces: Iterable[int], crew: Crew) -> Runs:
    """Read the peak files of some pieces, and write their runs; those of the others are without a run.

    Raises
    ------
    SourceError
        If a file is not the one that the store was built from.
    """
    chosen = []
    for index in pieces:
        names = store.experiments[index * PER_PIECE : (index + 1) * PER_PIECE]
        files = find_peak_files(folder, names)
        chosen.append(Piece(index, names, tuple(files[name] for name in names)))
    recorded = recorded_md5(store)
    counts = [[0] * PER_PIECE for _ in range(schema.n_bytes(store.n_experiments))]
    counts[-1] = [0] * (store.n_experiments - PER_PIECE * (len(counts) - 1))
    genome, tiling = store.reference, store.tiling

    def work(piece: Piece) -> list[int]:
        for name, path in zip(piece.names, piece.paths, strict=True):
            check_source(describe_file(path).md5, recorded.get(name), str(path))
        done = raster_piece(bench.folder, piece, genome, tiling, recorded, store.min_overlap, True)
        return [file["n_runs"] for file in done.value]

    for piece, n_runs in zip(chosen, crew.run(work, chosen), strict=True):
        counts[piece.index] = n_runs
    return Runs(bench.folder, tuple(map(tuple, counts)))


def chromosomes_of(store: Store, blacklist: Path | None) -> tuple[Chromosome, ...]:
    """Describe the chromosomes to the tasks of the build."""
    genome, tiling = store.reference, store.tiling
    listed = read_intervals(blacklist, genome, may_be_elsewhere=True).by_chrom if blacklist else {}
    found = []
    for index, (name, size) in enumerate(zip(store.chroms, store.chrom_sizes, strict=True)):
        intervals = np.stack(listed[name]) if name in listed else np.empty((2, 0), np.int64)
        found.append(Chromosome(name, size, *tiling.span(index), intervals))
    return tuple(found)


def splitter_of(store: Store, settings: BuildSettings) -> Splitter:
    """Hold windows out as the build did; chromosomes that are not the store's hold nothing out."""
    return Splitter(settings.splits.within(store.reference), store.reference)


def settings_of(store: Store) -> BuildSettings | None:
    """Read the settings of the build; `None` if the store does not note them as this version knows them."""
    noted = store.provenance.get("settings")
    try:
        return build_settings_of(store, noted) if isinstance(noted, dict) else None
    except ValueError:
        return None


def keep_windows(
    bench: Bench, store: Store, runs: Runs, settings: BuildSettings, blacklist: Path | None
) -> Kept:
    """Pass all bins through the filters again; what is blank is read from the store's own sequence."""
    chromosomes, splitter = chromosomes_of(store, blacklist), splitter_of(store, settings)
    counts = []
    for chromosome in chromosomes:
        codes = store.array(f"{schema.SEQUENCE}/{chromosome.name}")
        for stretch in stretches(chromosome.name, "", chromosome.size):
            blank = find_blank(np.asarray(codes[stretch.start : stretch.stop])) + stretch.start
            save_array(bench.folder / stretch.blank_file, blank)
        done = keep_bins(bench.folder, runs, chromosome, settings, splitter)
        counts.append(done.value["counts"]["windows"])
    return Kept(bench.folder, chromosomes, tuple(counts), store.bin_size)


def kept_of(bench: Bench, store: Store) -> Kept:
    """Give the windows that the store itself holds to the tasks of the build."""
    chrom, start = store.read(schema.CHROM), store.read(schema.START)
    chromosomes = chromosomes_of(store, None)
    counts = np.bincount(chrom, minlength=len(chromosomes)).tolist()
    begin = 0
    for chromosome, count in zip(chromosomes, counts, strict=True):
        rows: NDArray[np.int32] = np.zeros((3, count), np.int32)
        rows[0] = start[begin : begin + count] // store.bin_size
        save_array(bench.folder / chromosome.rows_file, rows)
        begin += count
    return Kept(bench.folder, chromosomes, tuple(counts), store.bin_size)
