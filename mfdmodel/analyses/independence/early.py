"""Perceptrons trained until windows that are apart on the genome say that it is enough.

scikit-learn's own early stopping holds out rows at random: neighbours of those trained on, which say so too late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

MOST_EPOCHS: Final = 60
_PATIENCE: Final = 6


def fit_by_epochs(
    perceptron: MLPClassifier | MLPRegressor, train: Callable[[], None], loss: Callable[[], float]
) -> None:
    """Train epoch by epoch, and leave the perceptron as it was when its loss elsewhere was lowest.

    Parameters
    ----------
    perceptron
        To be trained.
    train
        Passes once over the fitting part.
    loss
        On the tuning part.
    """
    best, since = np.inf, 0
    kept: tuple[list[np.ndarray], list[np.ndarray]] | None = None
    for _ in range(MOST_EPOCHS):
        train()
        now = loss()
        if kept is None or now < best:
            best, since = now, 0
            kept = ([one.copy() for one in perceptron.coefs_], [one.copy() for one in perceptron.intercepts_])
        else:
            since += 1
            if since >= _PATIENCE:
                break
    if kept is not None:
        perceptron.coefs_, perceptron.intercepts_ = kept
