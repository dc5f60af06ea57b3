"""Confidence intervals by drawing again, in blocks that are independent of each other.

Neighbouring windows share bases and peaks, so windows are drawn by blocks of neighbours: drawn one by one they would
make any interval too narrow. A draw says how often each block counts. The first row of draws counts each block once:
what it gives is the number as measured, so that a number and its draws go together, shape ``(draw,)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

LEVEL: Final = 0.95
N_DRAWS: Final = 200
LEAST_BLOCKS: Final = 10
"""Below which what is drawn again is too few to tell how far a number may stray."""

_AT_ONCE: Final = 2**21
"""Numbers that `auroc` holds at once in either of two arrays."""


@dataclass(frozen=True)
class Interval:
    """A number, and between what it lies in 95 % of the draws.

    Parameters
    ----------
    value
        As measured.
    low, high
        Percentiles of the draws; NaN where that cannot be said.
    """

    value: float
    low: float
    high: float


def interval(draws: NDArray[np.float64]) -> Interval:
    """Take the percentile interval of some draws.

    A draw may have no value, as when one class is in few blocks and none of them was drawn. Such a draw may lie
    anywhere, so that bounds are known only where at least 95 % of the draws have a value. Where windows lie in too
    few blocks no draw has one (`resampling.Resampler`).

    Parameters
    ----------
    draws
        As measured first, then of each draw, shape ``(draw,)``.

    Returns
    -------
    All three NaN where nothing could be measured.
    """
    value, drawn = float(draws[0]), draws[1:]
    known = drawn[np.isfinite(drawn)]
    if not math.isfinite(value):
        return Interval(math.nan, math.nan, math.nan)
    if not len(known) or len(known) < LEVEL * len(drawn):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high))


def few_blocks(n_blocks: int, width: int) -> str:
    """Say why there are no intervals, where windows lie in too few stretches of the genome; empty where they do not.

    Parameters
    ----------
    n_blocks
        Stretches that windows lie in.
    width
        Of a stretch, in bp.
    """
    if n_blocks >= LEAST_BLOCKS:
        return ""
    stretches = f"{n_blocks} stretch{'es' * (n_blocks != 1)} of {width // 1000} kb"
    return f"No intervals: the windows lie in {stretches}, too few to draw from; at least {LEAST_BLOCKS} are needed."


def student(values: Sequence[float]) -> Interval:
    """Average a few independent runs, with the interval of Student's t; NaN is left out, one run has no bounds."""
    present = np.array([value for value in values if not math.isnan(value)])
    if not len(present):
        return Interval(math.nan, math.nan, math.nan)
    mean = float(present.mean())
    if len(present) < 2:
        return Interval(mean, math.nan, math.nan)
    error = float(stats.t.ppf((1 + LEVEL) / 2, len(present) - 1) * stats.sem(present))
    return Interval(mean, mean - error, mean + error)


def genome_blocks(chrom: NDArray[np.integer], start: NDArray[np.integer], *, width: int) -> NDArray[np.int64]:
    """Number stretches of the genome, from 0 in the order of chromosome and start.

    Parameters
    ----------
    chrom, start
        Of windows, shape ``(window,)``.
    width
        Of a stretch, in bp.

    Returns
    -------
    Stretch that each window begins in, shape ``(window,)``.
    """
    place = np.stack([chrom.astype(np.int64), start.astype(np.int64) // width], axis=1)
    _, number = np.unique(place, axis=0, return_inverse=True)
    return np.asarray(number.reshape(-1), np.int64)


def draw_blocks(n_blocks: int, *, rng: np.random.Generator, n_draws: int = N_DRAWS) -> NDArray[np.float64]:
    """Draw how often each block counts: once in the first row, then by drawing as many with replacement.

    Parameters
    ----------
    n_blocks
        To draw from.
    rng
        Draws.
    n_draws
        Rows behind the first.

    Returns
    -------
    Shape ``(draw, block)``.
    """
    drawn = rng.multinomial(n_blocks, np.full(n_blocks, 1 / max(1, n_blocks)), size=n_draws)
    return np.concatenate([np.ones((1, n_blocks)), drawn])


def auroc(
    scores: NDArray[np.floating],
    labels: NDArray[np.bool_],
    *,
    blocks: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Measure how often a labelled window outranks another, in each draw; ties count one half.

    The rarer class is sorted, and cuts the scores into slots; how many windows of the other class each slot has of
    each block is counted once. A draw weighs these counts, so that windows are sorted once for all draws.

    Parameters
    ----------
    scores, labels
        Shape ``(window,)``.
    blocks
        Of each window, from 0, shape ``(window,)``.
    draws
        How often each block counts, shape ``(draw, block)``; of `draw_blocks`.

    Returns
    -------
    Shape ``(draw,)``; NaN where a draw has one class only.

    Raises
    ------
    ValueError
        If a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: it has no rank")
    labels_are_rare = 2 * int(labels.sum()) <= len(labels)
    rare = labels if labels_are_rare else ~labels
    order = np.argsort(scores[rare], kind="stable")
    edges, rare_block = scores[rare][order], blocks[rare][order]
    other, other_block = scores[~rare], blocks[~rare]
    # one half below what is equal and one half above it
    slot = np.concatenate([np.searchsorted(edges, other, side) for side in ("left", "right")])
    n_slots = len(edges) + 1
    counts = sparse.csr_array(
        (np.full(len(slot), 0.5), (slot, np.tile(other_block, 2))), shape=(n_slots, draws.shape[1])
    )
    found = np.full(len(draws), np.nan)
    at_once = max(1, _AT_ONCE // n_slots)
    for first in range(0, len(draws), at_once):
        times = np.ascontiguousarray(draws[first : first + at_once].T)
        of_other = counts @ times
        below = np.zeros((n_slots, times.shape[1]))
        np.cumsum(times[rare_block], axis=0, out=below[1:])
        pairs = below[-1] * of_other.sum(0)
        outranked = np.einsum("sd,sd->d", below, of_other)  # pairs whose rare window is the lower one
        won = pairs - outranked if labels_are_rare else outranked
        np.divide(won, pairs, out=found[first : first + at_once], where=pairs > 0)
    return found
