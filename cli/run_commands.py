"""The commands `mfdmodel evaluate` and `mfdmodel report`: what came out of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, EvaluatedSplit, RunPath, StoreOfRun, Threads, Verbose
from cli.options import AsJson, print_json

if TYPE_CHECKING:
    from mfdmodel.evaluate.scores import Evaluation, ExperimentScore, GroupScore

_MOST_NAMED: Final = 20
"""Held-out experiments that are listed one by one on the terminal."""


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
    target and biosample; experiments that training held out of the loss are named, with means of their own. Also
    written to RUN/evaluation/.

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
    held_out = evaluation.held_out
    _add_means(table, "trained on" if held_out else "all", evaluation.overall, evaluation.groups)
    if held_out:
        _add_means(table, "held out", held_out.overall, {})
        members = evaluation.held_out_experiments
        for one in members[:_MOST_NAMED]:
            table.add_row("", escape(one.experiment), "", "", *_numbers(one))
        if len(members) > _MOST_NAMED:
            table.add_row("", f"and {len(members) - _MOST_NAMED} more", "", "", "", "")
    return table


def _add_means(
    table: Table, title: str, overall: GroupScore, groups: Mapping[str, Sequence[GroupScore]]
) -> None:
    for factor, members in {title: (overall,), **groups}.items():
        for index, group in enumerate(members):
            name = "" if group is overall else group.name or "(missing)"
            # names come from metadata: escaped, so that brackets in them are no markup
            table.add_row(
                factor if index == 0 else "",
                escape(name),
                str(group.n_experiments),
                str(group.n_scored),
                *_numbers(group),
            )
        if groups:
            table.add_section()


def _numbers(score: GroupScore | ExperimentScore) -> tuple[str, str]:
    auroc, precision = (
        "-" if math.isnan(value) else f"{value:.3f}" for value in (score.auroc, score.average_precision)
    )
    return auroc, precision


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
            help="Folder that mfdstore simulate wrote: shows what each subspace knows of what was planted. Not with "
            "--split train, which probes are fitted on.",
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
