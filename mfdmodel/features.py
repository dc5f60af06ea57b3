"""What a model sees in windows, by role, averaged over both strands; and what each experiment makes of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.model import SequenceModel
from mfdmodel.strands import both_strands
from mfdstore.loader.content import Content
from mfdstore.store import Store


def latent_features(
    model: SequenceModel,
    *,
    store: Store,
    rows: NDArray[np.int64],
    positions: int,
    device: torch.device | None = None,
    batch_size: int = 256,
    data: Content | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Compute the features of windows, batch by batch.

    Parameters
    ----------
    model
        In any mode; it is left in evaluation mode, on the device.
    store
        That the windows belong to.
    rows
        Of the windows, in the order wanted, shape ``(window,)``.
    positions
        Of a window, as in training.
    device
        To compute on; `None` is the CPU.
    batch_size
        Windows computed at once.
    data
        The store's content where it is open already.
    on_progress
        Told how many windows are done.

    Returns
    -------
    By role, mean over both strands, each of shape ``(window, feature)``.

    Raises
    ------
    StoreError
        If a row is not in the store, or none is given.
    """
    device = device or torch.device("cpu")
    model.to(device).eval()
    features = {role: np.empty((len(rows), width), np.float32) for role, width in model.widths.items()}
    done = 0
    with torch.inference_mode():
        for batches in both_strands(store, rows, positions=positions, batch_size=batch_size, data=data):
            latents = [model.latent(batch.to(device).one_hot()) for batch in batches]
            stop = done + len(batches[0])
            for role, array in features.items():
                array[done:stop] = torch.stack([latent[role] for latent in latents]).mean(0).cpu().numpy()
            done = stop
            if on_progress is not None:
                on_progress("features", done, len(rows))
    return features


def experiment_weights(model: SequenceModel) -> dict[str, NDArray[np.float32]]:
    """Read what multiplies the features in each experiment's logits (equation 2), by role.

    Parameters
    ----------
    model
        In any mode; it is left as it is. A learned signal-to-noise of an experiment is part of its weights.

    Returns
    -------
    By role, each of shape ``(experiment, feature)``: the features times its transpose are what
    `SequenceModel.logits_by_role` gives.
    """
    with torch.inference_mode():
        signal = torch.ones(1) if model.log_signal is None else model.log_signal.exp().cpu()
        return {role: (signal[:, None] * part().cpu()).numpy() for role, part in model.weights.items()}
