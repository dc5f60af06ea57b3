"""How much of one subspace's features can be predicted from the other: R2, by a line and by a perceptron.

What a line misses and a perceptron finds is a dependence that no correlation shows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

from mfdmodel.analyses.independence.early import fit_by_epochs
from mfdmodel.analyses.independence.parts import Parts
from mfdmodel.resampling import Resampler

_HIDDEN: Final = (128, 128)
_ALPHAS: Final = tuple(10.0**power for power in range(0, 6))
_SURE: Final = 2.0
"""Standard errors that a slope must be above 0, for the prediction to be believed at all."""


def predict_by_line(
    source: NDArray[np.float32], wanted: NDArray[np.float32], parts: Parts, resampler: Resampler
) -> NDArray[np.float64]:
    """Score a ridge regression, its penalty chosen by cross-validation in the fitting part.

    Parameters
    ----------
    source
        Components of the subspace that is read, shape ``(window, component)``.
    wanted
        Standardised features of the other one, shape ``(window, feature)``.
    parts
        Of the windows.
    resampler
        Of the scored windows.

    Returns
    -------
    R2 of each feature, shape ``(draw, feature)``.
    """
    line = RidgeCV(_ALPHAS).fit(source[parts.fit].astype(np.float64), wanted[parts.fit].astype(np.float64))
    told = line.predict(source.astype(np.float64)).reshape(wanted.shape)
    return _score(told, wanted, parts, resampler)


def predict_by_perceptron(
    source: NDArray[np.float32],
    wanted: NDArray[np.float32],
    parts: Parts,
    resampler: Resampler,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Score a perceptron; parameters and result as in `predict_by_line`.

    Parameters
    ----------
    seed
        Of the perceptron.
    """
    perceptron = MLPRegressor(hidden_layer_sizes=_HIDDEN, alpha=1e-3, batch_size=128, random_state=seed)

    known = wanted[parts.fit]
    known = known[:, 0] if known.shape[1] == 1 else known  # of one feature a vector is expected

    def train() -> None:
        perceptron.partial_fit(source[parts.fit], known)

    def loss() -> float:
        told = perceptron.predict(source[parts.tune]).reshape(-1, wanted.shape[1])
        return float(np.mean((told - wanted[parts.tune]) ** 2))

    fit_by_epochs(perceptron, train, loss)
    return _score(perceptron.predict(source).reshape(wanted.shape), wanted, parts, resampler)


def _score(
    told: NDArray[np.floating], wanted: NDArray[np.float32], parts: Parts, resampler: Resampler
) -> NDArray[np.float64]:
    """Shrink predictions by what the tuning part says, and score them against predicting the fitting part's mean.

    So a predictor that found nothing scores about 0, rather than below.
    """
    known = told[parts.tune] - told[parts.tune].mean(0)
    slope = _believed_slope(known, wanted[parts.tune] - wanted[parts.tune].mean(0))
    shrunk = slope * (told[parts.score] - told[parts.fit].mean(0))
    truth = wanted[parts.score].astype(np.float64)  # standardised: the mean of the fitting part is 0
    unexplained = resampler.sums((truth - shrunk) ** 2)
    whole = resampler.sums(truth**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, 1 - unexplained / whole, np.nan))


def _believed_slope(told: NDArray[np.floating], wanted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fit the slope of each feature on its prediction, between 0 and 1; 0 where it may well be chance.

    Parameters
    ----------
    told, wanted
        Of the tuning part, centred, shape ``(window, feature)`` each.
    """
    x, y = told.astype(np.float64), wanted.astype(np.float64)
    spread = np.maximum((x**2).sum(0), 1e-12)
    slope = (x * y).sum(0) / spread
    error = np.sqrt(((y - slope * x) ** 2).sum(0) / max(1, len(x) - 2) / spread)
    return np.where(slope > _SURE * error, np.clip(slope, 0.0, 1.0), 0.0)
