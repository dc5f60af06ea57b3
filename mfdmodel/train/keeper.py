"""What an epoch leaves behind: the best model, a state to resume from, and a row of the learning curves."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from mfdmodel.checkpoint.models import description_digest, write_model
from mfdmodel.checkpoint.states import State, damaged, write_text
from mfdmodel.train.players import Players
from mfdmodel.train.together import decided_by_first, rank, wait_for_all
from mfdstore.errors import DivergedError

LAST_STATE: Final = Path("checkpoints", "last.safetensors")
CURVES: Final = Path("logs", "metrics.csv")
"""Within the folder of a run."""


@dataclass(frozen=True)
class EpochRecord:
    """One row of the learning curves.

    Parameters
    ----------
    epoch
        Counted from 0.
    train_loss, valid_loss
        Cross entropy in nats, mean over windows and experiments; training windows are augmented.
    l_indep
        Mean over batches (equation 3); `None` for a model without subspaces.
    learning_rate
        Of the sequence model's last step.
    seconds
        That the epoch took, validation included.
    windows_per_second
        Training windows over the seconds of training.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    l_indep: float | None
    learning_rate: float
    seconds: float
    windows_per_second: float


def best_epoch(records: list[EpochRecord]) -> int:
    """Find the epoch of least validation loss, the first of equals.

    A loss that is not a number is worse than any other.
    """
    losses = [
        record.valid_loss if record.valid_loss == record.valid_loss else float("inf") for record in records
    ]
    return losses.index(min(losses))


def format_curves(records: list[EpochRecord]) -> str:
    """Write the learning curves as CSV; numbers read back as they were."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: "" if value is None else value for name, value in asdict(record).items()})
    return text.getvalue()


def read_curves(run: Path) -> list[EpochRecord]:
    """Read a run's learning curves; none where no epoch is done.

    Raises
    ------
    RunError
        If they are damaged.
    """
    path = run / CURVES
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                EpochRecord(
                    epoch=int(row["epoch"]),
                    train_loss=float(row["train_loss"]),
                    valid_loss=float(row["valid_loss"]),
                    l_indep=float(row["l_indep"]) if row["l_indep"] else None,
                    learning_rate=float(row["learning_rate"]),
                    seconds=float(row["seconds"]),
                    windows_per_second=float(row["windows_per_second"]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"learning curves that cannot be read ({error!r})") from error


class Keeper(Callback):
    """Watch a run: write down each epoch, stop it when it no longer improves or its time is up.

    Everything it decides follows from the rows written so far, which are part of the state, so a resumed run
    decides as an uninterrupted one would.

    Parameters
    ----------
    run
        Folder of the run.
    patience
        Epochs without a better validation loss after which the run stops; `None` never stops it.
    max_seconds
        No epoch is begun that would, at the pace of the slowest so far, end later than this; `None` for no limit.
    n_windows
        Training windows of an epoch.
    on_epoch
        Called with each new row.
    on_progress
        Called at every step: what is done, steps done in all epochs, steps in all.
    """

    def __init__(
        self,
        run: Path,
        *,
        patience: int | None,
        max_seconds: float | None,
        n_windows: int,
        on_epoch: Callable[[EpochRecord], None] | None,
        on_progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self.records: list[EpochRecord] = []
        self.out_of_time = False
        self._run = run
        self._patience = patience
        self._max_seconds = max_seconds
        self._n_windows = n_windows
        self._on_epoch = on_epoch
        self._on_progress = on_progress
        self._run_started = self._epoch_started = time.monotonic()
        self._train_ended: float | None = None
        self._slowest = 0.0

    @property
    def out_of_patience(self) -> bool:
        """Whether the run stopped improving."""
        if self._patience is None or not self.records:
            return False
        return len(self.records) - 1 - best_epoch(self.records) >= self._patience

    def state_dict(self) -> State:
        """Give the rows written so far."""
        return {"records": [asdict(record) for record in self.records]}

    def load_state_dict(self, state_dict: State) -> None:
        """Take up the rows of an earlier session."""
        self.records = [EpochRecord(**record) for record in state_dict["records"]]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: State) -> None:
        """Add the generators that dropout draws from, and what ties the state to its run."""
        checkpoint["description"] = description_digest(self._run)
        checkpoint["generators"] = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            checkpoint["generators"]["cuda"] = torch.cuda.get_rng_state(pl_module.device)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: State) -> None:
        """Put the generators back where they were."""
        torch.set_rng_state(checkpoint["generators"]["cpu"])
        if pl_module.device.type == "cuda" and "cuda" in checkpoint["generators"]:
            torch.cuda.set_rng_state(checkpoint["generators"]["cuda"], pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_started = time.monotonic()
        self._train_ended = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Tell the progress."""
        if self._on_progress is not None:
            per_epoch = int(trainer.num_training_batches)
            done = trainer.current_epoch * per_epoch + batch_idx + 1
            self._on_progress("training", done, per_epoch * int(trainer.max_epochs or 0))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._train_ended = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the epoch: model if it is the best, then state, then curves; and decide whether to go on.

        In this order a run killed between two of them repeats the epoch when resumed, to the same end.

        Raises
        ------
        DivergedError
            If a loss is no number: the training diverged, and nothing of this epoch is kept.
        """
        players = cast("Players", pl_module)
        record = self._record(trainer.current_epoch, players)
        self._check_finite(record)
        self.records.append(record)
        if rank() == 0:  # all processes have the same numbers
            self._write(trainer, players)
        wait_for_all()
        self.out_of_time = decided_by_first(self._is_out_of_time())
        if self.out_of_patience or self.out_of_time:
            trainer.should_stop = True

    def _write(self, trainer: Trainer, players: Players) -> None:
        record = self.records[-1]
        if best_epoch(self.records) == len(self.records) - 1:
            write_model(self._run, players.model, epoch=record.epoch, valid_loss=record.valid_loss)
        trainer.save_checkpoint(self._run / LAST_STATE)
        write_text(self._run / CURVES, format_curves(self.records))
        curves = {
            name: value for name, value in asdict(record).items() if name != "epoch" and value is not None
        }
        for logger in trainer.loggers:
            logger.log_metrics(curves, step=record.epoch)
        if self._on_epoch is not None:
            self._on_epoch(record)

    def _check_finite(self, record: EpochRecord) -> None:
        values = {
            "training loss": record.train_loss,
            "validation loss": record.valid_loss,
            "independence": record.l_indep or 0.0,
        }
        wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            kept = f"The model of epoch {best_epoch(self.records) + 1} is kept. " if self.records else ""
            raise DivergedError(
                self._run,
                found=f"{', '.join(wrong)} in epoch {record.epoch + 1}",
                expected="numbers",
                remedy=f"{kept}The training diverged; begin another run with a lower training.lr or with "
                "training.gradient_clip.",
            )

    def _record(self, epoch: int, players: Players) -> EpochRecord:
        means = players.epoch_means()
        now = time.monotonic()
        # a process that was dealt no windows to validate on is not told of the validation
        ended = now if self._train_ended is None else self._train_ended
        self._slowest = max(self._slowest, now - self._epoch_started)
        return EpochRecord(
            epoch=epoch,
            train_loss=means.train_loss,
            valid_loss=means.valid_loss,
            l_indep=means.l_indep,
            learning_rate=players.learning_rate,
            seconds=round(now - self._epoch_started, 3),
            windows_per_second=round(self._n_windows / max(ended - self._epoch_started, 1e-9), 1),
        )

    def _is_out_of_time(self) -> bool:
        if self._max_seconds is None:
            return False
        return time.monotonic() - self._run_started + self._slowest > self._max_seconds
