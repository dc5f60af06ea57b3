"""Each penalty against dependences that were planted: it lowers what it claims to lower.

An encoder of six independent sources begins with a technical feature that is a copy, or the square, of a biological
one, and pays for dependence and for nothing else. What is left is judged by numpy and by scikit-learn's random forest
on rows that no player has seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor
from torch import Tensor, nn

from mfdmodel.config import PenaltyConfig
from mfdmodel.penalties.correlation import standardise
from mfdmodel.penalties.penalty import Penalty
from tests.mfdmodel.penalties.latents import latent_of

WIDTHS = {"biological": 1, "technical": 1}


class Encoder(nn.Module):
    """A biological feature that is a source for good; a technical one that mixes it, its square and another source."""

    def __init__(self, *, linear: float, square: float) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.tensor([linear, square, 0.5]))

    def forward(self, source: Tensor) -> dict[str, Tensor]:
        x = source[:, :1]
        parts = torch.cat([x, (x**2 - 1) / 2**0.5, source[:, 1:2]], 1)
        return {"biological": x, "technical": standardise(parts @ self.mix[:, None])}


def play(config: PenaltyConfig, encoder: Encoder, n_steps: int = 250) -> None:
    """The game as in training, with the cross entropy left out.

    Mini-batches are large, as the covariance of few rows also sees how their products spread.
    """
    torch.manual_seed(1)
    penalty = Penalty(WIDTHS, config)
    # not Adam, whose steps are as long where a gradient is nothing but the noise of a mini-batch
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.2)
    adversary = (
        torch.optim.Adam(penalty.parameters(), lr=5e-3, amsgrad=True) if penalty.has_adversaries else None
    )
    for _ in range(n_steps):
        latent = encoder(torch.randn(1024, 2))
        if adversary is not None:
            for _ in range(config.steps):
                adversary.zero_grad()
                penalty.adversary_loss(latent).backward()
                adversary.step()
        optimizer.zero_grad()
        penalty(latent).backward()
        optimizer.step()


def left(encoder: Encoder) -> tuple[float, float]:
    """Squared correlation, and what a forest explains of the technical feature, on new rows."""
    torch.manual_seed(2)
    with torch.no_grad():
        latent = {role: features.numpy() for role, features in encoder(torch.randn(4000, 2)).items()}
    x, y = latent["biological"], latent["technical"][:, 0]
    forest = RandomForestRegressor(50, min_samples_leaf=20, random_state=0).fit(x[:2000], y[:2000])
    return float(np.corrcoef(x[:, 0], y)[0, 1] ** 2), float(forest.score(x[2000:], y[2000:]))


def config_of(name: Any, **options: Any) -> PenaltyConfig:
    return PenaltyConfig(**({"terms": {name: 1.0}, "width": 32, "layers": 2, "steps": 2} | options))


@pytest.mark.parametrize("name", ["adversarial", "discriminator", "frobenius", "l1", "projections"])
def test_penalty__lowers_a_planted_linear_dependence(name: str) -> None:
    encoder = Encoder(linear=1.0, square=0.0)
    before = left(encoder)
    assert before[0] > 0.7
    play(config_of(name), encoder)
    assert left(encoder)[0] < 0.05


@pytest.mark.parametrize("name", ["adversarial", "discriminator"])
def test_adversary__lowers_a_planted_dependence_that_is_not_linear(name: str) -> None:
    encoder = Encoder(linear=0.0, square=1.0)
    linear, explained = left(encoder)
    assert linear < 0.01
    assert explained > 0.7
    play(config_of(name), encoder)
    assert left(encoder)[1] < 0.1


@pytest.mark.parametrize("name", ["frobenius", "l1", "projections"])
def test_covariance__leaves_a_dependence_that_is_not_linear(name: str) -> None:
    encoder = Encoder(linear=0.0, square=1.0)
    play(config_of(name), encoder)
    assert left(encoder)[1] > 0.5


def test_penalty__is_the_weighted_sum_of_its_terms() -> None:
    latent = latent_of()
    widths = {role: features.shape[1] for role, features in latent.items()}
    torch.manual_seed(0)
    both = Penalty(widths, PenaltyConfig(terms={"adversarial": 0.5, "l1": 2.0}, width=8, layers=1))
    torch.manual_seed(0)
    one = Penalty(widths, PenaltyConfig(terms={"adversarial": 1.0}, width=8, layers=1))
    other = Penalty(widths, PenaltyConfig(terms={"l1": 1.0}))
    expected = 0.5 * one(latent) + 2 * other(latent)
    torch.testing.assert_close(both(latent), expected)
    torch.testing.assert_close(both.adversary_loss(latent), one.adversary_loss(latent))
    assert both.has_adversaries
    assert not other.has_adversaries


def test_penalty__is_computed_in_full_where_the_trunk_is_not() -> None:
    latent = latent_of()
    penalty = Penalty(
        {role: features.shape[1] for role, features in latent.items()},
        PenaltyConfig(terms={"adversarial": 1.0, "discriminator": 1.0, "l1": 1.0}, width=8, layers=1),
    )
    coarse = {role: features.bfloat16() for role, features in latent.items()}
    same = {role: features.float() for role, features in coarse.items()}
    torch.manual_seed(0)
    expected = penalty(same)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = penalty(coarse)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
