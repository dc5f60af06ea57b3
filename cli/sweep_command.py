"""The command `mfdmodel sweep`: one configuration at several prices of dependence and seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.console import err, explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, EvaluatedSplit, Preset, Threads, Verbose
from cli.options import AsJson, local_path, print_json

if TYPE_CHECKING:
    from mfdmodel.intervals import Interval
    from mfdmodel.sweep.cells import CellResult


def add_sweep(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sweep)


def sweep(
    store: Annotated[
        str, typer.Option(metavar="S", help="Store to learn from: a directory, s3://... or https://...")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--out", parser=local_path, metavar="DIR", help="Folder of the sweep, with a folder for each run."
        ),
    ],
    lambdas: Annotated[
        str, typer.Option("--lambda-indep", metavar="L,L,...", help="Prices of dependence, joined by commas.")
    ] = "0,0.001,0.01,0.1",
    seeds: Annotated[
        str, typer.Option("--seed", metavar="N,N,...", help="Seeds, joined by commas; each price with each.")
    ] = "0,1,2",
    config: Annotated[
        Path | None,
        typer.Option(metavar="C", help="YAML file with every other choice.", rich_help_panel="Model"),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="A configuration in place of --config. Default: small.", rich_help_panel="Model"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training windows, at most.", rich_help_panel="Training"),
    ] = None,
    split: Annotated[EvaluatedSplit, typer.Option(help="Windows to score.")] = EvaluatedSplit.test,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Runs at a time, each in a process of its own.", rich_help_panel="Computing"
        ),
    ] = 1,
    as_json: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Train a model at several prices of dependence with several seeds, and set what comes of it side by side.

    For each price: loss on the valid windows, AUROC on the split of the whole prediction and of each subspace alone,
    and what the predictors still find; means over seeds with 95 % intervals. DIR then holds a run for each, sweep.tsv,
    sweep.json and sweep.png. Stopped, it goes on where it was when it is called again.

    [dim]mfdmodel sweep --store encode.zarr --out sweep1 --lambda-indep 0,0.0002,0.001 --seed 0,1,2[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.config_reading import load_config, override
        from mfdmodel.report.sweep import draw_sweep
        from mfdmodel.sweep.grid import run_sweep
        from mfdmodel.sweep.summary import sweep_to_json

        if config is not None and preset is not None:
            raise typer.BadParameter("give --config or --preset, not both", param_hint="--config")
        chosen = load_config(config or (preset or Preset.small).value)
        if epochs is not None:
            chosen = override(chosen, {"training.epochs": epochs})
        with progress_bars() as on_progress:
            results = run_sweep(
                chosen,
                store=store,
                out=output,
                lambdas=_numbers("--lambda-indep", lambdas),
                seeds=tuple(int(seed) for seed in _numbers("--seed", seeds, whole=True)),
                split=split.value,
                jobs=jobs,
                device=device,
                threads=threads,
                on_result=_say_result,
                on_progress=on_progress,
            )
        picture = draw_sweep(output, results)
        if as_json:
            print_json(sweep_to_json(results, split=split.value))
        else:
            out.print(_table(results))
            out.print(f"Wrote {picture}", markup=False, highlight=False, soft_wrap=True)
    if any(result.fault for result in results):
        raise typer.Exit(1)


def _numbers(option: str, text: str, *, whole: bool = False) -> tuple[float, ...]:
    from mfdstore.errors import ConfigError

    try:
        return tuple(int(part) if whole else float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            option,
            found=repr(text),
            expected="integers joined by commas, such as 0,1,2" if whole else "numbers, such as 0,0.001",
            remedy="Correct the option.",
        ) from error


def _say_result(result: CellResult, done: int, total: int) -> None:
    what = result.fault or (
        f"validation loss {result.valid_loss:.5f}, AUROC {(result.auroc or {}).get('combined', math.nan):.4f}"
    )
    err.print(f"{done} of {total}  {result.name}: {what}", markup=False, highlight=False, soft_wrap=True)


def _table(results: tuple[CellResult, ...]) -> Table:
    from mfdmodel.sweep.summary import WAYS, summarise

    table = Table(title="Means over seeds, 95 % intervals", title_justify="left")
    table.add_column("lambda", justify="right")
    table.add_column("runs", justify="right")
    table.add_column("validation loss", justify="right")
    for way in WAYS:
        table.add_column(f"AUROC {way}", justify="right")
    table.add_column("squared correlations", justify="right")
    for row in summarise(results):
        table.add_row(
            f"{row.lambda_indep:g}",
            str(row.n_runs),
            _shown(row.valid_loss, 4),
            *(_shown(row.auroc[way], 3) for way in WAYS),
            _shown(row.squared_correlations, 2),
        )
    return table


def _shown(found: Interval, digits: int) -> str:
    if math.isnan(found.value):
        return "-"
    spread = "" if math.isnan(found.low) else f" ± {found.high - found.value:.{digits}f}"
    return f"{found.value:.{digits}f}{spread}"
