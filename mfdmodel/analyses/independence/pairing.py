"""Can true rows be told from re-paired ones: a perceptron's accuracy, and a random forest's.

A true row holds both subspaces of one window; a re-paired one holds the biological subspace of a window and the
technical of another, from elsewhere on the genome. Each subspace by itself is the same in both, so that only what
ties the two together can tell them apart: with independent subspaces the accuracy is 0.5.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from mfdmodel.analyses.independence.early import fit_by_epochs
from mfdmodel.analyses.independence.parts import Parts, repair
from mfdmodel.resampling import Resampler

_HIDDEN: Final = (128, 64)
_TREES: Final = 100
_PAIRINGS: Final = 5
"""How often each scored window is re-paired, so that chance in the partners averages out."""


def discriminate(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    parts: Parts,
    resampler: Resampler,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Score a perceptron that tells true rows from re-paired ones; it sees new partners in every epoch.

    Parameters
    ----------
    one, other
        Components of both subspaces, shape ``(window, component)`` each.
    parts
        Of the windows.
    resampler
        Of the scored windows.
    seed
        Of partners and of the perceptron.

    Returns
    -------
    Accuracy, shape ``(draw,)``.
    """
    rng = np.random.default_rng(seed)
    perceptron = MLPClassifier(hidden_layer_sizes=_HIDDEN, alpha=1e-3, batch_size=256, random_state=seed)
    tuning = _pairs(one, other, parts.tune, parts.block, rng)

    def train() -> None:
        perceptron.partial_fit(*_pairs(one, other, parts.fit, parts.block, rng), classes=[False, True])

    def loss() -> float:
        return float(log_loss(tuning[1], perceptron.predict_proba(tuning[0])[:, 1]))

    fit_by_epochs(perceptron, train, loss)
    return _accuracy(perceptron, one, other, parts, resampler, rng)


def grow_forest(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    parts: Parts,
    resampler: Resampler,
    *,
    seed: int,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Score a random forest that tells true rows from re-paired ones; parameters and result as in `discriminate`.

    Parameters
    ----------
    threads
        That grow trees; `None` is all processors.
    """
    rng = np.random.default_rng(seed)
    forest = RandomForestClassifier(
        _TREES, min_samples_leaf=5, n_jobs=-1 if threads is None else threads, random_state=seed
    )
    forest.fit(*_pairs(one, other, parts.fit, parts.block, rng))
    return _accuracy(forest, one, other, parts, resampler, rng)


def _pairs(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    rows: NDArray[np.int64],
    block: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Join both subspaces, truly paired rows first, then re-paired ones; and say which are true."""
    partner = rows[repair(block[rows], rng)]
    joined = np.concatenate(
        [np.concatenate([one[rows], other[rows]], 1), np.concatenate([one[rows], other[partner]], 1)]
    )
    return joined, np.arange(len(joined)) < len(rows)


def _accuracy(
    classifier: MLPClassifier | RandomForestClassifier,
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    parts: Parts,
    resampler: Resampler,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Score windows: half of the accuracy is that on true rows, half that on re-paired ones."""
    n = len(parts.score)
    right = np.zeros(n)
    for _ in range(_PAIRINGS):
        joined, true = _pairs(one, other, parts.score, parts.block, rng)
        told = classifier.predict_proba(joined)[:, 1]
        # of what is told for neither, half is right
        correct = np.where(told == 0.5, 0.5, (told > 0.5) == true)
        right += (correct[:n] + correct[n:]) / (2 * _PAIRINGS)
    return resampler.means(right)
