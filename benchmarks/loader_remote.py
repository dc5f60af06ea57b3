"""Stream mode from S3 and HTTP whose answers take 20 ms, beside the same from the local disk.

    python benchmarks/loader_remote.py --store full.zarr --out benchmarks/results/loader_remote_X_YYYYMM.md

All read the same windows, blocks of 512 rows all over the store, in turns, in one process; the batches are compared
before. The server (`latency_server.py`) runs on the same machine and takes its share of the processors, which is told.
With no delay it shows what requests themselves cost.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from latency_server import BUCKET, Running, running_server
from machine import describe_machine
from numpy.typing import NDArray
from streaming_ways import BLOCK, POOL, files_of, rows_of, scattered_blocks

from mfdstore.loader import Loader
from mfdstore.loader.stats import LoaderStats
from mfdstore.loader.stream import DEFAULT_CACHE, REMOTE_READERS, StreamData
from mfdstore.store import Store

BATCH_SIZE = 1024
DELAYS = (0.0, 0.02)


class Way:
    """One place to read from."""

    def __init__(
        self, name: str, store: Store, rows: NDArray[np.int64], threads: int, server: Running | None
    ):
        self.name, self.store, self.server = name, store, server
        self.rows, self.threads = rows, threads
        self.speeds: list[float] = []
        self.shares: list[float] = []
        self.stats = LoaderStats()

    def loader(self, rows: NDArray[np.int64] | None = None) -> Loader:
        """Make a loader whose cache is empty, and whose shards have to be asked where their chunks are."""
        return Loader(
            self.store,
            rows=self.rows if rows is None else rows,
            batch_size=BATCH_SIZE,
            data=StreamData(self.store, cache_bytes=DEFAULT_CACHE // 2),
            threads=self.threads,
            shuffle="blocks",
            block=BLOCK,
            pool=POOL,
            strand="random",
            max_shift=3,
        )

    def turn(self) -> None:
        """Read all, and note how fast."""
        loader = self.loader()
        used = self.server.processor_seconds() if self.server else 0.0
        started = time.perf_counter()
        n = sum(len(batch) for batch in loader)
        seconds = time.perf_counter() - started
        assert n == len(self.rows)
        self.speeds.append(n / seconds)
        if self.server:
            self.shares.append((self.server.processor_seconds() - used) / seconds)
        self.stats = loader.stats()


def compare(ways: list[Way]) -> int:
    """Stop unless all give the same batches."""
    rows = ways[0].rows[: 8 * BLOCK]
    n_compared = 0
    for batches in zip(*(way.loader(rows) for way in ways), strict=True):
        for batch in batches[1:]:
            for part in ("codes", "label_bits", "window"):
                if not np.array_equal(getattr(batch, part).numpy(), getattr(batches[0], part).numpy()):
                    sys.exit("two places give different batches: nothing was timed")
        n_compared += len(batches[0])
    return n_compared


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="a built store")
    parser.add_argument("--blocks", type=int, default=1024, help="of 512 windows, in a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns, each with every place")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    local = Store(options.store)
    rows = np.sort(rows_of(scattered_blocks(local, options.blocks, seed=0)))
    for file in files_of(options.store):  # the disk is not what is measured
        file.read_bytes()
    with ExitStack() as stack:
        ways = [Way("local disk", local, rows, options.threads, None)]
        for delay in DELAYS:
            server = stack.enter_context(running_server(options.store.resolve().parent, delay))
            server.set_environment()
            name = options.store.name
            for kind, address in (("S3", f"s3://{BUCKET}/{name}"), ("HTTP", f"{server.url}/{name}")):
                ways.append(
                    Way(f"{kind}, {1000 * delay:.0f} ms", Store(address), rows, options.threads, server)
                )
        n_compared = compare(ways)
        for turn in range(-1, options.repeats):
            for way in ways:
                gc.collect()
                way.turn()
                if turn < 0:
                    way.speeds.clear()
                    way.shares.clear()
            print(f"turn {turn + 1} of {options.repeats}", file=sys.stderr)
    middle = {way.name: statistics.median(way.speeds) for way in ways}
    ours = middle["local disk"]
    lines = [
        "# Stream mode from S3 and HTTP",
        "",
        *describe_machine("numpy", "zarr", "obstore", "numcodecs", "numba", "torch"),
        f"Load average {load:.1f} at the start. Store: {local.n_windows:,} windows, {local.n_experiments:,} "
        f"experiments; {len(rows):,} windows a turn, in blocks of {BLOCK} and pools of {POOL:,}, batches of "
        f"{BATCH_SIZE:,} windows of 1152 positions, strand and shift drawn. {options.threads} threads; elsewhere up to "
        f"{REMOTE_READERS} requests at a time. Each turn begins with an empty cache. Medians of {options.repeats} "
        f"turns. Before timing, {n_compared:,} windows were compared: equal.",
        "",
        "| from | windows/s | lowest | highest | of local | MB/s | processors that the server took |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for way in ways:
        share = f"{statistics.median(way.shares):.2f}" if way.shares else ""
        n_bytes = way.stats.n_bytes * middle[way.name] / len(rows)
        lines.append(
            f"| {way.name} | {middle[way.name]:,.0f} | {min(way.speeds):,.0f} | {max(way.speeds):,.0f} "
            f"| {middle[way.name] / ours:.0%} | {n_bytes / 1e6:,.0f} | {share} |"
        )
    lines += ["", "Of the last turn: " + "; ".join(f"{way.name}: {way.stats}" for way in ways) + ".", ""]
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
