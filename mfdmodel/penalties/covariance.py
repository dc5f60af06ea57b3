"""Dependence without an adversary: correlations between all pairs of features of two subspaces.

These see linear dependence alone. A technical feature that is the square of a biological one has no covariance with
it; the adversaries (`predictors`, `discriminator`) find that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from mfdmodel.penalties.correlation import standardise

Norm = Literal["frobenius", "l1"]


class CrossCovariance(nn.Module):
    """Norm of the cross-covariance of z-scored subspaces, whose entries are correlations.

    Independent features give n windows a sum of squares of (biological x technical) / n, not 0.

    Parameters
    ----------
    norm
        ``frobenius``: the sum of squares, that is the squared Frobenius norm; ``l1``: the sum of absolute values.
    """

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.norm = norm

    def dependence(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Sum over all pairs of features, one of either subspace.

        Parameters
        ----------
        latent
            By role, each ``(window, feature)``.

        Returns
        -------
        A scalar, from 0 to the number of pairs.
        """
        x, y = (standardise(features) for features in latent.values())
        covariance = x.T @ y / len(x)
        match self.norm:
            case "frobenius":
                return covariance.square().sum()
            case "l1":
                return covariance.abs().sum()
        assert_never(self.norm)


class ProjectedCovariance(nn.Module):
    """The squared Frobenius norm of the cross-covariance, estimated from random directions.

    Drawn anew at each step: unit vectors u and v of either subspace, and the squared covariance of the projections,
    averaged over draws and multiplied by the number of pairs of features. Its expectation over directions is
    `CrossCovariance`'s; its cost grows with the width, not its square.

    Parameters
    ----------
    n_projections
        Pairs of directions drawn at each step.
    """

    def __init__(self, n_projections: int) -> None:
        super().__init__()
        self.n_projections = n_projections

    def dependence(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Estimate the sum over all pairs of features; draws from torch's global generator.

        Parameters
        ----------
        latent
            By role, each ``(window, feature)``.
        """
        scale, projected = 1.0, []
        for features in latent.values():
            z = standardise(features)
            drawn = torch.randn(z.shape[1], self.n_projections, device=z.device, dtype=z.dtype)
            projected.append(z @ functional.normalize(drawn, dim=0))
            scale *= z.shape[1]
        x, y = projected
        return scale * (x * y).mean(0).square().mean()
