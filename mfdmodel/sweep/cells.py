"""One run of a sweep: trained if it is not yet, scored, and what came of it kept beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mfdmodel.checkpoint.models import MODEL_DESCRIPTION, description_digest, load_model, read_description
from mfdmodel.checkpoint.states import read_json, write_json
from mfdmodel.config import RunConfig
from mfdmodel.config_reading import override
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.scores import FOLDER
from mfdmodel.evaluate.subspaces import COMBINED, mean_auroc, predict_by_subspace
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import read_curves
from mfdstore.errors import ConfigError, DivergedError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split
from mfdstore.store import Store

RESULT: Final = Path(FOLDER) / "sweep.json"
"""Within the folder of a run."""


@dataclass(frozen=True)
class Cell:
    """One run to be made.

    Parameters
    ----------
    name
        Of its folder.
    lambda_indep, seed
        What tells it from the others.
    config
        Of the run.
    """

    name: str
    lambda_indep: float
    seed: int
    config: RunConfig


@dataclass(frozen=True)
class CellResult:
    """What came of one run.

    Parameters
    ----------
    name, lambda_indep, seed
        As of its cell.
    n_epochs, best_epoch
        That it saw, and the one that was kept, from 0.
    valid_loss
        Of the kept model, in nats.
    squared_correlations
        Minus L_indep (equation 3), mean over the steps of the kept epoch.
    auroc
        On the split, mean over experiments: ``combined``, ``biological``, ``technical``; NaN where none has one.
    seconds
        That the training took.
    fault
        Why there are no numbers; empty where there are.
    """

    name: str
    lambda_indep: float
    seed: int
    n_epochs: int = 0
    best_epoch: int = 0
    valid_loss: float = math.nan
    squared_correlations: float = math.nan
    auroc: dict[str, float] | None = None
    seconds: float = math.nan
    fault: str = ""


def plan_cells(config: RunConfig, lambdas: tuple[float, ...], seeds: tuple[int, ...]) -> tuple[Cell, ...]:
    """List the runs: each price with each seed.

    Raises
    ------
    ConfigError
        If there is none, one comes twice, the model has no subspaces, or a number is out of range.
    """
    if config.model.kind != "mfd":
        raise ConfigError(
            "model.kind",
            found=config.model.kind,
            expected="mfd, whose subspaces are kept apart at a price",
            remedy="Sweep over a configuration of a model with metadata.",
        )
    for name, values in (("--lambda-indep", lambdas), ("--seed", seeds)):
        if not values or len(set(values)) != len(values):
            raise ConfigError(
                name,
                found=", ".join(f"{value:g}" for value in values) or "nothing",
                expected="at least one value, each once",
                remedy="Give such a list, joined by commas.",
            )
    return tuple(
        Cell(
            f"lambda{price:g}_seed{seed}",
            price,
            seed,
            override(config, {"model.penalty.lambda_indep": price, "training.seed": seed}),
        )
        for price in lambdas
        for seed in seeds
    )


def do_cell(
    cell: Cell,
    *,
    store: AnyPlace,
    out: Path,
    split: Split,
    device: str,
    threads: int | None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> CellResult:
    """Train and score a run, or go on with it where it stopped; one that was scored before is taken as it is.

    Parameters
    ----------
    cell
        To be done.
    store
        To train on.
    out
        Folder of the sweep.
    split
        To be scored.
    device, threads
        As in training.
    on_progress
        Told of training and of scoring.

    Returns
    -------
    What came of it. A fault of this run alone (its loss is no number) is told in it; others are raised.

    Raises
    ------
    RunError
        If the folder holds a run of another configuration or store.
    StoreError
        If the store is damaged.
    """
    run = out / cell.name
    done = _read_result(run, cell, split)
    if done is not None:
        return done
    opened = Store(store)
    try:
        train(
            cell.config,
            store=opened,
            run=run,
            resume=True,
            device=device,
            threads=threads,
            on_progress=on_progress,
        )
    except DivergedError as error:
        return CellResult(cell.name, cell.lambda_indep, cell.seed, fault=str(error))
    trained = load_model(run)
    chosen = choose_device(device)
    rows = opened.windows.rows(split)
    with computing_on(chosen, threads):
        predicted = predict_by_subspace(
            trained.model,
            store=opened,
            rows=rows,
            positions=cell.config.data.positions,
            ways=(COMBINED, *trained.model.roles),
            device=chosen,
            on_progress=on_progress,
        )
    held_out = np.isin(opened.experiments, cell.config.training.held_out)
    curves = read_curves(run)
    l_indep = curves[trained.epoch].l_indep
    result = CellResult(
        cell.name,
        cell.lambda_indep,
        cell.seed,
        len(curves),
        trained.epoch,
        trained.valid_loss,
        math.nan if l_indep is None else -l_indep,
        mean_auroc(predicted, lambda column: opened.labels_of(column)[rows], scored=~held_out),
        sum(record.seconds for record in curves),
    )
    content = {name: value for name, value in asdict(result).items() if name != "fault"}
    content["auroc"] = {
        way: None if math.isnan(value) else value for way, value in (result.auroc or {}).items()
    }
    write_json(run / RESULT, {"description": description_digest(run), "split": split} | content)
    return result


def _read_result(run: Path, cell: Cell, split: Split) -> CellResult | None:
    """Read what came of a run that was scored before, if it is this cell's and this split's."""
    if not (run / RESULT).exists() or not (run / MODEL_DESCRIPTION).exists():
        return None
    content: dict[str, Any] = read_json(run / RESULT)
    own = read_description(run).config == cell.config
    if not own or content.get("description") != description_digest(run) or content.get("split") != split:
        return None
    try:
        auroc = {way: math.nan if value is None else float(value) for way, value in content["auroc"].items()}
        if COMBINED not in auroc:
            return None
        return CellResult(
            cell.name,
            cell.lambda_indep,
            cell.seed,
            int(content["n_epochs"]),
            int(content["best_epoch"]),
            float(content["valid_loss"]),
            float(content["squared_correlations"]),
            auroc,
            float(content["seconds"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # it is scored again
