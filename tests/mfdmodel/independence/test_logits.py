"""Parts of the logits' variance: from the definition, by numpy, experiment by experiment."""

from __future__ import annotations

import numpy as np
import pytest

from mfdmodel.analyses.independence import logits
from mfdmodel.analyses.independence.logits import share_variance
from mfdmodel.resampling import Resampler

N, E = 900, 7
NAMES = tuple(f"ENCFF{index:03d}AAA" for index in range(E))


def drawn(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    widths = {"biological": 5, "technical": 3}
    common = rng.normal(size=(N, 1))
    features = {
        role: (4 + common + rng.normal(size=(N, width))).astype(np.float32) for role, width in widths.items()
    }
    return features, {role: rng.normal(size=(E, width)).astype(np.float32) for role, width in widths.items()}


def shares_of(biological: np.ndarray, technical: np.ndarray) -> list[float]:
    covariance = np.cov(biological, technical, ddof=0)
    parts = [covariance[0, 0], covariance[1, 1], 2 * covariance[0, 1]]
    return [part / np.var(biological + technical) for part in parts]


@pytest.mark.parametrize("at_once", [256, 3])
def test_share_variance__agrees_with_numpy(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits, "_AT_ONCE", at_once)
    features, weights = drawn()
    block = np.repeat(np.arange(30), 30)
    each, mean, of_mean = share_variance(
        features, weights, experiments=NAMES, resampler=Resampler.draw(block, rng=np.random.default_rng(0))
    )
    added = {role: features[role].astype(np.float64) @ weights[role].T for role in features}
    expected = np.array([shares_of(added["biological"][:, k], added["technical"][:, k]) for k in range(E)])
    found = np.array([(one.biological, one.technical, one.covariance) for one in each])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    assert [one.experiment for one in each] == list(NAMES)
    for shares, wanted in (
        (mean, expected.mean(0)),
        (of_mean, shares_of(*(added[role].mean(1) for role in added))),
    ):
        parts = (shares.biological, shares.technical, shares.covariance)
        np.testing.assert_allclose([part.value for part in parts], wanted, rtol=1e-4)
        assert all(part.low < part.value < part.high for part in parts)


def test_share_variance__knows_what_one_subspace_takes_back_and_what_is_silent() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 1)).astype(np.float32)
    weights = {
        "biological": np.array([[2], [1], [0]], np.float32),
        "technical": np.array([[-1], [0], [0]], np.float32),
    }
    resampler = Resampler.draw(np.repeat(np.arange(30), 30), rng=rng)
    each, mean, _ = share_variance(
        {"biological": x, "technical": x}, weights, experiments=NAMES[:3], resampler=resampler
    )
    # 2x - x = x: variances 4 and 1, twice the covariance - 4
    assert (each[0].biological, each[0].technical, each[0].covariance) == pytest.approx((4, 1, -4))
    assert (each[1].biological, each[1].technical, each[1].covariance) == pytest.approx((1, 0, 0))
    assert (each[2].biological, each[2].technical, each[2].covariance) == (None, None, None)
    assert mean.biological.value == pytest.approx(2.5)
    _, none, _ = share_variance(
        {"biological": x, "technical": x},
        {role: 0 * values for role, values in weights.items()},
        experiments=NAMES[:3],
        resampler=resampler,
    )
    assert np.isnan(none.biological.value)
