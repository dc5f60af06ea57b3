"""Lightning's trainer as a run needs it: no pickle, no bars, no notes, and Ctrl-C that comes through."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mfdmodel.checkpoint.states import State, read_state, write_state
from mfdmodel.config import Precision
from mfdstore.errors import ConfigError
from mfdstore.loader import Batch, Loader

_log = logging.getLogger(__name__)


PLUGINS: Final[dict[Precision, Literal["32-true", "bf16-mixed"]]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
}
"""Lightning's names of what is computed in which precision."""


LoggerName = Literal["tensorboard", "wandb"]


def make_logger(run: Path, chosen: LoggerName | Logger) -> Logger:
    """Make what learning curves are sent to, beside the run's own; a logger of lightning is taken as it is.

    Raises
    ------
    ConfigError
        If it needs a package that is not installed.
    """
    if isinstance(chosen, Logger):
        return chosen
    if chosen == "tensorboard":
        return TensorBoardLogger(run / "logs", name="tensorboard", version="")
    try:
        return WandbLogger(name=run.name, save_dir=run / "logs", project="mfd", log_model=False)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--logger", found=f"{chosen}, which is not installed", expected=chosen, remedy="pip install wandb"
        ) from error


def make_trainer(
    run: Path,
    *,
    epochs: int,
    callback: Callback,
    device: torch.device,
    logger: Logger,
    precision: Precision = "float32",
) -> Trainer:
    """Make a trainer that leaves all it has to say to one callback."""
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=PLUGINS[precision],
        max_epochs=epochs,
        callbacks=[callback],
        # what processes there are, and what they tell each other, is `together`'s
        plugins=[StateIO(), LightningEnvironment()],
        logger=logger,
        log_every_n_steps=1,  # nothing is logged by step: this only stills a warning about short epochs
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run,
    )


class StateIO(CheckpointIO):
    """Lightning's checkpoints as safetensors and JSON in place of pickle."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a state, atomically."""
        write_state(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> State:
        """Read a state, its tensors on the CPU; Lightning moves them."""
        return read_state(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a state."""
        Path(path).unlink(missing_ok=True)


class Epochs:
    """One loader, and each time it is read the epoch that the training is in by then."""

    def __init__(self, loader: Loader, epoch: Callable[[], int]) -> None:
        self._loader = loader
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        # a generator: the trainer makes iterators that it never uses, the epoch is asked for at the first step
        self._loader.set_epoch(self._epoch())
        yield from self._loader


@contextmanager
def quiet() -> Iterator[None]:
    """Keep lightning's notes about devices and tips about other products out of the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # lightning asks torch for a class that torch is about to rename: nothing that a user could change
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated")
            # and torch, compiling, a part of itself
            warnings.filterwarnings("ignore", message=".*torch.jit.script_method. is deprecated")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a run end by signals as other programs do.

    Lightning turns Ctrl-C into an exit with status 1 and stays deaf to it afterwards: here it comes through. It
    turns a termination (SIGTERM, as a batch system sends it) into an exit with status 0, as if all were done: here
    it becomes 143, so that what would follow a finished training does not follow this one.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException as stop:
        _log.warning("terminated; the run can be resumed from its last whole epoch")
        raise SystemExit(128 + signal.SIGTERM) from stop
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    finally:
        if before is not None and signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)
