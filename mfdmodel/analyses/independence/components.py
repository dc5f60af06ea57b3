"""Linear dependence by directions: canonical correlations, and correlations of principal components.

Directions and pairs are chosen on one part of the windows, correlations measured on another. They keep the sign
that they were chosen with, so that pairs which only chance had joined come out around 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd
from scipy.optimize import linear_sum_assignment

from mfdmodel.analyses.independence.parts import Parts
from mfdmodel.resampling import Resampler

N_PAIRS: Final = 10
"""Pairs of directions that are reported, at most."""


def correlate_canonical(
    one: NDArray[np.float32], other: NDArray[np.float32], parts: Parts, resampler: Resampler
) -> NDArray[np.float64]:
    """Find the directions of both subspaces that correlate most, each uncorrelated with those before it.

    As components have variance 1 and are uncorrelated, these are the singular vectors of their covariance.

    Parameters
    ----------
    one, other
        Components of both subspaces, shape ``(window, component)`` each.
    parts
        Of the windows.
    resampler
        Of the scored windows.

    Returns
    -------
    Correlation on the scored windows of the pairs that correlate most in the fitting part, falling there, shape
    ``(draw, pair)``.
    """
    covariance = one[parts.fit].astype(np.float64).T @ other[parts.fit].astype(np.float64) / len(parts.fit)
    left, _, right = svd(covariance, full_matrices=False)
    n = min(N_PAIRS, len(right))
    return resampler.correlations(one[parts.score] @ left[:, :n], other[parts.score] @ right[:n].T)


def correlate_principal(
    one: NDArray[np.float32], other: NDArray[np.float32], parts: Parts, resampler: Resampler
) -> NDArray[np.float64]:
    """Pair the largest principal components of both subspaces, and correlate them; parameters as above.

    Returns
    -------
    Correlation on the scored windows, with the sign of the fitting part, of the pairs that correlate most there,
    falling there; each component is in one pair. Shape ``(draw, pair)``.
    """
    n = min(N_PAIRS, one.shape[1], other.shape[1])
    known = one[parts.fit, :n].astype(np.float64).T @ other[parts.fit, :n].astype(np.float64) / len(parts.fit)
    rows, columns = linear_sum_assignment(-np.abs(known))
    order = np.argsort(-np.abs(known[rows, columns]), kind="stable")
    rows, columns = rows[order], columns[order]
    sign = np.where(known[rows, columns] < 0, -1.0, 1.0)
    return sign * resampler.correlations(one[parts.score][:, rows], other[parts.score][:, columns])
