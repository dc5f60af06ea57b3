"""The command `mfdstore bench`: how fast a store's windows come on this machine, and whether a training waits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, out, progress_bars
from cli.model_options import MOST_THREADS
from cli.options import AsJson, StorePath, print_json, size
from mfdstore.display import plain

if TYPE_CHECKING:
    from mfdstore.loader.bench_figures import BenchReport, Consumer, ModeFigures, Speed

_BATCHES, _TRAINING = "Batches", "Training"
_DEFAULT_BATCH, _DEFAULT_POSITIONS = 1024, 1152


class BenchMode(StrEnum):
    """Modes of the loader."""

    ram = "ram"
    stream = "stream"
    device = "device"


class BenchPreset(StrEnum):
    """Configurations whose training step can be timed."""

    small = "small"
    paper = "paper"
    demo = "demo"
    none = "none"


def add_bench(app: typer.Typer) -> None:
    """Give the app the command of this module."""
    app.command()(bench)


def bench(
    store: StorePath,
    mode: Annotated[
        list[BenchMode] | None,
        typer.Option(
            help="Measure this way of reading alone; may be given more than once. ram: all is read into memory first. "
            "stream: read piece by piece, for stores larger than memory or on a server. device: all is held on the "
            "GPU. Default: each that is possible here."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, max=3600, help="Time for each figure, about.")] = 5.0,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Memory that the loader may take, such as 8GB. Default: what is available."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where batches are used: auto (a GPU if there is one), cpu, cuda, cuda:1.")
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help=f"Windows in a batch. Default: {_DEFAULT_BATCH}.", rich_help_panel=_BATCHES),
    ] = None,
    positions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Length of a window in bp. Default: {_DEFAULT_POSITIONS}, as published.",
            rich_help_panel=_BATCHES,
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_THREADS,
            help="Processor threads that prepare batches; 0 prepares them where they are used.",
            rich_help_panel=_BATCHES,
        ),
    ] = 2,
    step: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=3600,
            help="Seconds that your own model needs for a batch, as you measured it: nothing is trained, this time is "
            "passed in its stead.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    preset: Annotated[
        BenchPreset | None,
        typer.Option(
            help="Model whose training is timed, with batches as it wants them. Default: paper with a GPU, else small; "
            "none trains nothing.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast batches of STORE come on this machine, and whether a training waits for them.

    For each way of reading: seconds until the first batch is there, windows a second as they are handed over
    (compact) and as numbers for a model (expanded), what the time went on, and how much of a training step is spent
    waiting. Nothing is written. Other programs that run meanwhile make every figure worse.

    [dim]mfdstore bench encode.zarr[/dim]

    [dim]mfdstore bench s3://lab/encode.zarr --mode stream --step 0.35 --batch-size 512[/dim]
    """
    with explained(), _without_warnings():
        from mfdmodel.devices import choose_device
        from mfdstore.errors import ConfigError
        from mfdstore.loader.bench import measure_store
        from mfdstore.loader.bench_figures import MEASURED, BenchSettings

        if step is not None and preset is not None:
            raise ConfigError(
                "--step",
                found="--preset beside it",
                expected="one of them: a time of your own, or a training of ours",
                remedy="Leave one out.",
            )
        chosen = choose_device(device)
        modes = tuple(each for each in MEASURED if not mode or each in mode)
        settings = BenchSettings(
            modes=modes,
            asked=bool(mode),
            batch_size=batch_size or _DEFAULT_BATCH,
            positions=positions or _DEFAULT_POSITIONS,
            threads=threads,
            seconds=seconds,
            memory=None if memory is None else size("--memory", memory),
            device=str(chosen),
        )
        consumer: Consumer | None
        if step is not None:
            consumer, why_none = _passing(step, settings.batch_size, settings.positions), ""
        else:
            consumer, why_none = _training(store, preset, str(chosen), batch_size, positions)
        with progress_bars() as on_progress:
            report = measure_store(store, settings, consumer=consumer, on_progress=on_progress)
        if as_json:
            print_json(asdict(report))
        else:
            _print_report(report, consumer, why_none)


def _passing(step: float, batch_size: int, positions: int) -> Consumer:
    """Stand in for a training whose step takes so long."""
    import time
    from collections.abc import Iterable

    from mfdstore.loader import Batch
    from mfdstore.loader.bench_figures import Consumer

    def run(batches: Iterable[Batch]) -> None:
        for _ in batches:
            time.sleep(step)

    return Consumer(f"steps of {step:g} s", run, batch_size, positions, 3)


