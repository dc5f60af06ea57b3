"""The command `mfdmodel impute`: experiments that a model never saw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, fit, log_to_stderr, out, progress_bars
from cli.model_options import Device, EvaluatedSplit, RunPath, StoreOfRun, Threads, Verbose
from cli.options import AsJson, print_json

if TYPE_CHECKING:
    from mfdmodel.analyses.imputation.scores import ImputationScore
    from mfdmodel.intervals import Interval


def add_impute(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(impute)


def impute(
    run: RunPath,
    split: Annotated[EvaluatedSplit, typer.Option(help="Windows to score.")] = EvaluatedSplit.test,
    store: StoreOfRun = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the confidence intervals.")] = 0,
    as_json: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Predict the experiments that a training held out, from their metadata and the sequence alone.

    Beside the model stand averages over the experiments that it learned from: of the same target, of the same
    biosample, and of the nearest metadata; of their labels, measured at the very windows that are scored, and of the
    model's predictions for them. AUROC with 95 % intervals. Metadata values that no experiment of the training has are
    named, and are missing to the model. Also written to RUN/evaluation/.

    [dim]mfdmodel train --store encode.zarr --out run2 --hold-out-experiments 'target=CTCF & biosample=HepG2'[/dim]
    [dim]mfdmodel impute run2[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.analyses.imputation.run import STRETCH, imputation_to_json, impute_run
        from mfdmodel.intervals import few_blocks

        with progress_bars() as on_progress:
            score = impute_run(
                run,
                split=split.value,
                store=store,
                device=device,
                threads=threads,
                seed=seed,
                on_progress=on_progress,
            )
        if as_json:
            print_json(imputation_to_json(score))
            return
        out.print(_mean_table(score))
        out.print(_experiment_table(score))
        for line in _unknown_lines(score):
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        said = few_blocks(score.n_blocks, STRETCH)
        if said:
            out.print(said, highlight=False, soft_wrap=True)


def _mean_table(score: ImputationScore) -> Table:
    table = Table(
        title=f"{len(score.experiments)} experiments held out, {score.n_windows:,} windows",
        title_justify="left",
    )
    table.add_column("predicted by")
    for name in ("scored", "mean AUROC", "95 %", "model better by", "95 %"):
        table.add_column(name, justify="right")
    for way, mean in score.mean.items():
        table.add_row(
            way,
            str(score.n_scored[way]),
            *_numbers(mean),
            *(_numbers(score.gain[way]) if way in score.gain else ("", "")),
        )
    return fit(table)


def _experiment_table(score: ImputationScore) -> Table:
    table = Table(title="One by one, AUROC of the model and of labels averaged", title_justify="left")
    for name in ("experiment", "target and biosample"):
        table.add_column(name)
    ways = [way for way in score.mean if not way.endswith("predictions")]
    for name in ("positive", *(way.removesuffix(", labels") for way in ways)):
        table.add_column(name, justify="right")
    for one in score.experiments:
        what = one.factors.get("target", one.factors.get("assay"))
        table.add_row(
            escape(one.experiment),
            escape(", ".join(name for name in (what, one.factors.get("biosample")) if name)),
            f"{one.n_positive:,}",
            *(_numbers(one.auroc[way])[0] for way in ways),
        )
    return fit(table)


def _unknown_lines(score: ImputationScore) -> list[str]:
    """Say which values of which experiments no training experiment has."""
    from mfdmodel.analyses.imputation.run import format_unknown

    known: dict[str, list[str]] = {}
    for one in score.experiments:
        if one.unknown:
            known.setdefault(format_unknown(one), []).append(one.experiment)
    return [
        f"Unknown to training, and missing to the model: {values} of {', '.join(names)}"
        for values, names in known.items()
    ]


def _numbers(found: Interval) -> tuple[str, str]:
    value = "-" if math.isnan(found.value) else f"{found.value:.3f}"
    return value, "" if math.isnan(found.low) else f"{found.low:.3f} to {found.high:.3f}"
