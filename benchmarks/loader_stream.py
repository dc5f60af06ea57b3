"""Stream mode in windows per second, beside decompression alone and what one writes by hand with plain zarr.

    python benchmarks/loader_stream.py --store full.zarr --out benchmarks/results/loader_stream_X_YYYYMM.md

Two sets of windows, each as many blocks of 512 rows: drawn all over the store, and neighbours from the store's first on
(`streaming_ways.py` says what they stand for). All contestants read the same blocks, those that are slow a part of
them; in turns, in one process, with as many threads; what they give is compared before.

Then, in processes of their own: the time to the first batch of the whole store in stream mode and in RAM mode.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from machine import describe_machine
from numpy.typing import NDArray
from streaming_ways import (
    BEGINNING,
    BLOCK,
    POOL,
    WHOLE_EPOCH,
    Shards,
    ZarrReader,
    files_of,
    forget,
    neighbouring_blocks,
    rows_of,
    scattered_blocks,
)

from mfdstore.loader import Loader
from mfdstore.loader.content import Content
from mfdstore.loader.modes import open_content
from mfdstore.loader.stream import StreamData
from mfdstore.schema import DEFAULT_POSITIONS
from mfdstore.store import Store

BATCH_SIZE = 1024
N_SLOW = 131_072
N_SINGLE = 1024
SMALL_CACHE = 1 << 28
COLD, WARM = "cold", "warm"
BY_HAND = "zarr, blocks mixed in a pool"
ONCE = "decompression alone, each chunk once"
LABELS = "decompression alone, labels"
EACH_USE = "decompression alone, as often as a block needs a chunk"

FIRST_BATCH = """
import json, sys, time
start = time.perf_counter()
from mfdstore.loader import Loader
from mfdstore.store import Store
imported = time.perf_counter()
store = Store(sys.argv[1])
options = dict(batch_size=1024, shuffle=True, strand="random", max_shift=3, threads=int(sys.argv[3]))
loader = Loader(store, mode=sys.argv[2], **options)
made = time.perf_counter()
first = next(iter(loader))
done = time.perf_counter()
assert len(first) == 1024
print(json.dumps([imported - start, made - imported, done - made]))
sys.stdout.flush()
import os
os._exit(0)
"""


@dataclass(frozen=True)
class Contestant:
    """One way to read: what a turn runs, and how many windows that gives.

    `cold` reads from the disk; `limit` names the decompression alone of what it has to decompress.
    """

    name: str
    n_windows: int
    run: Callable[[], None]
    cold: bool = False
    limit: str = ""


def read_all(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def loader_of(
    store: Store, rows: NDArray[np.int64], content: Content, threads: int, *, drawn: bool
) -> Loader:
    return Loader(
        store,
        rows=rows,
        batch_size=BATCH_SIZE,
        data=content,
        threads=threads,
        shuffle="blocks",
        block=BLOCK,
        pool=POOL,
        strand="random" if drawn else "forward",
        max_shift=3 if drawn else 0,
    )


def contestants(
    store: Store, blocks: NDArray[np.int64], threads: int, *, whole: bool
) -> tuple[list[Contestant], str]:
    """Set up all ways to read the windows of some blocks; says how much they have to decompress as well."""
    rows = np.sort(rows_of(blocks))
    n = len(rows)
    plain = ZarrReader(store, threads)
    shards = Shards(store, blocks, threads)
    slow, single = blocks[: N_SLOW // BLOCK], rows_of(blocks)
    single = np.random.default_rng(1).permutation(single)[:N_SINGLE]
    kept = open_stream(store)

    def stream(*, held: Content | None = None, small: bool = False, drawn: bool = False) -> None:
        content = StreamData(store, cache_bytes=SMALL_CACHE) if small else held or open_stream(store)
        read_all(loader_of(store, rows, content, threads, drawn=drawn))

    def by_hand() -> None:
        read_all(plain.shuffled_blocks(slow, BATCH_SIZE))

    entries = [
        Contestant("stream, first epoch", n, stream, limit=ONCE),
        Contestant("stream, first epoch, strand and shift drawn", n, partial(stream, drawn=True), limit=ONCE),
        Contestant("stream, later epochs", n, partial(stream, held=kept), limit=LABELS),
        Contestant(
            f"stream, a cache of {SMALL_CACHE / 1e9:.1f} GB", n, partial(stream, small=True), limit=EACH_USE
        ),
        Contestant("stream, first epoch, from the disk", n, stream, cold=True, limit=ONCE),
        Contestant(ONCE, n, shards.decompress),
        Contestant(LABELS, n, partial(shards.decompress, labels_only=True)),
        Contestant(EACH_USE, n, partial(shards.decompress, each_use=True)),
        Contestant("zarr, all between the first and last chunk read, nothing cut", n, shards.read_by_zarr),
        Contestant(BY_HAND, len(slow) * BLOCK, by_hand),
        Contestant(f"{BY_HAND}, from the disk", len(slow) * BLOCK, by_hand, cold=True),
        Contestant("zarr, row by row", len(single), lambda: read_all(plain.single_rows(single))),
    ]
    # nothing is to be learnt of shards that are read whole for a block each
    return entries if whole else [
        entry for entry in entries if "nothing cut" not in entry.name
    ], shards.describe()


def open_stream(store: Store) -> StreamData:
    """Open a store as the loader does by itself, with nothing in its cache."""
    content = open_content(store, "stream", positions=DEFAULT_POSITIONS, max_shift=3)
    assert isinstance(content, StreamData)
    return content


def compare(store: Store, blocks: NDArray[np.int64], threads: int) -> int:
    """Stop unless stream mode, blocks by zarr and rows by zarr give the same for the same windows."""
    some = blocks[:8]
    rows = np.sort(rows_of(some))
    plain = ZarrReader(store, threads)
    held = {}
    for got, codes, bits in plain.shuffled_blocks(some, BATCH_SIZE):
        held |= {row: (codes[i], bits[i]) for i, row in enumerate(got.tolist())}
    content = StreamData(store)
    n_compared = 0
    for batch in loader_of(store, rows, content, threads, drawn=False):
        for i, row in enumerate(batch.window.tolist()):
            codes, bits = held.pop(row)
            same = np.array_equal(codes, batch.codes[i].numpy()) and np.array_equal(
                bits, batch.label_bits[i].numpy()
            )
            if not same:
                sys.exit(f"stream mode and zarr give different windows for row {row}: nothing was timed")
            n_compared += 1
    single = rows[:: len(rows) // 64]
    by_block = {int(row): plain.block(int(row) // BLOCK * BLOCK) for row in single}
    for (row,), codes, bits in plain.single_rows(single):
        _, expected, labels = by_block[int(row)]
        if not np.array_equal(codes[0], expected[row % BLOCK]) or not np.array_equal(
            bits[0], labels[row % BLOCK]
        ):
            sys.exit(f"two ways by zarr give different windows for row {row}: nothing was timed")
    assert not held
    return n_compared


def take_turns(store: Store, entries: list[Contestant], repeats: int) -> dict[str, list[float]]:
    """Time all, turn by turn; the turn before the first fills caches."""
    files = files_of(Path(store.path))
    speeds: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for turn in range(-1, repeats):
        for entry in entries:
            if entry.cold:
                forget(files)
            else:
                for file in files:  # what the cold ones dropped
                    file.read_bytes()
            gc.collect()
            started = time.perf_counter()
            entry.run()
            seconds = time.perf_counter() - started
            if turn >= 0:
                speeds[entry.name].append(entry.n_windows / seconds)
        print(f"turn {turn + 1} of {repeats}", file=sys.stderr)
    return speeds


def tabulate(entries: list[Contestant], speeds: dict[str, list[float]]) -> list[str]:
    middle = {name: statistics.median(turns) for name, turns in speeds.items()}
    lines = [
        "| way | windows/s | lowest | highest | times blocks by zarr | of decompressing the same alone |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for entry in entries:
        name, turns = entry.name, speeds[entry.name]
        share = f"{middle[name] / middle[entry.limit]:.0%}" if entry.limit else ""
        lines.append(
            f"| {name} | {middle[name]:,.0f} | {min(turns):,.0f} | {max(turns):,.0f} "
            f"| {middle[name] / middle[BY_HAND]:,.2f} | {share} |"
        )
    return [*lines, ""]


def first_batches(store: Store, mode: str, threads: int, repeats: int) -> list[str]:
    """Time the first batch of the whole store in processes of their own, files in memory and not."""
    files = [file for file in Path(store.path).rglob("*") if file.is_file()]
    lines = []
    for state in (WARM, COLD):
        times = []
        for _ in range(repeats):
            for file in files:
                file.read_bytes()
            if state == COLD:
                forget(files)
            done = subprocess.run(
                [sys.executable, "-c", FIRST_BATCH, str(store.path), mode, str(threads)],
                capture_output=True,
                text=True,
                check=True,
            )
            times.append(json.loads(done.stdout))
            print(mode, state, times[-1], file=sys.stderr)
        imports, made, first = np.median(np.array(times), axis=0).tolist()
        name = "in the system's memory" if state == WARM else "on the disk alone"
        lines.append(
            f"| {mode} | {name} | {made + first:.2f} | {made:.2f} | {first:.2f} | {imports:.2f} | {repeats} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="a built store")
    parser.add_argument("--blocks", type=int, default=2048, help="of 512 windows, in a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns, each with every contestant")
    parser.add_argument("--first-repeats", type=int, default=3, help="of the time to the first batch")
    parser.add_argument("--modes", nargs="*", default=["stream", "ram"], help="timed to the first batch")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    zarr.config.set({"threading.max_workers": options.threads})
    store = Store(options.store)
    lines = [
        "# Stream mode from a local disk",
        "",
        *describe_machine("numpy", "zarr", "numcodecs", "numba", "google-crc32c", "torch"),
        f"Load average {load:.1f} at the start. Store: {store.n_windows:,} windows, {store.n_experiments:,} "
        f"experiments. {options.threads} threads, batches of {BATCH_SIZE:,} windows of 1152 positions, blocks of "
        f"{BLOCK} in pools of {POOL:,}. Medians of {options.repeats} turns with all ways in each. Files are in the "
        "system's memory where it is not said that they come from the disk; then the system was asked to forget them. "
        '"Decompression alone" is zstd and crc32c by numcodecs and google-crc32c on chunks in memory. In the first '
        "epoch the cache of the sequence is empty and takes what the loader gives it by itself; in later ones it holds "
        "what the one before left.",
        "",
    ]
    for name, said, choose, whole in (
        ("Blocks all over the store", BEGINNING, scattered_blocks, False),
        ("Blocks that follow one another", WHOLE_EPOCH, neighbouring_blocks, True),
    ):
        blocks = choose(store, options.blocks, seed=0)
        n_compared = compare(store, blocks, options.threads)
        entries, described = contestants(store, blocks, options.threads, whole=whole)
        speeds = take_turns(store, entries, options.repeats)
        lines += [
            f"## {name}",
            "",
            said,
            "",
            f"{len(blocks) * BLOCK:,} windows: {described}. Before timing, {n_compared:,} windows were compared: "
            "equal.",
            "",
            *tabulate(entries, speeds),
        ]
        print("\n".join(lines[-16:]), flush=True)
        del entries
        gc.collect()
    lines += [
        "## Time to the first batch",
        "",
        f"Of all {store.n_windows:,} windows in random order, with strand and shift drawn, each in a new process; "
        "medians, s. What importing takes (torch, zarr, numba) is counted apart.",
        "",
        "| mode | files | first batch | store and content | first batch from then | imports | runs |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for mode in options.modes:
        repeats = options.first_repeats if mode == "stream" else 1
        lines += first_batches(store, mode, options.threads, repeats)
    text = "\n".join([*lines, ""])
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