def _training(
    store: str, preset: BenchPreset | None, device: str, batch_size: int | None, positions: int | None
) -> tuple[Consumer | None, str]:
    """Make a training of a preset, or say why there is none."""
    if preset is BenchPreset.none:
        return None, ""
    import torch

    from mfdmodel.config_reading import load_config, override
    from mfdmodel.train.step_time import training_steps
    from mfdstore.errors import ConfigError
    from mfdstore.loader.bench_figures import Consumer
    from mfdstore.store import Store

    name = str(preset or (BenchPreset.paper if device.startswith("cuda") else BenchPreset.small))
    config = load_config(name)
    given = {"training.batch_size": batch_size, "data.positions": positions}
    config = override(config, {key: value for key, value in given.items() if value is not None})
    try:
        run = training_steps(config, Store(store), torch.device(device))
    except ConfigError as error:
        if preset is not None:
            raise
        return None, str(error)
    data = config.data
    return Consumer(f"preset {name}", run, config.training.batch_size, data.positions, data.max_shift), ""


def _print_report(report: BenchReport, consumer: Consumer | None, why_none: str) -> None:
    settings = report.settings
    out.print(plain(report.path, 200), style="bold", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"{report.n_windows:,} windows, {report.n_experiments:,} experiments. Read here: {report.n_read:,} windows in "
        f"random order, {settings.batch_size:,} a batch, {settings.positions:,} bp, by {settings.threads} threads.",
        highlight=False,
    )
    table = Table("mode", box=None)
    for name in ("first batch", "memory", "compact", report.dtype):
        table.add_column(name, justify="right")
    table.add_row("", "s", "GB", "windows/s", "windows/s", style="dim")
    for figures in report.modes:
        if figures.reason:
            continue
        table.add_row(
            figures.mode + (" *" if figures.mode == report.chosen else ""),
            f"{figures.first_batch:.2f}",
            "cache" if figures.n_bytes is None else f"{figures.n_bytes / 1e9:.2f}",
            _rate(figures.compact),
            _rate(figures.expanded),
        )
    out.print(table)
    for figures in report.modes:
        if figures.reason:
            out.print(
                f"{figures.mode} not measured: {escape(figures.reason)}", highlight=False, soft_wrap=True
            )
    out.print(f"* what the loader chooses by itself here: {report.chosen}", style="dim", highlight=False)
    _print_work(report)
    _print_waiting(report, consumer, why_none)


def _rate(speed: Speed | None) -> str:
    return "" if speed is None else f"{speed.windows_per_second:,.0f}"


def _print_work(report: BenchReport) -> None:
    """Print what the threads did in a second of handing over compact batches as fast as they go."""
    table = Table("time of threads", "read", "decode", "gather", "read from storage", box=None)
    for figures in report.modes:
        if figures.compact is not None:
            table.add_row(figures.mode, *_work(figures.compact))
    for column in table.columns[1:]:
        column.justify = "right"
    out.print()
    out.print(table)


def _work(speed: Speed) -> tuple[str, ...]:
    stats = speed.stats
    whole = stats.read + stats.decode + stats.gather
    shares = (f"{part / whole:.0%}" if whole else "" for part in (stats.read, stats.decode, stats.gather))
    return *shares, f"{stats.n_bytes / 1e6 / stats.seconds:,.0f} MB/s" if stats.seconds else ""


def _print_waiting(report: BenchReport, consumer: Consumer | None, why_none: str) -> None:
    out.print()
    if consumer is None:
        if why_none:
            out.print(f"No training was timed: {escape(why_none)}", highlight=False, soft_wrap=True)
        return
    out.print(
        f"Training by {consumer.name} on {report.settings.device}, {consumer.batch_size:,} windows of "
        f"{consumer.positions:,} bp a step",
        highlight=False,
    )
    table = Table("mode", "steps", "a step", "wait for its batch", "waiting", box=None)
    for figures in report.modes:
        if figures.waiting is not None:
            table.add_row(figures.mode, *_waiting(figures))
    for column in table.columns[1:]:
        column.justify = "right"
    out.print(table)


def _waiting(figures: ModeFigures) -> tuple[str, ...]:
    waiting = figures.waiting
    assert waiting is not None
    return (
        f"{waiting.steps}",
        f"{1000 * waiting.step:,.1f} ms",
        f"{1000 * waiting.wait:,.2f} ms",
        f"{waiting.share:.2%}",
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep the loader from warning of slow storage: here it is what is measured."""
    logger = logging.getLogger("mfdstore.loader")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
