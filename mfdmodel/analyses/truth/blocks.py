"""Intervals of scores by resampling stretches of chromosome: neighbouring windows share bases, so not windows.

A stretch is drawn with replacement as a whole; a draw is the number of times that each window is in it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.windows import WindowTable

STRETCH: Final = 20_000
"""Of chromosome, in bp: what is drawn at once."""


def stretches(windows: WindowTable, rows: NDArray[np.int64], length: int = STRETCH) -> NDArray[np.int64]:
    """Number the stretch of chromosome that each window begins in, from 0, shape ``(window,)``."""
    place = np.stack([windows.chrom[rows].astype(np.int64), windows.start[rows] // length], axis=1)
    return np.asarray(np.unique(place, axis=0, return_inverse=True)[1].reshape(-1), np.int64)


def draw_counts(stretch: NDArray[np.int64], *, n_draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw as many stretches as there are, with replacement.

    Parameters
    ----------
    stretch
        Of each window, numbered from 0, shape ``(window,)``.
    n_draws
        How often.
    rng
        Source of the draws.

    Returns
    -------
    How often each window is in each draw, shape ``(draw, window)``.
    """
    n = int(stretch.max()) + 1
    counts = rng.multinomial(n, np.full(n, 1 / n), size=n_draws)
    return counts[:, stretch].astype(np.float64)


def weighted_auroc(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure how often a labelled window outranks another, in each draw; ties count one half.

    Parameters
    ----------
    scores, labels
        Shape ``(window,)``.
    counts
        How often each window counts, shape ``(draw, window)``.

    Returns
    -------
    Shape ``(draw,)``; NaN where a draw has one class only.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    weights, held = counts[:, order], labels[order]
    positive = np.add.reduceat(weights * held, first, axis=1)
    negative = np.add.reduceat(weights * ~held, first, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(1) * negative.sum(1)
    found = np.full(len(counts), np.nan)
    np.divide((positive * below).sum(1), pairs, out=found, where=pairs > 0)
    return found
