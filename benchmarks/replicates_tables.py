"""Tables of the replicates benchmark: means over pairs, comparisons, every run and every pair."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.replicates import (
    COMBINED,
    Pair,
    PairScores,
    target_values,
)
from mfdmodel.resampling import Comparison, Estimate, compare, estimate

SAID = {
    "correlation": "correlation of the two predictions over windows",
    "contrast": "that, less the correlation with other targets of the same laboratory",
    "retrieval": "share of the other laboratory's other targets that agree less than the partner (0.5 is chance)",
    "transfer": "AUROC of one laboratory's prediction on the other's labels",
    "own": "AUROC on the own labels",
    "difference": "AUROC of the predictions' difference, peaks of the one alone against those of the other alone",
    "cosine": "cosine of the weights",
    "cosine_retrieval": "share of the other laboratory's other targets whose weights are less alike than the partner's",
}

PROBES = {
    "probe_transfer": "AUROC of a probe of the features, fitted to one laboratory's labels, on the other's",
    "probe_own": "AUROC of such a probe on the own labels",
    "probe_difference": "AUROC of a probe that tells peaks of the one alone from those of the other alone",
}
BY_CONSTRUCTION = ("correlation", "contrast", "retrieval", "difference", "cosine", "cosine_retrieval")
"""What equal weights decide, in whole or (contrast) in part."""


@dataclass(frozen=True)
class RunScores:
    """Scores of one run's pairs, by part; `model` names what it shares with runs of other seeds."""

    name: str
    model: str
    seed: int
    valid_loss: float
    parts: dict[str, tuple[PairScores, ...]]


def pooled(runs: list[RunScores], part: str, measure: str) -> NDArray[np.float64]:
    """Average a measure over runs: of each target, by draw."""
    return np.mean([target_values(run.parts[part], measure) for run in runs], axis=0)


def of_seeds(runs: list[RunScores], part: str, measure: str) -> list[float]:
    """Compute the mean over targets of each run alone."""
    return [estimate(target_values(run.parts[part], measure)).mean for run in runs]


def spread(values: list[float]) -> str:
    """Say from where to where runs lie, which differ in their seed; nothing of a single one."""
    known = [value for value in values if not np.isnan(value)]
    return f"{number(min(known))} to {number(max(known))}" if len(known) > 1 else "-"


def interval(value: Estimate) -> str:
    if np.isnan(value.both.low):
        return number(value.mean)
    return f"{number(value.mean)} ({number(value.both.low)} to {number(value.both.high)})"


def compared(value: Comparison, seeds: str) -> str:
    difference = value.difference
    spans = " | ".join(
        "-" if np.isnan(one.low) else f"{number(one.low)} to {number(one.high)}"
        for one in (difference.windows, difference.groups, difference.both)
    )
    counts = f"{value.n_higher}, {value.n_lower} of {difference.n_groups}"
    p_value = "< 0.001" if value.p_value < 0.001 else number(value.p_value)
    return f"{difference.mean:+.4f} | {spans} | {seeds} | {counts} | {p_value}"


def number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def tables(models: dict[str, list[RunScores]]) -> list[str]:
    lines = []
    measures = tuple(next(iter(models.values()))[0].parts[COMBINED][0].values)
    for model, runs in models.items():
        parts = list(runs[0].parts)
        lines += [
            f"## {model} ({len(runs)} run{'s' * (len(runs) > 1)}: {', '.join(run.name for run in runs)})",
            "",
            f"| measure | {' | '.join(parts)} |",
            f"|---|{'---:|' * len(parts)}",
        ]
        for measure in measures:
            values = [
                f"{interval(estimate(pooled(runs, part, measure)))}; seeds {spread(of_seeds(runs, part, measure))}"
                for part in parts
            ]
            lines.append(f"| {(SAID | PROBES)[measure]} | {' | '.join(values)} |")
        lines.append("")
        roles = [part for part in parts if part != COMBINED]
        for one, other in [(role, COMBINED) for role in roles] + list(combinations(roles, 2)):
            lines += comparison_table(
                f"{one} less {other}",
                all(scores.equal_weights for scores in runs[0].parts[one]),
                {measure: (pooled(runs, one, measure), pooled(runs, other, measure)) for measure in measures},
                {
                    measure: [
                        a - b
                        for a, b in zip(
                            of_seeds(runs, one, measure), of_seeds(runs, other, measure), strict=True
                        )
                    ]
                    for measure in measures
                },
            )
    if len(models) > 1:
        lines += ["## Models beside each other", ""]
        first, *others = models
        for part in models[first][0].parts:
            for other in others:
                lines += comparison_table(
                    f"{part} of {first} less combined of {other}",
                    all(one.equal_weights for one in models[first][0].parts[part]),
                    {
                        measure: (
                            pooled(models[first], part, measure),
                            pooled(models[other], COMBINED, measure),
                        )
                        for measure in measures
                    },
                    {
                        measure: [
                            a - b
                            for a, b in product(
                                of_seeds(models[first], part, measure),
                                of_seeds(models[other], COMBINED, measure),
                            )
                        ]
                        for measure in measures
                    },
                )
    return lines


def comparison_table(
    title: str,
    forced: bool,
    values: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    by_seed: dict[str, list[float]],
) -> list[str]:
    """Lay out comparisons; where weights are equal by metadata, what follows from that alone is marked.

    `by_seed` has the differences of single runs: those of one run each, or of each run with each of the other model.
    """
    marks = dict.fromkeys(BY_CONSTRUCTION, " (by construction)") if forced else {}
    return [
        f"| {title} | mean | over windows | over targets | over both | seeds | targets higher, lower | p |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {measure}{marks.get(measure, '')} | {compared(compare(*pair), spread(by_seed[measure]))} |"
            for measure, pair in values.items()
        ),
        "",
    ]


def run_table(models: dict[str, list[RunScores]]) -> list[str]:
    """List the runs, with what tells seeds apart."""
    lines = ["| run | model | seed | validation loss | transfer, by part |", "|---|---|---:|---:|---|"]
    for run in (run for runs in models.values() for run in runs):
        transfer = ", ".join(
            f"{part} {number(estimate(target_values(scores, 'transfer')).mean)}"
            for part, scores in run.parts.items()
        )
        lines.append(f"| {run.name} | {run.model} | {run.seed} | {run.valid_loss:.5f} | {transfer} |")
    return [*lines, ""]


def pair_table(runs: list[RunScores], experiments: tuple[str, ...]) -> list[str]:
    """List the pairs of the first model: means over its runs, over all windows."""
    parts = list(runs[0].parts)
    lines = [
        f"Pairs of {runs[0].model}, means over its runs. Other: experiments of other targets in these laboratories and "
        "the biosample.",
        "",
        "| target | biosample | laboratories | experiments | other | "
        f"{' | '.join(f'{measure}, {part}' for measure in ('transfer', 'retrieval') for part in parts)} | "
        "equal weights |",
        f"|---|---|---|---|---:|{'---:|' * (2 * len(parts))}---|",
    ]
    for index, one in enumerate(runs[0].parts[COMBINED]):
        pair: Pair = one.pair
        values = [
            number(float(np.mean([run.parts[part][index].values[measure][0] for run in runs])))
            for measure in ("transfer", "retrieval")
            for part in parts
        ]
        equal = [part for part in parts if runs[0].parts[part][index].equal_weights]
        cells = (
            pair.target,
            pair.biosample,
            " and ".join(pair.labs),
            f"{experiments[pair.first]}, {experiments[pair.second]}",
            str(one.n_candidates),
            *values,
            ", ".join(equal) or "none",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return [*lines, ""]
