"""Runs of bins to shards of labels: rows for training, and a line an experiment.

Both orders are written from the same runs. A task of rows owns consecutive whole shards, a task of lines the
shard of its eight experiments, so that no shard has two writers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from mfdstore import layout, schema
from mfdstore.bitmaps import set_runs_in_lines, set_runs_in_rows
from mfdstore.build.bins import Chromosome
from mfdstore.build.once import Done, Task, key_of, save_array
from mfdstore.build.peaks import PER_PIECE, Runs
from mfdstore.shard_files import read_shards, write_shard

RANK_FILE: Final = "scratch/rank.npy"
"""How many bins before each are kept, shape ``(bin + 1,)``."""
_MOST_ROWS: Final = 1 << 28
"""Bytes of rows beyond which a task gains nothing."""


@dataclass(frozen=True)
class Kept:
    """The windows of a store, chromosome by chromosome, as the tasks of bins wrote them.

    Parameters
    ----------
    folder
        Of the build.
    chromosomes
        In the store's order.
    counts
        Windows of each.
    bin_size
        In bp.
    """

    folder: Path
    chromosomes: tuple[Chromosome, ...]
    counts: tuple[int, ...]
    bin_size: int

    @property
    def n_windows(self) -> int:
        """How many windows there are."""
        return sum(self.counts)

    def rows(self) -> Iterator[NDArray[np.int32]]:
        """Give bin, positive experiments and split of the windows of each chromosome, shape ``(3, window)``."""
        for chromosome in self.chromosomes:
            yield np.load(self.folder / chromosome.rows_file, mmap_mode="r")

    def write_rank(self, n_bins: int) -> None:
        """Write how many bins before each are kept."""
        rank = np.zeros(n_bins + 1, np.int32)
        for chromosome, rows in zip(self.chromosomes, self.rows(), strict=True):
            rank[1:][chromosome.begin + rows[0]] = 1
        np.cumsum(rank, out=rank)
        save_array(self.folder / RANK_FILE, rank)

    def write_coordinates(self, root: zarr.Group) -> dict[str, str]:
        """Write the coordinates of all windows; gives their digests."""
        chroms = [chromosome.name for chromosome in self.chromosomes]
        bin_size = np.int32(self.bin_size)

        def together(column: int) -> NDArray[np.int32]:
            return np.concatenate([rows[column] for rows in self.rows()])

        codes = np.repeat(np.arange(len(chroms), dtype=np.int16), self.counts)
        digests = {schema.CHROM: layout.write_coordinate(root, schema.CHROM, codes, chroms)}
        starts = together(0) * bin_size
        digests[schema.START] = layout.write_coordinate(root, schema.START, starts, chroms)
        digests[schema.END] = layout.write_coordinate(root, schema.END, starts + bin_size, chroms)
        del starts
        for name, column, kind in ((schema.N_POSITIVE, 1, np.int32), (schema.SPLIT, 2, np.int8)):
            digests[name] = layout.write_coordinate(root, name, together(column).astype(kind), chroms)
        return digests


def row_tasks(runs: Runs, n_windows: int, width: int, key: str, bytes_per_task: int) -> list[Task]:
    """List the tasks of window-major labels: as many shards each as its memory holds."""
    # beside its rows a task holds a shard while it is packed, twice
    shard = schema.ROWS_PER_SHARD * width
    n_shards = max(1, min(_MOST_ROWS, bytes_per_task - 2 * shard) // shard)
    step = n_shards * schema.ROWS_PER_SHARD
    return [
        Task(
            name=f"rows/{begin // schema.ROWS_PER_SHARD}",
            key=key_of(all=key, begin=begin, step=step),
            work=write_rows,
            arguments=(runs, begin, min(begin + step, n_windows), width),
        )
        for begin in range(0, n_windows, step)
    ]


def write_rows(folder: Path, runs: Runs, begin: int, end: int, width: int) -> Done:
    """Write the labels of windows [begin, end), shape ``(window, label_byte)``: whole shards."""
    rank = np.load(folder / RANK_FILE, mmap_mode="r")
    # bins from that of the first window to that of the last
    first_bin = int(np.searchsorted(rank, begin, "right")) - 1
    end_bin = int(np.searchsorted(rank, end, "left"))
    ranks = rank[first_bin : end_bin + 1] - np.int32(begin)
    rows = np.zeros((end - begin, width), np.uint8)
    for piece in range(len(runs.counts)):
        set_runs_in_rows(*runs.piece(piece), first_bin, ranks, rows, piece)
    outputs = []
    for row in range(0, end - begin, schema.ROWS_PER_SHARD):
        shard = rows[row : row + schema.ROWS_PER_SHARD]
        outputs.append(write_shard(folder / "store", schema.LABEL_BITS, begin + row, shard))
    return Done(outputs=tuple(f"store/{file}" for file in outputs))


def line_tasks(runs: Runs, n_windows: int, key: str) -> list[Task]:
    """List the tasks of experiment-major labels, one a shard."""
    return [
        Task(
            name=f"lines/{piece}",
            key=key_of(all=key, piece=piece),
            work=write_lines,
            arguments=(runs, piece, n_windows),
        )
        for piece in range(len(runs.counts))
    ]


def write_lines(folder: Path, runs: Runs, piece: int, n_windows: int) -> Done:
    """Write the labels of eight experiments over all windows, shape ``(experiment, window_byte)``."""
    rank = np.load(folder / RANK_FILE, mmap_mode="r")
    lines = np.zeros((len(runs.counts[piece]), schema.n_bytes(n_windows)), np.uint8)
    set_runs_in_lines(*runs.piece(piece), np.asarray(rank), lines)
    shard = write_shard(folder / "store", schema.LABEL_BITS_BY_EXPERIMENT, piece * PER_PIECE, lines)
    return Done(outputs=(f"store/{shard}",))


def digest_array(folder: Path, name: str) -> str:
    """Read an array back, shard by shard, and digest its values as `provenance.digest_values` does."""
    digest = hashlib.sha256()
    for values in read_shards(folder / "store", name):
        digest.update(values.data)
    return digest.hexdigest()


def labels_key(bins: Sequence[Any], rank: Path) -> str:
    """Digest what decides all labels: the runs' and the bins' keys, and which bins are kept."""
    return key_of(bins=bins, rank=layout.digest_file(rank).tobytes().hex())
