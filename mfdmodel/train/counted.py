"""Which experiments count in the losses, and how much: all alike, rare ones more, held-out ones not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfdmodel.config import TrainingConfig
from mfdstore.errors import ConfigError


def held_out_columns(config: TrainingConfig, experiments: Sequence[str]) -> NDArray[np.bool_]:
    """Find the experiments that are left out of the losses.

    Parameters
    ----------
    config
        Of the training.
    experiments
        Accessions of the store, in its order.

    Returns
    -------
    True for those, shape ``(experiment,)``.

    Raises
    ------
    ConfigError
        If one is not in the store, or fewer than two are left.
    """
    unknown = [name for name in config.held_out if name not in set(experiments)]
    if unknown:
        raise ConfigError(
            "training.held_out",
            found=f"{', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}, not in the store",
            expected=f"experiments of the store, such as {experiments[0]}",
            remedy="`mfdstore info --experiments` lists them.",
        )
    wanted = set(config.held_out)
    held_out = np.array([name in wanted for name in experiments], np.bool_)
    if (~held_out).sum() < 2 and held_out.any():
        raise ConfigError(
            "training.held_out",
            found=f"{int(held_out.sum())} of {len(experiments)} experiments",
            expected="at least two to train on",
            remedy="Hold out fewer.",
        )
    return held_out


def loss_weights(
    config: TrainingConfig, frequency: NDArray[np.float64], held_out: NDArray[np.bool_]
) -> Tensor | None:
    """Weigh the experiments in the cross entropy.

    Parameters
    ----------
    config
        Of the training.
    frequency
        Share of the training windows that hold a label, shape ``(experiment,)``; an experiment without any weighs as
        the rarest that has some.
    held_out
        Those that do not count, shape ``(experiment,)``.

    Returns
    -------
    Shape ``(experiment,)``, mean 1 over those that count; `None` where all count alike.
    """
    if not config.rare_weight and not held_out.any():
        return None
    least = frequency[frequency > 0].min(initial=1.0)
    weights = np.where(held_out, 0.0, np.maximum(frequency, least) ** -config.rare_weight)
    weights *= (~held_out).sum() / weights.sum()
    return torch.from_numpy(weights.astype(np.float32))


def starting_frequency(
    n_positive: NDArray[np.int64], n_windows: int, held_out: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Give the frequencies that the biases start from: of those held out, what the others have on average.

    Their own would tell of their labels.

    Parameters
    ----------
    n_positive
        Training windows that hold a label, shape ``(experiment,)``.
    n_windows
        Training windows.
    held_out
        Shape ``(experiment,)``.
    """
    frequency = n_positive / n_windows
    if held_out.any():
        frequency = np.where(held_out, frequency[~held_out].mean(), frequency)
    return np.asarray(frequency, np.float64)
