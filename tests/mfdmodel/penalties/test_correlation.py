"""The correlations against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mfdmodel.penalties.correlation import sum_squared_correlation
from tests.mfdmodel.penalties.latents import naive_sum


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
