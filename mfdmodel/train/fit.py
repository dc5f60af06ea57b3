"""One run from its configuration to its folder: prepared, fitted, resumed."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray

from mfdmodel.checkpoint.models import MODEL_DESCRIPTION, Description, write_description
from mfdmodel.checkpoint.seen import seen_spans, write_seen
from mfdmodel.checkpoint.states import read_json, write_json
from mfdmodel.config import RunConfig
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.splits import check_apart, check_splits
from mfdmodel.train.compiling import compile_trunk
from mfdmodel.train.counted import held_out_columns, loss_weights, starting_frequency
from mfdmodel.train.keeper import LAST_STATE, EpochRecord, Keeper, best_epoch
from mfdmodel.train.players import Players
from mfdmodel.train.resuming import RUN_RECORD, check_processes, check_state, description_to_resume
from mfdmodel.train.together import join_batch_norms, rank, training_together, wait_for_all, world_size
from mfdmodel.train.trainer import Epochs, LoggerName, interruptible, make_logger, make_trainer, quiet
from mfdstore.errors import RunError
from mfdstore.labels import unpack_labels
from mfdstore.loader import Loader
from mfdstore.loader.content import Content
from mfdstore.loader.modes import Mode, open_content
from mfdstore.sampler.order import SHUFFLES, Shuffle
from mfdstore.schema import Split
from mfdstore.store import Store

_log = logging.getLogger(__name__)

Ended = Literal["epochs", "patience", "minutes"]


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Parameters
    ----------
    run
        Its folder.
    n_epochs
        That it has seen, with those of earlier sessions.
    best_epoch
        The one whose model was kept, counted from 0.
    best_valid_loss
        Its cross entropy on the validation split, in nats.
    ended
        By what: all ``epochs`` done, no better for as long as the ``patience``, or out of ``minutes``.
    """

    run: Path
    n_epochs: int
    best_epoch: int
    best_valid_loss: float
    ended: Ended


