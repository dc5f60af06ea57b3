"""How often an experiment's nearest neighbour shares its value of a factor, beside what relabelled experiments give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from mfdmodel.factors import fit_coding
from mfdstore.metadata import Factor

N_PERMUTATIONS: Final = 999
_TIED: Final = 1e-5
"""Distances that differ by less than this share of the mean one are equal: rows are equal up to rounding."""


@dataclass(frozen=True)
class Clustering:
    """How often an experiment's nearest neighbour in a subspace shares its value of a factor.

    Parameters
    ----------
    role, factor
        Of the subspace, and what is shared.
    accuracy
        Share of the scored experiments; of neighbours that are equally near, the share that shares the value.
    chance, chance_low, chance_high
        The same where values are dealt to experiments at random: mean, and the middle 95 %.
    p_value
        Of as high an accuracy by chance.
    n_scored, n_known
        Experiments whose value another one has; experiments whose value is known, which may be neighbours.
    """

    role: str
    factor: str
    accuracy: float
    chance: float
    chance_low: float
    chance_high: float
    p_value: float
    n_scored: int
    n_known: int


def cluster_by_neighbours(
    points: NDArray[np.float64],
    factor: Factor,
    *,
    role: str,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> Clustering | None:
    """Measure how often the nearest neighbour shares an experiment's value, beside the same for dealt values.

    Parameters
    ----------
    points
        Shape ``(experiment, feature)``.
    factor
        Of the experiments: a date counts by its year, of several values one must be shared.
    role
        Of the subspace, for the record.
    n_permutations, seed
        Of the null.

    Returns
    -------
    `None` where fewer than two values are known, or none is that of two experiments.

    Raises
    ------
    ValueError
        If the factor is a number.
    """
    if factor.kind == "number":
        raise ValueError(f"factor {factor.name} is a number, which makes no groups")
    has = fit_coding(factor).encode(factor) > 0
    known = has.any(1)
    has = has[known]
    shared = (has.astype(np.int64) @ has.T.astype(np.int64)) > 0
    np.fill_diagonal(shared, False)
    scored = shared.any(1)
    if len(np.unique(has, axis=0)) < 2 or not scored.any():
        return None
    distances = cdist(points[known], points[known])
    slack = _TIED * distances.mean()
    np.fill_diagonal(distances, np.inf)
    nearest = distances <= distances.min(1, keepdims=True) + slack
    rows, columns = np.nonzero(nearest)
    part = 1.0 / nearest.sum(1)[rows]

    def accuracy(dealt: NDArray[np.int64]) -> float:
        # an experiment whose value no other one has cannot be right: it is a neighbour only
        return float((part * shared[dealt[rows], dealt[columns]]).sum() / scored.sum())

    rng = np.random.default_rng(seed)
    order = np.arange(len(has))
    observed = accuracy(order)
    null = np.array([accuracy(rng.permutation(order)) for _ in range(n_permutations)])
    low, high = np.quantile(null, [0.025, 0.975])
    # sums of the same parts in another order differ by rounding
    n_as_high = int((null >= observed - 1e-9).sum())
    return Clustering(
        role,
        factor.name,
        observed,
        float(null.mean()),
        float(low),
        float(high),
        (1 + n_as_high) / (1 + n_permutations),
        int(scored.sum()),
        len(has),
    )
