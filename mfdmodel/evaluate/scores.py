"""Scores of a model on a split, and how they lie in a run's folder: as JSON and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mfdmodel.checkpoint.states import damaged, read_json, write_json, write_text

GROUPED_BY: Final = ("assay", "target", "biosample")
"""Factors that scores are averaged by, where the store has them."""

FOLDER: Final = "evaluation"
"""Within the folder of a run."""


@dataclass(frozen=True)
class ExperimentScore:
    """Scores of one experiment.

    Parameters
    ----------
    experiment
        Its accession.
    factors
        What it is, by the names in `GROUPED_BY`; `None` where that is missing.
    n_positive
        Labelled windows of the split.
    auroc, average_precision
        NaN where all windows of the split are labelled, or none.
    held_out
        Whether training left it out of the loss, so that it is predicted from its metadata alone.
    """

    experiment: str
    factors: Mapping[str, str | None]
    n_positive: int
    auroc: float
    average_precision: float
    held_out: bool = False


@dataclass(frozen=True)
class GroupScore:
    """Mean scores of the experiments that share a value of a factor, or of all: `name` is `None` then.

    Parameters
    ----------
    name
        The value, `None` where it is missing.
    auroc, average_precision
        Means over the experiments that have them, NaN where none has.
    n_scored, n_experiments
        Experiments in the means, and in the group.
    """

    name: str | None
    auroc: float
    average_precision: float
    n_scored: int
    n_experiments: int


@dataclass(frozen=True)
class HeldOutScores:
    """Mean scores of the experiments that training left out of the loss.

    Parameters
    ----------
    overall, groups
        Over them alone, as in `Evaluation`.
    """

    overall: GroupScore
    groups: Mapping[str, tuple[GroupScore, ...]]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on a split.

    Parameters
    ----------
    split
        That was scored.
    n_windows
        Of the split.
    epoch
        Of the model, counted from 0.
    store_digest
        Of the store that was read.
    overall
        Means over all experiments that the model was trained on.
    groups
        Means over the same by the values of each factor of `GROUPED_BY` that the store has.
    held_out
        Means over the others; `None` where there are none.
    experiments
        In the order of the store, those held out among them.
    """

    split: str
    n_windows: int
    epoch: int
    store_digest: str
    overall: GroupScore
    groups: Mapping[str, tuple[GroupScore, ...]]
    held_out: HeldOutScores | None
    experiments: tuple[ExperimentScore, ...]

    @property
    def held_out_experiments(self) -> tuple[ExperimentScore, ...]:
        """Those that training left out of the loss."""
        return tuple(score for score in self.experiments if score.held_out)


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Write an evaluation as what JSON can hold; NaN becomes `None`."""
    return {
        "split": evaluation.split,
        "n_windows": evaluation.n_windows,
        "epoch": evaluation.epoch,
        "store_digest": evaluation.store_digest,
        "scored": "probabilities, mean of both strands, all windows of the split",
        "means": "over the experiments that training did not leave out of the loss; over those in held_out",
        **_means_to_json(evaluation.overall, evaluation.groups),
        "held_out": None
        if evaluation.held_out is None
        else _means_to_json(evaluation.held_out.overall, evaluation.held_out.groups),
        "experiments": [
            {
                "experiment": score.experiment,
                "factors": dict(score.factors),
                "n_positive": score.n_positive,
                "auroc": _number_or_none(score.auroc),
                "average_precision": _number_or_none(score.average_precision),
                "held_out": score.held_out,
            }
            for score in evaluation.experiments
        ],
    }


def write_evaluation(run: Path, evaluation: Evaluation) -> None:
    """Write an evaluation into a run's folder, as JSON and as a table."""
    write_text(run / FOLDER / f"{evaluation.split}.tsv", format_table(evaluation))
    write_json(run / FOLDER / f"{evaluation.split}.json", to_json(evaluation))


def format_table(evaluation: Evaluation) -> str:
    """Write the experiments' scores as tab-separated text; what is missing is empty."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(
        [
            "experiment",
            *evaluation.groups,
            "n_positive",
            "n_windows",
            "auroc",
            "average_precision",
            "held_out",
        ]
    )
    for score in evaluation.experiments:
        numbers = [
            "" if np.isnan(value) else f"{value:.6f}" for value in (score.auroc, score.average_precision)
        ]
        factors = [score.factors[name] or "" for name in evaluation.groups]
        held_out = "yes" if score.held_out else "no"
        writer.writerow(
            [score.experiment, *factors, score.n_positive, evaluation.n_windows, *numbers, held_out]
        )
    return text.getvalue()


def read_evaluation(run: Path, split: str) -> Evaluation | None:
    """Read an evaluation that was written before; `None` where there is none.

    Raises
    ------
    RunError
        If it is damaged.
    """
    path = run / FOLDER / f"{split}.json"
    if not path.exists():
        return None
    content = read_json(path)
    try:
        overall, groups = _means_from_json(content)
        # what was written before there was this key held nothing out, or must be evaluated again
        held_out = content.get("held_out")
        return Evaluation(
            split=content["split"],
            n_windows=int(content["n_windows"]),
            epoch=int(content["epoch"]),
            store_digest=content["store_digest"],
            overall=overall,
            groups=groups,
            held_out=None if held_out is None else HeldOutScores(*_means_from_json(held_out)),
            experiments=tuple(
                ExperimentScore(
                    item["experiment"],
                    item["factors"],
                    int(item["n_positive"]),
                    _number_or_nan(item["auroc"]),
                    _number_or_nan(item["average_precision"]),
                    bool(item.get("held_out", False)),
                )
                for item in content["experiments"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, f"scores that cannot be read ({error!r})") from error


def _means_to_json(overall: GroupScore, groups: Mapping[str, tuple[GroupScore, ...]]) -> dict[str, Any]:
    return {
        "overall": _group_to_json(overall),
        "groups": {
            factor: [{"name": group.name} | _group_to_json(group) for group in members]
            for factor, members in groups.items()
        },
    }


def _means_from_json(content: Mapping[str, Any]) -> tuple[GroupScore, dict[str, tuple[GroupScore, ...]]]:
    groups = {
        factor: tuple(_group_from_json(group["name"], group) for group in members)
        for factor, members in content["groups"].items()
    }
    return _group_from_json(None, content["overall"]), groups


def _group_to_json(group: GroupScore) -> dict[str, Any]:
    return {
        "auroc": _number_or_none(group.auroc),
        "average_precision": _number_or_none(group.average_precision),
        "n_scored": group.n_scored,
        "n_experiments": group.n_experiments,
    }


def _group_from_json(name: str | None, content: Mapping[str, Any]) -> GroupScore:
    return GroupScore(
        name,
        _number_or_nan(content["auroc"]),
        _number_or_nan(content["average_precision"]),
        int(content["n_scored"]),
        int(content["n_experiments"]),
    )


def _number_or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _number_or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
