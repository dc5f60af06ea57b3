"""Do two laboratories agree on a target: biological, technical and combined predictions of pairs of experiments.

A pair is one target in one biosample, measured by two laboratories. If the technical part of a prediction holds what
is the laboratories' own, the biological part alone should agree better between them than the combined prediction does,
and rank the other laboratory's peaks at least as well. That everything agrees would be no merit, so agreement is set
beside that with other targets of the same laboratory and biosample.

Experiments with equal biological metadata have equal biological weights: that those agree is how the model is made.
What is not: how well one laboratory's prediction ranks the other's peaks (``transfer``), and whether what two
predictions differ in tells the peaks of the one from those of the other (``difference``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.resampling import Resampler, mean_of_groups, mean_of_known
from mfdstore.errors import ConfigError
from mfdstore.metadata import FactorTable

MEASURES: Final = (
    "correlation",
    "contrast",
    "retrieval",
    "transfer",
    "own",
    "difference",
    "cosine",
    "cosine_retrieval",
)
"""What `score_pairs` scores."""
COMBINED: Final = "combined"
"""Name of the part that is the sum of all."""
PAIRED_BY: Final = ("target", "biosample", "assay", "lab")
"""Factors that pairs are found by."""

_EQUAL: Final = 1e-5
"""Weights that differ by less than this share of the largest are equal: rounding."""


@dataclass(frozen=True)
class Pair:
    """Two experiments of one target and biosample, of two laboratories; experiments by their index."""

    first: int
    second: int
    target: str
    biosample: str
    labs: tuple[str, str]


@dataclass(frozen=True)
class Part:
    """One part of the predictions of all experiments.

    Parameters
    ----------
    logits
        What it adds to the logits, without bias, shape ``(window, experiment)``.
    weights
        Each scaled by the standard deviation of its feature over the windows, shape ``(experiment, feature)``.
    """

    logits: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class PairScores:
    """How one part of the predictions of a pair agrees; directions are averaged.

    Parameters
    ----------
    pair
        Of which experiments.
    equal_weights
        Whether both have the same weights in this part, so that they cannot but agree.
    n_candidates
        Experiments of other targets in the same biosample and laboratories.
    values
        By measure, each of shape ``(draw,)``: first over all windows, then over blocks drawn anew (`resampling`). NaN
        where it cannot be said.

        - ``correlation``: Pearson's, of the two predictions over windows;
        - ``contrast``: that, less the mean correlation with other targets of the same laboratory;
        - ``retrieval``: share of the other laboratory's other targets that agree less than the partner, ties one half;
        - ``transfer``: AUROC of the one's prediction on the other's labels;
        - ``own``: AUROC of predictions on their own labels;
        - ``difference``: AUROC of the predictions' difference: windows that only the first labels against those
          that only the second does;
        - ``cosine``, ``cosine_retrieval``: of the weights, as ``correlation`` and ``retrieval``.
    """

    pair: Pair
    equal_weights: bool
    n_candidates: int
    values: Mapping[str, NDArray[np.float64]]


def find_pairs(factors: FactorTable, *, not_labs: Sequence[str] = ()) -> tuple[Pair, ...]:
    """Find all pairs of experiments that share target, biosample and assay and differ in laboratory.

    Parameters
    ----------
    factors
        Of the experiments: ``target``, ``biosample``, ``assay`` and ``lab``. What lacks one of them is in no pair.
    not_labs
        Values of ``lab`` that are no laboratory, such as a project that processed others' reads again.

    Returns
    -------
    Sorted by target and biosample.

    Raises
    ------
    ConfigError
        If one of these factors is not there.
    """
    for name in PAIRED_BY:
        if name not in factors or factors[name].kind != "category":
            raise ConfigError(
                f"factor {name}",
                found=f"{'another kind than category' if name in factors else 'none'} in the store",
                expected="one value an experiment",
                remedy="Build the store with it: the laboratory is in the portal's experiment report (--report).",
            )
    groups: dict[tuple[str, str, str], list[int]] = {}
    columns = [factors[name].values for name in PAIRED_BY]
    labs = columns[3]
    for index, values in enumerate(zip(*columns, strict=True)):
        if None not in values and values[3] not in not_labs:
            groups.setdefault(values[:3], []).append(index)
    return tuple(
        Pair(first, second, target, biosample, (labs[first], labs[second]))
        for (target, biosample, _), members in sorted(groups.items())
        for first, second in combinations(members, 2)
        if labs[first] != labs[second]
    )


def parts_of(
    features: Mapping[str, NDArray[np.floating]], weights: Mapping[str, NDArray[np.floating]]
) -> dict[str, Part]:
    """Compute what each role adds to the logits, and what all of them do together.

    Parameters
    ----------
    features
        Of windows, by role, each ``(window, feature)``.
    weights
        By role, each ``(experiment, feature)``.

    Returns
    -------
    By role, and `COMBINED`; that alone where there is one subspace.
    """
    parts = {}
    for role, values in features.items():
        wide, factor = values.astype(np.float64), weights[role].astype(np.float64)
        parts[role] = Part(wide @ factor.T, factor * wide.std(0))
    combined = Part(
        np.sum([part.logits for part in parts.values()], axis=0),
        np.concatenate([part.weights for part in parts.values()], 1),
    )
    return (parts if len(parts) > 1 else {}) | {COMBINED: combined}


def score_pairs(
    part: Part,
    labels: NDArray[np.bool_],
    pairs: Sequence[Pair],
    *,
    factors: FactorTable,
    resampler: Resampler,
) -> tuple[PairScores, ...]:
    """Score how a part of the predictions agrees within pairs.

    Parameters
    ----------
    part
        Of all experiments.
    labels
        Shape ``(window, experiment)``.
    pairs
        To be scored.
    factors
        Of the experiments.
    resampler
        Of the windows.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    n_windows, n_experiments = len(resampler.blocks), len(factors.experiments)
    if not part.logits.shape == labels.shape == (n_windows, n_experiments):
        raise ValueError(
            f"logits {part.logits.shape}, labels {labels.shape}, {n_windows} windows and {n_experiments} experiments "
            "do not fit"
        )
    target, biosample, lab = (factors[name].values for name in ("target", "biosample", "lab"))

    def others(experiment: int, pair: Pair) -> list[int]:
        """List the experiments of other targets in an experiment's laboratory and the pair's biosample."""
        return [
            index
            for index in range(len(target))
            if lab[index] == lab[experiment]
            and biosample[index] == pair.biosample
            and target[index] not in (None, pair.target)
        ]

    scores = []
    for pair in pairs:
        first, second = pair.first, pair.second
        by_lab = {index: others(index, pair) for index in (first, second)}
        asked = [
            (one, other) for one in (first, second) for lab_of in (first, second) for other in by_lab[lab_of]
        ]
        one_of, other_of = np.array([(first, second), *asked]).T
        agreed = resampler.correlations(part.logits[:, one_of], part.logits[:, other_of]).T
        turned = cosines(part.weights, [(first, second), *asked])[:, None]
        equal = _equal(part.weights[first], part.weights[second])
        correlation, cosine = _Agreement(agreed, asked), _Agreement(turned, asked)
        labelled = labels[:, first], labels[:, second]
        only = labelled[0] != labelled[1]
        gap = np.zeros(only.sum()) if equal else (part.logits[:, first] - part.logits[:, second])[only]
        auroc = {
            (scored, truth): resampler.auroc(part.logits[:, scored], labels[:, truth])
            for scored in (first, second)
            for truth in (first, second)
        }
        values: dict[str, NDArray[np.float64]] = {
            "correlation": correlation.partner,
            "contrast": correlation.partner - correlation.own_lab(first, second, by_lab),
            "retrieval": correlation.retrieval(first, second, by_lab),
            "transfer": (auroc[first, second] + auroc[second, first]) / 2,
            "own": (auroc[first, first] + auroc[second, second]) / 2,
            "difference": resampler.take(only).auroc(gap, labelled[0][only]),
            "cosine": cosine.partner,
            "cosine_retrieval": cosine.retrieval(first, second, by_lab),
        }
        values = {name: np.broadcast_to(value, len(resampler.draws)) for name, value in values.items()}
        scores.append(PairScores(pair, equal, len({*by_lab[first], *by_lab[second]}), values))
    return tuple(scores)


