"""A training step in windows per second: eager, in bfloat16, compiled, beside the network written plainly.

    python benchmarks/step.py --store encode.zarr --out benchmarks/results/step_X_YYYYMM.md

One preset, one store, the same batch for all; both players, both optimisers. The plain one is a network of 1-D
convolutions with the same numbers (`plain_network.py`). Before anything is timed each way has to give its loss, as it
will be computed: in its precision, compiled, on the device. Ways take turns in one process. Then the operations that
cost most, by torch's profiler.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from machine import describe_machine
from plain_network import PlainPlayers, PlainTrunk
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from mfdmodel.config import RunConfig
from mfdmodel.config_reading import load_config, override
from mfdmodel.devices import computing_on
from mfdmodel.model import build_model
from mfdmodel.train.compiling import compile_trunk
from mfdmodel.train.players import Players
from mfdmodel.train.trainer import PLUGINS, quiet
from mfdstore.loader import Batch, Loader
from mfdstore.store import Store

Kind = Literal["plain", "ours"]
UNTIMED = 2
"""Steps before the clock: they allocate, choose algorithms, compile."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
"""Relative, of a way's loss before any step, to that of the plain network."""
SHOWN = 8


@dataclass
class Way:
    """One way to make the step."""

    name: str
    kind: Kind
    options: dict[str, object]
    speeds: list[float] = field(default_factory=list)


WAYS = (
    Way("plain eager float32, optimisers as torch has them", "plain", {}),
    Way("float32", "ours", {}),
    Way("float32, compiled", "ours", {"training.compile": True}),
    Way("bfloat16", "ours", {"training.precision": "bfloat16"}),
    Way("bfloat16, compiled", "ours", {"training.precision": "bfloat16", "training.compile": True}),
)


def players_of(way: Way, config: RunConfig, store: Store) -> tuple[Players, RunConfig]:
    """Make a new model and its game, with the same numbers for all ways."""
    own = override(config, way.options)
    torch.manual_seed(0)
    fraction = np.full(store.n_experiments, 0.01)
    model = build_model(own.model, factors=store.factors, positive_fraction=fraction)
    if way.kind == "plain":
        model.features = PlainTrunk(model.features, own)  # type: ignore[arg-type]
        return PlainPlayers(model, own, n_steps=1_000_000), own
    compile_trunk(model, own.training)
    return Players(model, own, n_steps=1_000_000), own


class Behind(Callback):
    """Do something when the untimed steps are done, and something when all are, with the device's work done."""

    def __init__(self, device: torch.device, begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._device = device
        self._begin = begin
        self._end = end

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Begin behind the untimed steps."""
        if batch_idx == UNTIMED:
            self._wait()
            self._begin()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End behind the last one."""
        self._wait()
        self._end()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def run(
    players: Players, config: RunConfig, batches: Iterable[Batch], device: torch.device, watcher: Callback
) -> None:
    """Train on the batches."""
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=1,
        precision=PLUGINS[config.training.precision],
        max_epochs=1,
        callbacks=[watcher],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(players, batches)


def first_loss(way: Way, config: RunConfig, store: Store, batch: Batch, device: torch.device) -> float:
    """Compute the cross entropy of a batch before any step, without dropout, as the way computes it."""
    players, own = players_of(way, override(config, {"model.trunk.dropout": 0.0}), store)
    low = own.training.precision == "bfloat16"
    batch = batch.to(device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16) if low else nullcontext():
        channels = batch.one_hot(torch.bfloat16 if low else torch.float32)
        logits = players.model.to(device).train()(channels).float()
    labels = batch.labels(store.n_experiments)
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, labels))


def check_losses(ways: list[Way], config: RunConfig, store: Store, batch: Batch, device: torch.device) -> str:
    """Make sure that all ways compute the same, and say how nearly.

    Raises
    ------
    SystemExit
        If a way's loss is further from the plain network's than `TOLERANCE`.
    """
    plain = first_loss(ways[0], config, store, batch, device)
    off: dict[str, float] = dict.fromkeys(TOLERANCE, 0.0)
    for way in ways[1:]:
        precision = str(way.options.get("training.precision", "float32"))
        loss = first_loss(way, config, store, batch, device)
        distance = abs(loss - plain) / plain
        # not <=: a loss that is no number is none of these
        if not distance <= TOLERANCE[precision]:
            sys.exit(f"{way.name} gives another loss, {loss} in place of {plain}: nothing was timed")
        off[precision] = max(off[precision], distance)
    told = ", ".join(f"{off[name]:.1e} in {name} (at most {most:g})" for name, most in TOLERANCE.items())
    return f"{plain:.5f} for the plain network, and relative to it no further off than {told}"


