"""Experiments that a model never saw, predicted from their metadata alone (method, section 8).

What a lab would do without a model is average the experiments that it has: those of the same target, those of the same
biosample, or those whose metadata are nearest. These averages use labels measured at the very windows that are
scored; the model sees nothing of them but their sequence. Averages of the model's own predictions for the same
experiments stand beside them: they tell what the metadata of the held-out experiment add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.intervals import Interval, interval
from mfdmodel.resampling import Estimate, Resampler, estimate
from mfdstore.metadata import Factor, FactorTable

MODEL: Final = "model"
"""Name of the model's prediction among the ways."""
NEIGHBOURS: Final = ("same target", "same biosample", "nearest metadata")


@dataclass(frozen=True)
class Imputed:
    """How well one held-out experiment is predicted.

    Parameters
    ----------
    experiment
        Its accession.
    factors
        Target, biosample and assay, as far as they are known.
    n_positive
        Windows that hold its label.
    n_neighbours
        Training experiments that are averaged, by kind of neighbour.
    unknown
        Values of the factors that the model reads which no experiment of the training has, by factor: to the model
        they are missing.
    auroc
        By way: `MODEL`, ``KIND, labels`` and ``KIND, predictions``; NaN where there is no neighbour, or one class.
    """

    experiment: str
    factors: Mapping[str, str]
    n_positive: int
    n_neighbours: Mapping[str, int]
    unknown: Mapping[str, tuple[str, ...]]
    auroc: Mapping[str, Interval]


@dataclass(frozen=True)
class ImputationScore:
    """All held-out experiments together.

    Parameters
    ----------
    n_windows, n_blocks
        That were scored, and the stretches of the genome that were drawn again.
    experiments
        One by one.
    mean
        Mean AUROC over the experiments that have one, by way.
    gain
        Mean over experiments of the model's AUROC minus that of another way, where both have one.
    n_scored
        Experiments in each mean, by way.
    """

    n_windows: int
    n_blocks: int
    experiments: tuple[Imputed, ...]
    mean: Mapping[str, Interval]
    gain: Mapping[str, Interval]
    n_scored: Mapping[str, int]


def neighbours_of(
    factors: FactorTable, column: int, training: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64]]:
    """Find the training experiments that are like a held-out one.

    Those of the same target (of the same assay where it has no target), those of the same biosample, and those that
    share most known factor values with it, ties included.

    Parameters
    ----------
    factors
        Of all experiments.
    column
        The held-out one.
    training
        True for the experiments that the model learned from, shape ``(experiment,)``.

    Returns
    -------
    Columns by kind, each ascending; none where a factor is missing or nobody shares the value.
    """
    shared = np.zeros(len(factors), np.float64)
    same: dict[str, NDArray[np.bool_]] = {}
    for name in factors.names:
        agreement = _agreement(factors[name], column)
        shared += agreement
        same[name] = agreement == 1
    nobody = np.zeros(len(factors), np.bool_)
    has_target = "target" in factors and factors["target"].values[column] is not None
    found = {
        "same target": same["target"] if has_target else same.get("assay", nobody),
        "same biosample": same.get("biosample", nobody),
    }
    best = shared[training].max() if training.any() else 0.0
    found["nearest metadata"] = (shared == best) if best > 0 else nobody
    return {kind: np.flatnonzero(found[kind] & training) for kind in NEIGHBOURS}


def _agreement(factor: Factor, column: int) -> NDArray[np.float64]:
    """Tell how far each experiment shares the value of one: 1, 0, or how two sets overlap; missing shares nothing."""
    own = factor.values[column]
    agreement = np.zeros(len(factor.values))
    if factor.kind == "multi_category":
        wanted = set(own or ())
        for row, value in enumerate(factor.values):
            together = wanted | set(value or ())
            agreement[row] = len(wanted & set(value or ())) / len(together) if together else 0.0
        return agreement
    if factor.kind == "category":
        return np.array([own is not None and value == own for value in factor.values], np.float64)
    # a date or a number that is not known equals nothing, not even itself
    return np.asarray(factor.values == own, np.float64)


def score_imputation(
    predictions: NDArray[np.float32],
    label_of: Callable[[int], NDArray[np.bool_]],
    *,
    factors: FactorTable,
    held_out: NDArray[np.bool_],
    blocks: NDArray[np.int64],
    unknown: Sequence[Mapping[str, tuple[str, ...]]],
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ImputationScore:
    """Score the predictions of held-out experiments beside averages of the others.

    Parameters
    ----------
    predictions
        Of all experiments, shape ``(experiment, window)``.
    label_of
        Gives the labels of an experiment at these windows, shape ``(window,)``.
    factors
        Of the experiments.
    held_out
        Those that the model did not learn from, shape ``(experiment,)``.
    blocks
        Stretch of the genome that each window is in, from 0, shape ``(window,)``.
    unknown
        Of each experiment, values that training did not know, by factor.
    seed
        Of the draws.
    on_progress
        Told how many experiments are done.

    Returns
    -------
    Scores with 95 % intervals over stretches of the genome; those of the means over stretches and experiments.
    """
    resampler = Resampler.draw(blocks, rng=np.random.default_rng(seed))
    nothing = np.full(len(resampler.draws), np.nan)
    columns = np.flatnonzero(held_out).tolist()
    scored, drawn = [], []
    for done, column in enumerate(columns):
        labels = label_of(column)
        neighbours = neighbours_of(factors, column, ~held_out)
        ways: dict[str, NDArray[np.floating] | None] = {MODEL: predictions[column]}
        for kind, others in neighbours.items():
            ways[f"{kind}, labels"] = _mean([label_of(int(other)) for other in others])
            ways[f"{kind}, predictions"] = _mean([predictions[int(other)] for other in others])
        draws = {
            way: nothing if scores is None else resampler.auroc(scores, labels)
            for way, scores in ways.items()
        }
        scored.append(
            Imputed(
                factors.experiments[column],
                _known(factors, column),
                int(labels.sum()),
                {kind: len(others) for kind, others in neighbours.items()},
                unknown[column],
                {way: interval(values) for way, values in draws.items()},
            )
        )
        drawn.append(draws)
        if on_progress is not None:
            on_progress("scoring", done + 1, len(columns))
    by_way = {way: np.stack([draws[way] for draws in drawn], axis=1) for way in drawn[0]}
    means: dict[str, Estimate] = {way: estimate(values, seed=seed) for way, values in by_way.items()}
    gains = {
        way: estimate(by_way[MODEL] - values, seed=seed) for way, values in by_way.items() if way != MODEL
    }
    return ImputationScore(
        len(blocks),
        resampler.n_blocks,
        tuple(scored),
        {way: mean.both for way, mean in means.items()},
        {way: gain.both for way, gain in gains.items()},
        {way: mean.n_groups for way, mean in means.items()},
    )


def _mean(parts: list[NDArray[np.bool_]] | list[NDArray[np.float32]]) -> NDArray[np.floating] | None:
    if not parts:
        return None
    total = np.zeros(len(parts[0]), np.float64)
    for part in parts:
        total += part
    return total / len(parts)


def _known(factors: FactorTable, column: int) -> dict[str, str]:
    names = [name for name in ("target", "biosample", "assay") if name in factors]
    return {name: str(factors[name].values[column]) for name in names if factors[name].values[column]}
