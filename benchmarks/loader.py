"""How fast the loader gives windows, beside a Dataset as users write it and beside copying the same bytes.

    python benchmarks/loader.py --store chr22.zarr --fasta hg38.chr22.fa.gz --out benchmarks/results/loader_X_YYYYMM.md

All contestants read the same windows in the same shuffled order, in one process, in turns; what they give is compared
before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fasta_dataset import FastaDataset
from machine import describe_machine
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mfdstore.loader import Batch, Loader, RamData
from mfdstore.sampler import epoch_order
from mfdstore.schema import DEFAULT_POSITIONS
from mfdstore.store import Store

BATCH_SIZES = (256, 1024)
COMPACT_WINDOWS = 500_000
DATASET_WINDOWS = 16_384
COMPARED_WINDOWS = 4096


def typical_dataset(fasta: Path, store: Store) -> FastaDataset:
    table = store.windows
    return FastaDataset(
        fasta,
        [table.chroms[code] for code in table.chrom.tolist()],
        table.first_position(DEFAULT_POSITIONS),
        store.label_bits(),
        n_experiments=store.n_experiments,
        positions=DEFAULT_POSITIONS,
    )


@dataclass(frozen=True)
class Contestant:
    """One way to get windows: what one turn runs, and how many windows that is."""

    name: str
    n_windows: int
    run: Callable[[], None]


def read_all(batches: Iterable[object], times: int = 1) -> None:
    for _ in range(times):
        for _ in batches:
            pass


def read_expanded(loader: Loader, n_experiments: int, *, reuse: bool) -> None:
    one_hot = labels = None
    for batch in loader:
        fits = reuse and one_hot is not None and len(one_hot) == len(batch)
        one_hot = batch.one_hot(out=one_hot if fits else None)
        labels = batch.labels(n_experiments, out=labels if fits else None)


def copy_all(source: NDArray[np.uint8], target: NDArray[np.uint8], times: int) -> None:
    """Copy `source` piece by piece into `target`, a batch."""
    for _ in range(times):
        for first in range(0, len(source), len(target)):
            part = source[first : first + len(target)]
            target[: len(part)] = part


def contestants(
    store: Store, fasta: Path, data: RamData, order: NDArray[np.int64], batch_size: int
) -> list[Contestant]:
    """Set up all ways to read the windows in `order` in batches of one size."""
    n_windows, n_experiments = len(order), store.n_experiments
    times = max(1, COMPACT_WINDOWS // n_windows)
    options = {"rows": order, "batch_size": batch_size, "data": data}
    one, two = (Loader(store, threads=threads, **options) for threads in (1, 2))
    drawn = Loader(store, threads=2, strand="random", max_shift=3, shuffle=True, **options)
    row_bytes = DEFAULT_POSITIONS + data.label_bits.shape[1]
    compact = np.zeros(n_windows * row_bytes, np.uint8), np.zeros(batch_size * row_bytes, np.uint8)
    float_bytes = batch_size * 4 * (16 * DEFAULT_POSITIONS + n_experiments)
    floats = np.zeros(float_bytes, np.uint8), np.zeros(float_bytes, np.uint8)
    n_copies = max(1, n_windows // batch_size)
    entries = [
        Contestant("loader, compact, 1 thread", times * n_windows, partial(read_all, one, times)),
        Contestant("loader, compact, 2 threads", times * n_windows, partial(read_all, two, times)),
        Contestant(
            "the same, strand, shift and order drawn", times * n_windows, partial(read_all, drawn, times)
        ),
        Contestant("memcpy of the compact bytes", times * n_windows, partial(copy_all, *compact, times)),
        Contestant(
            "loader, float32, 1 thread", n_windows, partial(read_expanded, one, n_experiments, reuse=False)
        ),
        Contestant(
            "loader, float32, 2 threads", n_windows, partial(read_expanded, two, n_experiments, reuse=False)
        ),
        Contestant(
            "the same, into memory at hand", n_windows, partial(read_expanded, two, n_experiments, reuse=True)
        ),
        Contestant(
            "memcpy of the float32 bytes", n_copies * batch_size, partial(copy_all, *floats, n_copies)
        ),
    ]
    rows = order[:DATASET_WINDOWS].tolist()
    for workers in (0, 2):
        typical = DataLoader(
            # each its own: a FASTA that is open in two processes is read from one place in the file
            typical_dataset(fasta, store),
            batch_size=batch_size,
            sampler=rows,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        entries.append(Contestant(dataset_name(workers), len(rows), partial(read_all, typical)))
    return entries


def dataset_name(workers: int) -> str:
    return f"Dataset in a DataLoader, {workers} workers"


def compare(store: Store, fasta: Path, data: RamData, order: NDArray[np.int64]) -> int:
    """Stop unless both give the same tensors for the same windows."""
    rows = order[:COMPARED_WINDOWS]
    typical = DataLoader(typical_dataset(fasta, store), batch_size=256, sampler=rows.tolist())
    ours = Loader(store, rows=rows, batch_size=256, data=data)
    for (one_hot, labels), batch in zip(typical, ours, strict=True):
        same = torch.equal(one_hot, batch.one_hot()) and torch.equal(
            labels, batch.labels(store.n_experiments)
        )
        if not same:
            sys.exit("the loader and the Dataset give different tensors: nothing was timed")
    return len(rows)


def first_use(store: Store) -> tuple[RamData, list[tuple[str, float]]]:
    """Time what is paid once a process: reading, and compiling the kernels."""
    marks = [time.perf_counter()]
    data = RamData(store)
    marks.append(time.perf_counter())
    batch: Batch = next(iter(Loader(store, batch_size=256, data=data)))
    marks.append(time.perf_counter())
    batch.one_hot()
    batch.labels(store.n_experiments)
    marks.append(time.perf_counter())
    RamData(store)
    marks.append(time.perf_counter())
    names = (
        "read the store into RAM, compile",
        "first batch, compile",
        "first expansion, compile",
        "read the store into RAM again",
    )
    return data, [(name, marks[i + 1] - marks[i]) for i, name in enumerate(names)]


def describe(
    store: Store,
    data: RamData,
    n_compared: int,
    once: list[tuple[str, float]],
    repeats: int,
    load: float,
) -> list[str]:
    return [
        "# The loader in windows per second",
        "",
        *describe_machine("numpy", "torch", "numba", "pysam"),
        f"Load average {load:.1f} at the start; torch has {torch.get_num_threads()} threads.",
        "",
        f"Store: {store.n_windows:,} windows of {DEFAULT_POSITIONS} positions, {store.n_experiments} "
        f"experiments, {', '.join(store.chroms)}; {data.nbytes / 1e6:,.0f} MB in RAM. "
        f"A window is {DEFAULT_POSITIONS + data.label_bits.shape[1]:,} bytes compact and "
        f"{4 * (16 * DEFAULT_POSITIONS + store.n_experiments):,} bytes as float32.",
        "",
        f"Before timing, {n_compared:,} windows and their labels from the loader (expanded) and from the Dataset were "
        "compared: equal in every number.",
        "",
        "Paid once a process:",
        "",
        *(f"- {name}: {seconds:.2f} s" for name, seconds in once),
        "",
        f"Medians of {repeats} turns with all contestants in each; the lowest and the highest turn beside them. "
        "Workers of the DataLoader are persistent and were started before; the loader's threads are started "
        "in each epoch, within the time.",
        "",
        "Compact is what the loader hands over, to be expanded on the consumer's device. Float32 is like for like: "
        "each batch expanded on this CPU to the very tensors that the Dataset gives: 16 channels of 4 bytes a "
        "position have to be written, beside which stands the memcpy of as many bytes.",
        "",
    ]


def tabulate(batch_size: int, speeds: dict[str, list[float]]) -> list[str]:
    median = {name: statistics.median(turns) for name, turns in speeds.items()}
    slow = [median[dataset_name(workers)] for workers in (0, 2)]
    lines = [
        f"## Batches of {batch_size}",
        "",
        "| contestant | windows/s | lowest | highest | times Dataset, 0 workers | times Dataset, 2 workers |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, turns in speeds.items():
        middle = median[name]
        ratios = " | ".join(f"{middle / other:,.1f}" for other in slow)
        lines.append(f"| {name} | {middle:,.0f} | {min(turns):,.0f} | {max(turns):,.0f} | {ratios} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="a built store")
    parser.add_argument("--fasta", type=Path, required=True, help="the FASTA it was built from, with .fai")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--repeats", type=int, default=7, help="turns, each with every contestant")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    store = Store(options.store)
    data, once = first_use(store)
    order = epoch_order(store.n_windows, seed=0, epoch=0)
    n_compared = compare(store, options.fasta, data, order)
    entries = {
        batch_size: contestants(store, options.fasta, data, order, batch_size) for batch_size in BATCH_SIZES
    }
    speeds = {
        batch_size: {entry.name: list[float]() for entry in entries[batch_size]} for batch_size in BATCH_SIZES
    }
    for turn in range(-1, options.repeats):  # the turn before the first starts workers and fills caches
        for batch_size in BATCH_SIZES:
            for entry in entries[batch_size]:
                started = time.perf_counter()
                entry.run()
                seconds = time.perf_counter() - started
                if turn >= 0:
                    speeds[batch_size][entry.name].append(entry.n_windows / seconds)
        print(f"turn {turn + 1} of {options.repeats}", file=sys.stderr)
    lines = describe(store, data, n_compared, once, options.repeats, load)
    for batch_size in BATCH_SIZES:
        lines += tabulate(batch_size, speeds[batch_size])
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
