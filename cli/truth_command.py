"""The command `mfdmodel truth`: a run against what was planted in the simulated sources of its store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, RunPath, StoreOfRun, Threads, Verbose
from cli.options import AsJson, print_json

if TYPE_CHECKING:
    from mfdmodel.analyses.truth.scores import TruthScores
    from mfdmodel.intervals import Interval

_SIZES = "Sizes"


class TruthSplit(StrEnum):
    """Splits that can be scored."""

    valid = "valid"
    test = "test"


def add_truth(app: typer.Typer) -> None:
    """Give the app the command of this module."""
    app.command()(truth)


def truth(
    run: RunPath,
    planted: Annotated[
        Path,
        typer.Option("--truth", metavar="DIR", help="Folder that mfdstore simulate wrote, or truth/ in it."),
    ],
    split: Annotated[TruthSplit, typer.Option(help="Windows to score.")] = TruthSplit.test,
    store: StoreOfRun = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            help="Store of the same windows with more experiments: those that the run's store lacks are predicted by "
            "their neighbours. Experiments of training.held_out are predicted in any case.",
        ),
    ] = None,
    without_gc: Annotated[
        bool,
        typer.Option(
            "--without-gc",
            help="Take the windows' GC content out of the features first. Attributions and unseen experiments are left "
            "out then.",
        ),
    ] = False,
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Features at which subspaces are compared. Default: as many as the narrowest has.",
            rich_help_panel=_SIZES,
        ),
    ] = None,
    windows: Annotated[
        int,
        typer.Option(
            min=0,
            help="Windows of each planted value whose logits are attributed, at most; 0 leaves attributions out.",
            rich_help_panel=_SIZES,
        ),
    ] = 48,
    top: Annotated[
        int, typer.Option(min=1, help="Positions taken from each of them.", rich_help_panel=_SIZES)
    ] = 20,
    draws: Annotated[
        int, typer.Option(min=2, max=100_000, help="Behind each interval.", rich_help_panel=_SIZES)
    ] = 500,
    as_json: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Hold a run against what was planted in the simulated sources of its store.

    How well linear probes read planted biology and planted bias from biological, technical and combined features, at
    equal width and whole; how often attributions of logits lie in planted sites; how well experiments are predicted
    that training did not see. Intervals of 95 % are over stretches of chromosome. Also written to
    RUN/evaluation/truth.json.

    [dim]mfdmodel truth run1 --truth sources/truth[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.analyses.truth.run import TruthSettings, score_run
        from mfdmodel.analyses.truth.scores import STRETCH, to_json
        from mfdmodel.intervals import few_blocks

        settings = TruthSettings(
            width=width, without_gc=without_gc, n_draws=draws, n_attributed=windows, n_top=top
        )
        with progress_bars() as on_progress:
            scores = score_run(
                run,
                truth=planted,
                settings=settings,
                split=split.value,
                store=store,
                unseen=unseen,
                device=device,
                threads=threads,
                on_progress=on_progress,
            )
        if as_json:
            print_json(to_json(scores))
            return
        for table in _tables(scores):
            out.print(table)
        said = few_blocks(scores.n_blocks, STRETCH)
        if said:
            out.print(said, highlight=False, soft_wrap=True)


def _tables(scores: TruthScores) -> list[Table]:
    tables = []
    sets = (
        (f"{scores.width} features of each set", "auroc"),
        ("all features of each set", "whole"),
        ("all features, told from the factor's other values", "told"),
    )
    for title, measured in sets:
        table = Table(title=f"Planted truth read by linear probes, AUROC: {title}", title_justify="left")
        table.add_column("planted")
        table.add_column("truths", justify="right")
        names = list(scores.recovery[0].auroc)
        for name in names:
            table.add_column(name, justify="right")
        for one in scores.recovery:
            if one.value is None:
                kind = f"{one.role}: {one.factor}" if one.factor else f"[bold]{one.role}[/bold]"
                found: Mapping[str, Interval] = getattr(one, measured)
                table.add_row(kind, str(one.n_truths), *(_say(found[name]) for name in names))
        tables.append(table)
    if scores.overlap:
        names = list(scores.overlap[0].precision)
        table = Table(
            title=f"Top {scores.n_top} positions of attributions against planted sites", title_justify="left"
        )
        for column in ("planted", "logits", "in its and its partners' sites", "by chance"):
            table.add_column(column, justify="left" if column in ("planted", "logits") else "right")
        for column in ("of its sites found", "in technical sites", "by chance"):
            table.add_column(column, justify="right")
        for group in scores.overlap:
            if group.value is not None:
                continue
            for index, name in enumerate(names):
                first = index == 0
                table.add_row(
                    escape(group.factor) if first else "",
                    name,
                    _say(group.precision[name]),
                    f"{group.chance:.3f}" if first else "",
                    _say(group.recall[name]),
                    _say(group.technical[name]),
                    f"{group.technical_chance:.3f}" if first else "",
                )
        tables.append(table)
    if scores.transfer is not None:
        tables.append(_transfer_table(scores.transfer.auroc, len(scores.transfer.experiments)))
    return tables


def _transfer_table(auroc: Mapping[str, Interval], n_experiments: int) -> Table:
    table = Table(
        title=f"{n_experiments} unseen experiments, mean AUROC of their predictions", title_justify="left"
    )
    table.add_column("predicted by")
    table.add_column("AUROC", justify="right")
    for name, estimate in auroc.items():
        by = (
            "trained experiments alike" if name == "neighbours" else f"{name} features, weights from metadata"
        )
        table.add_row(by, _say(estimate))
    return table


def _say(estimate: Interval) -> str:
    if math.isnan(estimate.value):
        return "-"
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
