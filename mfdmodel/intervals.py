"""Confidence intervals by drawing again, in pieces that are independent of each other.

Neighbouring windows share bases and peaks, so windows are drawn by blocks of neighbours: drawn one by one they would
make any interval too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.95
N_DRAWS: Final = 200
LEAST_BLOCKS: Final = 10
"""Below which what is drawn again is too few to tell how far a number may stray."""


@dataclass(frozen=True)
class Interval:
    """A number, and between what it lies in 95 % of the draws.

    Parameters
    ----------
    value
        Measured on all.
    low, high
        Percentiles of the draws; NaN where too few draws have a value.
    """

    value: float
    low: float
    high: float


def interval(value: float, draws: NDArray[np.float64]) -> Interval:
    """Take the percentile interval of some draws, shape ``(draw,)``; draws that are NaN are left out."""
    present = draws[~np.isnan(draws)]
    if np.isnan(value) or len(present) < len(draws) / 2 or not len(present):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(present, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high))


def block_weights(
    blocks: NDArray[np.int64], *, rng: np.random.Generator, n_draws: int = N_DRAWS
) -> NDArray[np.int32]:
    """Draw blocks with replacement, as many as there are.

    Parameters
    ----------
    blocks
        Number of the block that each window is in, shape ``(window,)``.
    rng
        Draws.
    n_draws
        How often.

    Returns
    -------
    How often each block was drawn, shape ``(draw, block)``, blocks in ascending order of their numbers.
    """
    n = len(np.unique(blocks))
    return rng.multinomial(n, np.full(n, 1 / n), size=n_draws).astype(np.int32)


def genome_blocks(
    chrom: NDArray[np.integer], start: NDArray[np.integer], *, width: int = 100_000
) -> NDArray[np.int64]:
    """Number stretches of the genome, from 0 in the order of chromosome and start.

    Parameters
    ----------
    chrom, start
        Of windows, shape ``(window,)``.
    width
        Of a stretch, in bp.

    Returns
    -------
    Stretch of each window, shape ``(window,)``.
    """
    place = np.stack([chrom.astype(np.int64), start.astype(np.int64) // width], axis=1)
    _, number = np.unique(place, axis=0, return_inverse=True)
    return np.asarray(number.reshape(-1), np.int64)


def auroc_draws(
    scores: NDArray[np.floating],
    labels: NDArray[np.bool_],
    blocks: NDArray[np.int64],
    weights: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Measure an AUROC in each draw of blocks; ties count one half.

    Parameters
    ----------
    scores, labels, blocks
        Of the windows, shape ``(window,)``; blocks are numbered from 0.
    weights
        As of `block_weights`.

    Returns
    -------
    Shape ``(draw,)``; NaN where a draw has one class only, and where there are too few blocks.
    """
    if weights.shape[1] < LEAST_BLOCKS:
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    ordered, positive, block = scores[order], labels[order], blocks[order]
    # of equal scores each group counts as one place
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    found = np.empty(len(weights))
    for index, drawn in enumerate(weights):
        weight = drawn[block].astype(np.float64)
        hits = np.add.reduceat(weight * positive, first)
        misses = np.add.reduceat(weight * ~positive, first)
        below = np.cumsum(misses) - misses
        total = hits.sum() * misses.sum()
        found[index] = (hits * (below + misses / 2)).sum() / total if total else np.nan
    return found
