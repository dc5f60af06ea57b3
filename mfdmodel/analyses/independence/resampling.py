"""Intervals of what is measured on windows, by drawing their blocks anew (bootstrap of blocks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.intervals import LEVEL, Interval

N_RESAMPLES: Final = 1000
"""Draws of as many blocks as there are, with replacement."""


class Resampler:
    """Sums over windows, and the same sums over draws of their blocks.

    Parameters
    ----------
    block
        Of each window, shape ``(window,)``.
    rng
        Draws the blocks.
    """

    def __init__(self, block: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._order = np.argsort(block, kind="stable")
        self._first = np.unique(block[self._order], return_index=True)[1]
        self.n_blocks = len(self._first)
        drawn = rng.multinomial(self.n_blocks, np.full(self.n_blocks, 1 / max(1, self.n_blocks)), N_RESAMPLES)
        self._times = np.concatenate([np.ones((1, self.n_blocks)), drawn])
        """How often each block counts; in the first row once, as measured."""

    def sums(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Sum over windows.

        Parameters
        ----------
        values
            Shape ``(window, ...)``.

        Returns
        -------
        Shape ``(draw, ...)``: as measured first, then of each draw.
        """
        flat = values.reshape(len(values), -1)[self._order]
        by_block = np.add.reduceat(flat, self._first, axis=0, dtype=np.float64)
        return np.asarray((self._times @ by_block).reshape(len(self._times), *values.shape[1:]))

    def means(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Average over windows, shapes as in `sums`."""
        counts = self.sums(np.ones(len(values))).reshape(-1, *[1] * (values.ndim - 1))
        return self.sums(values) / counts

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
        mean_x, mean_y = self.means(x), self.means(y)
        covariance = self.means(x * y) - mean_x * mean_y
        variances = (self.means(x**2) - mean_x**2) * (self.means(y**2) - mean_y**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(variances > 0, covariance / np.sqrt(variances), np.nan))


def estimate(draws: NDArray[np.float64]) -> Interval:
    """Give what was measured its interval.

    Parameters
    ----------
    draws
        As measured first, then of each draw, shape ``(draw,)``.
    """
    return pool([draws])


def pool(runs: Sequence[NDArray[np.float64]]) -> Interval:
    """Give the mean of repetitions an interval that holds what the repetitions and the draws vary by.

    Parameters
    ----------
    runs
        Of each repetition what was measured first, then its draws, shape ``(draw,)`` each.

    Returns
    -------
    All three NaN where nothing could be measured.
    """
    value = float(np.mean([draws[0] for draws in runs]))
    drawn = np.concatenate([draws[1:] for draws in runs])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
