"""Pairs of laboratories: found by metadata, scored against plain loops, and planted laboratories told apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mfdmodel.analyses.replicates import (
    COMBINED,
    MEASURES,
    Pair,
    PairScores,
    Part,
    find_pairs,
    parts_of,
    score_pairs,
    target_values,
)
from mfdmodel.resampling import Resampler, compare
from mfdstore.errors import ConfigError
from mfdstore.metadata import Factor, FactorTable
from mfdstore.schema import Role
from tests.planted import objects

TARGETS = ("A", "B", "C", "D", "E", "F", "G", "H")
LABS = ("north", "south")


def table(rows: list[tuple[object, object, object]]) -> FactorTable:
    """Make a table of (target, biosample, lab), all of one assay."""
    columns = dict(zip(("target", "biosample", "lab"), zip(*rows, strict=True), strict=True))
    columns["assay"] = ("ChIP-seq",) * len(rows)
    roles: dict[str, Role] = {"target": "biological", "biosample": "biological"}
    return FactorTable(
        tuple(f"X{index}" for index in range(len(rows))),
        tuple(
            Factor(name, "category", roles.get(name, "technical"), objects(tuple(values)))
            for name, values in columns.items()
        ),
    )


def test_find_pairs__are_all_of_one_target_and_biosample_by_two_laboratories() -> None:
    factors = table(
        [
            ("B", "HepG2", "north"),
            ("A", "HepG2", "north"),
            ("A", "HepG2", "south"),
            ("A", "HepG2", "south"),
            ("A", "K562", "south"),
            ("A", "HepG2", None),
            ("B", "HepG2", "east"),
            ("B", None, "south"),
            ("B", None, "north"),
        ]
    )
    found = find_pairs(factors)
    assert found == (
        Pair(1, 2, "A", "HepG2", ("north", "south")),
        Pair(1, 3, "A", "HepG2", ("north", "south")),
        Pair(0, 6, "B", "HepG2", ("north", "east")),
    )
    assert find_pairs(factors, not_labs=("east",)) == found[:2]


def test_find_pairs__asks_for_the_laboratory() -> None:
    whole = table([("A", "HepG2", "north")])
    without = FactorTable(whole.experiments, tuple(factor for factor in whole if factor.name != "lab"))
    with pytest.raises(ConfigError, match=r"factor lab: found none.*--report"):
        find_pairs(without)


def test_parts_of__add_up() -> None:
    rng = np.random.default_rng(0)
    features = {"biological": rng.normal(size=(50, 3)), "technical": rng.normal(2, 5, size=(50, 2))}
    weights = {"biological": rng.normal(size=(4, 3)), "technical": rng.normal(size=(4, 2))}
    parts = parts_of(features, weights)
    assert tuple(parts) == ("biological", "technical", COMBINED)
    for role in features:
        np.testing.assert_allclose(parts[role].logits, features[role] @ weights[role].T)
        np.testing.assert_allclose(parts[role].weights, weights[role] * features[role].std(0))
    np.testing.assert_allclose(parts[COMBINED].logits, parts["biological"].logits + parts["technical"].logits)
    assert parts[COMBINED].weights.shape == (4, 5)
    assert tuple(parts_of({"all": features["biological"]}, {"all": weights["biological"]})) == (COMBINED,)


def planted(
    strength: float, seed: int = 0, n: int = 3000
) -> tuple[dict[str, Part], np.ndarray, FactorTable, np.ndarray]:
    """Plant a feature a target and one a laboratory; labels follow both, features are known exactly.

    In a window, what all of a laboratory's experiments see moves with the laboratory's feature, times `strength`.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[object, object, object]] = [(target, "HepG2", lab) for target in TARGETS for lab in LABS]
    features = {
        "biological": rng.normal(size=(n, len(TARGETS))),
        "technical": rng.normal(size=(n, len(LABS))),
    }
    weights = {
        "biological": np.array([[float(target == name) for name in TARGETS] for target, _, _ in rows]),
        "technical": strength * np.array([[float(lab == name) for name in LABS] for _, _, lab in rows]),
    }
    parts = parts_of(features, weights)
    labels = rng.random((n, len(rows))) < 1 / (1 + np.exp(2 - 1.5 * parts[COMBINED].logits))
    return parts, labels, table(rows), np.arange(n) // 100


def score(
    parts: dict[str, Part], labels: np.ndarray, factors: FactorTable, blocks: np.ndarray, n_draws: int = 200
) -> dict[str, tuple[PairScores, ...]]:
    resampler = Resampler.draw(blocks, rng=np.random.default_rng(0), n_draws=n_draws)
    pairs = find_pairs(factors)
    return {
        name: score_pairs(part, labels, pairs, factors=factors, resampler=resampler)
        for name, part in parts.items()
    }


