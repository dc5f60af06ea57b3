"""Probes of pairs: against scikit-learn by hand, and subspaces of which one holds the laboratory."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mfdmodel.analyses.pair_probes import equal_widths, probe_pairs
from mfdmodel.resampling import Resampler


def planted(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two laboratories' labels of one target: both see the target's feature, either its own one too."""
    rng = np.random.default_rng(seed)
    features = {"biological": rng.normal(size=(n, 4)), "technical": rng.normal(size=(n, 3))}
    biology = features["biological"][:, 1]
    logits = np.stack([biology + features["technical"][:, 0], biology + features["technical"][:, 2]], axis=1)
    labels = rng.random((n, 2)) < 1 / (1 + np.exp(1 - 1.5 * logits))
    return features, np.concatenate([labels, np.zeros((n, 1), bool)], axis=1)


def test_probe_pairs__finds_the_laboratory_where_it_is() -> None:
    (train, train_labels), (test, test_labels) = planted(3000, 0), planted(2000, 1)
    resampler = Resampler.draw(np.arange(2000) // 100, rng=np.random.default_rng(0), n_draws=50)
    told: list[tuple[str, int, int]] = []
    found = {
        role: probe_pairs(
            [(0, 1), (0, 2)],
            train=(train[role], train_labels),
            test=(test[role], test_labels),
            resampler=resampler,
            on_progress=lambda *step: told.append(step),
        )
        for role in train
    }
    assert told == 2 * [("probing pairs", 1, 2), ("probing pairs", 2, 2)]
    bio, tech = found["biological"], found["technical"]
    assert bio["probe_transfer"].shape == (2, 51)
    assert bio["probe_transfer"][0, 0] > 0.7
    assert bio["probe_transfer"][0, 0] == pytest.approx(bio["probe_own"][0, 0], abs=0.03)
    assert tech["probe_own"][0, 0] > tech["probe_transfer"][0, 0] + 0.15
    assert bio["probe_difference"][0, 0] == pytest.approx(0.5, abs=0.07)
    assert tech["probe_difference"][0, 0] > 0.85
    # nothing is labelled by the third experiment: no probe of it, none of its labels
    assert np.isnan(bio["probe_own"][1]).all()
    assert np.isnan(bio["probe_difference"][1]).all()


def test_probe_pairs__agrees_with_a_regression_by_hand() -> None:
    (train, train_labels), (test, test_labels) = planted(500, 2), planted(300, 3)
    mean, deviation = train["technical"].mean(0), train["technical"].std(0)
    probes = [
        LogisticRegression(C=0.5).fit((train["technical"] - mean) / deviation, train_labels[:, k])
        for k in (0, 1)
    ]
    scores = [probe.decision_function((test["technical"] - mean) / deviation) for probe in probes]
    found = probe_pairs(
        [(0, 1)],
        train=(train["technical"], train_labels),
        test=(test["technical"], test_labels),
        resampler=Resampler(np.zeros(300, int), np.ones((1, 1))),
        strength=0.5,
    )
    own, across = (
        np.mean([roc_auc_score(test_labels[:, labels], scores[k]) for k, labels in pairs])
        for pairs in (((0, 0), (1, 1)), ((0, 1), (1, 0)))
    )
    assert found["probe_own"].item() == pytest.approx(own, abs=1e-4)
    assert found["probe_transfer"].item() == pytest.approx(across, abs=1e-4)


def test_equal_widths__takes_as_many_of_each() -> None:
    features = {"biological": np.zeros((2, 9)), "technical": np.zeros((2, 4))}
    chosen = equal_widths(features)
    assert len(chosen["biological"]) == 4
    assert len(set(chosen["biological"])) == 4
    np.testing.assert_array_equal(chosen["technical"], np.arange(4))
