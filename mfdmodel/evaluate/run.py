"""How well a run's model ranks the bins of a split, experiment by experiment and by factor (method, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.checkpoint.models import Description, load_model
from mfdmodel.checkpoint.seen import check_unseen
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.scores import (
    GROUPED_BY,
    Evaluation,
    ExperimentScore,
    GroupScore,
    HeldOutScores,
    write_evaluation,
)
from mfdmodel.evaluate.subspaces import COMBINED, predict_by_subspace
from mfdmodel.metrics import finite_mean, group_means, rank_experiment
from mfdmodel.model import SequenceModel
from mfdmodel.splits import check_apart, rows_to_score
from mfdstore.errors import RunError
from mfdstore.metadata import FactorTable
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split
from mfdstore.store import Store


def predict(
    model: SequenceModel,
    *,
    store: Store,
    rows: NDArray[np.int64],
    positions: int,
    device: torch.device | None = None,
    batch_size: int = 256,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Predict the labels of windows: probabilities, averaged over both strands.

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
    device
        To compute on; `None` is the CPU.
    batch_size
        Windows computed at once.
    on_progress
        Told how many windows are done.

    Returns
    -------
    Shape ``(experiment, window)``, each experiment contiguous as it is ranked by itself.
    """
    predicted = predict_by_subspace(
        model,
        store=store,
        rows=rows,
        positions=positions,
        ways=(COMBINED,),
        device=device,
        batch_size=batch_size,
        on_progress=on_progress,
    )
    return predicted[COMBINED]


def score_predictions(
    predictions: NDArray[np.float32],
    *,
    store: Store,
    split: Split,
    epoch: int,
    factors: FactorTable,
    held_out: NDArray[np.bool_],
) -> Evaluation:
    """Rank the windows of a split by predictions.

    Parameters
    ----------
    predictions
        Of the split's windows in the order of the store, shape ``(experiment, window)``.
    store
        That holds the labels.
    split
        To which the windows belong.
    epoch
        Of the model, for the record.
    factors
        Of the experiments.
    held_out
        Those that training left out of the loss, shape ``(experiment,)``; their means are apart.
    """
    rows = store.windows.rows(split)
    rankings = [
        rank_experiment(predictions[index], store.labels_of(index)[rows])
        for index in range(store.n_experiments)
    ]
    auroc = np.array([ranking.auroc for ranking in rankings])
    precision = np.array([ranking.average_precision for ranking in rankings])
    names = tuple(name for name in GROUPED_BY if name in factors and factors[name].kind == "category")

    def means(columns: NDArray[np.int64]) -> tuple[GroupScore, dict[str, tuple[GroupScore, ...]]]:
        return _means(auroc[columns], precision[columns], factors.take(columns), names)

    overall, groups = means(np.flatnonzero(~held_out))
    return Evaluation(
        split=split,
        n_windows=len(rows),
        epoch=epoch,
        store_digest=store.digest,
        overall=overall,
        groups=groups,
        held_out=HeldOutScores(*means(np.flatnonzero(held_out))) if held_out.any() else None,
        experiments=tuple(
            ExperimentScore(
                experiment,
                {name: factors[name].values[index] for name in names},
                ranking.n_positive,
                ranking.auroc,
                ranking.average_precision,
                bool(held_out[index]),
            )
            for index, (experiment, ranking) in enumerate(zip(store.experiments, rankings, strict=True))
        ),
    )


def _means(
    auroc: NDArray[np.float64], precision: NDArray[np.float64], factors: FactorTable, names: Sequence[str]
) -> tuple[GroupScore, dict[str, tuple[GroupScore, ...]]]:
    """Average over experiments, and over those of each value of some factors; scores of shape ``(experiment,)``."""
    groups = {}
    for name in names:
        pairs = zip(group_means(auroc, factors[name]), group_means(precision, factors[name]), strict=True)
        groups[name] = tuple(
            GroupScore(
                by_auroc.name, by_auroc.mean, by_precision.mean, by_auroc.n_scored, by_auroc.n_experiments
            )
            for by_auroc, by_precision in pairs
        )
    mean_auroc, n_scored = finite_mean(auroc)
    return GroupScore(None, mean_auroc, finite_mean(precision)[0], n_scored, len(auroc)), groups


