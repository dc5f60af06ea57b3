"""Whether a run can go on: with the store and options that it began with, from a state that is whole and its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mfdmodel.checkpoint.models import Description, description_digest, read_description
from mfdmodel.checkpoint.states import State, damaged, read_json, read_state
from mfdmodel.config import RunConfig
from mfdmodel.train.keeper import LAST_STATE, EpochRecord, Keeper
from mfdmodel.train.players import Players, grouped_by_decay
from mfdstore.errors import RunError
from mfdstore.store import Store

_log = logging.getLogger(__name__)

RUN_RECORD: Final = Path("run.json")
"""Within the folder of a run: where, with what and on which labels it was trained."""

_COUNTED: Final = ("ready", "started", "processed")
"""Counts of epochs that lightning's loop keeps; where one is missing it would begin again at 0."""


def description_to_resume(run: Path, config: RunConfig | None, store: Store) -> Description:
    """Take the description of a run, if it may go on with this store and these options.

    Raises
    ------
    RunError
        If it began on another store or with other options.
    """
    description = read_description(run)
    if description.store_digest != store.digest:
        raise RunError(
            run,
            found=f"a run on a store of digest {description.store_digest[:12]}",
            expected=f"one on {store.path}, of digest {store.digest[:12]}",
            remedy=f"Resume it with the store that it began on (then at {description.store_path}).",
        )
    if config is not None and config != description.config:
        key, then, now = _first_difference(description.config.model_dump(), config.model_dump(), "")
        raise RunError(
            run,
            found=f"a run with {key} = {then!r}",
            expected=f"{key} = {now!r}, as asked for",
            remedy="Resume it without options that change the configuration, or begin another run.",
        )
    return description


def check_processes(run: Path, n_processes: int) -> None:
    """Make sure that a run goes on by as many processes as it began with: its batches are theirs joined.

    Raises
    ------
    RunError
        If it began by another number.
    """
    began = read_processes(run / RUN_RECORD, read_json(run / RUN_RECORD))
    if began != n_processes:
        start = f"`torchrun --nproc-per-node {began}`" if began > 1 else "one process, without torchrun"
        raise RunError(
            run,
            found=f"a run by {_processes(began)}, whose batches were joined",
            expected=f"one by {_processes(n_processes)}, as were started now",
            remedy=f"Resume it by {start}, or begin another run.",
        )


def read_processes(path: Path, record: Mapping[str, Any]) -> int:
    """Read by how many processes a run was begun; one where it does not say, as earlier versions did not.

    Raises
    ------
    RunError
        If what it says is no such number.
    """
    number = record.get("processes", 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise damaged(path, f"{number!r} processes")
    return number


def _processes(number: int) -> str:
    return "one process" if number == 1 else f"{number} processes"


def check_state(run: Path, *, players: Players) -> list[dict[str, Any]]:
    """Make sure that a run's state is its own and complete, before anything takes it up.

    Parameters
    ----------
    run
        Its folder.
    players
        That are to take up the state; they are left as they are.

    Returns
    -------
    Rows of the learning curves so far.

    Raises
    ------
    RunError
        If the state is damaged, or of another run.
    """
    path = run / LAST_STATE
    state = read_state(path)
    try:
        records = [asdict(EpochRecord(**row)) for row in state["callbacks"][Keeper.__qualname__]["records"]]
        if [row["epoch"] for row in records] != list(range(len(records))) or not records:
            raise ValueError("rows that do not follow each other")
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"a state without learning curves ({error!r})") from error
    if state.get("description") != description_digest(run):
        raise RunError(
            path,
            found="the state of another run",
            expected=f"that of {run}",
            remedy="Restore the folder from a copy, or train again.",
        )
    try:
        _check_loops(state, len(records))
        _check_tensors(state["state_dict"], dict(players.state_dict()))
        optimizers = players.configure_optimizers()
        _check_optimizers(state["optimizer_states"], optimizers)
        n_groups = len(state["optimizer_states"][0]["param_groups"])
        for generator in state["generators"].values():
            if generator.dtype != torch.uint8:
                raise ValueError("generators of another kind")
        torch.Generator().set_state(state["generators"]["cpu"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise damaged(path, f"a state that cannot be resumed from ({error!r})") from error
    if n_groups < len(optimizers[0].param_groups) and players.config.training.weight_decay > 0:
        _log.warning(
            "%s was begun by an earlier version, whose weight decay held the biases too: from now on it leaves them",
            run,
        )
    return records


def _check_loops(state: State, n_epochs: int) -> None:
    if not isinstance(state["pytorch-lightning_version"], str) or state["lr_schedulers"]:
        raise ValueError("no state of these loops")
    loop = state["loops"]["fit_loop"]
    progress = loop["epoch_progress"]["current"]
    counts = [progress[name] for name in _COUNTED] + [state["epoch"] + 1]
    if counts != [n_epochs] * len(counts):
        raise ValueError(f"counts of epochs {counts} beside {n_epochs} rows")
    batches = loop["epoch_loop.batch_progress"]
    if batches["is_last_batch"] is not True or len(set(batches["current"].values())) != 1:
        raise ValueError("an epoch that has not ended")
    steps = loop["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"]
    stepped = loop["epoch_loop.state_dict"]["_batches_that_stepped"]
    if steps != state["global_step"] or not isinstance(stepped, int):
        raise ValueError("counts of steps that differ")


def _check_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    if found.keys() != expected.keys():
        raise ValueError(f"other tensors than expected: {sorted(found.keys() ^ expected.keys())[:3]}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape or found[name].dtype != tensor.dtype:
            raise ValueError(f"{name} of another shape or kind")


def _check_optimizers(found: list[State], expected: list[torch.optim.Optimizer]) -> None:
    if len(found) != len(expected):
        raise ValueError(f"{len(found)} optimisers in place of {len(expected)}")
    for saved, optimizer in zip(found, expected, strict=True):
        state = grouped_by_decay(saved, optimizer)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        groups = zip(state["param_groups"], optimizer.state_dict()["param_groups"], strict=True)
        if any(group.keys() != fresh.keys() or group["params"] != fresh["params"] for group, fresh in groups):
            raise ValueError("other groups of parameters")
        if state["state"].keys() != set(range(len(parameters))):
            raise ValueError("other parameters")
        names = {"step", "exp_avg", "exp_avg_sq"}
        for index, parameter in enumerate(parameters):
            moments = state["state"][index]
            if not names <= moments.keys() or any(
                tensor.shape not in (parameter.shape, torch.Size([])) for tensor in moments.values()
            ):
                raise ValueError(f"moments that do not fit parameter {index}")


def _first_difference(then: Any, now: Any, key: str) -> tuple[str, Any, Any]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in then | now:
            if then.get(name) != now.get(name):
                return _first_difference(then.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return key, then, now
