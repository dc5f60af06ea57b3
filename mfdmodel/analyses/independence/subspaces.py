"""A subspace as the measures read it: standardised features, and principal components where those are many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

MOST_COMPONENTS: Final = 64
"""Principal components that stand for a subspace."""

_WINDOWS_A_COMPONENT: Final = 20
"""Windows to fit on that a component needs at least: with fewer, what is fitted is noise."""

_LEAST_VARIANCE: Final = 1e-6
"""Share of the variance below which a component is rounding."""


class FlatError(ValueError):
    """A subspace holds nothing that varies, so that there is nothing to measure."""


@dataclass(frozen=True)
class Subspace:
    """Windows in the features of one subspace, scaled by what the fitting part says.

    Parameters
    ----------
    features
        Standardised, constant ones left out, shape ``(window, feature)``.
    components
        Principal components of those, each with variance 1, shape ``(window, component)``.
    kept
        Which of all features vary, as indices.
    variance
        Share of the standardised features' variance that the components hold.
    """

    features: NDArray[np.float32]
    components: NDArray[np.float32]
    kept: NDArray[np.int64]
    variance: float

    def take(self, rows: NDArray[np.int64]) -> Subspace:
        """Keep windows, in the order given."""
        return Subspace(self.features[rows], self.components[rows], self.kept, self.variance)


def make_subspace(values: NDArray[np.floating[Any]], fit: NDArray[np.int64]) -> Subspace:
    """Scale features and reduce them.

    Parameters
    ----------
    values
        Shape ``(window, feature)``.
    fit
        Windows that means, deviations and components are fitted on.

    Raises
    ------
    FlatError
        If every feature is constant in the fitting part.
    """
    known = values[fit].astype(np.float64)
    scale = np.abs(known).max(0, initial=0)
    kept = np.flatnonzero(known.std(0) > 1e-6 * np.maximum(scale, 1e-30))
    if not len(kept):
        raise FlatError("a subspace in which every feature is the same in all windows to fit on")
    scaler = StandardScaler().fit(known[:, kept])
    features = scaler.transform(values[:, kept].astype(np.float64))
    most = max(1, min(MOST_COMPONENTS, len(kept), len(fit) // _WINDOWS_A_COMPONENT))
    reduction = PCA(most, svd_solver="covariance_eigh").fit(features[fit])
    real = reduction.explained_variance_ratio_ > _LEAST_VARIANCE
    components = reduction.transform(features)[:, real] / np.sqrt(reduction.explained_variance_[real])
    return Subspace(
        features.astype(np.float32),
        components.astype(np.float32),
        kept,
        float(min(1.0, reduction.explained_variance_ratio_[real].sum())),
    )