def evaluate_run(
    run: Path,
    *,
    split: Split = "test",
    store: AnyPlace | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Score a run's best model on a split, and write the scores into the run's folder.

    Parameters
    ----------
    run
        Folder of the run.
    split
        To be scored.
    store
        To read instead of the one that the run was trained on; it must hold the same experiments.
    device, threads
        As in training.
    on_progress
        Told how many windows are done.

    Returns
    -------
    What was written to ``evaluation/SPLIT.json`` and, one experiment a row, ``evaluation/SPLIT.tsv``.

    Raises
    ------
    RunError
        If the run has no model, it is damaged, its predictions are no numbers, or the store is not what it was.
    ConfigError
        If windows of different splits of the store share bases.
    StoreError
        If there is no such store, or it has no windows in the split.
    """
    trained = load_model(run)
    opened = open_store_of(run, trained.description, store, split=split)
    check_apart(opened, trained.description.config.data)
    rows = rows_to_score(opened, split)
    chosen = choose_device(device)
    with computing_on(chosen, threads):
        predictions = predict(
            trained.model,
            store=opened,
            rows=rows,
            positions=trained.description.config.data.positions,
            device=chosen,
            on_progress=on_progress,
        )
    check_numbers(run, predictions)
    evaluation = score_predictions(
        predictions,
        store=opened,
        split=split,
        epoch=trained.epoch,
        factors=trained.description.factors,
        held_out=np.isin(opened.experiments, trained.description.config.training.held_out),
    )
    write_evaluation(run, evaluation)
    return evaluation


def check_numbers(run: Path, predictions: NDArray[np.floating]) -> None:
    """Make sure that a run's predictions can be ranked.

    Parameters
    ----------
    run
        Folder of the run, to be named.
    predictions
        Shape ``(experiment, window)``.

    Raises
    ------
    RunError
        If some are NaN.
    """
    n_none = int(np.isnan(predictions).any(axis=1).sum())
    if n_none:
        raise RunError(
            run,
            found=f"predictions that are no numbers for {n_none} of {len(predictions)} experiments",
            expected="probabilities",
            remedy="The training diverged; train again with a lower training.lr or with training.gradient_clip.",
        )


def open_store_of(
    run: Path, description: Description, path: AnyPlace | None = None, *, split: Split = "test"
) -> Store:
    """Open the store that a run was trained on, or another one of the same genome, bins and experiments.

    Parameters
    ----------
    run
        Its folder.
    description
        Of its model.
    path
        Of the other store.
    split
        That is to be scored; in another store its windows may hold no base that the training has read.

    Raises
    ------
    RunError
        If it is not what it was, or the other one does not fit.
    StoreError
        If it is not there.
    """
    if path is None:
        store = Store(description.store_path)
        if store.digest != description.store_digest:
            raise RunError(
                run,
                found=f"that its store {store.path} has another content now (digest {store.digest[:12]})",
                expected=f"digest {description.store_digest[:12]}, as in training",
                remedy="Build that store again from the same sources, or name one of these experiments with --store.",
            )
        return store
    store = Store(path)
    expected = description.factors.experiments
    if store.experiments != expected:
        where = next(
            (
                index
                for index, pair in enumerate(zip(store.experiments, expected, strict=False))
                if len(set(pair)) > 1
            ),
            min(len(store.experiments), len(expected)),
        )
        raise RunError(
            store.path,
            found=f"{len(store.experiments)} experiments that differ from those of {run} from number {where + 1} on",
            expected=f"the same {len(expected)} experiments in the same order",
            remedy="Build a store of the experiments that the model was trained on.",
        )
    if store.bin_size != description.bin_size:
        raise RunError(
            store.path,
            found=f"bins of {store.bin_size} bp",
            expected=f"bins of {description.bin_size} bp, as the model was trained on",
            remedy="Build a store with that --bin-size.",
        )
    if store.genome != description.genome:
        raise RunError(
            store.path,
            found=f"windows of the genome {store.genome}",
            expected=f"{description.genome}, as the model was trained on",
            remedy="Build a store of that genome.",
        )
    if store.digest != description.store_digest:
        check_unseen(run, store, split=split, positions=description.config.data.positions)
    return store
