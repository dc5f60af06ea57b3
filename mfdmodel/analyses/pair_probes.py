"""What features know of two experiments' labels: linear probes, whatever weights the model gives to the features.

Weights of one target are alike because its metadata are; features are not bound so. From the features of one subspace
a logistic regression is fitted to the labels of one experiment and scored on its own and on the partner's labels;
another is fitted to tell windows that only the first labels from those that only the second does. If a subspace holds
biology alone, that one should find little in it of what differs between two laboratories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mfdmodel.resampling import Resampler


def probe_pairs(
    pairs: Sequence[tuple[int, int]],
    *,
    train: tuple[NDArray[np.floating], NDArray[np.bool_]],
    test: tuple[NDArray[np.floating], NDArray[np.bool_]],
    resampler: Resampler,
    strength: float = 0.01,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Fit and score three probes a pair: of either experiment's labels, and of what differs.

    Parameters
    ----------
    pairs
        Of experiments, by index.
    train, test
        Features ``(window, feature)`` and labels ``(window, experiment)``.
    resampler
        Of the test windows.
    strength
        Inverse of the L2 penalty of the regression, on standardised features: low, as few windows are labelled by one
        experiment alone.
    on_progress
        Told how many pairs are done.

    Returns
    -------
    AUROC on the test windows, each of shape ``(pair, draw)``; NaN where a class is missing, there or in training:
    ``probe_own`` on the labels that a probe was fitted to, ``probe_transfer`` on the partner's, means of both
    directions; ``probe_difference`` of windows that one alone labels.
    """
    found: dict[str, list[NDArray[np.float64]]] = {
        "probe_own": [],
        "probe_transfer": [],
        "probe_difference": [],
    }
    for done, (first, second) in enumerate(pairs):
        own: list[NDArray[np.float64]] = []
        across: list[NDArray[np.float64]] = []
        for one, other in ((first, second), (second, first)):
            scores = _fit(train[0], train[1][:, one], test[0], strength)
            for labelled, into in ((one, own), (other, across)):
                into.append(_auroc(scores, test[1][:, labelled], resampler))
        found["probe_own"].append((own[0] + own[1]) / 2)
        found["probe_transfer"].append((across[0] + across[1]) / 2)
        alone, wanted = (labels[:, first] != labels[:, second] for labels in (train[1], test[1]))
        scores = _fit(train[0][alone], train[1][alone, first], test[0][wanted], strength)
        found["probe_difference"].append(_auroc(scores, test[1][wanted, first], resampler.take(wanted)))
        if on_progress is not None:
            on_progress("probing pairs", done + 1, len(pairs))
    return {name: np.array(values) for name, values in found.items()}


def equal_widths(features: dict[str, NDArray[np.floating]], *, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Choose features of each subspace, as many as the narrowest has: more features know more of anything."""
    rng = np.random.default_rng(seed)
    least = min(values.shape[1] for values in features.values())
    return {
        role: np.sort(rng.choice(values.shape[1], least, replace=False)) for role, values in features.items()
    }


def _fit(
    features: NDArray[np.floating],
    labels: NDArray[np.bool_],
    new_features: NDArray[np.floating],
    strength: float,
) -> NDArray[np.float64] | None:
    """Fit a probe and score new windows; `None` where there is one class only, or nothing to score."""
    if not len(new_features) or not labels.any() or labels.all():
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    probe.fit(features.astype(np.float64), labels)
    scores: NDArray[np.float64] = probe.decision_function(new_features.astype(np.float64))
    return scores


def _auroc(
    scores: NDArray[np.float64] | None, labels: NDArray[np.bool_], resampler: Resampler
) -> NDArray[np.float64]:
    if scores is None:
        return np.full(len(resampler.draws), np.nan)
    return resampler.auroc(scores, labels)
