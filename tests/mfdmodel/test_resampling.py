"""Drawn blocks against numpy on the windows that they stand for; intervals and signs against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import bootstrap, permutation_test
from sklearn.metrics import roc_auc_score

from mfdmodel.intervals import LEAST_BLOCKS, draw_blocks, interval
from mfdmodel.resampling import Resampler, compare, estimate, mean_of_groups, mean_of_known, pool


def drawn_rows(resampler: Resampler, draw: np.ndarray) -> np.ndarray:
    """List the rows that a draw stands for, block by block."""
    return np.concatenate(
        [np.repeat(np.flatnonzero(resampler.blocks == block), int(times)) for block, times in enumerate(draw)]
    )


@given(seed=st.integers(0, 2**32 - 1), n_blocks=st.integers(LEAST_BLOCKS, 16))
def test_resampler__measures_the_rows_drawn_as_numpy_does(seed: int, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = 3 * rng.permutation(np.concatenate([np.arange(n_blocks), rng.integers(0, n_blocks, 60)]))
    n = len(blocks)
    values = rng.normal(1000, 1, (n, 4)) + rng.normal(size=(n, 1))
    resampler = Resampler.draw(blocks, rng=rng, n_draws=5)
    assert resampler.n_blocks == n_blocks
    one, other = values[:, [0, 3, 2]], values[:, [1, 1, 2]]
    sums, means, found = resampler.sums(values), resampler.means(values), resampler.correlations(one, other)
    assert (sums.shape, found.shape) == ((6, 4), (6, 3))
    for index, draw in enumerate(resampler.draws):
        rows = drawn_rows(resampler, draw)
        np.testing.assert_allclose(sums[index], values[rows].sum(0), rtol=1e-12)
        np.testing.assert_allclose(means[index], values[rows].mean(0), rtol=1e-12)
        expected = [np.corrcoef(one[rows, k], other[rows, k])[0, 1] for k in range(3)]
        np.testing.assert_allclose(found[index], expected, atol=1e-6)


def test_resampler__takes_single_precision_and_any_shape() -> None:
    rng = np.random.default_rng(0)
    block = rng.permutation(np.repeat(np.arange(20), 15))
    one = (1000 + rng.normal(size=(300, 3))).astype(np.float32)
    other = (one + rng.normal(size=(300, 3))).astype(np.float32)
    resampler = Resampler.draw(block, rng=rng)
    np.testing.assert_allclose(resampler.means(one)[0], one.mean(0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(resampler.means(one[:, 0]), resampler.means(one)[:, 0])
    found = resampler.correlations(one, other)[0]
    np.testing.assert_allclose(
        found, [np.corrcoef(one[:, k], other[:, k])[0, 1] for k in range(3)], atol=1e-6
    )


@pytest.mark.parametrize("constant", [0.0, 4.0, 0.1, 1e6 + 0.1])
def test_correlations__of_what_does_not_vary_are_not_numbers(constant: float) -> None:
    values = np.stack([np.full(307, constant), np.arange(307.0)], 1)
    resampler = Resampler.draw(np.arange(307) // 10, rng=np.random.default_rng(0))
    found = resampler.correlations(values, values[:, ::-1])
    assert np.isnan(found).all()
    assert np.isfinite(resampler.correlations(values, values)[:, 1]).all()


def test_take__keeps_the_draws() -> None:
    rng = np.random.default_rng(0)
    resampler = Resampler.draw(np.repeat(np.arange(30), 10), rng=rng)
    scores, labels, rows = rng.normal(size=300), rng.random(300) < 0.3, rng.random(300) < 0.5
    part = resampler.take(rows)
    np.testing.assert_array_equal(part.draws, resampler.draws)
    np.testing.assert_allclose(part.sums(scores[rows]), resampler.sums(np.where(rows, scores, 0)), atol=1e-9)
    for index, found in enumerate(part.auroc(scores[rows], labels[rows])):
        weight = resampler.draws[index][resampler.blocks] * rows
        assert found == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight))
    np.testing.assert_array_equal(resampler.take(np.flatnonzero(rows)).blocks, part.blocks)


def test_take__of_no_window_measures_nothing() -> None:
    nothing = Resampler.draw(np.arange(30), rng=np.random.default_rng(0)).take(np.zeros(30, np.bool_))
    assert np.isnan(nothing.means(np.zeros((0, 2)))).all()
    assert np.isnan(nothing.auroc(np.zeros(0), np.zeros(0, np.bool_))).all()


@pytest.mark.parametrize("n_blocks", [1, LEAST_BLOCKS - 1, LEAST_BLOCKS])
def test_windows_in_few_blocks__have_no_interval(n_blocks: int) -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(400, 2)), rng.random(400) < 0.5
    blocks = np.arange(400) // 10
    whole = Resampler.draw(blocks, rng=rng)
    rows = blocks < n_blocks
    values, labels = values[rows], labels[rows]
    for few in (Resampler.draw(blocks[rows], rng=rng), whole.take(rows)):
        for draws, expected in (
            (few.means(values)[:, 0], values[:, 0].mean()),
            (few.correlations(values[:, :1], values[:, 1:])[:, 0], np.corrcoef(values.T)[0, 1]),
            (few.auroc(values[:, 0], labels), roc_auc_score(labels, values[:, 0])),
        ):
            found = interval(draws)
            assert found.value == pytest.approx(expected)
            assert np.isnan([found.low, found.high]).all() == (n_blocks < LEAST_BLOCKS)


def test_resampler__refuses_blocks_that_no_draw_knows() -> None:
    with pytest.raises(ValueError, match="block 3 does not fit draws of 3 blocks"):
        Resampler(np.array([0, 3]), draw_blocks(3, rng=np.random.default_rng(0)))


def test_interval_of_correlations__agrees_with_scipys_bootstrap_of_blocks() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(size=40)
    block = np.repeat(np.arange(40), 25)
    x = level[block] + rng.normal(size=1000)
    y = x + level[block] + rng.normal(size=1000)
    resampler = Resampler.draw(block, rng=rng, n_draws=1000)

    def correlation(blocks: np.ndarray) -> float:
        rows = (blocks[:, None] * 25 + np.arange(25)).ravel()
        return float(np.corrcoef(x[rows], y[rows])[0, 1])

    judged = bootstrap(
        (np.arange(40),), correlation, method="percentile", vectorized=False, n_resamples=2000, rng=rng
    ).confidence_interval
    found = interval(resampler.correlations(x[:, None], y[:, None])[:, 0])
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert (found.low, found.high) == pytest.approx(tuple(judged), abs=0.02)


def test_interval_of_means__holds_the_truth_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(30), 20)
    held = by_windows = 0
    for _ in range(120):
        values = rng.normal(size=30)[block] + 0.5 * rng.normal(size=600)
        found = interval(Resampler.draw(block, rng=rng, n_draws=1000).means(values))
        held += found.low <= 0 <= found.high
        by_windows += abs(values.mean()) <= 1.96 * stats.sem(values)
    assert held >= 104  # 95 % of 120 are 114
    assert by_windows < 72  # windows taken one by one would claim far too much


def test_pool__holds_what_repetitions_vary_by() -> None:
    runs = [np.full(101, 0.0), np.full(101, 1.0)]
    found = pool(runs)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    assert np.isnan(pool([np.full(5, np.nan)]).value)


def test_estimate__has_the_intervals_of_scipy_and_each_source_of_chance() -> None:
    rng = np.random.default_rng(0)
    groups = rng.normal(0.7, 0.1, 12)
    noise = rng.normal(0, 0.02, (4001, 1))
    values = groups + np.concatenate([[[0.0]], noise[1:]])
    found = estimate(values)
    assert (found.mean, found.n_groups) == (pytest.approx(groups.mean()), 12)
    assert found.windows.value == found.groups.value == found.both.value == found.mean
    expected = bootstrap((groups,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    np.testing.assert_allclose((found.groups.low, found.groups.high), expected, atol=0.005)
    np.testing.assert_allclose(
        (found.windows.low, found.windows.high), groups.mean() + np.quantile(noise[1:], [0.025, 0.975])
    )
    assert found.both.high - found.both.low > found.groups.high - found.groups.low


def test_estimate__leaves_out_groups_without_a_value() -> None:
    values = np.tile([1.0, np.nan, 3.0], (41, 1))
    values[7, 1] = 5.0
    found = estimate(values)
    assert (found.mean, found.n_groups) == (2.0, 2)
    assert (found.windows.low, found.windows.high) == (2.0, 2.0)
    assert (found.groups.low, found.groups.high) == (1.0, 3.0)
    nothing = estimate(np.full((3, 2), np.nan))
    assert nothing.n_groups == 0
    assert np.isnan([nothing.mean, nothing.windows.low, nothing.both.high]).all()


def test_estimate__of_one_group_has_no_bounds_over_groups() -> None:
    found = estimate(np.linspace(0, 1, 201)[:, None])
    assert found.n_groups == 1
    assert np.isfinite(found.windows.low)
    assert np.isnan([found.groups.low, found.groups.high, found.both.low, found.both.high]).all()


def test_mean_of_groups__keeps_its_centre_where_a_draw_lacks_a_group() -> None:
    """A group far from the others that has no value in some draws: its absence must not move the mean."""
    values = np.tile([*(25 * [0.5]), 1.0], (101, 1))
    expected = values.mean(1)
    values[1:51, -1] = np.nan  # 50 of 2600
    np.testing.assert_allclose(mean_of_groups(values), expected)
    assert estimate(values).windows.low == pytest.approx(expected[0])
    values[1:, :2] = np.nan  # 250 of 2600
    found = mean_of_groups(values)
    assert found[0] == pytest.approx(expected[0])
    assert np.isnan(found[1:]).all()
    assert np.isnan([estimate(values).windows.low, estimate(values).both.low]).all()
    assert np.isnan(mean_of_groups(np.full((3, 2), np.nan))).all()
    values[:, -1] = np.nan  # not measured at all: not in the mean
    assert mean_of_groups(values[:, 2:]).tolist() == 101 * [0.5]


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
