"""Two subspaces with a dependence that is known, on windows of one chromosome."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mfdmodel.analyses.independence.parts import Parts, part_windows

SPAN = 193


def neighbours(n: int, *, seed: int = 0, step: int = 128) -> Parts:
    return part_windows(np.zeros(n, np.int64), np.arange(n) * step, span=SPAN, seed=seed)


def planted_pair(
    kind: str, *, n: int, n_biological: int = 6, n_technical: int = 4, seed: int = 0, smooth: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The first two technical features hold 0.8 of a biological one (linear), of its square, or nothing of it.

    Half of each feature's variance is a level that changes over `smooth` windows, unless that is 0.
    """
    rng = np.random.default_rng(seed)
    biological = _regional(rng, (n, n_biological), smooth)
    technical = _regional(rng, (n, n_technical), smooth)
    known = {
        "none": np.zeros((n, 2)),
        "linear": biological[:, :2],
        "square": (biological[:, :2] ** 2 - 1) / np.sqrt(2),
    }[kind]
    if kind != "none":
        technical[:, :2] = 0.8 * known + 0.6 * technical[:, :2]
    # scales and offsets as a network may give them
    biological = 3 * biological + 5
    return biological.astype(np.float32), (0.01 * technical - 7).astype(np.float32)


def _regional(rng: np.random.Generator, shape: tuple[int, int], smooth: int) -> np.ndarray:
    noise = rng.normal(size=shape)
    if not smooth:
        return noise
    level = gaussian_filter1d(rng.normal(size=shape), smooth, axis=0)
    return np.sqrt(0.5) * (level / level.std(0) + noise)
