"""The command `mfdmodel sweep`: one configuration at several prices of dependence and seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.console import err, explained, fit, log_to_stderr, out, progress_bars
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
    and the penalty, which is what the predictors still find where its terms are not configured otherwise; means over
    seeds with 95 % intervals. DIR then holds a run for each, sweep.tsv, sweep.json and sweep.png. Stopped, it goes on
    where it was when it is called again. A run that fails is told by name and the others are done; the exit status
    is then 1.

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
        penalty = chosen.model.penalty.title
        picture = draw_sweep(output, results, penalty=penalty)
        if as_json:
            print_json(sweep_to_json(results, split=split.value, penalty=penalty))
        else:
            out.print(_table(results, penalty))
            out.print(f"Wrote {picture}", markup=False, highlight=False, soft_wrap=True)
        _refuse_faults(output, results)


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


def _refuse_faults(output: Path, results: tuple[CellResult, ...]) -> None:
    """Name the runs that failed, all others being done and written."""
    from mfdmodel.sweep.summary import SWEEP_TSV
    from mfdstore.errors import RunError

    faulty = [result.name for result in results if result.fault]
    if faulty:
        raise RunError(
            output,
            found=f"{len(faulty)} of {len(results)} runs without numbers: {', '.join(faulty)}",
            expected="numbers of all",
            remedy=f"What ails each, and what to do, stands above and in {SWEEP_TSV}; then call the sweep again, which "
            "keeps the others.",
        )


def _table(results: tuple[CellResult, ...], penalty: str) -> Table:
    from mfdmodel.sweep.cells import spell
    from mfdmodel.sweep.summary import WAYS, summarise

    table = Table(title=f"Means over seeds, 95 % intervals; penalty: {penalty}", title_justify="left")
    for name in ("lambda", "runs", "valid loss", *(f"AUROC {way}" for way in WAYS), "penalty"):
        table.add_column(name, justify="right")
    for row in summarise(results):
        table.add_row(
            spell(row.lambda_indep),
            str(row.n_runs),
            _shown(row.valid_loss, 4),
            *(_shown(row.auroc[way], 3) for way in WAYS),
            _shown(row.penalty, 2),
        )
    return fit(table)


def _shown(found: Interval, digits: int) -> str:
    if math.isnan(found.value):
        return "-"
    spread = "" if math.isnan(found.low) else f" ±{found.high - found.value:.{digits}f}"
    return f"{found.value:.{digits}f}{spread}"
