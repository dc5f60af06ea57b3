"""The command `mfdmodel independence`: how much the two subspaces of a run tell of each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, EvaluatedSplit, RunPath, StoreOfRun, Threads, Verbose
from cli.options import AsJson, print_json

if TYPE_CHECKING:
    from mfdmodel.analyses.independence.associations import Association, Link
    from mfdmodel.analyses.independence.logits import Shares
    from mfdmodel.analyses.independence.result import Independence
    from mfdmodel.intervals import Interval

_MOST_ASSOCIATIONS = 20


def add_independence(app: typer.Typer) -> None:
    """Give the app the command of this module."""
    app.command()(independence)


def independence(
    run: RunPath,
    split: Annotated[
        EvaluatedSplit,
        typer.Option(help="Windows to read; those of train were seen in training."),
    ] = EvaluatedSplit.test,
    store: StoreOfRun = None,
    windows: Annotated[
        int, typer.Option(min=1, help="Windows to read at most, evenly taken from the split.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything random.")] = 0,
    as_json: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Measure how much the biological and the technical features of a run tell of each other.

    One stretch of the genome teaches each method, another scores it: can true pairs of biological and technical
    features be told from pairs of two different windows, can one half be predicted from the other, do their directions
    correlate? Beside each number stands what the same method gives when the technical windows are turned about the
    genome, so that each meets another place; what lies above that is dependence. Also written to RUN/evaluation/.

    [dim]mfdmodel independence run1 --split test[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.analyses.independence.result import to_json
        from mfdmodel.analyses.independence.run import measure_run

        with progress_bars() as on_progress:
            result = measure_run(
                run,
                split=split.value,
                store=store,
                n_windows=windows,
                seed=seed,
                device=device,
                threads=threads,
                on_progress=on_progress,
            )
        if as_json:
            print_json(to_json(result))
            return
        out.print(_measure_table(result))
        out.print(_reduced(result), markup=False, highlight=False)
        out.print(_share_table(result))
        shown = _shown(result)
        if shown:
            out.print(_association_table(shown, len(result.associations)))


def _measure_table(result: Independence) -> Table:
    seen = ", which training has read" if result.split == "train" else ""
    table = Table(
        title=f"{result.n_windows:,} windows of split {result.split}{seen}: fitted on {result.n_fit:,}, stopped by "
        f"{result.n_tune:,}, scored on {result.n_scored:,} in {result.n_scored_blocks} blocks, each on another stretch "
        "of the genome",
        title_justify="left",
    )
    table.add_column("can one subspace be told from the other?")
    table.add_column("independent", justify="right")
    table.add_column("measured (95 %)", justify="right")
    table.add_column("rotated (95 %)", justify="right")
    table.add_column("", justify="left")
    for measure in result.found.measures:
        table.add_row(
            measure.title,
            f"{measure.chance:g}",
            _interval(measure.value),
            _interval(measure.null),
            "dependent" if measure.dependent else "no dependence seen",
        )
    return table


def _reduced(result: Independence) -> str:
    parts = [
        f"{one.role}: {one.n_components} principal components hold {one.variance:.0%} of the variance of "
        f"{one.n_features} features" + (f" ({one.n_constant} constant)" if one.n_constant else "")
        for one in result.found.subspaces
    ]
    return f"What was read: {'; '.join(parts)}."


def _share_table(result: Independence) -> Table:
    table = Table(title="Variance of the logits over windows, by where it comes from", title_justify="left")
    table.add_column("")
    for name in ("biological", "technical", "both together (covariance)"):
        table.add_column(name, justify="right")
    rows: dict[str, Shares] = {
        f"mean of {len(result.experiments)} experiments": result.logits,
        "the experiments' mean logit": result.mean_logit,
    }
    for name, shares in rows.items():
        parts = (shares.biological, shares.technical, shares.covariance)
        table.add_row(name, *(_interval(part, percent=True) for part in parts))
    return table


def _shown(result: Independence) -> list[Association]:
    """Choose the values whose label signal is seen best, in the order of the factors."""

    def strength(one: Association) -> float:
        return max((abs(link.correlation) for link in one.by_labels.values()), default=-1.0)

    best = sorted(result.associations, key=lambda one: -strength(one))[:_MOST_ASSOCIATIONS]
    return [one for one in result.associations if one in best]


def _association_table(shown: list[Association], n_all: int) -> Table:
    some = "" if len(shown) == n_all else f" (the {len(shown)} strongest of {n_all})"
    table = Table(
        title=f"Features that go best with what experiments of a value label{some}", title_justify="left"
    )
    for name in ("factor", "value"):
        table.add_column(name)
    table.add_column("experiments", justify="right")
    for name in ("biological feature: r", "technical feature: r"):
        table.add_column(name, justify="right")
    for one in shown:
        # values come from metadata: escaped, so that brackets in them are no markup
        links = [_link(one.by_labels.get(role)) for role in ("biological", "technical")]
        table.add_row(
            escape(one.factor), escape(one.value), str(one.n_experiments), *(escape(link) for link in links)
        )
    return table


def _link(link: Link | None) -> str:
    if link is None:
        return "-"
    return f"{link.name or f'number {link.feature}'}: {link.correlation:+.2f}"


def _interval(estimate: Interval, *, percent: bool = False) -> str:
    if math.isnan(estimate.value):
        return "-"
    if math.isnan(estimate.low):
        return f"{estimate.value:.0%}" if percent else f"{round(estimate.value, 3) + 0.0:.3f}"
    if percent:
        return f"{estimate.value:.0%} ({estimate.low:.0%} to {estimate.high:.0%})"
    # a zero without a sign, whatever it was rounded from
    value, low, high = (round(number, 3) + 0.0 for number in (estimate.value, estimate.low, estimate.high))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
