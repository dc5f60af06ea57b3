"""The held-out experiments of a run predicted, scored and written into its folder."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mfdmodel.analyses.imputation.scores import NEIGHBOURS, ImputationScore, Imputed, score_imputation
from mfdmodel.checkpoint.models import load_model
from mfdmodel.checkpoint.states import write_json, write_text
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import check_numbers, open_store_of, predict
from mfdmodel.evaluate.scores import FOLDER
from mfdmodel.intervals import Interval, genome_blocks
from mfdmodel.splits import check_apart, rows_to_score
from mfdmodel.weights import unknown_values
from mfdstore.errors import RunError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split

STRETCH: Final = 100_000
"""Of the genome, in bp: what is drawn at once, behind intervals."""


def impute_run(
    run: Path,
    *,
    split: Split = "test",
    store: AnyPlace | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ImputationScore:
    """Score how well a run's model predicts the experiments that were held out of its training.

    Parameters
    ----------
    run
        Folder of a run with ``training.held_out``.
    split
        Whose windows are scored.
    store
        To read instead of the one that the run was trained on; it must hold the same experiments.
    device, threads
        As in training.
    seed
        Of the intervals.
    on_progress
        Told how many windows are predicted, then how many experiments scored.

    Returns
    -------
    What was written to ``evaluation/imputation.SPLIT.json`` and, one experiment a row, ``.tsv``.

    Raises
    ------
    RunError
        If the run held nothing out, has no model, is damaged, or the store is not what it was.
    ConfigError
        If windows of different splits of the store share bases.
    StoreError
        If there is no such store, or it has no windows in the split.
    """
    trained = load_model(run)
    config = trained.description.config
    if not config.training.held_out or config.model.head is None:
        raise RunError(
            run,
            found="a run that learned from all its experiments",
            expected="one that left some out",
            remedy="Train one with --hold-out-experiments, such as 'target=CTCF & biosample=HepG2'.",
        )
    held_out = trained.description.held_out
    opened = open_store_of(run, trained.description, store, split=split)
    check_apart(opened, config.data)
    rows = rows_to_score(opened, split)
    chosen = choose_device(device)
    with computing_on(chosen, threads):
        predictions = predict(
            trained.model,
            store=opened,
            rows=rows,
            positions=config.data.positions,
            device=chosen,
            on_progress=on_progress,
        )
    check_numbers(run, predictions)
    table = opened.windows
    score = score_imputation(
        predictions,
        lambda column: opened.labels_of(column)[rows],
        factors=trained.description.factors,
        held_out=held_out,
        blocks=genome_blocks(table.chrom[rows], table.start[rows], width=STRETCH),
        unknown=unknown_values(config.model.head, trained.description.factors, held_out),
        seed=seed,
        on_progress=on_progress,
    )
    write_text(run / FOLDER / f"imputation.{split}.tsv", format_imputation(score))
    write_json(run / FOLDER / f"imputation.{split}.json", imputation_to_json(score))
    return score


def imputation_to_json(score: ImputationScore) -> dict[str, Any]:
    """Write a score as what JSON can hold; NaN becomes `None`."""
    return {
        "n_windows": score.n_windows,
        "n_blocks": score.n_blocks,
        "interval": f"95 %, stretches of {STRETCH // 1000} kb of the genome drawn again; of means also the experiments",
        "mean": {
            way: _interval_to_json(value) | {"n_scored": score.n_scored[way]}
            for way, value in score.mean.items()
        },
        "gain_of_model": {way: _interval_to_json(value) for way, value in score.gain.items()},
        "experiments": [
            {
                "experiment": one.experiment,
                "factors": dict(one.factors),
                "n_positive": one.n_positive,
                "n_neighbours": dict(one.n_neighbours),
                "unknown_to_training": {name: list(values) for name, values in one.unknown.items()},
                "auroc": {way: _interval_to_json(value) for way, value in one.auroc.items()},
            }
            for one in score.experiments
        ],
    }


def format_imputation(score: ImputationScore) -> str:
    """Write the experiments as tab-separated text; what is missing is empty."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    names = list(dict.fromkeys(name for one in score.experiments for name in one.factors))
    ways = list(score.mean)
    bounds = [f"{way}{part}" for way in ways for part in ("", " low", " high")]
    writer.writerow(
        [
            "experiment",
            *names,
            "unknown to training",
            "n_positive",
            "n_windows",
            *(f"n {kind}" for kind in NEIGHBOURS),
            *bounds,
        ]
    )
    for one in score.experiments:
        numbers = [
            "" if math.isnan(part) else f"{part:.6f}"
            for way in ways
            for part in (one.auroc[way].value, one.auroc[way].low, one.auroc[way].high)
        ]
        writer.writerow(_row(one, names, score.n_windows) + numbers)
    return text.getvalue()


def _row(one: Imputed, names: list[str], n_windows: int) -> list[str]:
    factors = [one.factors.get(name, "") for name in names]
    counts = [str(one.n_neighbours[kind]) for kind in NEIGHBOURS]
    return [one.experiment, *factors, format_unknown(one), str(one.n_positive), str(n_windows), *counts]


def format_unknown(one: Imputed) -> str:
    """Name the values that are missing to the model, as ``lab=north, south; target=CTCF``."""
    return "; ".join(f"{name}={', '.join(values)}" for name, values in one.unknown.items())


def _interval_to_json(found: Interval) -> dict[str, float | None]:
    parts = {"value": found.value, "low": found.low, "high": found.high}
    return {name: None if math.isnan(value) else value for name, value in parts.items()}
