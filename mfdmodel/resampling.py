"""What is measured on windows drawn anew in blocks: sums, correlations, AUROC; means over groups, and differences.

All numbers of one draw are of the same windows, so that their differences are paired. Shapes begin with ``draw``: the
number as measured first, then that of each draw (`intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from mfdmodel.intervals import LEAST_BLOCKS, LEVEL, N_DRAWS, Interval, auroc, draw_blocks, interval

_MOST_FLIPPED: Final = 14
"""Groups up to which every pattern of signs is tried."""
_ROUNDING: Final = 1e-9
"""Differences that are smaller are none."""
_CONSTANT: Final = 1e-12
"""A column whose variance is no more than this share of its mean square is constant but for rounding."""


@dataclass(frozen=True)
class Resampler:
    """Windows, and how often the block of each counts in each draw.

    Of windows that lie in fewer than `LEAST_BLOCKS` blocks everything is NaN in all draws behind the first: drawn
    again they would be much the same, and an interval would say that the number is sure.

    Parameters
    ----------
    blocks
        Of each window, from 0, shape ``(window,)``.
    draws
        How often blocks count, once each in the first row, shape ``(draw, block)``.

    Raises
    ------
    ValueError
        If there are blocks that no draw knows.
    """

    blocks: NDArray[np.int64]
    draws: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.draws.shape[1] <= self.blocks.max(initial=-1):
            raise ValueError(f"block {self.blocks.max()} does not fit draws of {self.draws.shape[1]} blocks")

    @classmethod
    def draw(cls, blocks: NDArray[np.integer], *, rng: np.random.Generator, n_draws: int = N_DRAWS) -> Self:
        """Draw the blocks of windows, whatever their numbers are, shape ``(window,)``."""
        known, number = np.unique(blocks, return_inverse=True)
        return cls(number.astype(np.int64), draw_blocks(len(known), rng=rng, n_draws=n_draws))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Keep some of the windows, by index or by mask; the draws stay the same."""
        return type(self)(self.blocks[rows], self.draws)

    @cached_property
    def n_blocks(self) -> int:
        """Blocks that windows lie in."""
        return len(np.unique(self.blocks))

    @cached_property
    def _times(self) -> NDArray[np.float64]:
        """How often blocks count, NaN where there are too few to draw."""
        if self.n_blocks >= LEAST_BLOCKS:
            return self.draws
        times = np.full_like(self.draws, np.nan)
        times[0] = self.draws[0]
        return times

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Windows in the order of their blocks, the blocks that there are, and where each begins in that order."""
        order = np.argsort(self.blocks, kind="stable")
        return order, *np.unique(self.blocks[order], return_index=True)

    def sums(self, values: NDArray[np.floating[Any] | np.bool_]) -> NDArray[np.float64]:
        """Sum over windows: of shape ``(window, ...)``, sums of shape ``(draw, ...)``."""
        order, present, first = self._sorted
        flat = values.reshape(len(values), math.prod(values.shape[1:]))[order]
        by_block = np.add.reduceat(flat, first, axis=0, dtype=np.float64)
        return np.asarray((self._times[:, present] @ by_block).reshape(-1, *values.shape[1:]))

    def means(self, values: NDArray[np.floating[Any] | np.bool_]) -> NDArray[np.float64]:
        """Average over windows, shapes as in `sums`; NaN where a draw has none of them."""
        counts = self.sums(np.ones(len(values))).reshape(-1, *[1] * (values.ndim - 1))
        sums = self.sums(values)
        found: NDArray[np.float64] = np.full_like(sums, np.nan)
        np.divide(sums, counts, out=found, where=counts > 0)
        return found

    def correlations(
        self, one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]
    ) -> NDArray[np.float64]:
        """Correlate columns with columns of the same number (Pearson).

        Parameters
        ----------
        one, other
            Shape ``(window, pair)`` each.

        Returns
        -------
        Shape ``(draw, pair)``; NaN where a column is constant.
        """
        # centred first, so that differences of large sums lose no digits
        x, y = one - one.mean(0, dtype=np.float64), other - other.mean(0, dtype=np.float64)
        mean_x, mean_y, square_x, square_y = (self.means(values) for values in (x, y, x**2, y**2))
        variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
        varies = (variance_x > _CONSTANT * square_x) & (variance_y > _CONSTANT * square_y)
        found: NDArray[np.float64] = np.full_like(mean_x, np.nan)
        deviations = np.sqrt(variance_x * variance_y, where=varies, out=np.ones_like(mean_x))
        np.divide(self.means(x * y) - mean_x * mean_y, deviations, out=found, where=varies)
        return found

    def auroc(self, scores: NDArray[np.floating[Any]], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Measure the AUROC, scores and labels of shape ``(window,)``; NaN where a draw has one class only."""
        return auroc(scores, labels, blocks=self.blocks, draws=self._times)


