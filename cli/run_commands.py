"""The commands `mfdmodel evaluate` and `mfdmodel report`: what came out of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, EvaluatedSplit, RunPath, StoreOfRun, Threads, Verbose
from cli.options import AsJson, print_json

if TYPE_CHECKING:
    from mfdmodel.evaluate.scores import Evaluation


def add_run_commands(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(evaluate)
    app.command()(report)


def evaluate(
    run: RunPath,
    split: Annotated[EvaluatedSplit, typer.Option(help="Windows to score.")] = EvaluatedSplit.test,
    store: StoreOfRun = None,
    as_json: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Score how well a run's best model ranks bins with a peak above bins without.

    AUROC (1 is perfect, 0.5 is chance) and average precision (chance is the share of bins with a peak) of each
    experiment, over all windows of the split; probabilities are averaged over both strands first. Means by assay,
    target and biosample. Also written to RUN/evaluation/.

    [dim]mfdmodel evaluate run1 --split test[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.evaluate.run import evaluate_run
        from mfdmodel.evaluate.scores import to_json

        with progress_bars() as on_progress:
            evaluation = evaluate_run(
                run, split=split.value, store=store, device=device, threads=threads, on_progress=on_progress
            )
        if as_json:
            print_json(to_json(evaluation))
            return
        out.print(_score_table(evaluation))


def _score_table(evaluation: Evaluation) -> Table:
    table = Table(title=f"{evaluation.n_windows:,} windows of split {evaluation.split}", title_justify="left")
    table.add_column("")
    table.add_column("")
    for name in ("experiments", "scored", "AUROC", "average precision"):
        table.add_column(name, justify="right")
    groups = {"all": (evaluation.overall,), **evaluation.groups}
    for factor, members in groups.items():
        for index, group in enumerate(members):
            name = "" if factor == "all" else group.name or "(missing)"
            numbers = (
                "-" if math.isnan(value) else f"{value:.3f}"
                for value in (group.auroc, group.average_precision)
            )
            # names come from metadata: escaped, so that brackets in them are no markup
            table.add_row(
                factor if index == 0 else "",
                escape(name),
                str(group.n_experiments),
                str(group.n_scored),
                *numbers,
            )
        table.add_section()
    return table


def report(
    run: RunPath,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN", help="Another evaluated run to set beside it; may be given more than once."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that mfdstore simulate wrote: shows what each subspace knows of what was planted.",
        ),
    ] = None,
    split: Annotated[EvaluatedSplit, typer.Option(help="Scores to show.")] = EvaluatedSplit.test,
    store: Annotated[
        str | None,
        typer.Option(metavar="S", help="Store to read for --truth, if not the one of the training."),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Write RUN/report.html: learning curves, scores, label statistics and configuration on one page.

    The page opens in any browser, also without a network. The run must have been evaluated.

    [dim]mfdmodel report run1 --compare baseline1 --compare baseline2[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.report.write import write_report

        with progress_bars() as on_progress:
            page = write_report(
                run,
                compare=compare or (),
                truth=truth,
                split=split.value,
                store=store,
                device=device,
                threads=threads,
                on_progress=on_progress,
            )
    out.print(f"Wrote {page}", markup=False, highlight=False, soft_wrap=True)
