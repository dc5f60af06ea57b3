"""How well blocks shuffle: orders of an epoch by block and pool beside the full shuffle; nothing is timed.

    python benchmarks/shuffling.py chr22.zarr full.zarr --out benchmarks/results/shuffling_X_YYYYMM.md

Of each order:

- autocorrelation of the row along the epoch, at lags of 1, 16, 256 and a batch: 0 for the full shuffle, 1 for none;
- neighbours: how many other windows of its batch lie within 10 kb of a window, on average: they say nearly the same;
- chromosome, 1 Mb: the share of a batch that is of the chromosome, or of the stretch, that gives it most;
- variance: of the number of positives over batches, divided by that under the full shuffle; once for each experiment
  (their sum over experiments), once for all experiments together. 1 is as good as the full shuffle; at 4 the share of
  positives that a step sees strays twice as far.

Batches (--batches) are spread over an epoch, or are those of several epochs of a small store.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray

from mfdstore.compiled import compiled
from mfdstore.sampler.order import AsGiven, BlockShuffle, FullShuffle, Order
from mfdstore.store import Store
from mfdstore.windows import WindowTable

LAGS = (1, 16, 256)
SHUFFLES = (
    (512, 8_192),
    (512, 32_768),
    (512, 131_072),
    (512, 524_288),
    (128, 32_768),
    (2_048, 32_768),
    (2_048, 131_072),
    (16_384, 131_072),
)
"""Block and pool."""
NEAR = 10_000
STRETCH = 1_000_000
READ_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class Figures:
    """Of one order; see the module's docstring."""

    autocorrelation: tuple[float, ...]
    neighbours: float
    chromosome: float
    stretch: float


@compiled
def count_labels(bits: NDArray[np.uint8], group: NDArray[np.int64], counts: NDArray[np.int32]) -> None:
    """Add the labels of windows, shape ``(window, label_byte)``, to their batch's, ``(batch, experiment)``."""
    for i in range(bits.shape[0]):
        if group[i] < 0:
            continue
        to = counts[group[i]]
        for byte in range(bits.shape[1]):
            held = bits[i, byte]
            if held:
                for bit in range(8):
                    if held >> (7 - bit) & 1:
                        to[8 * byte + bit] += 1


def order_of(n_windows: int, block: int, pool: int, seed: int, epoch: int) -> Order:
    """Make the order that the loader would; a block of 0 is none."""
    tickets = np.arange(n_windows)
    if block == 0:
        return AsGiven(tickets)
    if block == 1:
        return FullShuffle(tickets, seed=seed, epoch=epoch)
    return BlockShuffle(tickets, seed=seed, epoch=epoch, n_rows=n_windows, block=block, pool=pool)


def rows_of(order: Order) -> NDArray[np.int64]:
    """Write an order out, pool by pool."""
    n = len(order)
    if order.borders is None:
        return order.at(range(n))
    borders = [*order.borders.tolist(), n]
    return np.concatenate([order.at(range(a, b)) for a, b in pairwise(borders)])


def autocorrelation(rows: NDArray[np.int64], lag: int) -> float:
    centred = rows - rows.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred**2).mean())