def cosines(weights: NDArray[np.float64], asked: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Compute cosines between rows, shape ``(asked,)``; NaN where a row is 0."""
    one, other = (weights[[pair[side] for pair in asked]] for side in (0, 1))
    scale = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: NDArray[np.float64] = np.full(len(asked), np.nan)
    np.divide((one * other).sum(1), scale, out=found, where=scale > 0)
    return found


def target_values(scores: Sequence[PairScores], measure: str) -> NDArray[np.float64]:
    """Average a measure over the pairs of each target: shape ``(draw, target)``, targets in order of their names."""
    targets = sorted({one.pair.target for one in scores})
    columns = [
        mean_of_groups(np.stack([one.values[measure] for one in scores if one.pair.target == name], axis=1))
        for name in targets
    ]
    return np.stack(columns, axis=1)


class _Agreement:
    """Agreement of a pair, and of either of it with experiments of other targets."""

    def __init__(self, agreed: NDArray[np.float64], asked: Sequence[tuple[int, int]]) -> None:
        self.partner = agreed[0]
        self._other = dict(zip(asked, agreed[1:], strict=True))
        self._nothing = np.full_like(agreed[0], np.nan)

    def own_lab(self, first: int, second: int, by_lab: Mapping[int, Sequence[int]]) -> NDArray[np.float64]:
        """Average the agreement of either with other targets of its own laboratory."""
        means = [
            mean_of_known(np.stack([self._other[one, other] for other in by_lab[one]]))
            for one in (first, second)
            if by_lab[one]
        ]
        return mean_of_known(np.stack(means)) if means else self._nothing

    def retrieval(self, first: int, second: int, by_lab: Mapping[int, Sequence[int]]) -> NDArray[np.float64]:
        """Count how many of the other laboratory's other targets agree less than the partner does."""
        shares = []
        for one, lab_of in ((first, second), (second, first)):
            if by_lab[lab_of]:
                other = np.stack([self._other[one, candidate] for candidate in by_lab[lab_of]])
                tied = np.abs(other - self.partner) <= _EQUAL
                below = (other < self.partner) & ~tied
                shares.append(np.where(np.isnan(self.partner), np.nan, (below + tied / 2).mean(0)))
        return mean_of_known(np.stack(shares)) if shares else self._nothing


def _equal(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    largest = max(np.abs(one).max(), np.abs(other).max())
    return bool(np.abs(one - other).max() <= _EQUAL * largest)
