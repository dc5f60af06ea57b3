"""Layers against their definition in numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import nn

from mfdmodel.layers import ConvBlock, Residual, convolution, max_pool, perceptron


def image(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32)).unsqueeze(2)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (5, 1), (3, 2), (3, 4)])
def test_convolution__sees_its_neighbours_and_zeros_beyond_the_ends(kernel: int, dilation: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 20))
    layer = convolution(3, 4, kernel=kernel, dilation=dilation, bias=True)
    weight, bias = layer.weight.detach().numpy()[:, :, 0], layer.bias.detach().numpy()
    expected = np.zeros((2, 4, 20))
    for position in range(20):
        for tap in range(kernel):
            source = position + (tap - kernel // 2) * dilation
            if 0 <= source < 20:
                expected[:, :, position] += x[:, :, source] @ weight[:, :, tap].T
    expected += bias[:, None]
    np.testing.assert_allclose(layer(image(x)).detach().numpy()[:, :, 0], expected, atol=1e-5)


def test_conv_block__normalises_then_activates_then_convolves() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(3.0, 2.0, size=(8, 3, 16))
    block = ConvBlock(3, 5, kernel=1)
    mean, deviation = x.mean((0, 2), keepdims=True), x.std((0, 2), keepdims=True)
    z = (x - mean) / deviation
    # the tanh form lies within 5e-4 of the exact GELU
    exact = z * 0.5 * (1 + erf(z / np.sqrt(2)))
    activated = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    assert np.abs(exact - activated).max() < 5e-4
    weight = block[2].weight.detach().numpy()[:, :, 0, 0]
    expected = np.einsum("oc,wcp->wop", weight, activated)
    np.testing.assert_allclose(block(image(x)).detach().numpy()[:, :, 0], expected, atol=1e-4)
    assert block[2].bias is None


def test_conv_block__drops_in_training_only() -> None:
    block = ConvBlock(2, 4, kernel=1, dropout=0.5)
    x = torch.randn(16, 2, 1, 10)
    assert (block(x) == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert not (block.eval()(x) == 0).any()
    assert not any(isinstance(part, nn.Dropout) for part in ConvBlock(2, 4, kernel=1))


def test_residual__adds_its_input() -> None:
    x = torch.randn(2, 3, 1, 4)
    double = Residual(nn.Identity())
    torch.testing.assert_close(double(x), 2 * x)


def test_max_pool__takes_the_larger_of_neighbours_and_drops_a_rest() -> None:
    x = torch.tensor([1.0, 5.0, 2.0, -1.0, 9.0])[None, None, None]
    assert max_pool(2)(x).flatten().tolist() == [5.0, 2.0]


def test_perceptron__has_activations_between_layers_only() -> None:
    chain = perceptron((3, 4, 4, 2), activation=nn.ReLU, batch_norm=True)
    kinds = [type(part).__name__ for part in chain]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    plain = perceptron((3, 4, 2), activation=nn.ReLU)
    x = torch.randn(5, 3)
    hidden = torch.relu(x @ plain[0].weight.T + plain[0].bias)
    torch.testing.assert_close(plain(x), hidden @ plain[2].weight.T + plain[2].bias)
