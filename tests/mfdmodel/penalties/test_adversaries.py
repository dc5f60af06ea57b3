"""The game against dependences that were planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mfdmodel.config import PenaltyConfig
from mfdmodel.penalties.adversaries import Discriminator, Predictors, independence
from mfdmodel.penalties.correlation import sum_squared_correlation
from tests.mfdmodel.penalties.latents import latent_of, naive_sum


def predictors_of(latent: dict[str, Tensor]) -> Predictors:
    torch.manual_seed(0)
    return Predictors({role: features.shape[1] for role, features in latent.items()}, width=32, layers=2)


def test_predictors__have_the_published_shape() -> None:
    predictors = Predictors(
        {"biological": 768, "technical": 768}, width=PenaltyConfig().width, layers=PenaltyConfig().layers
    )
    for chain in predictors.by_target.values():
        linear = [part for part in chain if isinstance(part, nn.Linear)]
        assert [part.out_features for part in linear] == [1024, 1024, 1024, 768]
        assert sum(isinstance(part, nn.BatchNorm1d) for part in chain) == 3
        assert [part.negative_slope for part in chain if isinstance(part, nn.LeakyReLU)] == [0.01] * 3


def test_each_subspace__is_predicted_from_the_other() -> None:
    latent = latent_of()
    predictors = predictors_of(latent).eval()
    predictions = predictors(latent)
    assert {role: tuple(value.shape) for role, value in predictions.items()} == {
        "biological": (64, 5),
        "technical": (64, 3),
    }
    other = predictors(latent | {"technical": latent["technical"] + 1})
    assert not torch.allclose(other["biological"], predictions["biological"])
    assert torch.equal(other["technical"], predictions["technical"])


def test_independence__sums_both_directions() -> None:
    latent, predictions = latent_of(), latent_of(seed=1)
    expected = -sum(naive_sum(latent[role].numpy(), predictions[role].numpy()) for role in latent)
    assert independence(latent, predictions).item() == pytest.approx(expected, rel=1e-4)
    assert independence(latent, latent).item() == pytest.approx(-8, abs=1e-4)


def test_play__leaves_the_predictors_as_they_are() -> None:
    latent = {role: features.requires_grad_() for role, features in latent_of().items()}
    predictors = predictors_of(latent)
    before = {name: value.clone() for name, value in predictors.state_dict().items()}
    predictions = predictors.play(latent)
    independence(latent, predictions).backward()
    assert all(parameter.grad is None for parameter in predictors.parameters())
    assert all(torch.equal(before[name], value) for name, value in predictors.state_dict().items())
    assert all(features.grad is not None and features.grad.any() for features in latent.values())
    for role, prediction in predictors(latent).items():
        torch.testing.assert_close(prediction, predictions[role])


def test_predictor_loss__leaves_the_latent_alone() -> None:
    latent = {role: features.requires_grad_() for role, features in latent_of().items()}
    predictors = predictors_of(latent)
    predictors.loss(latent).backward()
    assert all(features.grad is None for features in latent.values())
    assert all(parameter.grad is not None for parameter in predictors.parameters())


def test_planted_dependence__is_found_by_the_adversary() -> None:
    latent = latent_of(512, (4, 4))
    free = {role: features.clone() for role, features in latent.items()}
    latent["technical"][:, 0] = latent["biological"][:, 2] ** 2  # no linear correlation at all
    found = {}
    for name, planted in (("planted", latent), ("free", free)):
        predictors = predictors_of(planted)
        optimizer = torch.optim.Adam(predictors.parameters(), lr=1e-2, amsgrad=True)
        start = predictors.loss(planted).item()
        for _ in range(40):
            loss = predictors.loss(planted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            predictions = predictors(planted)
        assert predictors.loss(planted).item() < start
        found[name] = sum_squared_correlation(
            planted["technical"][:, :1], predictions["technical"][:, :1]
        ).item()
    assert found["planted"] > 0.9
    assert found["free"] < 0.6


def test_game__removes_a_planted_dependence_from_the_features() -> None:
    """An encoder starts with a technical feature that copies a biological one; the price makes it let go."""
    torch.manual_seed(0)
    source = torch.randn(256, 4)
    encoder = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(4))
        encoder.weight[2] = encoder.weight[0]

    def latent() -> dict[str, Tensor]:
        s = encoder(source)
        return {"biological": s[:, :2], "technical": s[:, 2:]}

    def linear_dependence() -> float:
        together = torch.cat(list(latent().values()), 1).detach().numpy()
        return float((np.corrcoef(together.T)[:2, 2:] ** 2).sum())

    predictors = predictors_of(latent())
    players = {
        "predictors": torch.optim.Adam(predictors.parameters(), lr=1e-2, amsgrad=True),
        "encoder": torch.optim.Adam(encoder.parameters(), lr=1e-2, amsgrad=True),
    }
    assert linear_dependence() > 0.95
    for _ in range(150):
        features = latent()
        losses = {
            "predictors": predictors.loss(features),
        }
        players["predictors"].zero_grad()
        losses["predictors"].backward()
        players["predictors"].step()
        price = predictors.dependence(features)
        players["encoder"].zero_grad()
        price.backward()
        players["encoder"].step()
    assert linear_dependence() < 0.2


def test_two_subspaces__are_needed() -> None:
    with pytest.raises(ValueError, match="1 subspaces"):
        Predictors({"all": 4}, width=32, layers=2)


def discriminator_of(latent: dict[str, Tensor]) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator({role: features.shape[1] for role, features in latent.items()}, width=32, layers=2)


def trained(discriminator: Discriminator, latent: dict[str, Tensor], n_steps: int) -> float:
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    for _ in range(n_steps):
        optimizer.zero_grad()
        discriminator.loss(latent).backward()
        optimizer.step()
    with torch.no_grad():
        return float(np.mean([discriminator.dependence(latent).item() for _ in range(20)]))


def test_discriminator__is_the_mean_log_loss_of_true_and_moved_rows() -> None:
    latent = latent_of(20)
    discriminator = discriminator_of(latent).eval()
    x, y = (features.numpy() for features in latent.values())
    rows = np.concatenate([np.hstack([x, y]), np.hstack([x, np.concatenate([y[-3:], y[:-3]])])])
    with torch.no_grad():
        probability = torch.sigmoid(discriminator.network(torch.from_numpy(rows))).squeeze(1).double().numpy()
    true = np.arange(40) < 20
    expected = -np.log(np.where(true, probability, 1 - probability)).mean()
    assert discriminator(latent, 3).item() == pytest.approx(expected, rel=1e-5)


def test_discriminator__finds_what_is_dependent_and_only_that() -> None:
    free = latent_of(2000, (2, 2))
    planted = {role: features.clone() for role, features in free.items()}
    planted["technical"][:, 0] = planted["biological"][:, 1] ** 2 - 1
    assert trained(discriminator_of(planted), planted, 150) > 0.3
    # on rows that it was not trained on nothing is to be found
    discriminator = discriminator_of(free)
    trained(discriminator, free, 150)
    with torch.no_grad():
        assert discriminator.dependence(latent_of(2000, (2, 2), seed=9)).item() < 0.02


def test_discriminator__has_two_faces() -> None:
    latent = {role: features.requires_grad_() for role, features in latent_of().items()}
    discriminator = discriminator_of(latent)
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    dependence = discriminator.dependence(latent)
    assert dependence.item() <= math.log(2)
    dependence.backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert all(torch.equal(before[name], value) for name, value in discriminator.state_dict().items())
    assert all(features.grad is not None and features.grad.any() for features in latent.values())
    for features in latent.values():
        features.grad = None
    discriminator.loss(latent).backward()
    assert all(features.grad is None for features in latent.values())
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_discriminator__of_one_subspace_is_refused() -> None:
    with pytest.raises(ValueError, match="1 subspaces"):
        Discriminator({"all": 4}, width=32, layers=2)
