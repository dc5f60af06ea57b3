"""How long a store is in answering: `ds.mfd` beside the ways a user would take without it, with the same answers.

    python benchmarks/query.py --windows 800000 --out benchmarks/results/query_X_YYYYMM.md

The store is made of random labels, 3 in 100 of them set, at a twentieth of the published number of
windows and all of its experiments. Both ways run in one process on the threads scheduler, compiled before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from machine import describe_machine
from numpy.typing import NDArray

from mfdstore.metadata import Factor, FactorTable
from mfdstore.store import Store
from mfdstore.writer import StoreWriter

N_EXPERIMENTS, N_TARGETS, N_CHROMS = 2106, 100, 24
CHROM_SIZE = 130_000_000
N_INTERVALS = 100_000
REPEATS = 3


def make_store(path: Path, n_windows: int) -> None:
    """Write a store of random labels; some windows hold many, most few."""
    draw = np.random.default_rng(0)
    targets = np.array([f"T{index % N_TARGETS}" for index in range(N_EXPERIMENTS)], object)
    names = tuple(f"ENCFF{index:06d}" for index in range(N_EXPERIMENTS))
    chroms = [f"chr{index + 1}" for index in range(N_CHROMS)]
    factors = FactorTable(names, (Factor("target", "category", "biological", targets),))
    writer = StoreWriter(path, factors, chroms, [CHROM_SIZE] * N_CHROMS)
    per_chrom = n_windows // N_CHROMS
    for chrom in chroms:
        starts = np.sort(draw.choice(CHROM_SIZE // 128, per_chrom, replace=False)).astype(
            np.int32
        ) * np.int32(128)
        density = draw.beta(0.3, 9, (per_chrom, 1))
        bits = np.concatenate(
            [
                np.packbits(draw.random((len(part), N_EXPERIMENTS), np.float32) < part, axis=1)
                for part in np.array_split(density, -(-per_chrom // 8192))
            ]
        )
        writer.append_windows(chrom, starts, draw.integers(0, 3, per_chrom).astype(np.int8), bits)
        writer.write_codes(chrom, np.zeros(9, np.uint8))
    writer.close({"genome": "x", "bin_size": 128, "min_overlap": 64, "min_experiments": 0, "provenance": {}})


def draw_intervals() -> pd.DataFrame:
    """Draw intervals of 500 bp."""
    draw = np.random.default_rng(1)
    starts = draw.integers(0, CHROM_SIZE - 500, N_INTERVALS)
    chroms = [f"chr{index + 1}" for index in draw.integers(0, N_CHROMS, N_INTERVALS)]
    return pd.DataFrame({"Chromosome": chroms, "Start": starts, "End": starts + 500})


def overlap_by_pyranges(dataset: xr.Dataset, table: pd.DataFrame) -> xr.Dataset:
    """Select windows as a user of pyranges would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyranges

        bins = pd.DataFrame(
            {
                "Chromosome": dataset.chrom.values,
                "Start": dataset.start.values,
                "End": dataset.end.values,
                "row": np.arange(dataset.sizes["window"]),
            }
        )
        found = pyranges.PyRanges(bins).overlap(pyranges.PyRanges(table)).df["row"]
    return dataset.isel(window=np.sort(found.to_numpy()))


def count_by_xarray(chunked: xr.Dataset) -> NDArray[Any]:
    """Count the windows of each target from the decoded labels, target by target."""
    target = chunked.target.values
    counts = [
        chunked.label.isel(experiment=np.flatnonzero(target == name)).any("experiment").sum("window")
        for name in np.unique(target)
    ]
    return np.array(dask.compute(*(count.data for count in counts)))


def count_by_popcount(store: Store, target: NDArray[Any]) -> NDArray[Any]:
    """Count the windows of each target from packed rows, with a mask of bytes for each target."""
    masks = [np.packbits(target == name) for name in np.unique(target)]
    step = 16_384

    def count(first: NDArray[np.int64]) -> NDArray[np.int64]:
        bits = store.label_bits(int(first[0]), int(first[0]) + step)
        counts = [(bits[:, mask > 0] & mask[mask > 0]).any(axis=1).sum() for mask in masks]
        return np.array([counts])

    firsts = da.from_array(np.arange(0, store.n_windows, step), chunks=1)
    blocks = firsts.map_blocks(
        count, new_axis=1, chunks=(1, len(masks)), dtype=np.int64, meta=np.empty((0, 0), np.int64)
    )
    return np.asarray(blocks.sum(axis=0))


def median_seconds(ask: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """Time a question."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = ask()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), answer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=800_000)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "random.zarr")
        make_store(path, options.windows)
        dataset = xr.open_dataset(path, engine="mfdstore")
        chunked = xr.open_dataset(path, engine="mfdstore", chunks={})
        name, table = dataset.experiment.values[5], draw_intervals()
        dataset.isel(window=[0]).mfd.count_windows("target").compute()  # compiles
        dataset.isel(window=[0]).mfd.jaccard("target").compute()
        rows = []

        def compare(
            what: str, mine: Callable[[], Any], others: dict[str, Callable[[], Any]], same: Any
        ) -> None:
            seconds, answer = median_seconds(mine)
            rows.append(f"| {what} | `ds.mfd` | {seconds:.2f} |")
            for way, ask in others.items():
                seconds, other = median_seconds(ask, 1)
                np.testing.assert_array_equal(same(answer), same(other))
                rows.append(f"| | {way} | {seconds:.2f} |")

        compare(
            "windows of one experiment",
            lambda: dataset.mfd.positives(name),
            {
                "`label` in dask chunks, one column": lambda: chunked.isel(
                    window=np.flatnonzero(chunked.label.sel(experiment=name).values)
                )
            },
            lambda found: found.start.values,
        )
        compare(
            f"windows that overlap {N_INTERVALS:,} intervals",
            lambda: dataset.mfd.overlapping(table),
            {"pyranges overlap": lambda: overlap_by_pyranges(dataset, table)},
            lambda found: found.start.values,
        )
        compare(
            f"windows of each of {N_TARGETS} targets",
            lambda: dataset.mfd.count_windows("target").values,
            {
                "mask and bytes of packed rows, numpy": lambda: count_by_popcount(
                    Store(path), dataset.target.values
                ),
                "xarray on `label` in dask chunks": lambda: count_by_xarray(chunked),
            },
            lambda counts: counts,
        )
        compare("jaccard of targets", lambda: dataset.mfd.jaccard("target").values, {}, None)
        raw, _ = median_seconds(
            lambda: [Store(path).label_bits(row, row + 16_384) for row in range(0, options.windows, 16_384)]
        )
    lines = [
        "# Asking a store",
        "",
        *describe_machine("xarray", "dask", "zarr", "numpy", "numba", "pyranges"),
        f"{options.windows:,} windows, {N_EXPERIMENTS:,} experiments, random labels, on a shared machine. "
        f"Medians of {REPEATS}; the other ways once.",
        "",
        "| question | way | s |",
        "|---|---|---:|",
        *rows,
        f"| reading all packed labels, one thread | | {raw:.2f} |",
        "",
    ]
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
