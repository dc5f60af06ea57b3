"""Steps of a training without a run: for measuring what a training waits for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import torch
from lightning.pytorch import Trainer

from mfdmodel.config import RunConfig
from mfdmodel.devices import computing_on
from mfdmodel.model import build_model
from mfdmodel.train.compiling import compile_trunk
from mfdmodel.train.players import Players
from mfdmodel.train.trainer import PLUGINS, interruptible, quiet
from mfdstore.loader import Batch
from mfdstore.store import Store

_MANY: Final = 1_000_000
"""Steps of an epoch that is never done."""


def training_steps(
    config: RunConfig, store: Store, device: torch.device
) -> Callable[[Iterable[Batch]], None]:
    """Give what makes the steps of `fit.train` on the batches it is given, and keeps nothing of them.

    Each call trains a new model.

    Parameters
    ----------
    config
        Of the model and its training.
    store
        Whose experiments the model is made for.
    device
        To compute on.

    Raises
    ------
    ConfigError
        If the configuration does not fit the store's factors.
    StoreError
        If the store is damaged.
    """
    factors = store.factors
    # the step takes as long whatever its biases start from
    share = float(store.n_positive.mean(dtype=np.float64)) / store.n_experiments if store.n_windows else 0.0
    fraction = np.full(store.n_experiments, share)
    build_model(config.model, factors=factors, positive_fraction=fraction)

    def train(batches: Iterable[Batch]) -> None:
        with computing_on(device, None), quiet(), interruptible():
            # nothing is validated: that is meant
            warnings.filterwarnings("ignore", message=".*have no `val_dataloader`")
            torch.manual_seed(config.training.seed)
            model = build_model(config.model, factors=factors, positive_fraction=fraction)
            trainer = Trainer(
                accelerator="gpu" if device.type == "cuda" else device.type,
                devices=[device.index or 0] if device.type == "cuda" else 1,
                precision=PLUGINS[config.training.precision],
                max_epochs=1,
                logger=False,
                num_sanity_val_steps=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            compile_trunk(model, config.training)
            trainer.fit(Players(model, config, n_steps=_MANY), batches)

    return train
