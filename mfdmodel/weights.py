"""Weights of the experiments, made from their factors (paper, section 2.1 and figure 1b; equations 1 and 2).

Each factor is coded, passes its intermediate map, and enters a subspace in one or both of two ways:
``direct``, its columns are weights as they are, so that one latent feature belongs to one of its values; or
``interact``, its columns go together with those of others through a perceptron that makes the weights of the
remaining features.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfdmodel.config import FactorConfig, HeadConfig, SubspaceConfig
from mfdmodel.factors import FactorCoding, fit_coding
from mfdmodel.layers import perceptron
from mfdstore.errors import ConfigError
from mfdstore.metadata import FactorTable
from mfdstore.schema import ROLES, Role

_log = logging.getLogger(__name__)


class Rescale(nn.Module):
    """Multiply columns by learned factors: one for all, or one each; they start at 1."""

    def __init__(self, n_factors: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_factors))

    def forward(self, columns: Tensor) -> Tensor:
        """Scale columns, shape ``(experiment, column)``."""
        return columns * self.scale


def intermediate_map(config: FactorConfig, n_columns: int) -> tuple[nn.Module, int]:
    """Make the map that a factor's columns pass, and say how many columns leave it (figure 1b: f and h)."""
    match config.map:
        case "none":
            return nn.Identity(), n_columns
        case "rescale":
            return Rescale(1), n_columns
        case "rescale_columns":
            return Rescale(n_columns), n_columns
        case "linear":
            assert config.width is not None  # held by FactorConfig
            return nn.Linear(n_columns, config.width), config.width
        case "embed":
            assert config.width is not None
            hidden = 2 * config.width
            return perceptron((n_columns, hidden, hidden, config.width), activation=nn.ReLU), config.width
    assert_never(config.map)


class SubspaceWeights(nn.Module):
    """Weights of all experiments for the features of one subspace.

    Parameters
    ----------
    config
        Names of the factors, and the width of the perceptron.
    maps
        How each factor is mapped.
    codings
        Of the factors named, by name.
    coded
        Of the experiments, by name, each of shape ``(experiment, column)``.
    n_features
        Width of the subspace.
    role
        For messages.

    Raises
    ------
    ConfigError
        If the direct factors need more features than there are, or none is left for the interacting ones.
    """

    def __init__(
        self,
        config: SubspaceConfig,
        *,
        maps: Mapping[str, FactorConfig],
        codings: Mapping[str, FactorCoding],
        coded: Mapping[str, NDArray[np.float32]],
        n_features: int,
        role: Role,
    ) -> None:
        super().__init__()
        self.direct = config.direct
        self.interact = config.interact
        self.n_features = n_features
        names = tuple(dict.fromkeys((*config.direct, *config.interact)))
        # by number, as a factor's name may hold what the name of a module may not
        self.names = names
        self.maps = nn.ModuleList()
        widths = {}
        for index, name in enumerate(names):
            module, widths[name] = intermediate_map(maps[name], len(codings[name]))
            self.maps.append(module)
            self.register_buffer(f"coded_{index}", torch.from_numpy(coded[name]))
        self.n_direct = sum(widths[name] for name in config.direct)
        if self.n_direct >= n_features:
            raise ConfigError(
                f"the {role} subspace",
                found=f"{self.n_direct} direct features ({', '.join(config.direct)}), {n_features} in all",
                expected="fewer, so that the interacting factors have features too",
                remedy="Raise trunk.channels, change head.biological_share, or list fewer factors as direct.",
            )
        hidden = 2 * config.out_dim
        self.mapping = perceptron(
            (sum(widths[name] for name in config.interact), hidden, hidden, n_features - self.n_direct),
            activation=nn.ReLU,
        )
        self.feature_names = tuple(
            f"{name}={value}"
            if maps[name].map in ("none", "rescale", "rescale_columns")
            else f"{name}:{value}"
            for name in config.direct
            for value in _column_names(codings[name], widths[name], maps[name])
        )
        """Of the direct features: ``target=CTCF``; ``target:0`` where the map is linear or embed."""

    def code_untrained_as_missing(self, trained: Tensor) -> None:
        """Forget values that no trained experiment has: what multiplies their columns was never trained.

        Parameters
        ----------
        trained
            True for experiments that a loss saw, shape ``(experiment,)``.
        """
        for index in range(len(self.names)):
            columns = self.get_buffer(f"coded_{index}")
            columns *= (columns[trained] != 0).any(0)

    def forward(self, coded: Mapping[str, Tensor] | None = None) -> Tensor:
        """Make the weights.

        Parameters
        ----------
        coded
            Of other experiments than those of the model, by factor, each ``(experiment, column)``.

        Returns
        -------
        Shape ``(experiment, feature)``: direct features first.
        """
        mapped = {
            name: module(getattr(self, f"coded_{index}") if coded is None else coded[name])
            for index, (name, module) in enumerate(zip(self.names, self.maps, strict=True))
        }
        interact: Tensor = self.mapping(torch.cat([mapped[name] for name in self.interact], 1))
        return torch.cat([*(mapped[name] for name in self.direct), interact], 1)


