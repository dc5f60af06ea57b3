"""What is known of the independence of a run's subspaces, and how it lies in the run's folder: as JSON and tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mfdmodel.analyses.independence.associations import Association
from mfdmodel.analyses.independence.logits import ExperimentShares, Shares
from mfdmodel.analyses.independence.measures import N_RESAMPLES, FeatureScore, Measure, Measures
from mfdmodel.checkpoint.states import damaged, read_json, write_json, write_text
from mfdmodel.intervals import LEVEL, Interval
from mfdstore.errors import RunError

FOLDER: Final = "evaluation"
"""Within the folder of a run."""

NAME: Final = "independence"
"""Of the files there."""


@dataclass(frozen=True)
class Independence:
    """How independent two subspaces are on windows of a split.

    Parameters
    ----------
    split
        Of the windows.
    n_windows
        That were read.
    n_fit, n_tune, n_scored, n_dropped
        Of those: to fit on, to tune by, to score, and left out between these parts.
    n_blocks, n_scored_blocks
        Blocks of neighbouring windows, and those of them that are scored.
    n_rotations
        For the null.
    seed
        Of everything random.
    epoch
        Of the model, counted from 0.
    store_digest
        Of the store that was read.
    found
        The measures.
    logits
        Parts of the logits' variance, mean over experiments.
    mean_logit
        The same of the mean of all experiments' logits.
    experiments
        The same of each experiment.
    associations
        Features that go with values of the factors that the model reads.
    """

    split: str
    n_windows: int
    n_fit: int
    n_tune: int
    n_scored: int
    n_dropped: int
    n_blocks: int
    n_scored_blocks: int
    n_rotations: int
    seed: int
    epoch: int
    store_digest: str
    found: Measures
    logits: Shares
    mean_logit: Shares
    experiments: tuple[ExperimentShares, ...]
    associations: tuple[Association, ...]


def to_json(result: Independence) -> dict[str, Any]:
    """Write a result as what JSON can hold; NaN becomes `None`."""
    content: dict[str, Any] = _without_nan(asdict(result))
    content["measured"] = (
        "features averaged over both strands; everything is fitted on one stretch of the genome and scored on "
        "another"
    )
    content["intervals"] = f"{LEVEL:.0%}, {N_RESAMPLES} draws of blocks of neighbouring windows"
    content["null"] = f"{result.n_rotations} rotations of the technical subspace's windows about the genome"
    return content


def write_independence(run: Path, result: Independence) -> None:
    """Write a result into a run's folder: the whole as JSON, its lists as tables; the JSON last."""
    folder = run / FOLDER
    for name, text in (
        (NAME, _measure_table(result.found.measures)),
        (f"{NAME}_experiments", _experiment_table(result.experiments)),
        (f"{NAME}_features", _feature_table(result.found.features)),
        (f"{NAME}_associations", _association_table(result.associations)),
    ):
        write_text(folder / f"{name}.tsv", text)
    write_json(folder / f"{NAME}.json", to_json(result))


def read_independence(run: Path) -> Independence | None:
    """Read a result that was written before; `None` where there is none.

    Raises
    ------
    RunError
        If it is damaged, or its null is of shuffled windows, as it once was.
    """
    path = run / FOLDER / f"{NAME}.json"
    if not path.exists():
        return None
    content = _with_nan(read_json(path))
    if isinstance(content, dict) and "n_shuffles" in content:
        raise RunError(
            path,
            found="measures beside shuffled windows, which call smooth features dependent that are not",
            expected="measures beside rotated windows",
            remedy="Measure again with mfdmodel independence.",
        )
    try:
        return TypeAdapter(Independence).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise damaged(path, f"{where}: {first['msg']}") from error


def _measure_table(measures: Sequence[Measure]) -> str:
    return _table(
        ("measure", "independent", "value", "low", "high", "null", "null_low", "null_high", "dependent"),
        (
            (one.name, one.chance, *_ends(one.value), *_ends(one.null), "yes" if one.dependent else "no")
            for one in measures
        ),
    )


def _experiment_table(experiments: Sequence[ExperimentShares]) -> str:
    return _table(
        ("experiment", "biological", "technical", "covariance"),
        ((one.experiment, one.biological, one.technical, one.covariance) for one in experiments),
    )


def _feature_table(features: Sequence[FeatureScore]) -> str:
    return _table(
        ("subspace", "feature", "name", "r2_line", "r2_perceptron"),
        ((one.role, one.feature, one.name, one.r2_line, one.r2_perceptron) for one in features),
    )


def _association_table(associations: Sequence[Association]) -> str:
    return _table(
        (
            *("factor", "role", "value", "n_experiments", "through", "subspace", "feature", "name"),
            *("correlation", "low", "high"),
        ),
        (
            (
                *(one.factor, one.role, one.value, one.n_experiments, through, subspace),
                *(link.feature, link.name, link.correlation, link.low, link.high),
            )
            for one in associations
            for through, links in (("weights", one.by_weights), ("labels", one.by_labels))
            for subspace, link in links.items()
        ),
    )


def _ends(estimate: Interval) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write tab-separated text; what is missing is empty."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    """Give estimates back the NaN that JSON has no word for; elsewhere `None` stays."""
    if isinstance(value, dict):
        if value.keys() == {"value", "low", "high"}:
            return {key: float("nan") if one is None else one for key, one in value.items()}
        return {key: _with_nan(one) for key, one in value.items()}
    return [_with_nan(one) for one in value] if isinstance(value, list) else value