@dataclass(frozen=True)
class Estimate:
    """A mean over groups, with intervals of 95 %.

    Parameters
    ----------
    windows, groups, both
        Over draws of blocks of windows, of groups, of both at once; the value of each is the mean.
    n_groups
        In the mean.
    """

    windows: Interval
    groups: Interval
    both: Interval
    n_groups: int

    @property
    def mean(self) -> float:
        """Over the groups that have a value; NaN where none has."""
        return self.both.value


@dataclass(frozen=True)
class Comparison:
    """A mean difference, paired by group.

    Parameters
    ----------
    difference
        First less second.
    p_value
        Two-sided, by flipping the signs of the groups' differences; NaN for fewer than two groups.
    n_higher, n_lower
        Groups of which the first is higher, and lower.
    """

    difference: Estimate
    p_value: float
    n_higher: int
    n_lower: int


def pool(runs: Sequence[NDArray[np.float64]]) -> Interval:
    """Give the mean of repetitions an interval that holds what the repetitions and the draws vary by.

    Parameters
    ----------
    runs
        Of each repetition what was measured first, then its draws, shape ``(draw,)`` each.
    """
    value = np.mean([draws[0] for draws in runs])
    return interval(np.concatenate([[value], *(draws[1:] for draws in runs)]))


def mean_of_groups(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over groups, in each draw over the same ones, so that a mean's draws are of what the mean is of.

    Groups that were measured to have no value are left out. One that has none in a draw alone counts there as
    measured; where that is more than 5 % of all groups and draws, all draws are NaN.

    Parameters
    ----------
    values
        Shape ``(draw, group)``.

    Returns
    -------
    Shape ``(draw,)``.
    """
    known = _known_groups(values)
    return known.mean(1) if known.shape[1] else np.full(len(values), np.nan)


def estimate(values: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """Average over groups, with intervals from the draws of windows, from drawing groups, and from both.

    A group drawn again by itself is itself: of one group there are no bounds over groups.

    Parameters
    ----------
    values
        Of each group, by draw, shape ``(draw, group)``; averaged as in `mean_of_groups`.
    seed
        Of the draws of groups.
    """
    values = _known_groups(values)
    n_draws, n_groups = len(values) - 1, values.shape[1]
    if not n_groups:
        nothing = interval(np.full(1, np.nan))
        return Estimate(nothing, nothing, nothing, 0)
    means = values.mean(1)
    drawn = np.random.default_rng(seed).integers(0, n_groups, (n_draws if n_groups > 1 else 0, n_groups))
    groups = values[0][drawn].mean(1)
    both = np.take_along_axis(values[1 : len(drawn) + 1], drawn, axis=1).mean(1)
    return Estimate(
        interval(means),
        interval(np.concatenate([means[:1], groups])),
        interval(np.concatenate([means[:1], both])),
        n_groups,
    )


def compare(first: NDArray[np.float64], second: NDArray[np.float64], *, seed: int = 0) -> Comparison:
    """Compare two scores of the same groups and the same draws.

    Parameters
    ----------
    first, second
        As in `estimate`.
    seed
        Of the draws of groups, and of signs where there are too many to try them all.
    """
    differences = first - second
    known = differences[0][~np.isnan(differences[0])]
    return Comparison(
        estimate(differences, seed=seed),
        _flip_signs(known, seed=seed),
        int((known > _ROUNDING).sum()),
        int((known < -_ROUNDING).sum()),
    )


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average what is there along the first axis; NaN where nothing is."""
    there = ~np.isnan(values)
    n = there.sum(0)
    total = np.where(there, values, 0).sum(0)
    means: NDArray[np.float64] = np.full(n.shape, np.nan)
    np.divide(total, n, out=means, where=n > 0)
    return means


def _known_groups(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out groups without a value, and put what was measured where a draw has none, shape ``(draw, group)``."""
    values = values[:, np.isfinite(values[0])]
    missing = ~np.isfinite(values)
    filled: NDArray[np.float64] = np.where(missing, values[0], values)
    if missing[1:].sum() > (1 - LEVEL) * missing[1:].size:
        filled[1:] = np.nan
    return filled


def _flip_signs(differences: NDArray[np.float64], *, seed: int) -> float:
    """Compute how often a mean is as far from 0 with the signs of differences flipped; NaN for fewer than two."""
    n = len(differences)
    if n < 2:
        return float("nan")
    if n <= _MOST_FLIPPED:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        drawn = np.random.default_rng(seed).integers(0, 2, (2**_MOST_FLIPPED, n))
        patterns = np.concatenate([np.zeros((1, n), np.int64), drawn])  # the signs as they are count too
    flipped = np.abs((1 - 2 * patterns) @ differences) / n
    return float((flipped >= abs(differences.mean()) - _ROUNDING).mean())
