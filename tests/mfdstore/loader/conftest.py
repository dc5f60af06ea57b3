"""A store made of strings and lists, which the loader reads and its tests judge by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mfdstore.windows import WindowTable

BIN = 128
CODE_OF_PAIR = {a + b: 4 * i + j for i, a in enumerate("ACGT") for j, b in enumerate("ACGT")}
OTHER_BASE = {"A": "T", "C": "G", "G": "C", "T": "A"}


def naive_codes(bases: str) -> list[int]:
    """Look each pair of letters up, one after another."""
    return [CODE_OF_PAIR.get(bases[i : i + 2].upper(), 16) for i in range(len(bases) - 1)]


def naive_window(bases: str, start: int, *, positions: int, shift: int, reverse: bool) -> list[int]:
    """Cut a window from a string whose ends are padded with N, and turn the string."""
    centre = start + BIN // 2
    padding = positions + abs(shift) + BIN
    padded = "N" * padding + bases + "N" * padding
    first = padding + centre - positions // 2 + shift
    cut = padded[first : first + positions + 1]
    if reverse:
        cut = "".join(OTHER_BASE.get(base, "N") for base in reversed(cut.upper()))
    return naive_codes(cut)


@dataclass
class MemoryStore:
    """What the loader asks of a store, made from strings and lists."""

    genome: dict[str, str]
    windows: WindowTable
    label: NDArray[np.bool_]
    path: Path = Path("memory.zarr")

    @property
    def chroms(self) -> tuple[str, ...]:
        return tuple(self.genome)

    @property
    def chrom_sizes(self) -> tuple[int, ...]:
        return tuple(len(bases) for bases in self.genome.values())

    @property
    def n_windows(self) -> int:
        return len(self.label)

    @property
    def n_experiments(self) -> int:
        return self.label.shape[1]

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.genome).encode() + self.label.tobytes()).hexdigest()

    def codes(self, chrom: str) -> NDArray[np.uint8]:
        return np.array([*naive_codes(self.genome[chrom]), 16], np.uint8)

    def label_bits(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        return np.packbits(self.label[start:stop], axis=1)

    def expected(self, row: int, *, positions: int, shift: int, reverse: bool) -> list[int]:
        bases = self.genome[self.windows.chroms[self.windows.chrom[row]]]
        start = int(self.windows.start[row])
        return naive_window(bases, start, positions=positions, shift=shift, reverse=reverse)


def make_store(
    sizes: dict[str, int], *, n_windows: int = 50, n_experiments: int = 11, seed: int = 0
) -> MemoryStore:
    """Draw a genome with N, IUPAC letters and lower case, bins that reach its very ends, and labels."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACGTacgtNnRYK"))
    weights = np.array([10] * 8 + [1] * 5) / 85
    genome = {chrom: "".join(rng.choice(letters, size, p=weights)) for chrom, size in sizes.items()}
    last = np.array([size - BIN for size in sizes.values()])
    chrom = np.sort(rng.integers(0, len(sizes), n_windows)).astype(np.int16)
    start = rng.integers(0, last[chrom] + 1)
    start[rng.random(n_windows) < 0.1] = 0
    at_the_end = rng.random(n_windows) < 0.1
    start[at_the_end] = last[chrom[at_the_end]]
    order = np.lexsort((start, chrom))
    split = np.sort(np.arange(n_windows) % 3).astype(np.int8)
    windows = WindowTable(tuple(sizes), chrom, start[order].astype(np.int32), split, BIN)
    return MemoryStore(genome, windows, rng.random((n_windows, n_experiments)) < 0.3)


@pytest.fixture(scope="session")
def new_store() -> Callable[..., MemoryStore]:
    """Give the function that draws a store; see `make_store` for what it takes."""
    return make_store


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store({"chr1": 900, "chr2": 400, "chrX": 2000}, n_windows=300)
