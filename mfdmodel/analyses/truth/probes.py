"""Do features know what was planted: linear probes of simulated truths, one subspace at a time.

Disentanglement can be judged where the truth is known. From the features of one role alone, a logistic regression
is fitted to each planted truth on the training windows and scored on the test windows. Biological features
should know the planted biology better than technical features do, and the other way round.

More features know more of anything. So subspaces are compared at equal width: from a wider one, as many
features as the narrowest has are drawn, several times, and the scores of the draws averaged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mfdmodel.metrics import finite_mean, rank_experiment

_log = logging.getLogger(__name__)

N_DRAWS: Final = 8
"""Draws of features from a subspace that is wider than the narrowest."""


@dataclass(frozen=True)
class ProbeScore:
    """How well one truth can be read from the features of each role.

    Parameters
    ----------
    role, factor, value
        Of the truth: ``technical``, ``lab``, ``Alder``.
    n_train, n_test
        Windows that hold it.
    auroc
        On the test windows, by the role of the features, at equal width; NaN where one class is missing there or
        in training.
    """

    role: str
    factor: str
    value: str
    n_train: int
    n_test: int
    auroc: Mapping[str, float]


@dataclass(frozen=True)
class ProbeSummary:
    """Mean AUROC over the truths of one factor.

    Parameters
    ----------
    role, factor
        Of the truths.
    auroc
        Mean over those that have a score, by the role of the features.
    n_scored, n_truths
        Truths in the mean, and in all.
    """

    role: str
    factor: str
    auroc: Mapping[str, float]
    n_scored: int
    n_truths: int


def probe_truths(
    names: Sequence[str],
    *,
    train: tuple[Mapping[str, NDArray[np.float32]], NDArray[np.bool_]],
    test: tuple[Mapping[str, NDArray[np.float32]], NDArray[np.bool_]],
    strength: float = 1.0,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[ProbeScore, ...]:
    """Fit and score one probe a truth and role.

    Parameters
    ----------
    names
        ``ROLE:FACTOR:VALUE`` of each truth.
    train, test
        Features by role, each ``(window, feature)``, and the truths, ``(window, truth)``.
    strength
        Inverse of the L2 penalty of the regression, on standardised features.
    seed
        Of the draws of features.
    on_progress
        Told how many probes are done.

    Returns
    -------
    In the order of the names.
    """
    drawn = _draw_features({role: values.shape[1] for role, values in train[0].items()}, seed)
    scores = []
    for index, name in enumerate(names):
        role, factor, value = name.split(":", 2)
        known, wanted = train[1][:, index], test[1][:, index]
        auroc = {
            features: float(
                np.mean(
                    [
                        _probe(
                            train[0][features][:, draw], known, test[0][features][:, draw], wanted, strength
                        )
                        for draw in draws
                    ]
                )
            )
            for features, draws in drawn.items()
        }
        scores.append(ProbeScore(role, factor, value, int(known.sum()), int(wanted.sum()), auroc))
        if on_progress is not None:
            on_progress("probing", index + 1, len(names))
    return tuple(scores)


def summarise(scores: Sequence[ProbeScore]) -> tuple[ProbeSummary, ...]:
    """Average the probes of each factor, in the order in which factors first occur."""
    summaries = []
    for role, factor in dict.fromkeys((score.role, score.factor) for score in scores):
        members = [score for score in scores if (score.role, score.factor) == (role, factor)]
        means = {
            features: finite_mean(np.array([score.auroc[features] for score in members]))
            for features in members[0].auroc
        }
        n_scored = min(n for _, n in means.values())
        summaries.append(
            ProbeSummary(
                role,
                factor,
                {features: mean for features, (mean, _) in means.items()},
                n_scored,
                len(members),
            )
        )
    return tuple(summaries)


def _draw_features(widths: Mapping[str, int], seed: int) -> dict[str, list[NDArray[np.int64]]]:
    """Choose which features to probe, by role: all of the narrowest subspace, draws of as many from the others."""
    rng = np.random.default_rng(seed)
    least = min(widths.values())
    return {
        role: [np.arange(width)]
        if width == least
        else [rng.choice(width, least, replace=False) for _ in range(N_DRAWS)]
        for role, width in widths.items()
    }


def _probe(
    features: NDArray[np.float32],
    known: NDArray[np.bool_],
    new_features: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    strength: float,
) -> float:
    decision = fit_probe(features, known, new_features, strength)
    return float("nan") if decision is None else rank_experiment(decision, wanted).auroc


def fit_probe(
    features: NDArray[np.float32],
    known: NDArray[np.bool_],
    new_features: NDArray[np.float32],
    strength: float = 1.0,
) -> NDArray[np.float64] | None:
    """Fit a logistic regression to a truth, and apply it to other windows.

    Parameters
    ----------
    features, known
        Of the training windows, shapes ``(window, feature)`` and ``(window,)``.
    new_features
        Of the others.
    strength
        Inverse of the L2 penalty, on standardised features.

    Returns
    -------
    Log odds, shape ``(window,)``; `None` where all training windows are alike.
    """
    if known.all() or not known.any():
        _log.info("a truth that all training windows share, or none, cannot be learnt")
        return None
    # standardised, so that the penalty weighs every feature alike; float64, so that the solver converges
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    probe.fit(features.astype(np.float64), known)
    return np.asarray(probe.decision_function(new_features.astype(np.float64)), np.float64)
