"""Features and the values they go with: planted ones are named, and numpy gives the same correlations."""

from __future__ import annotations

import numpy as np
import pytest

from mfdmodel.analyses.independence.associations import Association, CodedFactor, associate
from mfdmodel.factors import fit_coding
from mfdmodel.resampling import Resampler
from mfdstore.metadata import Factor
from tests.mfdmodel.independence.latents import neighbours

N = 1500
TARGETS = ("CTCF", "CTCF", "MAX", "MAX", "MAX", None)
AGES = np.array([10.0, 20, 30, 40, 50, 60])
PARTS = neighbours(N)


def objects(values: tuple[object, ...]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def coded(factor: Factor) -> CodedFactor:
    coding = fit_coding(factor)
    return CodedFactor(factor.name, factor.role, coding.values, coding.encode(factor))


@pytest.fixture(scope="module")
def world() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """CTCF is biological feature 2, MAX is - technical feature 1; the rest is noise."""
    rng = np.random.default_rng(0)
    ctcf, peak_of_max = rng.random((2, N)) < 0.3
    labels = np.stack([ctcf, ctcf, peak_of_max, peak_of_max, peak_of_max, rng.random(N) < 0.2], axis=1)
    features = {role: rng.normal(size=(N, 4)).astype(np.float32) for role in ("biological", "technical")}
    features["biological"][:, 2] += 3 * ctcf
    features["technical"][:, 1] -= 3 * peak_of_max
    return features, labels


@pytest.fixture(scope="module")
def found(world: tuple[dict[str, np.ndarray], np.ndarray]) -> list[Association]:
    features, labels = world
    rng = np.random.default_rng(1)
    factors = [
        coded(Factor("target", "category", "biological", objects(TARGETS))),
        coded(Factor("assay", "category", "technical", objects(("DNase-seq",) * 6))),
        coded(Factor("age", "number", "biological", AGES)),
    ]
    weights = {role: rng.normal(size=(6, 4)).astype(np.float32) for role in features}
    weights["biological"][:, :2] = factors[0].coded  # direct
    weights["technical"][:, 3] = -AGES
    weights["technical"][:, 0] = 1
    return list(
        associate(
            features,
            weights,
            labels=labels,
            factors=factors,
            direct={"biological": ("target=CTCF", "target=MAX"), "technical": ("assay=DNase-seq",)},
            parts=PARTS,
            resampler=Resampler.draw(PARTS.block[PARTS.score], rng=rng),
        )
    )


def test_associate__asks_for_values_that_differ(found: list[Association]) -> None:
    assert [(one.factor, one.role, one.value, one.n_experiments) for one in found] == [
        ("target", "biological", "CTCF", 2),
        ("target", "biological", "MAX", 3),
        ("age", "biological", "age", 6),
    ]


def test_associate__gives_a_direct_feature_to_its_value(found: list[Association]) -> None:
    for index, one in enumerate(found[:2]):
        link = one.by_weights["biological"]
        assert (link.feature, link.name, link.low) == (index, f"target={one.value}", None)
        assert link.correlation == pytest.approx(1)
    link = found[2].by_weights["technical"]
    assert (link.feature, link.name) == (3, None)
    assert link.correlation == pytest.approx(-1)


def test_associate__finds_planted_features_by_labels(
    found: list[Association], world: tuple[dict[str, np.ndarray], np.ndarray]
) -> None:
    features, labels = world
    for value, role, feature, have in (("CTCF", "biological", 2, [0, 1]), ("MAX", "technical", 1, [2, 3, 4])):
        link = next(one for one in found if one.value == value).by_labels[role]
        assert link.feature == feature
        others = [index for index in range(6) if index not in have]
        more = labels[:, have].mean(1) - labels[:, others].mean(1)
        expected = np.corrcoef(more[PARTS.score], features[role][PARTS.score, feature])[0, 1]
        assert link.correlation == pytest.approx(expected, abs=1e-5)
        assert abs(expected) > 0.4
        assert link.low is not None
        assert link.high is not None
        assert link.low < link.correlation < link.high
    # what was chosen among noise on one part is noise on the other
    noise = next(one for one in found if one.value == "age").by_labels
    assert all(abs(link.correlation) < 0.75 for link in noise.values())


def test_associate__names_nothing_where_nothing_varies(
    world: tuple[dict[str, np.ndarray], np.ndarray],
) -> None:
    features, labels = world
    constant = {role: np.ones_like(values) for role, values in features.items()}
    options = {
        "direct": {},
        "parts": PARTS,
        "resampler": Resampler.draw(PARTS.block[PARTS.score], rng=np.random.default_rng(0)),
    }
    factor = coded(Factor("target", "category", "biological", objects(TARGETS)))
    weights = {role: np.zeros((6, 4), np.float32) for role in features}
    found = associate(constant, weights, labels=labels, factors=[factor], **options)
    assert [(dict(one.by_weights), dict(one.by_labels)) for one in found] == [({}, {})] * 2
    assert associate(features, weights, labels=labels, factors=[], **options) == ()
