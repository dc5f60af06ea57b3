"""Scores with intervals: windows drawn anew in blocks, groups drawn anew as a whole, differences paired by group.

Neighbouring windows share bases and peaks, so that windows drawn one by one would make intervals too narrow. A draw
says how often each block of windows counts (`draw_blocks`); all scores of one draw are of the same windows, so that
their differences are paired. The first row of draws counts each block once: what it gives is the score itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MOST_FLIPPED: Final = 14
"""Groups up to which every pattern of signs is tried."""
_ROUNDING: Final = 1e-9
"""Differences that are smaller are none."""


@dataclass(frozen=True)
class Estimate:
    """A mean over groups, with intervals of 95 %.

    Parameters
    ----------
    mean
        Over the groups that have a value; NaN where none has.
    windows, groups, both
        Lower and upper end, over draws of blocks of windows, of groups, of both at once.
    n_groups
        In the mean.
    """

    mean: float
    windows: tuple[float, float]
    groups: tuple[float, float]
    both: tuple[float, float]
    n_groups: int


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


def draw_blocks(n_blocks: int, n_draws: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Draw how often each block of windows counts: once in the first row, then by drawing as many with replacement.

    Returns
    -------
    Shape ``(draw, block)``, with `n_draws` rows behind the first.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_draws)
    return np.concatenate([np.ones((1, n_blocks)), drawn])


def correlations(
    values: NDArray[np.float64],
    asked: Sequence[tuple[int, int]],
    *,
    blocks: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute Pearson's correlations of columns, rows counted as often as their blocks are drawn.

    Parameters
    ----------
    values
        Shape ``(window, experiment)``.
    asked
        Pairs of columns.
    blocks
        Of each window, from 0, shape ``(window,)``.
    draws
        How often blocks count, shape ``(draw, block)``.

    Returns
    -------
    Shape ``(asked, draw)``; NaN where a column does not vary.
    """
    columns = np.unique(np.array(asked))
    place = {column: index for index, column in enumerate(columns)}
    centred = values[:, columns] - values[:, columns].mean(0)  # against cancellation
    n_blocks = draws.shape[1]

    def total(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.zeros((n_blocks, rows.shape[1]))
        np.add.at(sums, blocks, rows)
        return draws @ sums

    n = (draws @ np.bincount(blocks, minlength=n_blocks))[:, None]
    mean = total(centred) / n
    deviation = np.sqrt(np.maximum(total(centred**2) / n - mean**2, 0))
    one, other = (np.array([place[pair[side]] for pair in asked]) for side in (0, 1))
    covariance = total(centred[:, one] * centred[:, other]) / n - mean[:, one] * mean[:, other]
    scale = deviation[:, one] * deviation[:, other]
    found: NDArray[np.float64] = np.full_like(covariance, np.nan)
    np.divide(covariance, scale, out=found, where=scale > 0)
    return found.T


def block_auroc(
    scores: NDArray[np.float64],
    labels: NDArray[np.bool_],
    *,
    blocks: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the AUROC of each draw of blocks.

    Pairs of a labelled and another window are counted once for each pair of blocks; a draw weighs these counts.

    Parameters
    ----------
    scores, labels
        Shape ``(window,)``.
    blocks, draws
        As in `correlations`.

    Returns
    -------
    Shape ``(draw,)``; NaN where a draw has one class only.
    """
    n_blocks = draws.shape[1]
    positive, of_positive = scores[labels], blocks[labels]
    above = np.zeros((n_blocks, n_blocks))
    for block in np.unique(blocks[~labels]):
        negative = np.sort(scores[~labels & (blocks == block)])
        counts = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
        above[:, block] = np.bincount(of_positive, weights=counts / 2, minlength=n_blocks)
    n_positive = draws @ np.bincount(of_positive, minlength=n_blocks)
    n_negative = draws @ np.bincount(blocks[~labels], minlength=n_blocks)
    n_pairs = n_positive * n_negative
    counted = ((draws @ above) * draws).sum(1)
    found: NDArray[np.float64] = np.full(len(draws), np.nan)
    np.divide(counted, n_pairs, out=found, where=n_pairs > 0)
    return found


def estimate(values: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """Average over groups, with intervals from the draws of windows, from drawing groups, and from both.

    Parameters
    ----------
    values
        Of each group, by draw, shape ``(draw, group)``; groups that are NaN in the first row are left out.
    seed
        Of the draws of groups.
    """
    values = values[:, ~np.isnan(values[0])]
    n_draws, n_groups = len(values) - 1, values.shape[1]
    if not n_groups:
        nothing = (float("nan"), float("nan"))
        return Estimate(float("nan"), nothing, nothing, nothing, 0)
    drawn = np.random.default_rng(seed).integers(0, n_groups, (n_draws, n_groups))
    return Estimate(
        float(values[0].mean()),
        _middle(mean_of_known(values[1:].T)),
        _middle(values[0][drawn].mean(1)),
        _middle(mean_of_known(np.take_along_axis(values[1:], drawn, axis=1).T)),
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


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average what is there along the first axis; NaN where nothing is."""
    there = ~np.isnan(values)
    n = there.sum(0)
    total = np.where(there, values, 0).sum(0)
    means: NDArray[np.float64] = np.full(n.shape, np.nan)
    np.divide(total, n, out=means, where=n > 0)
    return means


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """Compute the middle 95 % of draws, of those that have a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