def count_flops(config: RunConfig, store: Store, batch: Batch) -> float:
    """Count the floating-point operations of a forward and backward pass of the trunk, for a window."""
    players, _ = players_of(WAYS[0], config, store)
    few = batch.part(0, 2)
    counter = FlopCounterMode(display=False)
    with counter:
        players.model.features(few.one_hot()).sum().backward()
    return counter.get_total_flops() / 2


def costly(way: Way, config: RunConfig, store: Store, batch: Batch, device: torch.device) -> list[str]:
    """Name the operations that cost most, with their share of a step."""
    players, own = players_of(way, config, store)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    seen = profile(activities=activities)
    run(players, own, repeat(batch, UNTIMED + 2), device, Behind(device, seen.start, seen.stop))
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda event: getattr(event, key), reverse=True)
    total = sum(getattr(event, key) for event in events)
    return [
        f"| {event.key} | {event.count} | {getattr(event, key) / total:.0%} |" for event in events[:SHOWN]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="a built store")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="timed, of each turn")
    parser.add_argument("--repeats", type=int, default=3, help="turns, each with every way")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", type=float, help="of the device in bfloat16, in TFLOP a second")
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled ways out")
    options = parser.parse_args()
    device = torch.device(options.device)
    load = os.getloadavg()[0]
    store = Store(options.store)
    config = override(
        load_config(options.preset),
        {"training.batch_size": options.batch_size, "model.penalty.lambda_indep": 0.001},
    )
    rows = store.windows.rows("train")[: options.batch_size]
    rows = rows if len(rows) == options.batch_size else np.arange(options.batch_size)
    (batch,) = Loader(store, rows=rows, batch_size=len(rows), positions=config.data.positions)
    ways = [way for way in WAYS if not (options.no_compile and "training.compile" in way.options)]
    flops = count_flops(config, store, batch)
    with computing_on(device, None), quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(have no `val_dataloader`|does not have many workers)")
        losses = check_losses(ways, config, store, batch, device)
        for turn in range(options.repeats):
            for way in ways:
                players, own = players_of(way, config, store)
                marks: list[float] = []
                note = partial(_note, marks)
                batches = repeat(batch.to(device), UNTIMED + options.steps)
                run(players, own, batches, device, Behind(device, note, note))
                seconds = (marks[-1] - marks[0]) / options.steps
                way.speeds.append(options.batch_size / seconds)
                print(f"turn {turn + 1}: {way.name}: {way.speeds[-1]:.2f} windows/s", file=sys.stderr)
        fastest = max(ways, key=lambda way: statistics.median(way.speeds))
        eager = [way for way in ways if "training.compile" not in way.options and way.kind == "ours"]
        shown = max(eager, key=lambda way: statistics.median(way.speeds))
        table = costly(shown, config, store, batch.to(device), device)
    lines = report(ways, shown, table, flops=flops, peak=options.peak)
    text = "\n".join(
        [
            "# A training step",
            "",
            *describe_machine("torch", "lightning", "numpy"),
            f"Load average {load:.1f} at the start; {torch.get_num_threads()} threads, {device}. Preset "
            f"{options.preset}, {config.data.positions} positions, {store.n_experiments} experiments, batches of "
            f"{options.batch_size}; medians of {options.repeats} turns of {options.steps} steps behind {UNTIMED} "
            f"untimed ones. The loss before any step: {losses}.",
            "",
            *lines,
            "",
            f"Fastest: {fastest.name}.",
            "",
        ]
    )
    options.out.write_text(text, encoding="utf-8")
    print(text)


def _note(marks: list[float]) -> None:
    marks.append(time.perf_counter())


def report(ways: list[Way], shown: Way, table: list[str], *, flops: float, peak: float | None) -> list[str]:
    """Tabulate the ways, and the costly operations of one."""
    first = statistics.median(ways[0].speeds)
    share: Callable[[float], str] = (
        (lambda speed: "") if peak is None else (lambda speed: f" {speed * flops / (1e12 * peak):.0%} |")
    )
    lines = [
        f"The trunk takes {flops / 1e9:.1f} GFLOP a window, forward and backward.",
        "",
        "| way | windows/s | lowest | highest | times the plain one | GFLOP/s in the trunk |"
        + ("" if peak is None else " of the peak |"),
        "|---|---:|---:|---:|---:|---:|" + ("" if peak is None else "---:|"),
    ]
    for way in ways:
        speed = statistics.median(way.speeds)
        lines.append(
            f"| {way.name} | {speed:.1f} | {min(way.speeds):.1f} | {max(way.speeds):.1f} | {speed / first:.2f} "
            f"| {speed * flops / 1e9:,.0f} |" + share(speed)
        )
    lines += [
        "",
        f"What costs most in a step of *{shown.name}*, by torch's profiler (its own time, untimed steps left out):",
        "",
    ]
    return [*lines, "| operation | calls | share |", "|---|---:|---:|", *table]


if __name__ == "__main__":
    main()
