"""Blocks, drawn AUROC and intervals: by scikit-learn and scipy, and by how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from mfdmodel import intervals
from mfdmodel.intervals import auroc, draw_blocks, few_blocks, genome_blocks, interval, student
from mfdstore.store import Store


def test_draw_blocks__counts_each_once_and_then_as_many_by_chance() -> None:
    draws = draw_blocks(7, rng=np.random.default_rng(1), n_draws=500)
    assert draws.shape == (501, 7)
    assert (draws[0] == 1).all()
    assert (draws.sum(1) == 7).all()
    np.testing.assert_allclose(draws[1:].mean(0), 1, atol=0.15)
    # how often one of 7 blocks is drawn is binomial
    assert draws[1:].var() == pytest.approx(7 * (1 / 7) * (6 / 7), rel=0.1)
    np.testing.assert_array_equal(draws, draw_blocks(7, rng=np.random.default_rng(1), n_draws=500))


def test_genome_blocks__are_stretches_of_chromosomes(planted: Store) -> None:
    chrom, start = np.array([0, 0, 0, 1, 1]), np.array([0, 99_999, 100_000, 50, 250_000])
    assert genome_blocks(chrom, start, width=100_000).tolist() == [0, 0, 1, 2, 3]
    assert genome_blocks(chrom, start, width=60_000).tolist() == [0, 1, 1, 2, 3]
    assert not len(genome_blocks(chrom[:0], start[:0], width=100))
    rows = planted.windows.rows("test")  # bins of 128 bp, one beside the other
    blocks = genome_blocks(planted.windows.chrom[rows], planted.windows.start[rows], width=1280)
    assert len(set(blocks.tolist())) == int(np.ceil(len(rows) / 10))
    assert np.bincount(blocks).max() == 10


@pytest.mark.parametrize("at_once", [2**21, 40])
@given(
    n=st.integers(1, 90),
    n_blocks=st.integers(1, 14),
    share=st.sampled_from([0.1, 0.5, 0.9]),
    ties=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_auroc__is_scikit_learns_of_the_windows_drawn(
    at_once: int, n: int, n_blocks: int, share: float, ties: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n)
    if ties:
        scores = np.round(scores)
    labels, blocks = rng.random(n) < share, rng.integers(0, n_blocks, n)
    draws = draw_blocks(n_blocks, rng=rng, n_draws=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "_AT_ONCE", at_once)
        aurocs = auroc(scores, labels, blocks=blocks, draws=draws)
    for found, drawn in zip(aurocs, draws, strict=True):
        weight = drawn[blocks].astype(int)
        repeated = np.repeat(labels, weight)
        if repeated.all() or not repeated.any():
            assert np.isnan(found)
        else:
            assert found == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12)
            assert found == pytest.approx(roc_auc_score(repeated, np.repeat(scores, weight)), abs=1e-12)


def test_auroc__of_nothing_is_none_and_of_what_is_no_number_is_refused() -> None:
    nothing = np.zeros(0, np.int64)
    assert np.isnan(auroc(nothing.astype(float), nothing > 0, blocks=nothing, draws=np.ones((3, 2)))).all()
    scores = np.array([0.1, np.nan, 0.3])
    with pytest.raises(ValueError, match="no rank"):
        auroc(scores, scores > 0.2, blocks=np.zeros(3, np.int64), draws=np.ones((1, 1)))


def test_interval__holds_the_truth_as_often_as_it_says() -> None:
    """Blocks of 20 windows that are alike: the AUROC of two normal scores one deviation apart is 0.76."""
    rng, held = np.random.default_rng(0), 0
    blocks = np.repeat(np.arange(60), 20)
    for _ in range(200):
        label = rng.random(60)[blocks] < 0.5
        score = rng.normal(size=60)[blocks] + label
        found = interval(auroc(score, label, blocks=blocks, draws=draw_blocks(60, rng=rng)))
        assert found.value == pytest.approx(roc_auc_score(label, score))
        assert found.low <= found.value <= found.high
        held += found.low < 0.7602 < found.high
    assert 0.88 * 200 < held < 0.99 * 200


def test_interval__holds_the_truth_where_windows_of_a_block_are_not_alike() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        labels = rng.random(400) < 0.3
        scores = rng.normal(size=400) + labels
        found = interval(auroc(scores, labels, blocks=np.arange(400) // 4, draws=draw_blocks(100, rng=rng)))
        held += found.low <= 0.7602 <= found.high
    assert 175 <= held <= 198


def test_interval__of_what_cannot_be_measured_is_none() -> None:
    nothing = interval(np.concatenate([[np.nan], np.ones(10)]))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    alone = interval(np.array([0.7]))
    assert alone.value == 0.7
    assert np.isnan([alone.low, alone.high]).all()


def test_interval__leaves_out_few_draws_without_a_value_and_is_none_where_they_are_many() -> None:
    draws = np.concatenate([[0.7], np.linspace(0, 1, 100)])
    draws[1 : 1 + 5] = np.nan
    found = interval(draws)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws[6:], (0.025, 0.975))))
    draws[6] = np.inf
    found = interval(draws)
    assert found.value == 0.7
    assert np.isnan([found.low, found.high]).all()


def test_interval__of_labels_in_one_block_is_none() -> None:
    """Such a block is in every draw that has a value: drawn again, its labels would seem sure."""
    rng = np.random.default_rng(0)
    blocks, scores = np.repeat(np.arange(50), 10), rng.normal(size=500)
    draws = draw_blocks(50, rng=rng)
    found = interval(auroc(scores, blocks == 7, blocks=blocks, draws=draws))
    assert found.value == pytest.approx(roc_auc_score(blocks == 7, scores))
    assert np.isnan(found.low)
    assert np.isfinite(interval(auroc(scores, blocks < 7, blocks=blocks, draws=draws)).low)


def test_student__is_scipys() -> None:
    values = [0.31, 0.29, float("nan"), 0.35]
    present = np.array(values)[[0, 1, 3]]
    low, high = stats.t.interval(0.95, 2, loc=present.mean(), scale=stats.sem(present))
    found = student(values)
    assert (found.value, found.low, found.high) == pytest.approx((present.mean(), low, high))
    one = student([0.3, float("nan")])
    assert one.value == 0.3
    assert np.isnan([one.low, one.high, student([]).value]).all()


def test_few_blocks__says_so_up_to_9() -> None:
    assert few_blocks(10, 20_000) == ""
    assert "lie in 9 stretches of 20 kb" in few_blocks(9, 20_000)
    assert "lie in 1 stretch of 100 kb" in few_blocks(1, 100_000)
