"""Intervals: by scipy's bootstrap over blocks, and by how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mfdmodel.analyses.independence.resampling import Resampler, estimate, pool


def test_means_and_correlations__are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    block = rng.permutation(np.repeat(np.arange(20), 15))
    one = (1000 + rng.normal(size=(300, 3))).astype(np.float32)
    other = (one + rng.normal(size=(300, 3))).astype(np.float32)
    resampler = Resampler(block, rng)
    np.testing.assert_allclose(resampler.means(one)[0], one.mean(0, dtype=np.float64), rtol=1e-9)
    found = resampler.correlations(one, other)[0]
    np.testing.assert_allclose(
        found, [np.corrcoef(one[:, k], other[:, k])[0, 1] for k in range(3)], atol=1e-6
    )
    other[:, 1] = 4
    assert np.isnan(resampler.correlations(one, other)[:, 1]).all()


def test_estimate__agrees_with_scipys_bootstrap_of_blocks() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(size=40)
    block = np.repeat(np.arange(40), 25)
    x = level[block] + rng.normal(size=1000)
    y = x + level[block] + rng.normal(size=1000)
    resampler = Resampler(block, rng)

    def correlation(blocks: np.ndarray) -> float:
        rows = (blocks[:, None] * 25 + np.arange(25)).ravel()
        return float(np.corrcoef(x[rows], y[rows])[0, 1])

    judged = stats.bootstrap(
        (np.arange(40),), correlation, method="percentile", vectorized=False, n_resamples=2000, rng=rng
    ).confidence_interval
    found = estimate(resampler.correlations(x[:, None], y[:, None])[:, 0])
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert (found.low, found.high) == pytest.approx(tuple(judged), abs=0.02)


def test_estimate__holds_the_truth_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(30), 20)
    held = by_windows = 0
    for _ in range(120):
        values = rng.normal(size=30)[block] + 0.5 * rng.normal(size=600)
        found = estimate(Resampler(block, rng).means(values))
        held += found.low <= 0 <= found.high
        by_windows += abs(values.mean()) <= 1.96 * stats.sem(values)
    assert held >= 104  # 95 % of 120 are 114
    assert by_windows < 72  # windows taken one by one would claim far too much


def test_pool__holds_what_repetitions_vary_by() -> None:
    runs = [np.full(101, 0.0), np.full(101, 1.0)]
    found = pool(runs)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    assert np.isnan(pool([np.full(5, np.nan)]).value)
