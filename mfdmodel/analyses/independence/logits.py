"""How much of what the model says of each experiment comes from each subspace.

A logit is the sum of what the subspaces add and a constant. Over windows its variance is therefore the sum of
their variances and of twice their covariance, and these parts over the whole add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.intervals import Interval, interval
from mfdmodel.resampling import Resampler, mean_of_groups

_ROLES: Final = ("biological", "technical")
_AT_ONCE: Final = 256
"""Experiments; all of them would take gigabytes."""


@dataclass(frozen=True)
class Shares:
    """Parts of a logit's variance, which add up to 1.

    Parameters
    ----------
    biological, technical
        Variance of what the subspace adds, over that of the logit.
    covariance
        Twice the covariance of both, over the variance of the logit; below 0 where one takes back what the other says.
    """

    biological: Interval
    technical: Interval
    covariance: Interval


@dataclass(frozen=True)
class ExperimentShares:
    """Parts of the variance of one experiment's logit; `None` where the logit is constant.

    Parameters
    ----------
    experiment
        Its accession.
    biological, technical, covariance
        As in `Shares`.
    """

    experiment: str
    biological: float | None
    technical: float | None
    covariance: float | None


def share_variance(
    features: Mapping[str, NDArray[np.float32]],
    weights: Mapping[str, NDArray[np.float32]],
    *,
    experiments: tuple[str, ...],
    resampler: Resampler,
) -> tuple[tuple[ExperimentShares, ...], Shares, Shares]:
    """Measure the parts of the variance of the logits.

    Parameters
    ----------
    features
        By role, shape ``(window, feature)``.
    weights
        By role, shape ``(experiment, feature)``.
    experiments
        Their names.
    resampler
        Of these windows.

    Returns
    -------
    Of each experiment; their mean over the experiments that have them; and of the logit averaged over experiments.
    """

    def of(weights: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
        one, other = (features[role] @ weights[role].T for role in _ROLES)
        return _shares(one, other, resampler)

    each = np.concatenate(
        [
            of({role: values[first : first + _AT_ONCE] for role, values in weights.items()})
            for first in range(0, len(experiments), _AT_ONCE)
        ],
        axis=2,
    )
    whole = of({role: values.mean(0, keepdims=True) for role, values in weights.items()})[:, :, 0]
    return (
        tuple(
            ExperimentShares(
                name, *(float(part) if np.isfinite(part) else None for part in each[0, :, index])
            )
            for index, name in enumerate(experiments)
        ),
        Shares(*(interval(mean_of_groups(each[:, part])) for part in range(3))),
        Shares(*(interval(whole[:, part]) for part in range(3))),
    )


def _shares(
    one: NDArray[np.floating], other: NDArray[np.floating], resampler: Resampler
) -> NDArray[np.float64]:
    """Compute the three parts, shape ``(draw, part, experiment)``."""
    x, y = one - one.mean(0, dtype=np.float64), other - other.mean(0, dtype=np.float64)
    mean_x, mean_y = resampler.means(x), resampler.means(y)
    parts = np.stack(
        [
            resampler.means(x**2) - mean_x**2,
            resampler.means(y**2) - mean_y**2,
            2 * (resampler.means(x * y) - mean_x * mean_y),
        ],
        axis=1,
    )
    whole = parts.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, parts / whole, np.nan))
