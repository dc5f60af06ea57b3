"""What a sweep came to: means over seeds, by the price of dependence."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mfdmodel.checkpoint.states import write_json, write_text
from mfdmodel.evaluate.subspaces import COMBINED
from mfdmodel.intervals import Interval, student
from mfdmodel.sweep.cells import CellResult, spell
from mfdstore.schema import ROLES, Split

SWEEP_JSON: Final = "sweep.json"
SWEEP_TSV: Final = "sweep.tsv"
WAYS: Final = (COMBINED, *ROLES)


@dataclass(frozen=True)
class Row:
    """One price of dependence.

    Parameters
    ----------
    lambda_indep
        The price.
    n_runs
        Seeds that came to an end.
    valid_loss, penalty
        Means over seeds, with 95 % intervals by Student's t; no interval of a single seed.
    auroc
        The same by way of predicting: ``combined``, ``biological``, ``technical``.
    """

    lambda_indep: float
    n_runs: int
    valid_loss: Interval
    penalty: Interval
    auroc: dict[str, Interval]


def summarise(results: Sequence[CellResult]) -> tuple[Row, ...]:
    """Average the runs of each price, in the order in which prices first occur."""
    rows = []
    for price in dict.fromkeys(result.lambda_indep for result in results):
        ended = [one for one in results if one.lambda_indep == price and not one.fault]
        rows.append(
            Row(
                price,
                len(ended),
                student([one.valid_loss for one in ended]),
                student([one.penalty for one in ended]),
                {way: student([(one.auroc or {}).get(way, math.nan) for one in ended]) for way in WAYS},
            )
        )
    return tuple(rows)


def write_sweep(out: Path, results: Sequence[CellResult], *, split: Split, penalty: str) -> None:
    """Write all runs as a table, and their means as JSON, into the folder of the sweep.

    Parameters
    ----------
    out
        The folder.
    results
        Of the runs.
    split
        That was scored.
    penalty
        What the penalty is (`PenaltyConfig.title`).
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(
        ["run", "lambda", "seed", "epochs", "best_epoch", "valid_loss", "penalty"]
        + [f"auroc_{way}" for way in WAYS]
        + ["seconds", "fault"]
    )
    for one in results:
        numbers = [
            one.valid_loss,
            one.penalty,
            *((one.auroc or {}).get(way, math.nan) for way in WAYS),
        ]
        writer.writerow(
            [one.name, spell(one.lambda_indep), one.seed]
            + ["" if epoch is None else epoch for epoch in (one.n_epochs, _from_one(one.best_epoch))]
            + ["" if math.isnan(value) else f"{value:.6f}" for value in numbers]
            + ["" if math.isnan(one.seconds) else f"{one.seconds:.0f}", one.fault]
        )
    write_text(out / SWEEP_TSV, text.getvalue())
    write_json(out / SWEEP_JSON, sweep_to_json(results, split=split, penalty=penalty))


def _from_one(epoch: int | None) -> int | None:
    return None if epoch is None else epoch + 1


def sweep_to_json(results: Sequence[CellResult], *, split: Split, penalty: str) -> dict[str, object]:
    """Write runs and means as what JSON can hold, arguments as in `write_sweep`; NaN becomes `None`."""
    return {
        "split": split,
        "penalty": penalty,
        "interval": "95 %, Student's t over seeds",
        "rows": [_without_nan(asdict(row)) for row in summarise(results)],
        "runs": [_without_nan(asdict(one)) for one in results],
    }


def _without_nan(content: dict[str, object]) -> dict[str, object]:
    return {
        name: _without_nan(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and math.isnan(value)
        else value
        for name, value in content.items()
    }
