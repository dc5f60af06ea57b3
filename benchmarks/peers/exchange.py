"""The folder by which all contestants get the same windows: a FASTA, a BED file, packed labels, and the order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Exchange:
    """What lies in the folder, read when it is asked for.

    Windows stand in the order of the genome; `order` says in which order they are read.
    """

    folder: Path
    store: Path
    positions: int
    n_experiments: int
    n_each: dict[str, int]
    """Windows that a pass reads, by what the contestant is: the slower, the fewer."""

    @property
    def fasta(self) -> Path:
        """Upper case, every letter but ACGT is N; beside it an index (.fai) and the lengths (.sizes)."""
        return self.folder / "genome.fa"

    @property
    def bed(self) -> Path:
        """Chromosome, start and end of the bases of each window, one more than its positions."""
        return self.folder / "windows.bed"

    @property
    def overlaps(self) -> Path:
        """The labels as HDF5: `query` (window) and `target` (experiment) of every pair, by window."""
        return self.folder / "overlaps.h5"

    @property
    def n_bases(self) -> int:
        """Bases of a window: each position is a pair."""
        return self.positions + 1

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Windows in the order of reading, shape ``(window,)``."""
        return np.load(self.folder / "order.npy")

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row in the store of each window, shape ``(window,)``."""
        return np.load(self.folder / "rows.npy")

    @cached_property
    def label_bits(self) -> NDArray[np.uint8]:
        """Labels, 8 experiments a byte, the first in the highest bit; shape ``(window, label_byte)``."""
        return np.load(self.folder / "label_bits.npy")

    def labels(self, windows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Unpack the labels of some windows, shape ``(window, experiment)``."""
        return np.unpackbits(self.label_bits[windows], axis=1, count=self.n_experiments)

    @cached_property
    def intervals(self) -> tuple[list[str], NDArray[np.int64]]:
        """Chromosome and first base of each window."""
        lines = [line.split("\t") for line in self.bed.read_text().splitlines()]
        return [line[0] for line in lines], np.array([int(line[1]) for line in lines])

    def save(self, order: NDArray[np.int64], rows: NDArray[np.int64], label_bits: NDArray[np.uint8]) -> None:
        """Write what is not text; FASTA, BED and HDF5 are written by `sources`."""
        np.save(self.folder / "order.npy", order)
        np.save(self.folder / "rows.npy", rows)
        np.save(self.folder / "label_bits.npy", label_bits)
        said = {
            "store": str(self.store),
            "positions": self.positions,
            "n_experiments": self.n_experiments,
            "n_each": self.n_each,
        }
        (self.folder / "exchange.json").write_text(json.dumps(said))


def read_exchange(folder: Path) -> Exchange:
    said = json.loads((folder / "exchange.json").read_text())
    return Exchange(folder, Path(said["store"]), said["positions"], said["n_experiments"], said["n_each"])