def most_of_one(groups: NDArray[np.int64]) -> float:
    """Share of the commonest group, averaged over batches, shape ``(batch, window)``."""
    ordered = np.sort(groups, axis=1)
    n_batches, size = ordered.shape
    starts = np.ones_like(ordered, bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.flatnonzero(starts)
    run = np.diff(first, append=ordered.size)
    longest = np.zeros(n_batches, np.int64)
    np.maximum.at(longest, first // size, run)
    return float(longest.mean() / size)


def neighbours(places: NDArray[np.int64]) -> float:
    """Windows of the same batch within NEAR bp, on average over windows; places are ``(batch, window)``."""
    n_pairs = 0
    for batch in np.sort(places, axis=1):
        n_pairs += int((np.searchsorted(batch, batch + NEAR, side="right") - np.arange(len(batch)) - 1).sum())
    return 2 * n_pairs / places.size


def place_on_genome(table: WindowTable) -> NDArray[np.int64]:
    """Count windows through all chromosomes, far apart, in bp."""
    return table.chrom.astype(np.int64) * (1 << 32) + table.start


def measure(
    store: Store, shuffle: tuple[int, int], *, seed: int, batch_size: int, n_counted: int
) -> tuple[Figures, list[NDArray[np.int64]]]:
    """Judge one kind of order; gives the batches that it was judged by, epoch by epoch, ``(batch, window)``."""
    n_batches = store.n_windows // batch_size
    table, place = store.windows, place_on_genome(store.windows)
    found, counted = [], []
    for epoch in range(-(-n_counted // n_batches)):
        rows = rows_of(order_of(store.n_windows, *shuffle, seed, epoch))
        assert np.array_equal(np.sort(rows), np.arange(store.n_windows))
        batches = rows[: n_batches * batch_size].reshape(n_batches, batch_size)
        some = batches[np.unique(np.linspace(0, n_batches - 1, min(n_counted, n_batches)).astype(int))]
        shares = most_of_one(table.chrom[some].astype(np.int64)), most_of_one(place[some] // STRETCH)
        found.append(
            [*(autocorrelation(rows, lag) for lag in (*LAGS, batch_size)), neighbours(place[some]), *shares]
        )
        counted.append(some)
    *correlations, near, chromosome, stretch = np.mean(found, axis=0).tolist()
    return Figures(tuple(correlations), near, chromosome, stretch), counted


def label_variances(store: Store, orders: list[list[NDArray[np.int64]]]) -> list[tuple[float, float]]:
    """Count the labels of the batches of all orders, in one pass over the store.

    Gives variances over batches: of each experiment's positives, summed over experiments, and of all positives.
    """
    width = 8 * -(-store.n_experiments // 8)
    counts = [[np.zeros((len(batches), width), np.int32) for batches in epochs] for epochs in orders]
    groups = []
    for batches in (batches for epochs in orders for batches in epochs):
        group = np.full(store.n_windows, -1, np.int32)
        group[batches] = np.arange(len(batches), dtype=np.int32)[:, None]
        groups.append(group)
    for start in range(0, store.n_windows, READ_AT_ONCE):
        bits = store.label_bits(start, start + READ_AT_ONCE)
        for group, count in zip(groups, (count for epochs in counts for count in epochs), strict=True):
            count_labels(bits, group[start : start + READ_AT_ONCE], count)
    found = []
    for epochs in counts:
        of_experiment = np.concatenate(epochs)[:, : store.n_experiments].astype(np.float64)
        found.append((float(of_experiment.var(0).sum()), float(of_experiment.sum(1).var())))
    return found


def judge(store: Store, batch_size: int, n_counted: int, seed: int) -> list[str]:
    """Write a store's table."""
    wanted = [("full", "", (1, 0), seed)]
    wanted += [
        (f"{block:,}", f"{pool:,}", (block, pool), seed)
        for block, pool in SHUFFLES
        if pool <= store.n_windows
    ]
    wanted.append(("none", "", (0, 0), seed))
    # tells how far a ratio strays by chance
    wanted.append(("full, another seed", "", (1, 0), seed + 1))
    entries, counted = [], []
    for block, pool, shuffle, seed_here in wanted:
        print(store.name, block, pool, file=sys.stderr)
        figures, batches = measure(store, shuffle, seed=seed_here, batch_size=batch_size, n_counted=n_counted)
        entries.append((block, pool, figures))
        counted.append(batches)
    variances = label_variances(store, counted)
    full_each, full_all = variances[0]
    lines = [
        f"## {store.name.removesuffix('.zarr')}: {store.n_windows:,} windows, {store.n_experiments:,} experiments, "
        f"{len(np.unique(store.windows.chrom))} chromosomes",
        "",
        f"{sum(map(len, counted[0])):,} batches of {batch_size:,}, of {len(counted[0])} epochs.",
        "",
        f"| block | pool | autocorrelation at {', '.join(map(str, LAGS))}, a batch | neighbours | chromosome "
        "| 1 Mb | variance, each experiment | together |",
        "|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for (block, pool, figures), (each, together) in zip(entries, variances, strict=True):
        correlation = ", ".join(f"{value:.3f}" for value in figures.autocorrelation)
        lines.append(
            f"| {block} | {pool} | {correlation} | {figures.neighbours:.2f} | {figures.chromosome:.1%} "
            f"| {figures.stretch:.1%} | {each / full_each:.2f} | {together / full_all:.2f} |"
        )
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--batches", type=int, default=2000, help="by which each order is judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    assert __doc__ is not None
    lines = [
        "# How well blocks shuffle",
        "",
        *describe_machine("numpy", "zarr"),
        *__doc__.split("\n")[4:],
        "",
    ]
    for path in options.stores:
        lines += judge(Store(path), options.batch_size, options.batches, options.seed)
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
