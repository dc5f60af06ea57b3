"""What a report says of a run, gathered from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.independence.result import Independence, read_independence
from mfdmodel.checkpoint.models import Description, read_description
from mfdmodel.checkpoint.states import damaged, read_json
from mfdmodel.config import PenaltyConfig
from mfdmodel.evaluate.scores import Evaluation, read_evaluation
from mfdmodel.train.keeper import EpochRecord, best_epoch, read_curves
from mfdmodel.train.resuming import RUN_RECORD, read_processes
from mfdstore.errors import RunError


@dataclass(frozen=True)
class SplitLabels:
    """Labels of one split.

    Parameters
    ----------
    n_windows
        Of the split.
    n_positive
        Windows that each experiment labels, shape ``(experiment,)``.
    """

    n_windows: int
    n_positive: NDArray[np.int64]


@dataclass(frozen=True)
class RunContent:
    """Everything that a run's folder tells.

    Parameters
    ----------
    name
        Of the run: its folder's.
    description
        What its model is.
    record
        Versions, device, threads, number of parameters.
    labels
        By split.
    curves
        A row an epoch; at least one.
    n_processes
        That trained it together.
    evaluation
        Of the split that the report is about.
    """

    name: str
    description: Description
    record: Mapping[str, Any]
    labels: Mapping[str, SplitLabels]
    curves: tuple[EpochRecord, ...]
    n_processes: int
    evaluation: Evaluation

    @property
    def best(self) -> EpochRecord:
        """Row of the epoch whose model was kept."""
        return self.curves[best_epoch(list(self.curves))]

    @property
    def kind(self) -> str:
        """What was trained, in words."""
        return {
            "mfd": "MFD, weights from metadata",
            "linear_head": "same network, free linear head",
            "dinucleotides": "dinucleotide frequencies",
        }[self.description.config.model.kind]

    @property
    def lambda_indep(self) -> float | None:
        """Price of dependence; `None` for a model without subspaces."""
        model = self.description.config.model
        return model.penalty.lambda_indep if model.kind == "mfd" else None

    @property
    def penalty(self) -> PenaltyConfig | None:
        """What dependence is measured by in training; `None` for a model without subspaces."""
        model = self.description.config.model
        return model.penalty if model.kind == "mfd" else None


def read_run(run: Path, *, split: str = "test") -> RunContent:
    """Gather a run's content.

    Parameters
    ----------
    run
        Its folder.
    split
        Whose evaluation is wanted.

    Raises
    ------
    RunError
        If the folder is no run, it has no whole epoch, the split was not evaluated since the model was last replaced,
        or a file is damaged.
    """
    description = read_description(run)
    record = read_json(run / RUN_RECORD)
    curves = read_curves(run)
    if not curves:
        raise RunError(
            run,
            found="no whole epoch",
            expected="a trained model",
            remedy="Go on with mfdmodel train --resume.",
        )
    evaluation = read_evaluation(run, split)
    if evaluation is None:
        raise RunError(
            run,
            found=f"no scores on split {split}",
            expected="a run that was evaluated",
            remedy=f"First run: mfdmodel evaluate {run} --split {split}",
        )
    best = curves[best_epoch(curves)].epoch
    if evaluation.epoch != best:
        raise RunError(
            run,
            found=f"scores on split {split} of the model of epoch {evaluation.epoch + 1}",
            expected=f"those of its best model, of epoch {best + 1}",
            remedy=f"The run went on since; evaluate it again: mfdmodel evaluate {run} --split {split}",
        )
    marked = {score.experiment for score in evaluation.held_out_experiments}
    left_out = set(description.config.training.held_out)
    if marked != left_out:
        raise RunError(
            run,
            found=f"scores on split {split} of {len(marked)} experiments held out of the loss",
            expected=f"the {len(left_out)} that training held out, apart from the others",
            remedy=f"They are of an earlier version; evaluate it again: mfdmodel evaluate {run} --split {split}",
        )
    _check_record(run / RUN_RECORD, record)
    n_experiments = len(description.factors)
    try:
        labels = {
            name: SplitLabels(int(counts["n_windows"]), np.array(counts["n_positive"], np.int64))
            for name, counts in record["labels"].items()
        }
        if "train" not in labels or any(len(one.n_positive) != n_experiments for one in labels.values()):
            raise ValueError(f"not {n_experiments} counts a split, or none of train")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(run / RUN_RECORD, f"label counts that cannot be read ({error!r})") from error
    return RunContent(
        name=run.resolve().name,
        description=description,
        record=record,
        labels=labels,
        curves=tuple(curves),
        n_processes=read_processes(run / RUN_RECORD, record),
        evaluation=evaluation,
    )


def read_measured(run: Path, content: RunContent) -> Independence | None:
    """Read how independent the subspaces of a run's best model are; `None` where that was not measured.

    Raises
    ------
    RunError
        If it was measured of a model that was replaced since, or the file is damaged.
    """
    measured = read_independence(run)
    if measured is not None and measured.epoch != content.best.epoch:
        raise RunError(
            run,
            found=f"the independence of the model of epoch {measured.epoch + 1}",
            expected=f"that of its best model, of epoch {content.best.epoch + 1}",
            remedy=f"The run went on since; measure it again: mfdmodel independence {run} --split {measured.split}",
        )
    return measured


def _check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Make sure that a page can be written from what training recorded of itself."""
    kinds = {"n_parameters": dict, "versions": dict, "device": str, "python": str, "torch_threads": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
    if not wrong:
        numbers = record["n_parameters"]
        wrong = [name for name in ("model", "predictors") if not isinstance(numbers.get(name), int)]
    if wrong:
        raise damaged(path, f"a record without {' and '.join(wrong)}")
