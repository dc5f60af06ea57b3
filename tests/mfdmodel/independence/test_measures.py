"""The five measures: what is planted is found, what is not is not, and independent tools give the same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error
from sklearn.preprocessing import StandardScaler

from mfdmodel.analyses.independence.components import correlate_canonical, correlate_principal
from mfdmodel.analyses.independence.measures import N_RESAMPLES, Measure, Measures, measure_independence
from mfdmodel.analyses.independence.pairing import discriminate, grow_forest
from mfdmodel.analyses.independence.prediction import predict_by_line, predict_by_perceptron
from mfdmodel.analyses.independence.subspaces import make_subspace
from mfdmodel.intervals import Interval, interval
from mfdmodel.resampling import Resampler
from tests.mfdmodel.independence.latents import neighbours, planted_pair

N = 2400


def by_name(found: Measures) -> dict[str, Measure]:
    return {measure.name: measure for measure in found.measures}


@pytest.fixture(scope="module")
def found() -> dict[str, Measures]:
    return {
        kind: measure_independence(*planted_pair(kind, n=N), neighbours(N), n_rotations=3, threads=1)
        for kind in ("none", "linear", "square")
    }


def test_measures__find_nothing_where_nothing_is_planted(found: dict[str, Measures]) -> None:
    for measure in found["none"].measures:
        assert not measure.dependent
        # a correlation of the 900 windows or so that are scored strays by 0.033
        assert measure.value.value == pytest.approx(measure.chance, abs=0.07)
    for measure in (*found["none"].canonical, *found["none"].principal):
        assert not measure.dependent


def test_nulls__hold_what_independence_gives(found: dict[str, Measures]) -> None:
    held = 0
    measures = [measure for one in found.values() for measure in one.measures]
    for measure in measures:
        # a predictor that found nothing says so, or costs a thousandth
        slack = 0.003 if measure.name.startswith("r2") else 0.0
        held += measure.null.low - slack <= measure.chance <= measure.null.high + slack
        # the mean of three of them by 0.019
        assert measure.null.value == pytest.approx(measure.chance, abs=0.04)
    assert held >= len(measures) - 2  # of 30 intervals of 95 %


def test_measures__find_a_planted_linear_dependence(found: dict[str, Measures]) -> None:
    measures = by_name(found["linear"])
    assert all(measure.dependent for measure in measures.values())
    # 0.8 squared, of two features in six and of two in four
    for how in ("line", "perceptron"):
        assert measures[f"r2_biological_{how}"].value.value == pytest.approx(0.64 * 2 / 6, abs=0.02)
        assert measures[f"r2_technical_{how}"].value.value == pytest.approx(0.64 * 2 / 4, abs=0.025)
    assert measures["canonical_first"].value.value == pytest.approx(0.8, abs=0.03)
    assert [one.dependent for one in found["linear"].canonical] == [True, True, False, False]
    scores = {(one.role, one.feature): one.r2_line for one in found["linear"].features}
    assert [feature for (role, feature), r2 in scores.items() if role == "technical" and r2 > 0.1] == [0, 1]


def test_measures__find_a_dependence_that_is_not_linear_where_they_can(found: dict[str, Measures]) -> None:
    dependent = {name for name, measure in by_name(found["square"]).items() if measure.dependent}
    # a square tells nothing of the sign, and no straight line nor correlation sees it
    assert dependent == {"discriminator", "forest", "r2_technical_perceptron"}
    value = by_name(found["square"])["r2_technical_perceptron"].value.value
    assert value == pytest.approx(0.64 * 2 / 4, abs=0.06)


def test_measure_independence__is_the_same_for_the_same_seed_and_counts() -> None:
    pair = planted_pair("linear", n=600)
    parts = neighbours(600)
    told: list[tuple[str, int, int]] = []

    def again(seed: int) -> Measures:
        return measure_independence(
            *pair, parts, seed=seed, n_rotations=1, threads=1, on_progress=lambda *step: told.append(step)
        )

    first = again(3)
    assert told == [("measuring", done, 10) for done in range(1, 11)]
    assert first == again(3)
    assert first != again(4)


def test_measure_independence__leaves_constant_features_out_and_refuses_dead_subspaces() -> None:
    biological, technical = planted_pair("linear", n=600)
    biological[:, 3] = 2.5
    parts = neighbours(600)
    found = measure_independence(
        biological, technical, parts, direct={"biological": ("target=CTCF",)}, n_rotations=1, threads=1
    )
    assert (found.subspaces[0].n_features, found.subspaces[0].n_constant) == (6, 1)
    assert found.subspaces[0].n_components == 5
    assert [one.r2_line is None for one in found.features[:6]] == [False] * 3 + [True] + [False] * 2
    assert [one.name for one in found.features[:2]] == ["target=CTCF", None]
    with pytest.raises(ValueError, match="every feature is the same"):
        measure_independence(np.ones_like(biological), technical, parts)
    with pytest.raises(ValueError, match="windows"):
        measure_independence(biological[:-1], technical, parts)


def test_dependent__asks_for_intervals_apart() -> None:
    measure = Measure("x", "x", 0.5, Interval(0.56, 0.53, 0.6), Interval(0.5, 0.48, 0.52))
    assert measure.dependent
    assert not replace(measure, null=Interval(0.5, 0.48, 0.54)).dependent


def test_make_subspace__is_scaled_and_reduced_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(2000, 5)) @ rng.normal(size=(5, 80)) + rng.normal(size=(2000, 80))).astype(
        "f4"
    )
    fit = np.arange(0, 2000, 2)
    space = make_subspace(values, fit)
    scaled = StandardScaler().fit(values[fit]).transform(values)
    judge = PCA(50, whiten=True).fit(scaled[fit])
    assert space.components.shape == (2000, 50)  # a component for 20 windows
    assert space.variance == pytest.approx(judge.explained_variance_ratio_.sum(), abs=1e-4)
    np.testing.assert_allclose(space.features, scaled, atol=1e-4)
    np.testing.assert_allclose(
        np.abs(space.components[:, :5]), np.abs(judge.transform(scaled)[:, :5]), atol=1e-3
    )
    assert make_subspace(rng.normal(size=(4000, 200)), np.arange(4000)).components.shape[1] == 64
    # two features that are one have one component
    twice = np.repeat(rng.normal(size=(500, 1)), 2, axis=1)
    assert make_subspace(twice, np.arange(500)).components.shape[1] == 1


def test_canonical__agrees_with_scikit_learn() -> None:
    biological, technical = planted_pair("linear", n=N)
    parts = neighbours(N)
    one, other = (make_subspace(values, parts.fit).components for values in (biological, technical))
    found = correlate_canonical(
        one, other, parts, Resampler.draw(parts.block[parts.score], rng=np.random.default_rng(0))
    )
    judge = CCA(2, max_iter=5000, tol=1e-10).fit(biological[parts.fit], technical[parts.fit])
    u, v = judge.transform(biological[parts.score], technical[parts.score])
    expected = [stats.pearsonr(u[:, pair], v[:, pair]).statistic for pair in range(2)]
    np.testing.assert_allclose(found[0, :2], expected, atol=2e-3)


def test_principal__pairs_components_and_keeps_their_sign() -> None:
    rng = np.random.default_rng(0)
    parts = neighbours(N)
    shared = rng.normal(size=(N, 2)) * (3, 2)
    biological = np.concatenate([shared, rng.normal(size=(N, 3))], 1).astype(np.float32)
    technical = np.concatenate([-shared[:, ::-1], rng.normal(size=(N, 3))], 1).astype(np.float32)
    one, other = biological / biological.std(0), technical / technical.std(0)
    resampler = Resampler.draw(parts.block[parts.score], rng=rng)
    found = correlate_principal(one, other, parts, resampler)
    assert found.shape == (201, 5)
    np.testing.assert_allclose(found[:, :2], 1, atol=1e-5)
    assert (np.abs(found[0, 2:]) < 0.15).all()


def test_canonical__intervals_hold_0_where_nothing_is() -> None:
    held = 0
    for seed in range(40):
        one, other = planted_pair("none", n=800, seed=seed)
        parts = neighbours(800, seed=seed)
        one, other = (make_subspace(values, parts.fit).components for values in (one, other))
        resampler = Resampler.draw(
            parts.block[parts.score], rng=np.random.default_rng(seed), n_draws=N_RESAMPLES
        )
        found = interval(correlate_canonical(one, other, parts, resampler)[:, 0])
        held += found.low <= 0 <= found.high
    assert held >= 34


def test_line__is_the_r2_of_a_regression() -> None:
    biological, technical = planted_pair("linear", n=N)
    parts = neighbours(N)
    one, other = make_subspace(biological, parts.fit), make_subspace(technical, parts.fit)
    found = predict_by_line(
        one.components,
        other.features,
        parts,
        Resampler.draw(parts.block[parts.score], rng=np.random.default_rng(0)),
    )[0]
    judge = LinearRegression().fit(biological[parts.fit], technical[parts.fit])
    told, truth = judge.predict(biological[parts.score]), technical[parts.score]
    mean = np.broadcast_to(technical[parts.fit].mean(0), truth.shape)
    expected = 1 - mean_squared_error(truth, told, multioutput="raw_values") / mean_squared_error(
        truth, mean, multioutput="raw_values"
    )
    np.testing.assert_allclose(found[:2], expected[:2], atol=0.01)
    np.testing.assert_allclose(found[2:], 0, atol=0.005)


def test_perceptron__predicts_what_a_line_does_not_see_and_is_not_fooled_by_noise() -> None:
    parts = neighbours(N)
    resampler = Resampler.draw(parts.block[parts.score], rng=np.random.default_rng(0))
    for kind, expected in (("square", [0.64, 0.64, 0, 0]), ("none", [0, 0, 0, 0])):
        biological, technical = planted_pair(kind, n=N)
        one, other = make_subspace(biological, parts.fit), make_subspace(technical, parts.fit)
        found = predict_by_perceptron(one.components, other.features, parts, resampler, seed=0)[0]
        np.testing.assert_allclose(found, expected, atol=0.15)
        assert (found > -0.01).all()
    single = predict_by_perceptron(one.components, other.features[:, :1], parts, resampler, seed=0)
    assert single.shape == (201, 1)


def test_pairing__is_as_accurate_as_the_likelihood_allows() -> None:
    rng = np.random.default_rng(0)
    n, rho = 4000, 0.8
    one = rng.normal(size=(n, 1))
    other = rho * one + np.sqrt(1 - rho**2) * rng.normal(size=(n, 1))
    parts = neighbours(n)
    resampler = Resampler.draw(parts.block[parts.score], rng=rng)

    def correct(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        joint = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).logpdf(np.stack([x, y], 1))
        return joint > stats.norm.logpdf(x) + stats.norm.logpdf(y)

    x, y = rng.normal(size=(2, 200_000))
    best = (correct(x, rho * x + np.sqrt(1 - rho**2) * y).mean() + (~correct(x, y)).mean()) / 2
    pair = one.astype(np.float32), other.astype(np.float32)
    found = interval(discriminate(*pair, parts, resampler, seed=0))
    assert found.value == pytest.approx(best, abs=0.02)
    assert found.low < best < found.high
    forest = interval(grow_forest(*pair, parts, resampler, seed=0, threads=1))
    assert best - 0.06 < forest.value < best + 0.02
