"""Features that are alike over whole regions: that is not taken for dependence, and does not hide one."""

from __future__ import annotations

import numpy as np

from mfdmodel.analyses.independence.components import correlate_canonical, correlate_principal
from mfdmodel.analyses.independence.measures import N_ROTATIONS, measure_independence
from mfdmodel.analyses.independence.parts import Parts, rotations
from mfdmodel.analyses.independence.subspaces import make_subspace
from mfdmodel.resampling import Resampler
from tests.mfdmodel.independence.latents import neighbours, planted_pair

N = 1000
SMOOTHNESS = 1 / 27
"""Share of the windows that levels change over: a scored part has three or four regions that are truly apart."""


def correlations(one: np.ndarray, other: np.ndarray, parts: Parts) -> np.ndarray:
    """First and mean of the canonical pairs and of those of principal components, as measured."""
    resampler = Resampler(parts.block[parts.score], np.ones((1, int(parts.block[-1]) + 1)))
    spaces = [make_subspace(values, parts.fit).components for values in (one, other)]
    found = [method(*spaces, parts, resampler)[0] for method in (correlate_canonical, correlate_principal)]
    return np.array([number for pairs in found for number in (pairs[0], pairs.mean())])


def test_rotations__are_as_likely_to_be_highest_as_the_true_pairing() -> None:
    highest = np.zeros(4)
    for seed in range(40):
        one, other = planted_pair("none", n=N, seed=seed, smooth=round(N * SMOOTHNESS))
        parts = neighbours(N, seed=seed, step=1000)
        true = correlations(one, other, parts)
        turned = [correlations(one, other[rows], parts) for rows in rotations(N, N_ROTATIONS)]
        highest += true > np.max(turned, axis=0)
    # one in ten is expected: 4 of 40, with a deviation of 1.9
    assert (highest <= 10).all()
    assert 3 <= highest.sum() <= 32


def verdicts(kind: str, *, n: int = N, seed: int = 0, n_rotations: int = 4) -> dict[str, bool]:
    pair = planted_pair(kind, n=n, seed=seed, smooth=round(n * SMOOTHNESS))
    parts = neighbours(n, seed=seed, step=1000)
    found = measure_independence(*pair, parts, seed=seed, n_rotations=n_rotations, threads=1)
    return {one.name: one.dependent for one in found.measures}


def test_measures__do_not_take_smoothness_for_dependence() -> None:
    found = [dependent for seed in range(2) for dependent in verdicts("none", seed=seed).values()]
    assert len(found) == 20
    # beside shuffled windows most of them are called dependent
    assert sum(found) <= 2


def test_measures__find_what_is_planted_in_smooth_features() -> None:
    linear = {name for name, dependent in verdicts("linear").items() if dependent}
    # so few windows teach classifiers too little
    wanted = {f"r2_{role}_{how}" for role in ("biological", "technical") for how in ("line", "perceptron")}
    assert linear >= {"canonical_first", *wanted}
    square = {name for name, dependent in verdicts("square", n=2400, n_rotations=2).items() if dependent}
    assert "r2_technical_perceptron" in square
