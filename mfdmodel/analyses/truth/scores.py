"""What comes out of a comparison with planted truth, and how it lies in a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mfdmodel.analyses.truth.overlap import Overlap
from mfdmodel.analyses.truth.recovery import Recovery
from mfdmodel.analyses.truth.transfer import Transfer
from mfdmodel.checkpoint.states import read_json, write_json
from mfdmodel.intervals import LEVEL, Interval
from mfdstore.errors import RunError

PROBES: Final = Path("evaluation", "truth.json")
"""Within the folder of a run."""

STRETCH: Final = 20_000
"""Of chromosome, in bp: what is drawn at once, behind intervals."""

_RECOVERY: Final = "recovery"


@dataclass(frozen=True)
class TruthScores:
    """Scores of one run against what was planted.

    Parameters
    ----------
    split
        Whose windows were scored.
    epoch
        Of the model, counted from 0.
    store_digest
        Of the store that was read.
    n_train, n_windows
        Windows that probes were fitted on, and that were scored.
    n_blocks
        Stretches of chromosome that the scored windows lie in.
    width
        Features that sets are compared at.
    widths
        Of the subspaces, by role; one, ``all``, of a model without metadata.
    without_gc
        Whether GC content was taken out of the features; attributions and transfer are of the model as it is and
        were left out then.
    recovery
        Of each truth, then of factors and roles.
    overlap
        Of each biological value, then of factors; `None` where it was left out.
    transfer
        To unseen experiments; `None` where there are none, or it was left out.
    n_top, n_steps
        Positions taken from each window, steps of the integrated gradients.
    n_draws
        Behind each interval.
    """

    split: str
    epoch: int
    store_digest: str
    n_train: int
    n_windows: int
    n_blocks: int
    width: int
    widths: Mapping[str, int]
    without_gc: bool
    recovery: tuple[Recovery, ...]
    overlap: tuple[Overlap, ...] | None
    transfer: Transfer | None
    n_top: int
    n_steps: int
    n_draws: int

    def summary(self, role: str, factor: str | None = None) -> Recovery | None:
        """Look up the mean over the truths of a factor, or of a role; `None` where none has a score."""
        wanted = (role, factor, None)
        return next((one for one in self.recovery if (one.role, one.factor, one.value) == wanted), None)


def to_json(scores: TruthScores) -> dict[str, Any]:
    """Write as what JSON can hold; NaN becomes `None`, an estimate its value and interval."""
    return {
        "split": scores.split,
        "epoch": scores.epoch,
        "store_digest": scores.store_digest,
        "n_train": scores.n_train,
        "n_windows": scores.n_windows,
        "n_blocks": scores.n_blocks,
        "width": scores.width,
        "widths": dict(scores.widths),
        "without_gc": scores.without_gc,
        "intervals": f"{LEVEL:.0%} over {scores.n_draws} draws of stretches of {STRETCH} bp",
        "attributions": f"integrated gradients of {scores.n_steps} steps, top {scores.n_top} positions a window",
        "probes": [
            {
                "role": one.role,
                "factor": one.factor,
                "value": one.value,
                "n_train": one.n_train,
                "n_test": one.n_test,
                "auroc": {name: _number(estimate.value) for name, estimate in one.auroc.items()},
            }
            for one in scores.recovery
            if one.value is not None
        ],
        _RECOVERY: [_plain(one) for one in scores.recovery],
        "overlap": None if scores.overlap is None else [_plain(one) for one in scores.overlap],
        "transfer": None if scores.transfer is None else _plain(scores.transfer),
    }


def write_scores(run: Path, scores: TruthScores) -> None:
    """Write scores into a run's folder, atomically."""
    write_json(run / PROBES, to_json(scores))


def has_scores(run: Path, *, split: str, epoch: int) -> bool:
    """Say whether a run's folder holds whole scores of this split and model."""
    try:
        content = read_json(run / PROBES)
    except RunError:
        return False
    return _RECOVERY in content and content.get("split") == split and content.get("epoch") == epoch


def _plain(node: object) -> Any:
    if isinstance(node, Interval):
        return {"value": _number(node.value), "low": _number(node.low), "high": _number(node.high)}
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, (Recovery, Overlap, Transfer)):
        return {name: _plain(getattr(node, name)) for name in node.__dataclass_fields__}
    if isinstance(node, tuple):
        return [_plain(item) for item in node]
    return _number(node) if isinstance(node, float) else node


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
