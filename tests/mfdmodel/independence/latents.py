"""Two subspaces with a dependence that is known, on windows of one chromosome."""

from __future__ import annotations

import numpy as np

from mfdmodel.analyses.independence.parts import Parts, part_windows

SPAN = 193


def neighbours(n: int, *, seed: int = 0, step: int = 128) -> Parts:
    return part_windows(np.zeros(n, np.int64), np.arange(n) * step, span=SPAN, seed=seed)


def planted_pair(
    kind: str, *, n: int, n_biological: int = 6, n_technical: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The first two technical features hold 0.8 of a biological one (linear), of its square, or nothing of it."""
    rng = np.random.default_rng(seed)
    biological = rng.normal(size=(n, n_biological))
    technical = rng.normal(size=(n, n_technical))
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
