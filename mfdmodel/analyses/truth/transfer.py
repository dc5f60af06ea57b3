"""Experiments that no loss has seen, of a laboratory that training does not know, predicted and scored.

A model with metadata predicts them by the weights that it makes of their factors; a value that no trained
experiment has (their laboratory) is coded as missing. Any model predicts them by neighbours: the mean of the
trained experiments that agree with them in most factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.analyses.truth.recovery import COMBINED
from mfdmodel.intervals import Interval, interval
from mfdmodel.model import SequenceModel
from mfdmodel.resampling import Resampler, mean_of_groups
from mfdmodel.weights import SubspaceWeights
from mfdstore.metadata import FactorTable

NEIGHBOURS: Final = "neighbours"
COMPARED: Final = ("target", "biosample", "assay")
"""Factors by which neighbours are found."""


@dataclass(frozen=True)
class Transfer:
    """How well unseen experiments are predicted.

    Parameters
    ----------
    experiments
        Their accessions; those with both classes of windows count.
    auroc
        Mean over them, by what predicted: the biological, the technical or all features under weights from
        metadata, or neighbours.
    """

    experiments: tuple[str, ...]
    auroc: dict[str, Interval]


def weights_from_metadata(
    model: SequenceModel, unseen: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]] | None:
    """Make the weights of unseen experiments, values unknown to the trained ones coded as missing.

    Parameters
    ----------
    model
        Whose outputs the unseen experiments are among, of a run that held them out.
    unseen
        Those left out of the losses, shape ``(experiment,)``.

    Returns
    -------
    By role, each ``(unseen experiment, feature)``; `None` of a model without metadata.
    """
    weights = {}
    for role, part in model.weights.items():
        if not isinstance(part, SubspaceWeights):
            return None
        with torch.no_grad():
            weights[role] = part().numpy()[unseen]
    return weights


def predict_by_weights(
    features: Mapping[str, NDArray[np.float32]], weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    """Compute logits without bias, by role and combined, each ``(unseen experiment, window)``."""
    logits = {
        role: weights[role].astype(np.float64) @ features[role].T.astype(np.float64) for role in weights
    }
    return logits | {COMBINED: np.sum(list(logits.values()), axis=0)}


def predict_by_neighbours(
    predictions: NDArray[np.float64], trained: FactorTable, unseen: FactorTable
) -> NDArray[np.float64]:
    """Average the predictions of the trained experiments that agree in most of `COMPARED`.

    Parameters
    ----------
    predictions
        Probabilities of the trained experiments, shape ``(experiment, window)``.
    trained, unseen
        Factors of either; what is missing agrees with nothing.

    Returns
    -------
    Shape ``(unseen experiment, window)``.
    """
    names = [name for name in COMPARED if name in trained and name in unseen]
    result = np.empty((len(unseen), predictions.shape[1]))
    for index in range(len(unseen)):
        agree = np.zeros(len(trained), np.int64)
        for name in names:
            value = unseen[name].values[index]
            agree += np.array([value is not None and other == value for other in trained[name].values])
        result[index] = predictions[agree == agree.max()].mean(0)
    return result


def score_transfer(
    predictions: Mapping[str, NDArray[np.float64]],
    labels: NDArray[np.bool_],
    *,
    experiments: Sequence[str],
    resampler: Resampler,
) -> Transfer:
    """Rank the windows of each unseen experiment, and average.

    Parameters
    ----------
    predictions
        By what predicted, each ``(unseen experiment, window)``.
    labels
        Shape ``(unseen experiment, window)``.
    experiments
        Accessions.
    resampler
        Of the windows.
    """
    both = np.flatnonzero(labels.any(1) & ~labels.all(1)).tolist()
    auroc = {}
    for key, values in predictions.items():
        scores = [resampler.auroc(values[index], labels[index]) for index in both]
        auroc[key] = interval(mean_of_groups(np.reshape(scores, (len(both), len(resampler.draws))).T))
    return Transfer(tuple(experiments[index] for index in both), auroc)
