"""What each subspace alone predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.metrics import finite_mean, rank_experiment
from mfdmodel.model import SequenceModel
from mfdmodel.strands import both_strands
from mfdstore.store import Store

COMBINED: Final = "combined"
"""Name of the whole prediction beside those of the roles."""


def predict_by_subspace(
    model: SequenceModel,
    *,
    store: Store,
    rows: NDArray[np.int64],
    positions: int,
    ways: Sequence[str],
    device: torch.device | None = None,
    batch_size: int = 256,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Predict labels by the whole latent, and by each subspace with the other's share of the logits left out.

    Parameters
    ----------
    model
        In any mode; it is left in evaluation mode, on the device.
    store
        That the windows belong to.
    rows
        Of the windows, shape ``(window,)``.
    positions
        Of a window, as in training.
    ways
        What predicts: `COMBINED`, or a role.
    device
        To compute on; `None` is the CPU.
    batch_size
        Windows computed at once.
    on_progress
        Told how many windows are done.

    Returns
    -------
    Probabilities averaged over both strands by way, each of shape ``(experiment, window)``: each experiment contiguous,
    as it is ranked by itself.
    """
    device = device or torch.device("cpu")
    model.to(device).eval()
    predicted = {way: np.empty((model.n_experiments, len(rows)), np.float32) for way in ways}
    done = 0
    with torch.inference_mode():
        for batches in both_strands(store, rows, positions=positions, batch_size=batch_size):
            latents = [model.latent(batch.to(device).one_hot()) for batch in batches]
            stop = done + len(batches[0])
            for way, array in predicted.items():
                logits = [
                    model.logits(latent)
                    if way == COMBINED
                    else model.logits_by_role(latent)[way] + model.bias
                    for latent in latents
                ]
                array[:, done:stop] = torch.sigmoid(torch.stack(logits)).mean(0).T.cpu().numpy()
            done = stop
            if on_progress is not None:
                on_progress("predicting", done, len(rows))
    return predicted


def mean_auroc(
    predicted: Mapping[str, NDArray[np.float32]],
    label_of: Callable[[int], NDArray[np.bool_]],
    *,
    scored: NDArray[np.bool_],
) -> dict[str, float]:
    """Average the AUROC over experiments, by way of predicting.

    Parameters
    ----------
    predicted
        By way, each of shape ``(experiment, window)``.
    label_of
        Gives the labels of an experiment at these windows, shape ``(window,)``.
    scored
        Experiments to average over, shape ``(experiment,)``.

    Returns
    -------
    By way; NaN where no experiment has both classes.
    """
    values: dict[str, list[float]] = {way: [] for way in predicted}
    for column in np.flatnonzero(scored).tolist():
        labels = label_of(column)
        for way, array in predicted.items():
            values[way].append(rank_experiment(array[column], labels).auroc)
    return {way: finite_mean(np.array(each))[0] for way, each in values.items()}
