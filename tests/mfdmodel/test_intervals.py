"""Intervals against scikit-learn's weighted scores, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mfdmodel.intervals import auroc_draws, block_weights, genome_blocks, interval


@given(
    n=st.integers(40, 90), n_blocks=st.integers(10, 14), ties=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_auroc_draws__are_scikit_learns_with_weights(n: int, n_blocks: int, ties: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n)
    if ties:
        scores = np.round(scores)
    labels, blocks = rng.random(n) < 0.1, np.arange(n) % n_blocks
    weights = block_weights(blocks, rng=rng, n_draws=5)
    assert (weights.sum(1) == blocks.max() + 1).all()
    for found, drawn in zip(auroc_draws(scores, labels, blocks, weights), weights, strict=True):
        weight = drawn[blocks]
        if labels[weight > 0].all() or not labels[weight > 0].any():
            assert np.isnan(found)
        else:
            assert found == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), abs=1e-9)


def test_interval__holds_the_truth_as_often_as_it_says() -> None:
    """Blocks of 20 windows that are alike: the AUROC of two normal scores one deviation apart is 0.76."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        label = np.repeat(rng.random(60) < 0.5, 20)
        score = np.repeat(rng.normal(size=60), 20) + label
        blocks = np.repeat(np.arange(60), 20)
        draws = auroc_draws(score, label, blocks, block_weights(blocks, rng=rng))
        found = interval(roc_auc_score(label, score), draws)
        assert found.low <= found.value <= found.high
        held += found.low < 0.7602 < found.high
    assert 0.88 * 200 < held < 0.99 * 200


def test_interval__of_what_cannot_be_measured_is_none() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(interval(float("nan"), np.ones(10)).low)
    one = np.zeros(50, np.int64)
    draws = auroc_draws(rng.normal(size=50), one == 0, one, block_weights(one, rng=rng))
    assert np.isnan(interval(0.6, draws).low)  # one block drawn again is itself
    few = interval(0.7, np.array([0.6, np.nan, np.nan, np.nan]))
    assert few.value == 0.7
    assert np.isnan(few.high)


def test_genome_blocks__are_stretches_of_chromosomes() -> None:
    chrom, start = np.array([0, 0, 0, 1, 1]), np.array([0, 99_999, 100_000, 50, 250_000])
    assert genome_blocks(chrom, start).tolist() == [0, 0, 1, 2, 3]
