"""The command `mfdmodel train`."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import err, explained, log_to_stderr, out, progress_bars
from cli.model_options import Device, Kind, LoaderMemory, LoaderMode, Loading, Preset, Threads, Verbose
from cli.options import local_path, size

if TYPE_CHECKING:
    from mfdmodel.config import RunConfig
    from mfdmodel.train.keeper import EpochRecord
    from mfdstore.store import Store


class TrainedPrecision(StrEnum):
    """Of the network's activations in training."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class RunLogger(StrEnum):
    """Where learning curves go."""

    tensorboard = "tensorboard"
    wandb = "wandb"


def add_train(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


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
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            "--hold-out-experiments",
            metavar="QUERY",
            help="Experiments to learn nothing from, so that mfdmodel impute can predict them from metadata alone: "
            "an accession, or what must hold together, such as 'target=CTCF,MAX & biosample=HepG2 & "
            "date_released=2012'. May be given more than once.",
            rich_help_panel="Training",
        ),
    ] = None,
    precision: Annotated[
        TrainedPrecision | None,
        typer.Option(
            help="Of the network's activations; bfloat16 is faster on GPUs and on processors that know it. "
            "Default: as configured.",
            rich_help_panel="Computing",
        ),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Let torch compile the network first, which takes a minute. Default: as configured.",
            rich_help_panel="Computing",
        ),
    ] = None,
    logger: Annotated[
        RunLogger,
        typer.Option(
            help="Where curves go beside RUN/logs/metrics.csv: TensorBoard files in RUN, or Weights & Biases "
            "(package wandb; it sends them to its server).",
            rich_help_panel="Training",
        ),
    ] = RunLogger.tensorboard,
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
    [dim]torchrun --nproc-per-node 4 -m cli.mfdmodel_app train --store encode.zarr --out run1 --preset paper[/dim]

    The second line trains on four GPUs of a machine; a batch then has training.batch_size windows in each process.
    """
    log_to_stderr(verbose=verbose)
    with explained():
        from mfdmodel.checkpoint.models import MODEL_DESCRIPTION, read_description
        from mfdmodel.config_reading import load_config, override
        from mfdmodel.train.fit import train as train_model
        from mfdstore.store import Store

        opened = Store(store)
        if config is not None and preset is not None:
            raise typer.BadParameter("give --config or --preset, not both", param_hint="--config")
        changes: dict[str, object] = {
            "model.kind": None if model is None else model.value,
            "model.penalty.lambda_indep": lambda_indep,
            "training.seed": seed,
            "training.epochs": epochs,
            "training.precision": None if precision is None else precision.value,
            "training.compile": compiled,
            "training.held_out": held_out_of(opened, hold_out),
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
                store=opened,
                run=run,
                resume=resume,
                device=device,
                threads=threads,
                mode=loader.value,
                memory=None if loader_memory is None else size("--loader-memory", loader_memory),
                max_minutes=max_minutes,
                logger=logger.value,
                on_epoch=partial(
                    _say_epoch, penalty=(chosen or read_description(run).config).model.penalty.title
                ),
                on_progress=on_progress,
            )
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes the first one tells
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


def held_out_of(store: Store, queries: list[str] | None) -> list[str] | None:
    """Name the experiments that queries hold out, by accession; `None` where none is given."""
    from mfdstore.selecting import query_experiments

    if not queries:
        return None
    chosen = query_experiments(store, queries, option="--hold-out-experiments")
    return [store.experiments[column] for column in chosen]


def _say_epoch(record: EpochRecord, *, penalty: str) -> None:
    price = "" if record.l_indep is None else f"   {penalty} {-record.l_indep:.3f}"
    err.print(
        f"epoch {record.epoch + 1:3d}   loss: train {record.train_loss:.5f}   valid {record.valid_loss:.5f}{price}"
        f"   {record.seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