def train(
    config: RunConfig | None,
    *,
    store: Store,
    run: Path,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    mode: Mode = "auto",
    memory: int | None = None,
    max_minutes: float | None = None,
    logger: LoggerName | Logger = "tensorboard",
    on_epoch: Callable[[EpochRecord], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> TrainResult:
    """Train a model on a store's split ``train``, keep the best by its loss on the split ``valid``.

    Where ``torchrun`` started several processes they train one model together: each with batches of its own, on
    statistics of the joined one (`together`).

    On a CPU the same configuration, store and number of threads give the same numbers bit by bit; and so does a run
    that was stopped after any epoch, or killed within one, and resumed.

    Parameters
    ----------
    config
        Of the run. May be `None` where a run is resumed, which then goes on with its own.
    store
        To train on.
    run
        Folder of the run, made here.
    resume
        Go on with the run if the folder holds one, from the end of its last whole epoch; begin it if not.
    device
        ``auto``, or a device as torch names it (``cpu``, ``cuda``, ``cuda:1``, ``mps``).
    threads
        That torch computes with on a CPU; `None` leaves torch's own number.
    mode, memory
        How the store is read, and bytes that this may take (`mfdstore.loader.modes`).
    max_minutes
        Begin no epoch that is not expected to end in this time; the first one is always finished.
    logger
        Gets the learning curves too: by name, or one of lightning's.
    on_epoch
        Called with each epoch's row.
    on_progress
        Called at every step with what is done, steps done and steps in all.

    Raises
    ------
    RunError
        If the folder is taken, or the run there belongs to another store, configuration or number of processes, or is
        damaged; or if the loss is no number any more.
    ConfigError
        If the configuration does not fit the store, its windows of different splits share bases, or the device is
        not there.
    StoreError
        If the store has no windows to train or validate on, or is damaged.
    """
    chosen = choose_device(device)
    begun = (run / MODEL_DESCRIPTION).exists()
    description: Description | None = None
    if begun and resume:
        description = description_to_resume(run, config, store)
        config = description.config
    elif run.exists() and (not run.is_dir() or any(run.iterdir())) and not (resume and _only_begun(run)):
        raise RunError(
            run,
            found="a run" if begun else "a file or folder that is no run",
            expected="a name that is not taken",
            remedy="Give another --out, or --resume to go on with it." if begun else "Give another --out.",
        )
    if config is None:
        raise RunError(
            run,
            found="no run",
            expected="one to go on with, as no configuration was given",
            remedy="Check the path, or give a configuration to begin with.",
        )
    sink = make_logger(run, logger)
    check_splits(store, ("train", "valid"))
    check_apart(store, config.data)
    # the others are met behind the checks: none finds what another one has begun to write
    with training_together(chosen) as own, computing_on(own, threads), quiet():
        if description is not None:
            check_processes(run, world_size())
        return _fit(
            description or _describe(config, store),
            store=store,
            run=run,
            device=own,
            mode=mode,
            memory=memory,
            max_minutes=max_minutes,
            logger=sink,
            on_epoch=on_epoch,
            on_progress=on_progress if rank() == 0 else None,
        )


def _fit(
    description: Description,
    *,
    store: Store,
    run: Path,
    device: torch.device,
    mode: Mode,
    memory: int | None,
    max_minutes: float | None,
    logger: Logger,
    on_epoch: Callable[[EpochRecord], None] | None,
    on_progress: Callable[[str, int, int], None] | None,
) -> TrainResult:
    config = description.config
    training, data = config.training, config.data
    content = open_content(
        store,
        mode,
        positions=data.positions,
        max_shift=data.max_shift,
        memory=memory,
        device=device,
        shared=world_size() > 1,
        on_progress=on_progress,
    )
    pin = device.type == "cuda"
    train_loader = Loader(
        store,
        split="train",
        batch_size=training.batch_size,
        positions=data.positions,
        strand="random" if data.reverse_complement else "forward",
        max_shift=data.max_shift,
        shuffle=_shuffle_of(run),
        drop_last=True,
        seed=training.seed,
        threads=training.threads,
        data=content,
        pin_memory=pin,
    )
    valid_loader = Loader(
        store,
        split="valid",
        batch_size=training.batch_size,
        positions=data.positions,
        threads=training.threads,
        data=content,
        pin_memory=pin,
    )
    splits: tuple[Split, ...] = ("train", "valid", "test")
    labels = {split: _count_labels(content, store, split) for split in splits}
    held_out = held_out_columns(training, store.experiments)
    frequency = starting_frequency(labels["train"].n_positive, labels["train"].n_windows, held_out)
    torch.manual_seed(training.seed)
    model = description.build(frequency)
    players = Players(
        model, config, n_steps=len(train_loader), loss_weights=loss_weights(training, frequency, held_out)
    )
    resuming = (run / LAST_STATE).exists()
    join_batch_norms(model)
    if not (run / MODEL_DESCRIPTION).exists() and rank() == 0:
        _begin(
            description,
            store=store,
            run=run,
            players=players,
            labels=labels,
            device=device,
            shuffle=train_loader.shuffle,
        )
    wait_for_all()
    keeper = Keeper(
        run,
        patience=training.patience,
        max_seconds=None if max_minutes is None else 60 * max_minutes,
        n_windows=len(train_loader) * training.batch_size * world_size(),
        on_epoch=on_epoch,
        on_progress=on_progress,
    )
    trainer = make_trainer(
        run,
        epochs=training.epochs,
        callback=keeper,
        device=device,
        logger=logger,
        precision=training.precision,
    )
    compile_trunk(model, training)
    if resuming:
        keeper.load_state_dict({"records": check_state(run, players=players)})
    if not keeper.out_of_patience and len(keeper.records) < training.epochs:
        _log.info("training %s on %s", run, device)
        with interruptible():
            trainer.fit(
                players,
                Epochs(train_loader, lambda: int(trainer.current_epoch)),
                valid_loader,
                ckpt_path=run / LAST_STATE if resuming else None,
            )
    best = best_epoch(keeper.records)
    ended: Ended = "patience" if keeper.out_of_patience else "epochs"
    if ended == "epochs" and len(keeper.records) < training.epochs:
        ended = "minutes"
    return TrainResult(run, len(keeper.records), best, keeper.records[best].valid_loss, ended)


def _shuffle_of(run: Path) -> Shuffle | bool:
    """Read how a run was begun, so that it goes on in the same order in whatever mode; True for what suits the mode."""
    shuffle = read_json(run / RUN_RECORD).get("shuffle") if (run / RUN_RECORD).exists() else None
    return shuffle if shuffle in SHUFFLES else True


def _only_begun(run: Path) -> bool:
    """Say whether a folder holds what `_begin` writes, and lacks its last file: killed there, it is begun anew."""
    if not run.is_dir() or not (run / RUN_RECORD).exists():
        return False
    return {path.name for path in run.iterdir()} <= {RUN_RECORD.name, MODEL_DESCRIPTION.parent.name}


@dataclass(frozen=True)
class _LabelCounts:
    n_windows: int
    n_positive: NDArray[np.int64]


def _count_labels(data: Content, store: Store, split: Split) -> _LabelCounts:
    """Count the windows of a split and, per experiment, those that hold a label."""
    rows = store.windows.rows(split)
    n_positive = np.zeros(store.n_experiments, np.int64)
    for first in range(0, len(rows), 4096):
        block = unpack_labels(data.label_rows(rows[first : first + 4096]), store.n_experiments)
        n_positive += block.sum(0)
    return _LabelCounts(len(rows), n_positive)


def _describe(config: RunConfig, store: Store) -> Description:
    return Description(
        config=config,
        factors=store.factors,
        store_path=store.full_path,
        store_digest=store.digest,
        genome=store.genome,
        bin_size=store.bin_size,
    )


def _begin(
    description: Description,
    *,
    store: Store,
    run: Path,
    players: Players,
    labels: Mapping[Split, _LabelCounts],
    device: torch.device,
    shuffle: Shuffle,
) -> None:
    """Write what is known before the first step; the description last, as it makes the folder a run."""
    write_json(
        run / RUN_RECORD,
        {
            "versions": {name: version(name) for name in ("mfd", "torch", "lightning", "numpy")},
            "python": platform.python_version(),
            "device": str(device),
            "torch_threads": torch.get_num_threads(),
            "processes": world_size(),
            "shuffle": shuffle,
            "store": store.full_path,
            "n_parameters": {
                "model": sum(parameter.numel() for parameter in players.model.parameters()),
                "predictors": 0
                if players.penalty is None
                else sum(parameter.numel() for parameter in players.penalty.parameters()),
            },
            "labels": {
                split: {"n_windows": counts.n_windows, "n_positive": counts.n_positive.tolist()}
                for split, counts in labels.items()
            },
        },
    )
    write_seen(run, seen_spans(store, description.config.data))
    write_description(run, description, players.model)
