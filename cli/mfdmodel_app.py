"""The command `mfdmodel`: train a model on a store, evaluate it, and show what came out."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import add_version, err, explained, log_to_stderr, out, progress_bars
from cli.embed_command import add_embed
from cli.options import local_path, size
from cli.run_options import Device, EvaluatedSplit, RunPath, Threads, Verbose

if TYPE_CHECKING:
    from mfdmodel.config import RunConfig
    from mfdmodel.evaluate.scores import Evaluation
    from mfdmodel.train.keeper import EpochRecord

# torch, lightning and scikit-learn take seconds to import: each command imports what it needs, `--help` nothing

app = typer.Typer(
    name="mfdmodel",
    help="Learn which DNA sequence carries which experiment's peaks, with biology and technique kept apart.\n\n"
    "A run begins with a store that [bold]mfdstore build[/bold] made: [bold]train[/bold] fits a model to it, "
    "[bold]evaluate[/bold] scores it on windows that it has never seen, [bold]report[/bold] writes a page of it.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Preset(StrEnum):
    """Configurations that ship with the package."""

    paper = "paper"
    small = "small"
    demo = "demo"


class Kind(StrEnum):
    """Models that can be trained."""

    mfd = "mfd"
    linear_head = "linear_head"
    dinucleotides = "dinucleotides"


class LoaderMode(StrEnum):
    """How windows come from a store."""

    auto = "auto"
    ram = "ram"
    stream = "stream"
    device = "device"


Loading = Annotated[
    LoaderMode,
    typer.Option(
        help="How windows are read. ram: the store is read into memory first; stream: while it is used; device: into "
        "the GPU's memory first. auto: by where the store is, its size, and the memory there is.",
        rich_help_panel="Computing",
    ),
]
LoaderMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Most memory for the store, such as 4GB. Default: 60% of what is free; a quarter of it where a store is "
        "streamed.",
        rich_help_panel="Computing",
    ),
]


add_version(app, "mfdmodel")


@app.command()
def train(
    store: Annotated[
        str,  # text: a path would make s3:/x of s3://x
        typer.Option(metavar="S", help="Store to learn from: a directory, s3://... or https://..."),
    ],
    run: Annotated[
        Path, typer.Option("--out", parser=local_path, metavar="RUN", help="Folder to make for the run.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="C", help="YAML file with every choice of model and training.", rich_help_panel="Model"
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="A configuration that ships with the package, in place of --config: paper is the published model "
            "(needs a GPU), small suits one chromosome and a laptop, demo what mfdstore simulate makes. "
            "Default: small.",
            rich_help_panel="Model",
        ),
    ] = None,
    model: Annotated[
        Kind | None,
        typer.Option(
            help="mfd: weights made from metadata, with subspaces kept independent. linear_head: same network without "
            "metadata. dinucleotides: no network, frequencies of dinucleotides only. Default: as configured.",
            rich_help_panel="Model",
        ),
    ] = None,
    lambda_indep: Annotated[
        float | None,
        typer.Option(
            help="Price of dependence between the biological and the technical features; 0 lets them mix. "
            "Default: as configured; the paper has 0.001.",
            rich_help_panel="Model",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of everything random; the same seed gives the same model on a CPU.",
            rich_help_panel="Training",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training windows, at most.", rich_help_panel="Training"),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Begin no pass that would not end in this time; --resume goes on later.",
            rich_help_panel="Training",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in RUN where it stopped; begin it if there is none.",
            rich_help_panel="Training",
        ),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    loader: Loading = LoaderMode.auto,
    loader_memory: LoaderMemory = None,
    verbose: Verbose = False,
) -> None:
    """Train a model on the train windows of a store; the valid windows choose its best epoch.

    RUN then holds the best model (model/), a state to resume from (checkpoints/), learning curves as CSV and for
    TensorBoard (logs/), and what was trained on (run.json).

    [dim]mfdmodel train --store encode.zarr --out run1 --preset small[/dim]
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.checkpoint.models import MODEL_DESCRIPTION, read_description
        from mfdmodel.config_reading import load_config, override
        from mfdmodel.train.fit import train as train_model
        from mfdstore.store import Store

        if config is not None and preset is not None:
            raise typer.BadParameter("give --config or --preset, not both", param_hint="--config")
        changes: dict[str, object] = {
            "model.kind": None if model is None else model.value,
            "model.penalty.lambda_indep": lambda_indep,
            "training.seed": seed,
            "training.epochs": epochs,
        }
        changes = {path: value for path, value in changes.items() if value is not None}
        chosen: RunConfig | None = None
        resumed = resume and (run / MODEL_DESCRIPTION).exists()
        if not resumed or config is not None or preset is not None or changes:
            # what a run is asked to go on with differs from what it has in the options given alone
            own = resumed and config is None and preset is None
            given = (
                read_description(run).config if own else load_config(config or (preset or Preset.small).value)
            )
            chosen = override(given, changes)
            if lambda_indep is not None and chosen.model.kind != "mfd":
                raise typer.BadParameter(
                    f"model {chosen.model.kind} has no subspaces to keep apart", param_hint="--lambda-indep"
                )
        with progress_bars() as on_progress:
            result = train_model(
                chosen,
                store=Store(store),
                run=run,
                resume=resume,
                device=device,
                threads=threads,
                mode=loader.value,
                memory=None if loader_memory is None else size("--loader-memory", loader_memory),
                max_minutes=max_minutes,
                on_epoch=_say_epoch,
                on_progress=on_progress,
            )
    reason = {
        "epochs": "all epochs are done",
        "patience": "the validation loss no longer improves",
        "minutes": "the time is up; --resume goes on",
    }[result.ended]
    out.print(
        f"{result.n_epochs} epochs: {reason}. Best model: epoch {result.best_epoch + 1}, "
        f"validation loss {result.best_valid_loss:.5f}.",
        highlight=False,
    )


def _say_epoch(record: EpochRecord) -> None:
    squared = "" if record.l_indep is None else f"   squared correlations {-record.l_indep:.3f}"
    err.print(
        f"epoch {record.epoch + 1:3d}   loss: train {record.train_loss:.5f}   valid {record.valid_loss:.5f}{squared}"
        f"   {record.seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def evaluate(
    run: RunPath,
    split: Annotated[EvaluatedSplit, typer.Option(help="Windows to score.")] = EvaluatedSplit.test,
    store: Annotated[
        str | None,
        typer.Option(metavar="S", help="Store to read, if not the one of the training; same experiments."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all scores as JSON instead of a table.")
    ] = False,
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
            typer.echo(json.dumps(to_json(evaluation), indent=1, ensure_ascii=False))
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


@app.command()
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


add_embed(app)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
