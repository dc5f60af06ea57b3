"""Stream mode from S3 and HTTP whose answers take 20 ms, beside the same from the local disk.

    python benchmarks/loader_remote.py --store full.zarr --out benchmarks/results/loader_remote_X_YYYYMM.md

All read the same windows in turns, in one process; the batches are compared before. The windows are those of blocks all
over the store, and of blocks that follow one another, as in `loader_stream.py`. The server (`latency_server.py`) runs
on the same machine and takes its share of the processors, which is told. With no delay it shows what requests
themselves cost.
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
from streaming_ways import (
    BEGINNING,
    BLOCK,
    POOL,
    WHOLE_EPOCH,
    files_of,
    neighbouring_blocks,
    rows_of,
    scattered_blocks,
)

from mfdstore.loader import Loader
from mfdstore.loader.modes import open_content
from mfdstore.loader.stats import LoaderStats
from mfdstore.loader.stream import REMOTE_READERS
from mfdstore.schema import DEFAULT_POSITIONS
from mfdstore.store import Store

BATCH_SIZE = 1024
DELAYS = (0.0, 0.02)
SETS = (
    ("Blocks all over the store", BEGINNING, scattered_blocks),
    ("Blocks that follow one another", WHOLE_EPOCH, neighbouring_blocks),
)


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
            data=open_content(self.store, "stream", positions=DEFAULT_POSITIONS, max_shift=3),
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


def open_places(local: Store, stack: ExitStack) -> list[tuple[str, Store, Running | None]]:
    """Start the servers, and open the store at each of them and on the disk."""
    assert isinstance(local.path, Path)
    name = local.path.name
    places: list[tuple[str, Store, Running | None]] = [("local disk", local, None)]
    for delay in DELAYS:
        server = stack.enter_context(running_server(local.path.resolve().parent, delay))
        server.set_environment()
        for kind, address in (("S3", f"s3://{BUCKET}/{name}"), ("HTTP", f"{server.url}/{name}")):
            store = Store(address)
            store.check_same()  # all its clients are made now, while the environment leads to this server
            places.append((f"{kind}, {1000 * delay:.0f} ms", store, server))
    return places


def take_turns(ways: list[Way], repeats: int) -> None:
    for turn in range(-1, repeats):
        for way in ways:
            gc.collect()
            way.turn()
            if turn < 0:
                way.speeds.clear()
                way.shares.clear()
        print(f"turn {turn + 1} of {repeats}", file=sys.stderr)


def tabulate(ways: list[Way]) -> list[str]:
    middle = {way.name: statistics.median(way.speeds) for way in ways}
    ours = middle[ways[0].name]
    lines = [
        "| from | windows/s | lowest | highest | of local | MB/s | processors that the server took |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for way in ways:
        share = f"{statistics.median(way.shares):.2f}" if way.shares else ""
        n_bytes = way.stats.n_bytes * middle[way.name] / len(way.rows)
        lines.append(
            f"| {way.name} | {middle[way.name]:,.0f} | {min(way.speeds):,.0f} | {max(way.speeds):,.0f} "
            f"| {middle[way.name] / ours:.0%} | {n_bytes / 1e6:,.0f} | {share} |"
        )
    return [*lines, ""]


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
    for file in files_of(options.store):  # the disk is not what is measured
        file.read_bytes()
    lines = [
        "# Stream mode from S3 and HTTP",
        "",
        *describe_machine("numpy", "zarr", "obstore", "numcodecs", "numba", "torch"),
        f"Load average {load:.1f} at the start. Store: {local.n_windows:,} windows, {local.n_experiments:,} "
        f"experiments; {options.blocks * BLOCK:,} windows a turn, in blocks of {BLOCK} and pools of {POOL:,}, batches "
        f"of {BATCH_SIZE:,} windows of 1152 positions, strand and shift drawn. {options.threads} threads; elsewhere up "
        f"to {REMOTE_READERS} requests at a time. Each turn begins with an empty cache. Medians of {options.repeats} "
        "turns. A server has one process; 1.00 is one of the processors.",
        "",
    ]
    with ExitStack() as stack:
        places = open_places(local, stack)
        for name, said, choose in SETS:
            rows = np.sort(rows_of(choose(local, options.blocks, seed=0)))
            ways = [Way(place, store, rows, options.threads, server) for place, store, server in places]
            n_compared = compare(ways)
            take_turns(ways, options.repeats)
            told = "; ".join(f"{way.name}: {way.stats}" for way in ways)
            lines += [
                f"## {name}",
                "",
                f"{said} Before timing, {n_compared:,} windows were compared: equal.",
                "",
                *tabulate(ways),
                f"Of the last turn: {told}.",
                "",
            ]
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
