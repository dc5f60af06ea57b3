"""Drawn blocks against scikit-learn and numpy on the windows that they stand for; intervals and signs against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test
from sklearn.metrics import roc_auc_score

from mfdmodel.resampling import block_auroc, compare, correlations, draw_blocks, estimate, mean_of_known


def drawn_rows(blocks: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """List the rows that a draw stands for, block by block."""
    return np.concatenate(
        [np.repeat(np.flatnonzero(blocks == block), int(times)) for block, times in enumerate(draw)]
    )


def test_draw_blocks__counts_each_once_and_then_as_many_by_chance() -> None:
    draws = draw_blocks(7, 500, seed=1)
    assert draws.shape == (501, 7)
    assert (draws[0] == 1).all()
    assert (draws.sum(1) == 7).all()
    np.testing.assert_allclose(draws[1:].mean(0), 1, atol=0.15)
    np.testing.assert_array_equal(draws, draw_blocks(7, 500, seed=1))


@given(seed=st.integers(0, 2**32 - 1), n_blocks=st.integers(1, 6), n_values=st.integers(2, 50))
def test_block_auroc__is_scikit_learns_of_the_rows_drawn(seed: int, n_blocks: int, n_values: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, n_blocks, 60)
    scores = rng.integers(0, n_values, 60).astype(float)  # with ties
    labels = rng.random(60) < 0.3
    draws = draw_blocks(n_blocks, 8, seed=seed)
    for draw, auroc in zip(draws, block_auroc(scores, labels, blocks=blocks, draws=draws), strict=True):
        rows = drawn_rows(blocks, draw)
        if len(set(labels[rows])) < 2:
            assert np.isnan(auroc)
        else:
            assert auroc == pytest.approx(roc_auc_score(labels[rows], scores[rows]))


@given(seed=st.integers(0, 2**32 - 1), n_blocks=st.integers(1, 6))
def test_correlations__are_numpys_of_the_rows_drawn(seed: int, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, n_blocks, 60)
    values = rng.normal(1000, 1, (60, 4)) + rng.normal(size=(60, 1))
    draws = draw_blocks(n_blocks, 5, seed=seed)
    asked = [(0, 1), (3, 1), (2, 2)]
    found = correlations(values, asked, blocks=blocks, draws=draws)
    assert found.shape == (3, 6)
    for column, draw in enumerate(draws):
        rows = drawn_rows(blocks, draw)
        if len(rows) > 5:
            for index, (one, other) in enumerate(asked):
                expected = np.corrcoef(values[rows, one], values[rows, other])[0, 1]
                assert found[index, column] == pytest.approx(expected, abs=1e-6)


def test_correlations__of_what_does_not_vary_are_not_numbers() -> None:
    values = np.stack([np.zeros(10), np.arange(10.0)], 1)
    found = correlations(values, [(0, 1)], blocks=np.zeros(10, int), draws=np.ones((2, 1)))
    assert np.isnan(found).all()


def test_estimate__has_the_intervals_of_scipy_and_each_source_of_chance() -> None:
    rng = np.random.default_rng(0)
    groups = rng.normal(0.7, 0.1, 12)
    noise = rng.normal(0, 0.02, (4001, 1))
    values = groups + np.concatenate([[[0.0]], noise[1:]])
    found = estimate(values)
    assert (found.mean, found.n_groups) == (pytest.approx(groups.mean()), 12)
    expected = bootstrap((groups,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    np.testing.assert_allclose(found.groups, expected, atol=0.005)
    np.testing.assert_allclose(found.windows, groups.mean() + np.quantile(noise[1:], [0.025, 0.975]))
    assert found.both[1] - found.both[0] > found.groups[1] - found.groups[0]


def test_estimate__leaves_out_groups_without_a_value() -> None:
    values = np.array([[1.0, np.nan, 3.0], [1.0, 5.0, np.nan], [np.nan, np.nan, np.nan]])
    found = estimate(values)
    assert (found.mean, found.n_groups) == (2.0, 2)
    assert found.windows == (1.0, 1.0)
    nothing = estimate(np.full((3, 2), np.nan))
    assert nothing.n_groups == 0
    assert np.isnan([nothing.mean, *nothing.windows, *nothing.both]).all()


@pytest.mark.parametrize("n", [2, 5, 10])
def test_compare__flips_signs_as_scipy_does(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.3, 1, (5, n)), rng.normal(0, 1, (5, n))
    found = compare(first, second)
    test = permutation_test(
        (first[0] - second[0],), np.mean, permutation_type="samples", n_resamples=2**n, vectorized=False
    )
    assert found.p_value == pytest.approx(test.pvalue)
    assert found.difference.mean == pytest.approx((first[0] - second[0]).mean())
    assert found.n_higher == (first[0] > second[0]).sum()
    assert found.n_higher + found.n_lower == n


def test_compare__of_many_groups_draws_signs_and_of_equal_ones_finds_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 40))
    assert compare(values + 2, values).p_value < 0.001
    assert compare(values + rng.normal(size=(3, 40)), values).p_value > 0.02
    same = compare(values, values + 1e-12)
    assert (same.p_value, same.n_higher, same.n_lower) == (1.0, 0, 0)
    assert np.isnan(compare(values[:, :1], values[:, :1]).p_value)


def test_mean_of_known__is_numpys_nanmean_without_its_warning() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    np.testing.assert_array_equal(mean_of_known(values), [2.0, 2.0, np.nan])
