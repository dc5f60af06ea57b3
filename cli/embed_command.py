"""The command `mfdmodel embed`: experiments in the space of their weights."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, EvaluatedSplit, RunPath, StoreOfRun, Threads, Verbose
from cli.options import AsJson, print_json
from mfdstore.display import plain

if TYPE_CHECKING:
    from mfdmodel.analyses.embedding.run import RunEmbedding


class EmbeddingMethod(StrEnum):
    """Ways to reduce a space to two axes."""

    pca = "pca"
    umap = "umap"


def add_embed(app: typer.Typer) -> None:
    """Give the app the command of this module."""
    app.command()(embed)


def embed(
    run: RunPath,
    method: Annotated[
        EmbeddingMethod,
        typer.Option(help="How the pictures are made; umap needs the package umap-learn."),
    ] = EmbeddingMethod.pca,
    color: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR",
            help="Factor to colour the report's pictures by; may be given more than once. Default: target, biosample, "
            "assay and lab, where the store has them.",
        ),
    ] = None,
    split: Annotated[
        EvaluatedSplit, typer.Option(help="Windows that the features are computed of.")
    ] = EvaluatedSplit.test,
    store: StoreOfRun = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of permutations and UMAP.")] = 0,
    as_json: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Place a run's experiments by their weights, and measure by which factors they lie together.

    One space a subspace: how often the nearest neighbour of an experiment shares its lab, target, ..., beside chance;
    and the features that belong to one metadata value, with what goes through them. Also written to
    RUN/evaluation/embedding.json and .tsv, and shown by report.

    [dim]mfdmodel embed run1 --color target --color lab[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.analyses.embedding.run import embed_run, to_json

        with progress_bars() as on_progress:
            result = embed_run(
                run,
                method=method.value,
                colours=color,
                split=split.value,
                store=store,
                seed=seed,
                device=device,
                threads=threads,
                on_progress=on_progress,
            )
        if as_json:
            print_json(to_json(result))
            return
        for view in result.embedding.subspaces:
            share = f"{100 * view.variance_share:.0f} % of the logits' variance"
            out.print(f"{view.role}: {view.n_features} features, {share}", highlight=False)
        out.print(_clustering_table(result))
        out.print(_direct_table(result))


def _clustering_table(result: RunEmbedding) -> Table:
    table = Table(
        title="Nearest neighbour shares the value; by chance: the middle 95 %", title_justify="left"
    )
    for name in ("subspace", "factor"):
        table.add_column(name)
    for name in ("experiments", "share", "by chance", "p"):
        table.add_column(name, justify="right")
    for view in result.embedding.subspaces:
        role = view.role
        for one in result.embedding.clusterings:
            if one.role == view.role:
                # names come from metadata: plain and escaped, so that nothing in them steers the terminal
                table.add_row(
                    role,
                    escape(plain(one.factor)),
                    str(one.n_scored),
                    f"{one.accuracy:.3f}",
                    f"{one.chance_low:.3f} to {one.chance_high:.3f}",
                    f"{one.p_value:.3f}",
                )
                role = ""
        table.add_section()
    return table


def _direct_table(result: RunEmbedding) -> Table:
    table = Table(title="Features of one metadata value", title_justify="left")
    table.add_column("subspace")
    table.add_column("feature", overflow="fold")
    for name in ("experiments", "moves logits by (nats)", "share of their variance"):
        table.add_column(name, justify="right")
    for one in result.embedding.direct_features:
        table.add_row(
            one.role,
            escape(plain(one.name)),
            str(one.n_experiments),
            "-" if one.n_experiments == 0 else f"{one.deviation:.3f}",
            "-" if one.n_experiments == 0 else f"{100 * one.variance_share:.1f} %",
        )
    return table
