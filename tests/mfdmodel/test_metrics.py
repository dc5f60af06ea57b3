"""Metrics against scikit-learn and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from mfdmodel.metrics import GroupMean, finite_mean, group_means, rank_experiment
from mfdstore.metadata import Factor


def naive_auroc(scores: list[int], labels: list[bool]) -> float:
    """All pairs of a labelled and an unlabelled bin, one by one."""
    points = [
        1.0 if mine > other else 0.5 if mine == other else 0.0
        for mine, label in zip(scores, labels, strict=True)
        if label
        for other, other_label in zip(scores, labels, strict=True)
        if not other_label
    ]
    return sum(points) / len(points)


# few distinct scores, so that most examples have ties across the classes
tied = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


@given(rows=tied)
def test_rank_experiment__agrees_with_definition_and_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], np.float32)
    labels = np.array([label for _, label in rows])
    ranking = rank_experiment(scores, labels)
    assert ranking.auroc == pytest.approx(naive_auroc(*map(list, zip(*rows, strict=True))), abs=1e-12)
    assert ranking.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert ranking.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert (ranking.n_positive, ranking.n_windows) == (labels.sum(), len(rows))


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_auroc_and_average_precision__agree_with_scikit_learn_on_many_windows(decimals: int) -> None:
    generator = np.random.default_rng(1)
    labels = generator.random((5000, 6)) < np.array([0.5, 0.1, 0.03, 0.01, 0.002, 0.9])
    scores = np.round(generator.normal(size=labels.shape) + labels, decimals).astype(np.float32)
    expected_auroc = [roc_auc_score(labels[:, i], scores[:, i]) for i in range(6)]
    expected_precision = [average_precision_score(labels[:, i], scores[:, i]) for i in range(6)]
    rankings = [rank_experiment(scores[:, i], labels[:, i]) for i in range(6)]
    np.testing.assert_allclose([one.auroc for one in rankings], expected_auroc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        [one.average_precision for one in rankings], expected_precision, rtol=0, atol=1e-12
    )


def test_auroc__is_one_half_when_all_scores_are_equal() -> None:
    ranking = rank_experiment(np.zeros(4), np.array([True, False, False, True]))
    assert ranking.auroc == ranking.average_precision == 0.5


def test_ranking__is_nan_where_one_class_is_missing_and_only_there() -> None:
    for labels, missing in (([True, True], True), ([False, False], True), ([True, False], False)):
        ranking = rank_experiment(np.array([0.9, 0.1]), np.array(labels))
        assert np.isnan(ranking.auroc) == np.isnan(ranking.average_precision) == missing
        assert missing or ranking.auroc == ranking.average_precision == 1.0


def test_auroc__takes_infinite_scores_as_extremes() -> None:
    labels = np.array([True, False, True, False])
    assert rank_experiment(np.array([np.inf, 0.0, 1.0, -np.inf]), labels).auroc == 1.0


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (np.zeros(3), np.zeros(2, bool)),
        (np.zeros((2, 2)), np.zeros((2, 2), bool)),
        (np.full(2, np.nan), np.array([True, False])),
    ],
)
def test_rank_experiment__refuses_what_has_no_rank(scores: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"window|NaN"):
        rank_experiment(scores, labels)


def test_group_means__skips_nan_and_says_how_many() -> None:
    factor = Factor(
        "target", "category", "biological", np.array(["MAX", "CTCF", "CTCF", None, "MAX", "REST"], object)
    )
    means = group_means(np.array([0.5, 0.8, 0.6, 0.1, np.nan, np.nan]), factor)
    assert means[:2] == (GroupMean("CTCF", pytest.approx(0.7), 2, 2), GroupMean("MAX", 0.5, 1, 2))
    assert means[2].name == "REST"
    assert np.isnan(means[2].mean)
    assert (means[2].n_scored, means[2].n_experiments) == (0, 1)
    assert means[3] == GroupMean(None, 0.1, 1, 1)


def test_group_means__counts_an_experiment_under_each_of_its_values() -> None:
    values = np.empty(3, object)
    values[:] = [("liver", "gut"), ("liver",), None]
    means = group_means(np.array([0.9, 0.5, 0.2]), Factor("organ", "multi_category", "biological", values))
    assert means == (
        GroupMean("gut", 0.9, 1, 1),
        GroupMean("liver", pytest.approx(0.7), 2, 2),
        GroupMean(None, 0.2, 1, 1),
    )


def test_group_means__refuses_numbers_and_other_lengths() -> None:
    with pytest.raises(ValueError, match="no groups"):
        group_means(np.zeros(2), Factor("age", "number", "biological", np.zeros(2)))
    with pytest.raises(ValueError, match="3 scores"):
        group_means(np.zeros(3), Factor("lab", "category", "technical", np.array(["a", "b"], object)))


def test_finite_mean__of_nothing_is_nan() -> None:
    mean, n = finite_mean(np.array([np.nan]))
    assert np.isnan(mean)
    assert n == 0
