"""The sequence model: features of a window times weights of an experiment (paper, equations 1 and 2).

MFD and the two models it is compared with are one class with other parts:

    kind           features               weights
    mfd            trunk                  from metadata, one subspace a role
    linear_head    trunk                  free, one subspace
    dinucleotides  frequencies of codes   free, one subspace
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mfdmodel.config import ModelConfig
from mfdmodel.factors import FactorCoding
from mfdmodel.trunk import Trunk
from mfdmodel.weights import FreeWeights, metadata_weights
from mfdstore.dinucleotides import N_CODES
from mfdstore.metadata import FactorTable

ALL: Final = "all"
"""Name of the one subspace of a model without metadata."""

_LEAST_FREQUENCY: Final = 1e-6


class Weights(Protocol):
    """What makes the weights of one subspace: a module without input."""

    n_features: int
    feature_names: tuple[str, ...]

    def __call__(self) -> Tensor:
        """Return weights, shape ``(experiment, feature)``."""
        ...


class DinucleotideFrequencies(nn.Module):
    """Features of the simplest baseline: how often each dinucleotide occurs in the window, standardised."""

    def __init__(self) -> None:
        super().__init__()
        self.n_latent = N_CODES
        self.norm = nn.BatchNorm1d(N_CODES, affine=False)

    def forward(self, one_hot: Tensor) -> Tensor:
        """Count, shape ``(window, dinucleotide, position)`` to ``(window, latent)``; a blank is none."""
        standardised: Tensor = self.norm(one_hot.mean(-1))
        return standardised


class SequenceModel(nn.Module):
    """Logits of all experiments for a window, as a sum over subspaces (equation 2).

    Parameters
    ----------
    features
        Maps one-hot dinucleotides to the latent, ``(window, latent)``.
    weights
        By role, in the order in which the subspaces lie in the latent.
    bias
        Of each experiment to start from, shape ``(experiment,)``.
    codings
        Of the factors that the weights are made from, by name; empty where there are none.
    signal_to_noise
        Whether each experiment has a learned factor on what its features add up to; it starts at 1.
    """

    def __init__(
        self,
        features: nn.Module,
        weights: Mapping[str, nn.Module],
        *,
        bias: Tensor,
        codings: Mapping[str, FactorCoding],
        signal_to_noise: bool = False,
    ) -> None:
        super().__init__()
        self.features = features
        self.weights = nn.ModuleDict(dict(weights))
        self.bias = nn.Parameter(bias)
        self.log_signal = nn.Parameter(torch.zeros_like(bias)) if signal_to_noise else None
        self.codings = dict(codings)
        self.widths: dict[str, int] = {role: part.n_features for role, part in self._parts().items()}
        """Width of each subspace, by role."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of the subspaces, in the order of the latent."""
        return tuple(self.widths)

    @property
    def n_experiments(self) -> int:
        """Number of outputs."""
        return len(self.bias)

    @property
    def direct_features(self) -> dict[str, tuple[str, ...]]:
        """Names of the features that belong to one metadata value, by role; first in their subspace."""
        return {role: part.feature_names for role, part in self._parts().items()}

    def latent(self, one_hot: Tensor) -> dict[str, Tensor]:
        """Compute the features of windows, by role.

        Parameters
        ----------
        one_hot
            Shape ``(window, dinucleotide, position)``.

        Returns
        -------
        By role, each of shape ``(window, feature)``.
        """
        parts = torch.split(self.features(one_hot), list(self.widths.values()), dim=1)
        return dict(zip(self.widths, parts, strict=True))

    def logits_by_role(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute what each subspace adds to the logits, without bias, ``(window, experiment)`` each."""
        added = {role: functional.linear(latent[role], part()) for role, part in self._parts().items()}
        if self.log_signal is None:
            return added
        signal = self.log_signal.exp()
        return {role: signal * logits for role, logits in added.items()}

    def logits(self, latent: Mapping[str, Tensor]) -> Tensor:
        """Sum what the subspaces add, and the bias, shape ``(window, experiment)``."""
        return torch.stack(list(self.logits_by_role(latent).values())).sum(0) + self.bias

    def forward(self, one_hot: Tensor) -> Tensor:
        """Compute the logits of windows, ``(window, dinucleotide, position)`` to ``(window, experiment)``."""
        return self.logits(self.latent(one_hot))

    def _parts(self) -> dict[str, Weights]:
        return {role: cast("Weights", part) for role, part in self.weights.items()}


def log_odds(frequency: NDArray[np.float64]) -> Tensor:
    """Compute the bias at which an experiment's prediction is its frequency; frequencies 0 and 1 stay finite.

    Parameters
    ----------
    frequency
        Share of the windows that hold a label, shape ``(experiment,)``.
    """
    p = np.clip(frequency, _LEAST_FREQUENCY, 1 - _LEAST_FREQUENCY)
    return torch.from_numpy((np.log(p) - np.log1p(-p)).astype(np.float32))


def build_model(
    config: ModelConfig,
    *,
    factors: FactorTable,
    positive_fraction: NDArray[np.float64],
    held_out: NDArray[np.bool_] | None = None,
) -> SequenceModel:
    """Build an untrained model for the experiments of a store; draws from torch's global generator.

    Parameters
    ----------
    config
        Kind and shape.
    factors
        Of the experiments.
    positive_fraction
        Share of the training windows that hold a label, shape ``(experiment,)``.
    held_out
        Experiments that no loss will see, shape ``(experiment,)``; `None` where all are trained. What only they say of
        themselves is coded as missing.

    Raises
    ------
    ConfigError
        If the grouping does not fit the factors.
    ValueError
        If there is not one fraction an experiment.
    """
    if positive_fraction.shape != (len(factors),):
        raise ValueError(f"fractions of shape {positive_fraction.shape} for {len(factors)} experiments")
    features: nn.Module = DinucleotideFrequencies() if config.kind == "dinucleotides" else Trunk(config.trunk)
    n_latent = N_CODES if config.kind == "dinucleotides" else config.trunk.n_latent
    weights: dict[str, nn.Module] = {ALL: FreeWeights(len(factors), n_latent)}
    codings: dict[str, FactorCoding] = {}
    if config.kind == "mfd" and config.head is not None:
        by_role, codings = metadata_weights(
            config.head,
            factors,
            n_latent,
            fitted=np.ones(len(factors), np.bool_) if held_out is None else ~held_out,
        )
        weights = {role: part for role, part in by_role.items()}
    return SequenceModel(
        features,
        weights,
        bias=log_odds(positive_fraction),
        codings=codings,
        signal_to_noise=config.kind == "mfd" and config.head is not None and config.head.signal_to_noise,
    )