class FreeWeights(nn.Module):
    """Weights that are parameters themselves: the linear head of the models without metadata."""

    def __init__(self, n_experiments: int, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        bound = n_features**-0.5  # as a linear layer starts
        self.weight = nn.Parameter(torch.empty(n_experiments, n_features).uniform_(-bound, bound))
        self.feature_names: tuple[str, ...] = ()

    def forward(self) -> Tensor:
        """Return the weights, shape ``(experiment, feature)``."""
        return self.weight


def subspace_widths(n_latent: int, head: HeadConfig) -> dict[Role, int]:
    """Cut the latent by role: a number of features for biology where it is said, else a share.

    Raises
    ------
    ConfigError
        If one of them would be empty.
    """
    named = head.biological_width is not None
    biological = head.biological_width or round(n_latent * head.biological_share)
    if not 0 < biological < n_latent:
        name = "biological_width" if named else "biological_share"
        raise ConfigError(
            f"model.head.{name}",
            found=f"{getattr(head, name)}, which makes {biological} of {n_latent} features biological",
            expected="at least one feature in each subspace",
            remedy="Choose a smaller number." if named else "Choose a share nearer to 0.5.",
        )
    return {"biological": biological, "technical": n_latent - biological}


def metadata_weights(
    head: HeadConfig, factors: FactorTable, n_latent: int, *, fitted: NDArray[np.bool_]
) -> tuple[dict[Role, SubspaceWeights], dict[str, FactorCoding]]:
    """Build the weights of both subspaces for the experiments of a store.

    Codings are fitted on the experiments that a loss will see. A value that only others have has no column that would
    ever be trained: it is coded as missing.

    Optional factors that the store lacks are left out, and so are factors of which nothing is known. A factor
    that is the same for all experiments stays where it is direct (its one value keeps its feature) and is left
    out where it would interact (it tells no experiment from another). What is left out is logged.

    Parameters
    ----------
    head
        The grouping.
    factors
        Of all experiments.
    n_latent
        Features to be shared out.
    fitted
        True for the experiments that codings are fitted on, shape ``(experiment,)``.

    Returns
    -------
    The modules by role, and the codings of all factors used, by name.

    Raises
    ------
    ConfigError
        If a factor that is not optional is absent, or no interacting factor of a subspace varies.
    """
    _refuse_absent(head, factors)
    codings = _fit_codings(head, factors, fitted)
    coded = {name: coding.encode(factors[name]) for name, coding in codings.items()}
    known = [name for name in codings if len(codings[name])]
    varying = [name for name in known if np.ptp(coded[name][fitted], axis=0).any()]
    widths = subspace_widths(n_latent, head)
    modules: dict[Role, SubspaceWeights] = {}
    for role in ROLES:
        config = head.subspaces[role]
        direct = tuple(
            name for name in config.direct if name in (known if _has_values(codings, name) else varying)
        )
        interact = tuple(name for name in config.interact if name in varying)
        for key, listed, kept in (("direct", config.direct, direct), ("interact", config.interact, interact)):
            for name in listed:
                if name not in kept:
                    why = "not in the store" if name not in factors else _why_left_out(known, name)
                    _log.info("%s factor %s (%s) is left out: %s", role, name, key, why)
        if not interact:
            raise ConfigError(
                f"model.head.subspaces.{role}.interact",
                found=f"no factor that differs between experiments among {', '.join(config.interact)}",
                expected="at least one",
                remedy=f"The store has {', '.join(factors.names)}: list one that varies, "
                "or train a model without metadata (kind linear_head).",
            )
        modules[role] = SubspaceWeights(
            config.model_copy(update={"direct": direct, "interact": interact}),
            maps={name: head.factor(name) for name in (*direct, *interact)},
            codings=codings,
            coded=coded,
            n_features=widths[role],
            role=role,
        )
    used = {name for module in modules.values() for name in module.names}
    return modules, {name: coding for name, coding in codings.items() if name in used}


def unknown_values(
    head: HeadConfig, factors: FactorTable, held_out: NDArray[np.bool_]
) -> list[dict[str, tuple[str, ...]]]:
    """Name the values of experiments that no experiment of the training has, so that they say nothing to the model.

    Parameters
    ----------
    head
        The grouping: other factors are not read.
    factors
        Of all experiments.
    held_out
        True for those that no loss saw, shape ``(experiment,)``.

    Returns
    -------
    By experiment, and then by factor; factors without such a value are left out.
    """
    unknown = {
        name: coding.unknown_values(factors[name])
        for name, coding in _fit_codings(head, factors, ~held_out).items()
    }
    return [
        {name: values[index] for name, values in unknown.items() if values[index]}
        for index in range(len(factors))
    ]


def _fit_codings(
    head: HeadConfig, factors: FactorTable, fitted: NDArray[np.bool_]
) -> dict[str, FactorCoding]:
    known = factors.take(np.flatnonzero(fitted))
    return {
        name: fit_coding(known[name], date=head.factor(name).date)
        for name in head.factor_names
        if name in known
    }


def _has_values(codings: Mapping[str, FactorCoding], name: str) -> bool:
    """Say whether each column of a factor stands for a value, so that even a constant one has a meaning."""
    return name in codings and codings[name].coding == "multi_hot"


def _refuse_absent(head: HeadConfig, factors: FactorTable) -> None:
    absent = [name for name in head.factor_names if name not in factors and not head.factor(name).optional]
    if absent:
        raise ConfigError(
            "model.head",
            found=f"the factor {', '.join(absent)}, which the store lacks",
            expected=f"factors of the store: {', '.join(factors.names) or 'it has none'}",
            remedy="Name one of those, leave it out, or mark it optional under model.head.factors.",
        )


def _why_left_out(known: list[str], name: str) -> str:
    return "the same for all experiments" if name in known else "no value is known"


def _column_names(coding: FactorCoding, width: int, config: FactorConfig) -> tuple[str, ...]:
    if config.map in ("linear", "embed"):
        return tuple(str(index) for index in range(width))
    return coding.values
