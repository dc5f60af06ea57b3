"""The independence penalty: how much of one subspace a predictor finds in the other (paper, section 2.2).

Two players share one quantity, `independence`, L_indep of equation 3, which is minus the squared
correlations. The predictors minimise it (`predictor_loss`); the sequence model minimises cross entropy minus
lambda times it (`sequence_loss`, equation 4), so that it pays for what the predictors find.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from mfdmodel.config import PenaltyConfig
from mfdmodel.layers import perceptron


def sum_squared_correlation(x: Tensor, y: Tensor, *, sample_deviation: bool = False) -> Tensor:
    """Sum the squared Pearson correlations between columns of equal index, over the rows (equation 3).

    A column without spread correlates with nothing: it adds zero. Computed in float32 at least, whatever the
    inputs are.

    Parameters
    ----------
    x, y
        Shape ``(window, feature)``, of one mini-batch.
    sample_deviation
        Divide the covariance (over n rows) by standard deviations over n - 1, as the authors' code does. It
        makes the sum smaller by ``((n - 1) / n) ** 2``.

    Returns
    -------
    A scalar between 0 and the number of features.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    n = x.shape[0]
    correlation = (_standardise(x) * _standardise(y)).mean(0)
    total = correlation.square().sum()
    return total * ((n - 1) / n) ** 2 if sample_deviation else total


def _standardise(x: Tensor) -> Tensor:
    """Centre and scale columns over the rows."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = x.mean(0)
    centred = x - mean
    # a column counts as constant where its spread is no more than the rounding of its mean
    floor = (1e-6 * mean.detach()).square() + 1e-20
    return centred * torch.rsqrt(torch.maximum(centred.square().mean(0), floor))


class Predictors(nn.Module):
    """One perceptron a direction: each subspace is predicted from the other.

    Parameters
    ----------
    widths
        Of the two subspaces, by role.
    config
        Number and width of the hidden layers.

    Raises
    ------
    ValueError
        If there are not two subspaces.
    """

    def __init__(self, widths: Mapping[str, int], config: PenaltyConfig) -> None:
        super().__init__()
        if len(widths) != 2:
            raise ValueError(f"{len(widths)} subspaces; a direction joins two")
        roles = tuple(widths)
        self.source = dict(zip(roles, reversed(roles), strict=True))
        """Role that each role is predicted from."""
        self.by_target = nn.ModuleDict(
            {
                role: perceptron(
                    (widths[self.source[role]], *[config.width] * config.layers, widths[role]),
                    activation=nn.LeakyReLU,
                    batch_norm=True,
                )
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
        """Predict without being changed: no gradient reaches the parameters, none moves a statistic.

        The sequence model's step uses this. Batch norm still works with the statistics of the batch, as in
        the predictors' own step, so that both players see one game.

        Returns
        -------
        As `forward`; gradients flow to `latent` alone.
        """
        state = {name: value.detach() for name, value in self.named_parameters()}
        state |= {name: value.clone() for name, value in self.named_buffers()}
        predictions: dict[str, Tensor] = functional_call(self, state, (latent,))
        return predictions


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


def predictor_loss(predictors: Predictors, latent: Mapping[str, Tensor]) -> Tensor:
    """Compute what the predictors minimise: L_indep on a latent that they cannot change."""
    fixed = {role: features.detach() for role, features in latent.items()}
    return independence(fixed, predictors(fixed))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Average the binary cross entropy over windows and experiments (equation 4, its sign mended)."""
    return functional.binary_cross_entropy_with_logits(logits, labels)


def sequence_loss(entropy: Tensor, l_indep: Tensor, lambda_indep: float) -> Tensor:
    """Compute what the sequence model minimises: cross entropy minus lambda times L_indep (equation 4).

    L_indep is negative, so the second term is a price: lambda times the squared correlations.
    """
    return entropy - lambda_indep * l_indep
