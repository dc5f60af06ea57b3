"""The penalty against numpy, and the game against dependences that were planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch import Tensor, nn

from mfdmodel.config import PenaltyConfig
from mfdmodel.penalties import (
    Predictors,
    cross_entropy,
    independence,
    predictor_loss,
    sequence_loss,
    sum_squared_correlation,
)

SMALL = PenaltyConfig(width=32, layers=2)


def naive_sum(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(np.corrcoef(x[:, i], y[:, i])[0, 1] ** 2 for i in range(x.shape[1])))


@given(
    n=st.integers(3, 40),
    n_features=st.integers(1, 6),
    scale=st.sampled_from([1e-5, 1.0, 1e6]),
    offset=st.sampled_from([0.0, -3.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_sum_squared_correlation__agrees_with_numpy(
    n: int, n_features: int, scale: float, offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_features))
    y = 0.5 * x + rng.normal(size=(n, n_features))
    x, y = scale * (x + offset), y - offset
    ours = sum_squared_correlation(torch.from_numpy(x), torch.from_numpy(y))
    assert ours.item() == pytest.approx(naive_sum(x, y), rel=1e-6, abs=1e-9)
    single = sum_squared_correlation(torch.from_numpy(x).float(), torch.from_numpy(y).float())
    assert single.item() == pytest.approx(naive_sum(x, y), rel=2e-3, abs=1e-3)
    assert single.dtype == torch.float32
    authors = sum_squared_correlation(torch.from_numpy(x), torch.from_numpy(y), sample_deviation=True)
    covariance = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
    expected = ((covariance / (x.std(0, ddof=1) * y.std(0, ddof=1))) ** 2).sum()
    assert authors.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_sum_squared_correlation__is_invariant_to_scale_shift_and_sign() -> None:
    x = torch.randn(50, 4, dtype=torch.float64)
    y = x * torch.tensor([1.0, -2.0, 1e-3, 50.0]) + 7
    assert sum_squared_correlation(x, y).item() == pytest.approx(4, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 1.0, -123.456])
def test_column_without_spread__adds_zero_and_keeps_gradients_finite(constant: float) -> None:
    x = torch.randn(30, 2)
    y = x.clone()
    y[:, 1] = constant
    y.requires_grad_()
    total = sum_squared_correlation(x, y)
    assert total.item() == pytest.approx(1, abs=1e-4)
    total.backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()


def test_gradient__is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    x, y = (torch.randn(7, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(sum_squared_correlation, (x, y))


def test_half_precision__is_summed_in_single() -> None:
    x, y = torch.randn(64, 3), torch.randn(64, 3)
    half = sum_squared_correlation(x.bfloat16(), y.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(
        naive_sum(x.bfloat16().float().numpy(), y.bfloat16().float().numpy()), rel=1e-3
    )


def test_shapes_that_differ__are_an_error() -> None:
    with pytest.raises(ValueError, match="differ"):
        sum_squared_correlation(torch.zeros(3, 2), torch.zeros(3, 1))


def latent_of(n: int = 64, widths: tuple[int, int] = (5, 3), seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        role: torch.randn(n, width, generator=generator)
        for role, width in zip(("biological", "technical"), widths, strict=True)
    }


def predictors_of(latent: dict[str, Tensor], config: PenaltyConfig = SMALL) -> Predictors:
    torch.manual_seed(0)
    return Predictors({role: features.shape[1] for role, features in latent.items()}, config)


def test_predictors__have_the_published_shape() -> None:
    predictors = Predictors({"biological": 768, "technical": 768}, PenaltyConfig())
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


def test_sequence_loss__charges_lambda_a_predicted_feature() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((20, 3)) < 0.3
    logits = rng.normal(size=(20, 3))
    entropy = cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels.astype(np.float64)))
    probability = 1 / (1 + np.exp(-logits.ravel()))
    assert entropy.item() == pytest.approx(log_loss(labels.ravel(), probability), rel=1e-9)
    latent = latent_of()
    l_indep = independence(latent, latent)
    assert sequence_loss(entropy, l_indep, 0.01).item() == pytest.approx(entropy.item() + 0.01 * 8, abs=1e-5)
    assert sequence_loss(entropy, l_indep, 0.0).item() == pytest.approx(entropy.item())


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
    predictor_loss(predictors, latent).backward()
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
        start = predictor_loss(predictors, planted).item()
        for _ in range(40):
            loss = predictor_loss(predictors, planted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            predictions = predictors(planted)
        assert predictor_loss(predictors, planted).item() < start
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
            "predictors": predictor_loss(predictors, features),
        }
        players["predictors"].zero_grad()
        losses["predictors"].backward()
        players["predictors"].step()
        price = sequence_loss(torch.zeros(()), independence(features, predictors.play(features)), 1.0)
        players["encoder"].zero_grad()
        price.backward()
        players["encoder"].step()
    assert linear_dependence() < 0.2


def test_two_subspaces__are_needed() -> None:
    with pytest.raises(ValueError, match="1 subspaces"):
        Predictors({"all": 4}, SMALL)
