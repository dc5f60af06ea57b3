"""One run of a sweep: trained if it is not yet, scored, and what came of it kept beside it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mfdmodel.checkpoint.models import MODEL_DESCRIPTION, description_digest, load_model, read_description
from mfdmodel.checkpoint.states import damaged, read_json, write_json
from mfdmodel.config import RunConfig
from mfdmodel.config_reading import override
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.scores import FOLDER
from mfdmodel.evaluate.subspaces import COMBINED, mean_auroc, predict_by_subspace
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import CURVES, EpochRecord, read_curves
from mfdmodel.train.resuming import description_to_resume
from mfdstore.errors import ConfigError, DivergedError, RunError
from mfdstore.schema import ROLES, Split
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
        That it saw, and the one that was kept, from 0; `None` where there are no numbers.
    valid_loss
        Of the kept model, in nats.
    penalty
        What lambda multiplies (`PenaltyConfig.title`), mean over the steps of the kept epoch.
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
    n_epochs: int | None = None
    best_epoch: int | None = None
    valid_loss: float = math.nan
    penalty: float = math.nan
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
                found=", ".join(map(spell, values)) or "nothing",
                expected="at least one value, each once",
                remedy="Give such a list, joined by commas.",
            )
    return tuple(
        Cell(
            f"lambda{spell(price)}_seed{seed}",
            price,
            seed,
            override(config, {"model.penalty.lambda_indep": price, "training.seed": seed}),
        )
        for price in (price + 0.0 for price in lambdas)  # of -0 a 0
        for seed in seeds
    )


def spell(number: float) -> str:
    """Write a number so that it reads back as it is: in six digits where they are enough, else in all it needs."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def check_begun(cells: Sequence[Cell], *, out: Path, store: Store) -> None:
    """Make sure that the runs that a folder holds already were begun on this store, with these options.

    Raises
    ------
    RunError
        If one was not. What cannot be read is left to `do_cell`: it is the fault of that run alone.
    """
    for cell in cells:
        run = out / cell.name
        try:
            read_description(run)
        except RunError:
            continue
        description_to_resume(run, cell.config, store)


def do_cell(
    cell: Cell,
    *,
    store: Store,
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
    What came of it. A fault of this run alone (its loss is no number, one of its files is damaged) is told in it,
    with what to do; others are raised.

    Raises
    ------
    StoreError
        If the store is damaged.
    """
    run = out / cell.name
    try:
        done = _read_result(run, cell, split, store)
        return done or _train_and_score(cell, store, run, split, device, threads, on_progress)
    except DivergedError as error:
        fault = str(error)
    except RunError as error:
        fault = f"{error} {_begin_anew(run)}"
    except OSError as error:
        if error.filename is None or run not in Path(os.fsdecode(error.filename)).parents:
            raise
        fault = f"{os.fsdecode(error.filename)}: {error.strerror}. {_begin_anew(run)}"
    # some libraries tell a fault in several lines
    return CellResult(cell.name, cell.lambda_indep, cell.seed, fault=" ".join(fault.split()))


def _begin_anew(run: Path) -> str:
    return f"Or delete {run}: called again, the sweep begins this run anew."


def _train_and_score(
    cell: Cell,
    store: Store,
    run: Path,
    split: Split,
    device: str,
    threads: int | None,
    on_progress: Callable[[str, int, int], None] | None,
) -> CellResult:
    train(
        cell.config,
        store=store,
        run=run,
        resume=True,
        device=device,
        threads=threads,
        on_progress=on_progress,
    )
    trained = load_model(run)
    curves = _curves_until(run, trained.epoch)
    chosen = choose_device(device)
    rows = store.windows.rows(split)
    with computing_on(chosen, threads):
        predicted = predict_by_subspace(
            trained.model,
            store=store,
            rows=rows,
            positions=cell.config.data.positions,
            ways=(COMBINED, *trained.model.roles),
            device=chosen,
            on_progress=on_progress,
        )
    held_out = np.isin(store.experiments, cell.config.training.held_out)
    auroc = mean_auroc(predicted, lambda column: store.labels_of(column)[rows], scored=~held_out)
    result = _result_of(cell, curves, trained.epoch, auroc)
    kept = _Kept(
        description=description_digest(run),
        split=split,
        auroc={way: None if math.isnan(value) else value for way, value in auroc.items()},
        **{name: getattr(result, name) for name in _FROM_CURVES},
    )
    write_json(run / RESULT, kept.model_dump(mode="json"))
    return result


_FROM_CURVES: Final = ("n_epochs", "best_epoch", "valid_loss", "penalty", "seconds")


class _Kept(BaseModel):
    """What is kept of a scored run, beside it: numbers as a run can have them, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    description: str
    split: str
    n_epochs: Annotated[int, Field(ge=1)]
    best_epoch: Annotated[int, Field(ge=0)]
    valid_loss: Annotated[float, Field(ge=0)]
    penalty: float
    auroc: dict[str, Annotated[float, Field(ge=0, le=1)] | None]
    seconds: Annotated[float, Field(ge=0)]


def _read_result(run: Path, cell: Cell, split: Split, store: Store) -> CellResult | None:
    """Read what came of a run that was scored before; `None` where it is to be trained or scored first.

    What is kept must be of this cell, store and split, and say what the learning curves say; if not, it is made again.
    """
    if not (run / RESULT).exists() or not (run / MODEL_DESCRIPTION).exists():
        return None
    description = read_description(run)
    if description.config != cell.config or description.store_digest != store.digest:
        return None  # which training refuses
    try:
        kept = _Kept.model_validate(read_json(run / RESULT))
    except (RunError, ValidationError):
        return None
    if kept.description != description_digest(run) or kept.split != split:
        return None
    if set(kept.auroc) != {COMBINED, *ROLES}:
        return None
    auroc = {way: math.nan if value is None else value for way, value in kept.auroc.items()}
    curves = read_curves(run)
    if kept.best_epoch >= len(curves):
        return None
    result = _result_of(cell, curves, kept.best_epoch, auroc)
    return result if all(getattr(kept, name) == getattr(result, name) for name in _FROM_CURVES) else None


def _curves_until(run: Path, epoch: int) -> list[EpochRecord]:
    """Read the learning curves of a run, which must say what a sweep tells of the epoch that was kept."""
    curves = read_curves(run)
    if epoch >= len(curves):
        raise damaged(run / CURVES, f"{len(curves)} epochs, and a model of epoch {epoch + 1}")
    best = curves[epoch]
    told = (best.valid_loss, sum(record.seconds for record in curves))
    if (
        best.l_indep is None
        or not all(math.isfinite(value) for value in (*told, best.l_indep))
        or min(told) < 0
    ):
        raise damaged(run / CURVES, f"numbers in epoch {epoch + 1} that no training gives")
    return curves


def _result_of(cell: Cell, curves: Sequence[EpochRecord], epoch: int, auroc: dict[str, float]) -> CellResult:
    """Put together what the learning curves say of the kept epoch, and its scores."""
    best = curves[epoch]
    return CellResult(
        cell.name,
        cell.lambda_indep,
        cell.seed,
        len(curves),
        epoch,
        best.valid_loss,
        math.nan if best.l_indep is None else -best.l_indep,
        auroc,
        sum(record.seconds for record in curves),
    )
