"""The losses against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mfdmodel.penalties.adversaries import independence
from mfdmodel.penalties.losses import cross_entropy, sequence_loss
from tests.mfdmodel.penalties.latents import latent_of


def test_sequence_loss__charges_lambda_a_predicted_feature() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((20, 3)) < 0.3
    logits = rng.normal(size=(20, 3))
    entropy = cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels.astype(np.float64)))
    probability = 1 / (1 + np.exp(-logits.ravel()))
    assert entropy.item() == pytest.approx(log_loss(labels.ravel(), probability), rel=1e-9)
    latent = latent_of()
    penalty = -independence(latent, latent)
    assert sequence_loss(entropy, penalty, 0.01).item() == pytest.approx(entropy.item() + 0.01 * 8, abs=1e-5)
    assert sequence_loss(entropy, penalty, 0.0).item() == pytest.approx(entropy.item())


def test_cross_entropy__weighs_experiments_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(1)
    labels, logits = rng.random((30, 4)) < 0.4, rng.normal(size=(30, 4))
    weights = np.array([2.0, 0.0, 0.5, 1.5])
    probability = 1 / (1 + np.exp(-logits))
    expected = log_loss(labels.ravel(), probability.ravel(), sample_weight=np.tile(weights, 30))
    found = cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels.astype(float)), torch.from_numpy(weights)
    )
    assert found.item() == pytest.approx(expected, rel=1e-9)
    alike = cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels.astype(float)), torch.ones(4))
    assert alike.item() == pytest.approx(log_loss(labels.ravel(), probability.ravel()), rel=1e-9)


def test_cross_entropy__of_weight_0_gives_no_gradient() -> None:
    logits = torch.randn(8, 3, requires_grad=True)
    cross_entropy(logits, torch.ones(8, 3), torch.tensor([1.0, 0.0, 2.0])).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1] == 0).all()
    assert (logits.grad[:, [0, 2]] != 0).all()
