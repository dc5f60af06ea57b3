"""A store made of strings and lists, which the loader reads and its tests judge by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mfdstore.metadata import FactorTable
from mfdstore.store import Store
from mfdstore.windows import WindowTable
from mfdstore.writer import StoreWriter
from tests.mfdstore.loader.programs import Programs, run_programs

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


class DrawnStore(Store):
    """A store on disk that knows the strings it was made from."""

    bases: dict[str, str]
    label: NDArray[np.bool_]

    def expected(self, row: int, *, positions: int, shift: int, reverse: bool) -> list[int]:
        bases = self.bases[self.windows.chroms[self.windows.chrom[row]]]
        start = int(self.windows.start[row])
        return naive_window(bases, start, positions=positions, shift=shift, reverse=reverse)


def write_store(
    path: Path, bases: dict[str, str], windows: WindowTable, label: NDArray[np.bool_]
) -> DrawnStore:
    """Write a store; its chromosomes are those of the strings, its experiments have no factors."""
    names = tuple(f"ENCFF{number:03}AAA" for number in range(label.shape[1]))
    sizes = tuple(map(len, bases.values()))
    writer = StoreWriter(path, FactorTable(names, ()), tuple(bases), sizes)
    for chrom in bases:
        writer.write_codes(chrom, np.array([*naive_codes(bases[chrom]), 16], np.uint8))
        rows = np.flatnonzero(np.array(windows.chroms)[windows.chrom] == chrom)
        bits = np.packbits(label[rows], axis=1)
        writer.append_windows(chrom, windows.start[rows], windows.split[rows], bits)
    writer.close(
        {"genome": "drawn", "bin_size": BIN, "min_overlap": 64, "min_experiments": 1, "provenance": {}}
    )
    store = DrawnStore(path)
    store.bases, store.label = bases, label
    return store


def draw_windows(
    sizes: dict[str, int], n_windows: int, rng: np.random.Generator
) -> tuple[dict[str, str], WindowTable]:
    """Draw a genome with N, IUPAC letters and lower case, and bins that reach its very ends."""
    letters = np.array(list("ACGTacgtNnRYK"))
    weights = np.array([10] * 8 + [1] * 5) / 85
    bases = {chrom: "".join(rng.choice(letters, size, p=weights)) for chrom, size in sizes.items()}
    last = np.array([size - BIN for size in sizes.values()])
    chrom = np.sort(rng.integers(0, len(sizes), n_windows)).astype(np.int16)
    start = rng.integers(0, last[chrom] + 1)
    start[rng.random(n_windows) < 0.1] = 0
    at_the_end = rng.random(n_windows) < 0.1
    start[at_the_end] = last[chrom[at_the_end]]
    order = np.lexsort((start, chrom))
    split = np.sort(np.arange(n_windows) % 3).astype(np.int8)
    return bases, WindowTable(tuple(sizes), chrom, start[order].astype(np.int32), split, BIN)


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., DrawnStore]:
    """Give the function that draws a store: genome, windows and labels."""
    folder = tmp_path_factory.mktemp("drawn")
    made = itertools.count()

    def make(
        sizes: dict[str, int], *, n_windows: int = 50, n_experiments: int = 11, seed: int = 0
    ) -> DrawnStore:
        rng = np.random.default_rng(seed)
        bases, windows = draw_windows(sizes, n_windows, rng)
        label = rng.random((n_windows, n_experiments)) < 0.3
        return write_store(folder / f"{next(made)}.zarr", bases, windows, label)

    return make


@pytest.fixture(scope="session", name="write_store")
def give_write_store() -> Callable[..., DrawnStore]:
    """Give the function that writes a store."""
    return write_store


@pytest.fixture(scope="session")
def store(new_store: Callable[..., DrawnStore]) -> DrawnStore:
    return new_store({"chr1": 900, "chr2": 400, "chrX": 2000}, n_windows=300)


@pytest.fixture(scope="session")
def large_store(new_store: Callable[..., DrawnStore]) -> DrawnStore:
    """A store of several chunks and shards of labels, and of several chunks of sequence."""
    sizes = {"chr1": 2_500_000, "chr2": 300_000}
    return new_store(sizes, n_windows=20_000, n_experiments=21, seed=3)


@pytest.fixture(scope="session")
def running_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with run_programs(tmp_path_factory.mktemp("programs")) as programs:
        yield programs


@pytest.fixture
def programs(running_programs: Programs) -> Iterator[Programs]:
    """Give what starts programs; those that are left are ended."""
    yield running_programs
    running_programs.end_all()
