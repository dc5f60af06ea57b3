"""The truth benchmark's verdict, from cells whose numbers are known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LEFT = np.array([-0.01, -0.005, 0.0, 0.005, 0.01])
"""What seeds differ by."""


@pytest.fixture
def grid_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import truth_grid

    yield truth_grid
    sys.modules.pop("truth_grid")


def cell(strength: float, seed: int, method: str, **scores: float) -> dict[str, Any]:
    """Make a cell of scores such as ``bio_from_tech``; at equal width all is the same, so judging by it would fail."""
    sets = {"bio": "biological", "tech": "technical", "comb": "combined"}
    recovery = []
    for role in ("bio", "tech"):
        whole = {name: {"value": scores[f"{role}_from_{key}"]} for key, name in sets.items()}
        flat = {name: {"value": 0.5} for name in sets.values()}
        recovery.append(
            {"role": sets[role], "factor": None, "value": None, "auroc": flat, "whole": whole, "told": flat}
        )
    return {
        "strength": strength,
        "seed": seed,
        "method": method,
        "scores": {"recovery": recovery, "overlap": None, "transfer": None},
    }


def cells(
    strength: float, method: str, *, lost: float, gap: float, spread: float = 1.0
) -> list[dict[str, Any]]:
    return [
        cell(
            strength,
            seed,
            method,
            bio_from_bio=0.9 - lost,
            bio_from_tech=0.7,
            bio_from_comb=0.9,
            tech_from_bio=0.8 - gap + spread * left,
            tech_from_tech=0.8 + spread * left,
            tech_from_comb=0.85,
        )
        for seed, left in enumerate(LEFT)
    ]


def test_judge__asks_both_halves_of_the_claim(grid_of: Any) -> None:
    # two intervals of t lie apart when their means do by more than both halves
    half = stats.t.ppf(0.975, 4) * LEFT.std(ddof=1) / np.sqrt(5)
    for lost, gap, holds in (
        (0.015, 2 * half + 0.002, True),
        (0.015, 2 * half - 0.002, False),
        (0.03, 0.2, False),
        (-0.1, -0.2, False),
    ):
        grid = grid_of.Grid(cells(0.5, "MFD 0.1", lost=lost, gap=gap))
        found = grid_of.judge(grid, 0.5, "MFD 0.1")
        assert found["holds"] is holds, (lost, gap)
        # within seeds the difference is the same, whatever the seeds vary by
        assert found["paired"] is bool(gap > 0)
        assert found["mean gap"] == pytest.approx(gap)
        assert grid_of.judge(grid, 0.5, "MFD 0.1", "told")["holds"] is False


def test_judge__of_one_seed_has_no_interval(grid_of: Any) -> None:
    grid = grid_of.Grid(cells(0.5, "MFD 0.1", lost=0.0, gap=0.3)[:1])
    assert grid_of.judge(grid, 0.5, "MFD 0.1")["holds"] is False
    assert grid_of.judge(grid, 0.9, "MFD 0.1") is None


def test_best_method__is_the_one_that_holds_at_most_strengths_and_has_a_price(grid_of: Any) -> None:
    grid = grid_of.Grid(
        [
            *cells(0.0, "MFD 0", lost=0.0, gap=0.3),
            *cells(0.5, "MFD 0", lost=0.0, gap=0.3),
            *cells(0.0, "MFD 0.1", lost=0.0, gap=0.1),
            *cells(0.5, "MFD 0.1", lost=0.0, gap=0.1),
            *cells(0.0, "MFD 0.2", lost=0.0, gap=0.3),
            *cells(0.5, "MFD 0.2", lost=0.1, gap=0.3),
            *cells(0.0, "baseline", lost=0.0, gap=0.3),
        ]
    )
    assert grid_of.best_method(grid) == "MFD 0.1"
    assert grid_of.best_method(grid_of.Grid(cells(0.0, "MFD 0", lost=0.0, gap=0.3))) is None
