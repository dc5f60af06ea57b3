"""The cross-covariance against numpy, and what it misses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mfdmodel.penalties.covariance import CrossCovariance, ProjectedCovariance
from tests.mfdmodel.penalties.latents import latent_of


def correlations(latent: dict[str, torch.Tensor]) -> np.ndarray:
    x, y = (features.detach().double().numpy() for features in latent.values())
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


@given(n=st.integers(3, 60), widths=st.tuples(st.integers(1, 6), st.integers(1, 6)), seed=st.integers(0, 999))
def test_cross_covariance__is_that_of_numpys_correlations(n: int, widths: tuple[int, int], seed: int) -> None:
    latent = latent_of(n, widths, seed)
    expected = correlations(latent)
    frobenius, l1 = (CrossCovariance(norm).dependence(latent).item() for norm in ("frobenius", "l1"))
    assert frobenius == pytest.approx(np.linalg.norm(expected, "fro") ** 2, rel=1e-4, abs=1e-6)
    assert l1 == pytest.approx(np.abs(expected).sum(), rel=1e-4, abs=1e-6)


def test_projections__estimate_the_frobenius_norm() -> None:
    latent = latent_of(100, (7, 5))
    latent["technical"][:, 0] += latent["biological"][:, 3]
    torch.manual_seed(0)
    drawn = [ProjectedCovariance(500).dependence(latent).item() for _ in range(60)]
    expected = np.linalg.norm(correlations(latent), "fro") ** 2
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(np.mean(drawn) - expected) < 4 * error
    assert error < 0.02 * expected


@pytest.mark.parametrize(
    "term", [CrossCovariance("frobenius"), CrossCovariance("l1"), ProjectedCovariance(8)]
)
def test_gradient__is_that_of_finite_differences(term: torch.nn.Module) -> None:
    def dependence(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return term.dependence({"biological": x, "technical": y})

    torch.manual_seed(0)
    x, y = (torch.randn(9, n, dtype=torch.float64, requires_grad=True) for n in (3, 2))
    assert torch.autograd.gradcheck(dependence, (x, y))


def test_cross_covariance__misses_what_is_not_linear() -> None:
    latent = latent_of(5000, (1, 1))
    latent["technical"] = latent["biological"] ** 2 - 1  # a function of the other subspace
    assert CrossCovariance("frobenius").dependence(latent).item() < 0.01
    assert CrossCovariance("l1").dependence(latent).item() < 0.1
