"""How well scores rank labelled bins: AUROC and average precision, exact, and their means by factor.

Both are computed from all windows of an experiment at once (never as a mean over batches), from two sorted
lists: the scores of labelled bins and those of the others. Ties are counted as ties: the order of rows is
without effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfdstore.metadata import Factor


@dataclass(frozen=True)
class Ranking:
    """How one experiment's bins are ranked.

    Parameters
    ----------
    auroc
        Area under the ROC curve; NaN where only one class is present.
    average_precision
        Mean over labelled bins of the precision at their score; NaN where only one class is present.
    n_positive
        Labelled bins.
    n_windows
        All bins that were scored.
    """

    auroc: float
    average_precision: float
    n_positive: int
    n_windows: int


@dataclass(frozen=True)
class GroupMean:
    """Mean of a score over the experiments that share a value of a factor.

    Parameters
    ----------
    name
        The value; `None` for the experiments whose value is missing.
    mean
        Over the experiments that have a score; NaN where none has.
    n_scored
        Experiments that went into the mean.
    n_experiments
        Experiments of the group, with those that have no score.
    """

    name: str | None
    mean: float
    n_scored: int
    n_experiments: int


def rank_experiment(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Ranking:
    """Measure how one experiment's labelled bins are ranked among all bins.

    Parameters
    ----------
    scores
        Logits or probabilities, shape ``(window,)``.
    labels
        True where the bin holds a peak, shape ``(window,)``.

    Returns
    -------
    Both areas, with the counts behind them.

    Raises
    ------
    ValueError
        If the shapes differ, are not one-dimensional, or a score is NaN.
    """
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"scores {scores.shape} and labels {labels.shape} are not one and the same (window,)"
        )
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: it has no rank")
    labels = labels.astype(np.bool_, copy=False)
    positive = np.sort(scores[labels])
    negative = np.sort(scores[~labels])
    n_positive, n_negative = len(positive), len(negative)
    if not n_positive or not n_negative:
        return Ranking(float("nan"), float("nan"), n_positive, len(scores))
    below = np.searchsorted(negative, positive, "left")
    not_above = np.searchsorted(negative, positive, "right")
    # Mann-Whitney: a pair counts 1 if the labelled bin is above, 1/2 if tied; sums of integers, so exact
    auroc = (int(below.sum()) + int(not_above.sum())) / (2 * n_positive * n_negative)
    # at the threshold of each labelled bin, what passes it: all bins of that score or more
    true_passing = n_positive - np.searchsorted(positive, positive, "left")
    false_passing = n_negative - below
    precision = true_passing / (true_passing + false_passing)
    return Ranking(auroc, float(precision.mean()), n_positive, len(scores))


def finite_mean(values: NDArray[np.float64]) -> tuple[float, int]:
    """Average what is there.

    Returns
    -------
    The mean over values that are not NaN (NaN where there is none), and how many there are.
    """
    present = values[~np.isnan(values)]
    return (float(present.mean()) if len(present) else float("nan")), len(present)


def group_means(values: NDArray[np.float64], factor: Factor) -> tuple[GroupMean, ...]:
    """Average a score over the experiments that share a value of a factor.

    Parameters
    ----------
    values
        A score of each experiment, NaN where it has none, shape ``(experiment,)``.
    factor
        Of kind ``category`` or ``multi_category``; an experiment with several values counts under each.

    Returns
    -------
    One mean a value, sorted by name; experiments whose value is missing come last, under `None`.

    Raises
    ------
    ValueError
        If the factor is a number or a date, or its length is not that of the values.
    """
    if factor.kind not in ("category", "multi_category"):
        raise ValueError(f"factor {factor.name} of kind {factor.kind} has no groups")
    if len(factor.values) != len(values):
        raise ValueError(f"factor {factor.name} has {len(factor.values)} values for {len(values)} scores")
    members: dict[str | None, list[int]] = {name: [] for name in factor.categories()}
    for row, value in enumerate(factor.values):
        names: Sequence[str | None] = value if isinstance(value, tuple) else (value,)
        for name in names:
            members.setdefault(name, []).append(row)
    means = []
    for name, rows in members.items():
        mean, n_scored = finite_mean(values[rows])
        means.append(GroupMean(name, mean, n_scored, len(rows)))
    return tuple(means)
