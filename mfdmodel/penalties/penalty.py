"""The independence penalty as configured: a weighted sum of terms, and one loss for all adversaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, assert_never, cast

import torch
from torch import Tensor, nn

from mfdmodel.config import PenaltyConfig, PenaltyTerm
from mfdmodel.penalties.adversaries import Discriminator, Predictors
from mfdmodel.penalties.covariance import CrossCovariance, ProjectedCovariance


class Term(Protocol):
    """One measure of dependence: a module."""

    def dependence(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Measure, a scalar; gradients flow to the latent alone, by role, each ``(window, feature)``."""
        ...


class Adversary(Term, Protocol):
    """A term that has something to learn."""

    def loss(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Compute what it minimises; no gradient flows to the latent."""
        ...


class Penalty(nn.Module):
    """What the sequence model is charged for dependence, before lambda.

    Always computed in float32: correlations of numbers with 8 bits are their rounding.

    Parameters
    ----------
    widths
        Of the two subspaces, by role.
    config
        Terms, their weights, and the shape of their networks.
    """

    def __init__(self, widths: Mapping[str, int], config: PenaltyConfig) -> None:
        super().__init__()
        self.terms = nn.ModuleDict({name: _make(name, widths, config) for name in config.terms})
        self._weights = dict(config.terms)

    @property
    def has_adversaries(self) -> bool:
        """Whether any term has something to learn."""
        return any(True for _ in self.parameters())

    def adversary_loss(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Sum the losses of all adversaries; each has parameters of its own, so weights would change nothing."""
        with _in_full(latent):
            losses = [
                cast("Adversary", term).loss(_float(latent))
                for term in self.terms.values()
                if any(True for _ in term.parameters())
            ]
        return torch.stack(losses).sum()

    def forward(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Measure dependence: the weighted sum of the terms.

        Parameters
        ----------
        latent
            By role, each ``(window, feature)``; gradients flow to it alone.

        Returns
        -------
        A scalar. With the adversarial term alone it is minus L_indep (equation 3).
        """
        with _in_full(latent):
            measured = [
                self._weights[cast("PenaltyTerm", name)] * cast("Term", term).dependence(_float(latent))
                for name, term in self.terms.items()
            ]
        return torch.stack(measured).sum()


def _make(name: PenaltyTerm, widths: Mapping[str, int], config: PenaltyConfig) -> nn.Module:
    match name:
        case "adversarial":
            return Predictors(widths, width=config.width, layers=config.layers)
        case "discriminator":
            return Discriminator(widths, width=config.width, layers=config.layers)
        case "frobenius" | "l1":
            return CrossCovariance(name)
        case "projections":
            return ProjectedCovariance(config.projections)
    assert_never(name)


def _in_full(latent: Mapping[str, Tensor]) -> torch.autocast:
    device = next(iter(latent.values())).device.type
    return torch.autocast(device, enabled=False)


def _float(latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        role: features.to(torch.promote_types(features.dtype, torch.float32))
        for role, features in latent.items()
    }
