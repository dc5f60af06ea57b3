"""Networks that look for dependence between two subspaces: predictors, and a discriminator of re-paired rows.

Each has two faces. Its own loss, on features that it cannot change, trains it. `dependence` is what the sequence
model is charged for what it finds, through parameters that it cannot change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from mfdmodel.layers import perceptron
from mfdmodel.penalties.correlation import sum_squared_correlation


def _without_change(module: nn.Module, *inputs: Any) -> Any:
    """Call a module so that no gradient reaches its parameters and none of its statistics moves.

    Batch norm still works with the statistics of the batch, as in the adversary's own step, so that both players
    see one game.
    """
    state = {name: value.detach() for name, value in module.named_parameters()}
    state |= {name: value.clone() for name, value in module.named_buffers()}
    return functional_call(module, state, inputs)


def _network(n_in: int, n_out: int, *, width: int, layers: int) -> nn.Sequential:
    return perceptron((n_in, *[width] * layers, n_out), activation=nn.LeakyReLU, batch_norm=True)


def _check_two(widths: Mapping[str, int]) -> None:
    if len(widths) != 2:
        raise ValueError(f"{len(widths)} subspaces; dependence is of two")


class Predictors(nn.Module):
    """One perceptron a direction: each subspace is predicted from the other (equation 3).

    Parameters
    ----------
    widths
        Of the two subspaces, by role.
    width, layers
        Of the hidden layers (1024 and 3 in the paper).

    Raises
    ------
    ValueError
        If there are not two subspaces.
    """

    def __init__(self, widths: Mapping[str, int], *, width: int, layers: int) -> None:
        super().__init__()
        _check_two(widths)
        roles = tuple(widths)
        self.source = dict(zip(roles, reversed(roles), strict=True))
        """Role that each role is predicted from."""
        self.by_target = nn.ModuleDict(
            {
                role: _network(widths[self.source[role]], widths[role], width=width, layers=layers)
                for role in roles
            }
        )

    def forward(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict each subspace from the other.

        Parameters
        ----------
        latent
            By role, each ``(window, feature)``.

        Returns
        -------
        Predictions by the role predicted, of the same shapes.
        """
        return {role: module(latent[self.source[role]]) for role, module in self.by_target.items()}

    def play(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict as `forward` without being changed; gradients flow to `latent` alone."""
        predictions: dict[str, Tensor] = _without_change(self, latent)
        return predictions

    def dependence(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Compute minus L_indep of what the predictors find, 0 to the width of the latent."""
        return -independence(latent, self.play(latent))

    def loss(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Compute what the predictors minimise: L_indep on a latent that they cannot change."""
        fixed = {role: features.detach() for role, features in latent.items()}
        return independence(fixed, self(fixed))


def independence(latent: Mapping[str, Tensor], predictions: Mapping[str, Tensor]) -> Tensor:
    """Compute L_indep (equation 3): minus the squared correlations of features and predictions.

    Summed over features, not averaged, as in the paper: lambda is a price per feature that can be predicted.

    Returns
    -------
    A scalar, 0 where nothing can be predicted, minus the width of the latent where all can.
    """
    return -torch.stack(
        [sum_squared_correlation(latent[role], prediction) for role, prediction in predictions.items()]
    ).sum()


class Discriminator(nn.Module):
    """Tells rows of the two subspaces that are of one window from rows that were paired anew.

    Independent subspaces give it nothing to tell: its cross entropy is log 2.

    Parameters
    ----------
    widths
        Of the two subspaces, by role.
    width, layers
        Of the hidden layers.

    Raises
    ------
    ValueError
        If there are not two subspaces.
    """

    def __init__(self, widths: Mapping[str, int], *, width: int, layers: int) -> None:
        super().__init__()
        _check_two(widths)
        self.network = _network(sum(widths.values()), 1, width=width, layers=layers)

    def forward(self, latent: Mapping[str, Tensor], step: int) -> Tensor:
        """Compute the cross entropy of telling true from re-paired rows, in nats.

        Parameters
        ----------
        latent
            By role, each ``(window, feature)``.
        step
            Rows that one subspace is moved on by, from 1 to one less than there are: no row meets itself.
        """
        x, y = latent.values()
        # together, so that batch norm cannot tell them by their statistics
        rows = torch.cat([torch.cat([x, y], 1), torch.cat([x, y.roll(step, 0)], 1)])
        logits = self.network(rows.float()).squeeze(1)
        true = torch.zeros_like(logits)
        true[: len(x)] = 1
        return functional.binary_cross_entropy_with_logits(logits, true)

    def dependence(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Compute log 2 minus the cross entropy: what it knows of the pairing, in nats; at most log 2.

        Below 0 where it does worse than to guess, as it does on rows that it has learned nothing of.
        """
        entropy: Tensor = _without_change(self, latent, _draw_step(latent))
        return math.log(2) - entropy

    def loss(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Compute what the discriminator minimises: its cross entropy on a latent that it cannot change."""
        fixed = {role: features.detach() for role, features in latent.items()}
        entropy: Tensor = self(fixed, _draw_step(latent))
        return entropy


def _draw_step(latent: Mapping[str, Tensor]) -> int:
    n = len(next(iter(latent.values())))
    return int(torch.randint(1, n, ())) if n > 1 else 0
