"""Cells of the truth benchmark by strength and method, their means with intervals, and the claim held against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mfdmodel.intervals import student

Cell = dict[str, Any]
Score = Callable[[Cell], float | None]

Measured = Literal["auroc", "whole", "told"]
"""At equal width; all features of a set; all features, a value told from the others of its factor."""
TOLERANCE = 0.02
"""AUROC that biological features may lack to the combined ones."""
SETS = ("biological", "technical", "combined")


def recovered(role: str, features: str, *, factor: str | None = None, measured: Measured = "whole") -> Score:
    """Give how to look up how well truths of a role, or of one factor, are read from a set of features."""

    def look(cell: Cell) -> float | None:
        for one in cell["scores"]["recovery"]:
            if (one["role"], one["factor"], one["value"]) == (role, factor, None):
                estimate = one[measured].get(features)
                return None if estimate is None else estimate["value"]
        return None

    return look


def overlapped(key: str, logits: str, factor: str) -> Score:
    def look(cell: Cell) -> float | None:
        for one in cell["scores"]["overlap"] or ():
            if (one["factor"], one["value"]) == (factor, None):
                if key in ("chance", "technical_chance"):
                    return one[key]
                estimate = one[key].get(logits)
                return None if estimate is None else estimate["value"]
        return None

    return look


def transferred(by: str) -> Score:
    def look(cell: Cell) -> float | None:
        transfer = cell["scores"]["transfer"]
        return transfer["auroc"][by]["value"] if transfer and by in transfer["auroc"] else None

    return look


def less(first: Score, second: Score) -> Score:
    """Give the first minus the second, within a cell."""

    def look(cell: Cell) -> float | None:
        a, b = first(cell), second(cell)
        return None if a is None or b is None else a - b

    return look


class Grid:
    """Cells by strength and method, and means over their seeds."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self.strengths = sorted({cell["strength"] for cell in cells})
        self.methods = list(dict.fromkeys(cell["method"] for cell in cells))
        self.priced = [method for method in self.methods if method.startswith("MFD")]

    def values(self, strength: float, method: str, score: Score) -> dict[int, float]:
        """Look a score up, by seed."""
        found = {
            cell["seed"]: score(cell)
            for cell in self.cells
            if (cell["strength"], cell["method"]) == (strength, method)
        }
        return {seed: value for seed, value in found.items() if value is not None}


def say(values: Mapping[int, float], *, signed: bool = False) -> str:
    if not values:
        return ""
    found = student(list(values.values()))
    text = f"{found.value:+.3f}" if signed else f"{found.value:.3f}"
    return text if np.isnan(found.low) else f"{text} ± {found.value - found.low:.3f}"


def judge(grid: Grid, strength: float, method: str, measured: Measured = "whole") -> dict[str, Any] | None:
    """Hold one method at one strength against the claim; None without seeds."""
    biology = [recovered("biological", features, measured=measured) for features in SETS]
    technique = [recovered("technical", features, measured=measured) for features in SETS]
    lost = grid.values(strength, method, less(biology[2], biology[0]))
    bio, tech = (grid.values(strength, method, score) for score in technique[:2])
    gap = grid.values(strength, method, less(technique[1], technique[0]))
    parts = (lost, bio, tech, gap)
    if not all(parts):
        return None
    lost_at, bio_at, tech_at, gap_at = (student(list(values.values())) for values in parts)
    several = len(gap) > 1
    return {
        "n": len(gap),
        "lost": lost,
        "gap": gap,
        "kept": lost_at.value <= TOLERANCE,
        "surely kept": several and lost_at.high <= TOLERANCE,
        # of one seed there is no interval to lie apart
        "apart": several and tech_at.low > bio_at.high,
        "paired": several and gap_at.low > 0,
        "mean gap": gap_at.value,
        "holds": lost_at.value <= TOLERANCE and several and tech_at.low > bio_at.high,
    }


def best_method(grid: Grid) -> str | None:
    """Choose the lambda whose claim holds at most strengths, then the one that keeps biology at most, then by the gap.

    MFD without penalty is no candidate.
    """
    ranked = []
    for method in grid.priced:
        if method == "MFD 0":
            continue
        found = [judge(grid, strength, method) for strength in grid.strengths]
        known = [one for one in found if one is not None]
        if known:
            held = sum(one["holds"] for one in known)
            kept = sum(one["kept"] for one in known)
            ranked.append((held, kept, float(np.mean([one["mean gap"] for one in known])), method))
    return max(ranked)[-1] if ranked else None


def differences(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    return {seed: value - second[seed] for seed, value in first.items() if seed in second}