def test_score_pairs__agrees_with_the_definitions() -> None:
    parts, labels, factors, blocks = planted(0.7)
    rng = np.random.default_rng(1)
    part = Part(parts[COMBINED].logits + rng.normal(size=labels.shape), rng.normal(size=(16, 5)))
    (scores, *_) = score({"noisy": part}, labels, factors, blocks, n_draws=3)["noisy"]
    assert (scores.pair.first, scores.pair.second, scores.n_candidates) == (0, 1, 14)
    assert not scores.equal_weights
    logits, first = part.logits, {name: values[0] for name, values in scores.values.items()}
    north, south = range(2, 16, 2), range(3, 16, 2)
    r, w = np.corrcoef(logits.T), part.weights / np.linalg.norm(part.weights, axis=1, keepdims=True)
    assert first["correlation"] == pytest.approx(r[0, 1])
    own = (np.mean([r[0, k] for k in north]) + np.mean([r[1, k] for k in south])) / 2
    assert first["contrast"] == pytest.approx(r[0, 1] - own)
    found = [r[0, k] < r[0, 1] for k in south], [r[1, k] < r[1, 0] for k in north]
    assert first["retrieval"] == pytest.approx(np.mean(found))
    assert first["cosine"] == pytest.approx(w[0] @ w[1])
    alike = [w[0] @ w[k] < w[0] @ w[1] for k in south], [w[1] @ w[k] < w[1] @ w[0] for k in north]
    assert first["cosine_retrieval"] == pytest.approx(np.mean(alike))
    across = [roc_auc_score(labels[:, truth], logits[:, one]) for one, truth in ((0, 1), (1, 0))]
    assert first["transfer"] == pytest.approx(np.mean(across))
    assert first["own"] == pytest.approx(np.mean([roc_auc_score(labels[:, k], logits[:, k]) for k in (0, 1)]))
    only = labels[:, 0] != labels[:, 1]
    assert first["difference"] == pytest.approx(
        roc_auc_score(labels[only, 0], (logits[:, 0] - logits[:, 1])[only])
    )
    assert set(scores.values) == set(MEASURES)
    assert all(values.shape == (4,) for values in scores.values.values())


def test_planted_laboratories__are_left_out_by_the_biological_part() -> None:
    scores = score(*planted(1.0))

    def values(part: str, measure: str) -> np.ndarray:
        return target_values(scores[part], measure)

    for measure in ("correlation", "contrast", "transfer"):
        found = compare(values("biological", measure), values(COMBINED, measure))
        assert found.difference.both.low > 0, measure
        assert found.p_value < 0.01
        assert found.n_higher == found.difference.n_groups == len(TARGETS)
    # the laboratory helps with its own labels, and tells its own peaks from those of the other
    assert compare(values("biological", "own"), values(COMBINED, "own")).difference.both.high < 0
    assert values("technical", "difference")[0].min() > 0.7
    assert (values("biological", "difference") == 0.5).all()
    assert values("technical", "transfer")[0] == pytest.approx(0.5, abs=0.05)
    assert values("biological", "retrieval")[0] == pytest.approx(1)
    # all of a laboratory's technical weights are alike: the partner is tied with the others
    assert values("technical", "retrieval")[0] == pytest.approx(0.5)
    assert all(one.equal_weights for one in scores["biological"])
    assert not any(one.equal_weights for one in scores[COMBINED])


def test_planted_nothing__is_not_found() -> None:
    parts, labels, factors, blocks = planted(0.0)
    rng = np.random.default_rng(3)
    noise = 0.3 * rng.normal(size=labels.shape)
    # a combined part that differs between laboratories by chance only, and less than nothing is to be gained from it
    both = {"first": Part(parts[COMBINED].logits + noise, parts[COMBINED].weights)}
    both["second"] = Part(
        parts[COMBINED].logits + 0.3 * rng.normal(size=labels.shape), parts[COMBINED].weights
    )
    scores = score(both, labels, factors, blocks)
    found = compare(target_values(scores["first"], "transfer"), target_values(scores["second"], "transfer"))
    assert found.difference.both.low < 0 < found.difference.both.high
    assert found.p_value > 0.05


def test_score_pairs__of_a_laboratory_with_one_target_has_nothing_to_find() -> None:
    parts, labels, _, blocks = planted(1.0)
    factors = table([("A", "HepG2", "north"), ("A", "HepG2", "south")])
    two = Part(parts[COMBINED].logits[:, :2], parts[COMBINED].weights[:2])
    (scores,) = score({"two": two}, labels[:, :2], factors, blocks)["two"]
    assert scores.n_candidates == 0
    assert np.isnan(scores.values["retrieval"]).all()
    assert np.isnan(scores.values["contrast"]).all()
    assert np.isfinite(scores.values["transfer"]).all()


def test_score_pairs__refuses_shapes_that_do_not_fit() -> None:
    parts, labels, factors, blocks = planted(1.0, n=200)
    pairs, part = find_pairs(factors), parts[COMBINED]
    resampler = Resampler.draw(blocks, rng=np.random.default_rng(0), n_draws=3)
    score_pairs(part, labels, pairs, factors=factors, resampler=resampler)
    for wrong in (
        {"labels": labels[1:]},
        {"resampler": resampler.take(np.arange(1, 200))},
        {"factors": table([("A", "B", "C")])},
    ):
        given = {"labels": labels, "factors": factors, "resampler": resampler} | wrong
        with pytest.raises(ValueError, match="fit"):
            score_pairs(part, given["labels"], pairs, factors=given["factors"], resampler=given["resampler"])
