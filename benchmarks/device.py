"""The loader on a GPU: windows/s beside the card's memory, and how long a training waits for its batches.

    python benchmarks/device.py --store encode.zarr --out benchmarks/results/device_X_YYYYMM.md

Needs CUDA. Windows are cut on the card from codes and labels that live there (mode device), and cut in RAM and sent
(mode ram). The training step is that of a preset, on the store's own experiments.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import describe_machine

from mfdmodel.config_reading import load_config
from mfdmodel.train.step_time import training_steps
from mfdstore.loader import Loader, RamData
from mfdstore.loader.bench import measure_store
from mfdstore.loader.bench_figures import BenchSettings, Consumer
from mfdstore.loader.content import Content
from mfdstore.loader.on_device import DeviceData
from mfdstore.schema import DEFAULT_POSITIONS
from mfdstore.store import Store

COPY_BYTES = 1 << 32
WINDOWS = 2_000_000


def seconds_of(work: Callable[[], object]) -> float:
    """Time work on the card, from when it is idle until it is idle again."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def copy_speed(repeats: int) -> float:
    """Measure bytes a second that the card copies within its memory; each is read and written."""
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    turns = [seconds_of(lambda: target.copy_(source)) for _ in range(repeats + 1)]
    return COPY_BYTES / statistics.median(turns[1:])


def read(loader: Loader, n_experiments: int, *, expanded: bool, most: int) -> int:
    """Read up to so many windows of an epoch onto the card; gives how many."""
    one_hot = labels = None
    n = 0
    for batch in loader:
        there = batch.to("cuda")
        if expanded:
            fits = one_hot is not None and len(one_hot) == len(there)
            one_hot = there.one_hot(torch.bfloat16, out=one_hot if fits else None)
            labels = there.labels(n_experiments, torch.bfloat16, out=labels if fits else None)
        n += len(there)
        if n >= most:
            break
    return n


def speeds(
    store: Store, contents: dict[str, Content], *, batch_size: int, repeats: int
) -> dict[tuple[str, bool], list[float]]:
    """Windows a second by mode, compact and expanded, in turns."""
    found: dict[tuple[str, bool], list[float]] = {
        (mode, expanded): [] for mode in contents for expanded in (False, True)
    }
    for turn in range(repeats + 1):
        for (mode, expanded), turns in found.items():
            loader = Loader(
                store,
                batch_size=batch_size,
                data=contents[mode],
                shuffle=True,
                strand="random",
                max_shift=3,
                pin_memory=True,
            )
            counted: list[int] = []

            def work(
                loader: Loader = loader, counted: list[int] = counted, expanded: bool = expanded
            ) -> None:
                counted.append(read(loader, store.n_experiments, expanded=expanded, most=WINDOWS))

            seconds = seconds_of(work)
            if turn:  # the one before warms up
                turns.append(counted[0] / seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="a built store")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--preset", default="paper", help="whose training step is timed")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: nothing was timed")
    store = Store(options.store)
    ram = RamData(store)
    contents: dict[str, Content] = {"ram": ram, "device": DeviceData(store, "cuda", data=ram)}
    copied = copy_speed(options.repeats)
    compact = DEFAULT_POSITIONS + ram.label_bits.shape[1]
    lines = [
        "# The loader on a GPU",
        "",
        *describe_machine("numpy", "torch", "numba"),
        f"{torch.cuda.get_device_name()}; it copies {copied / 1e9:,.0f} GB a second within its memory (each byte "
        f"read and written). Store: {store.n_windows:,} windows of {DEFAULT_POSITIONS} positions, "
        f"{store.n_experiments} experiments.",
        "",
        "| batch | mode | batches | windows/s | of the speed at which the card copies as many bytes |",
        "|---:|---|---|---:|---:|",
    ]
    for batch_size in options.batch_sizes:
        found = speeds(store, contents, batch_size=batch_size, repeats=options.repeats)
        for (mode, expanded), turns in found.items():
            width = 2 * (16 * DEFAULT_POSITIONS + store.n_experiments) if expanded else compact
            middle = statistics.median(turns)
            kind = "bfloat16 channels and labels" if expanded else "compact"
            lines.append(
                f"| {batch_size} | {mode} | {kind} | {middle:,.0f} | {middle * width / copied:.0%} |"
            )
    lines.append("")
    del contents
    config = load_config(options.preset)
    consumer = Consumer(
        f"preset {options.preset}",
        training_steps(config, store, torch.device("cuda")),
        config.training.batch_size,
        config.data.positions,
        config.data.max_shift,
    )
    settings = BenchSettings(modes=("ram", "device"), asked=True, seconds=20.0, device="cuda")
    for figures in measure_store(options.store, settings, consumer=consumer).modes:
        waiting = figures.waiting
        if waiting is None:
            said = figures.reason
        else:
            said = f"{waiting.steps} steps of {1000 * waiting.step:.2f} ms, {waiting.share:.2%} of the time waiting."
        lines.append(f"Training by {consumer.name}, mode {figures.mode}: {said}")
    lines.append("")
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
