"""Experiments that a training did not see, of its own store or of another one, predicted and scored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.analyses.truth.transfer import (
    NEIGHBOURS,
    Transfer,
    predict_by_neighbours,
    predict_by_weights,
    score_transfer,
    weights_from_metadata,
)
from mfdmodel.checkpoint.models import TrainedModel
from mfdmodel.resampling import Resampler
from mfdstore.errors import StoreError
from mfdstore.store import Store


def predict_unseen(
    trained: TrainedModel,
    store: Store,
    other: Store | None,
    features: Mapping[str, NDArray[np.float32]],
    rows: NDArray[np.int64],
    resampler: Resampler,
) -> Transfer | None:
    """Predict experiments that a training did not see, and score them.

    Parameters
    ----------
    trained
        The model.
    store
        That it was trained on.
    other
        Store of the same windows with further experiments; `None` where the training held some out.
    features
        Of the windows, by role, each ``(window, feature)``.
    rows
        Of the windows, shape ``(window,)``.
    resampler
        Of the windows.

    Returns
    -------
    `None` where there is no such experiment.

    Raises
    ------
    StoreError
        If the other store has other windows.
    """
    held_out = set(trained.description.config.training.held_out)
    is_unseen = np.array([name in held_out for name in store.experiments], np.bool_)
    source = store
    columns = np.flatnonzero(is_unseen)
    if other is not None:
        _check_same_windows(store, other)
        source = other
        known = set(store.experiments) - held_out
        columns = np.array([i for i, name in enumerate(other.experiments) if name not in known], np.int64)
    if not len(columns):
        return None
    with torch.no_grad():
        latent = {role: torch.from_numpy(values) for role, values in features.items()}
        model = trained.model.to("cpu")
        probabilities = torch.sigmoid(model.logits(latent)).T.numpy().astype(np.float64)
    trained_rows = np.flatnonzero(~is_unseen)
    predictions = {
        NEIGHBOURS: predict_by_neighbours(
            probabilities[trained_rows], store.factors.take(trained_rows), source.factors.take(columns)
        )
    }
    experiments = [source.experiments[index] for index in columns.tolist()]
    # weights exist for the model's own outputs alone
    weights = weights_from_metadata(model, is_unseen) if other is None else None
    if weights is not None:
        predictions = predict_by_weights(features, weights) | predictions
    labels = np.stack([source.labels_of(index)[rows] for index in columns.tolist()])
    return score_transfer(predictions, labels, experiments=experiments, resampler=resampler)


def _check_same_windows(store: Store, other: Store) -> None:
    first, second = store.windows, other.windows
    same = (
        first.chroms == second.chroms
        and np.array_equal(first.chrom, second.chrom)
        and np.array_equal(first.start, second.start)
        and np.array_equal(first.split, second.split)
    )
    if not same:
        raise StoreError(
            other.path,
            found=f"{len(second):,} windows that are not those of {store.path}",
            expected="the same windows with other experiments",
            remedy="Cut the store of the training from this one: mfdstore subset.",
        )
