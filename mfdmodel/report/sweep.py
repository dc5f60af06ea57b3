"""The picture of a sweep: AUROC by the price of dependence, whole and by subspace, a point for each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mfdmodel.checkpoint.states import write_atomically
from mfdmodel.report.drawing import INK, LABEL_WIDTH, ROLE_COLOURS, STYLE
from mfdmodel.sweep.cells import CellResult, spell
from mfdmodel.sweep.summary import WAYS, summarise

FIGURE: Final = "sweep.png"
_SPREAD: Final = 0.09
"""Between the points of two ways, in places of the axis."""


def draw_sweep(out: Path, results: Sequence[CellResult], *, penalty: str) -> Path:
    """Draw a sweep into its folder; gives the picture's path.

    Parameters
    ----------
    out
        Folder of the sweep.
    results
        Of its runs.
    penalty
        What the penalty is (`PenaltyConfig.title`).
    """
    rows = summarise(results)
    colours = dict(zip(WAYS, (INK, *ROLE_COLOURS.values()), strict=True))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for number, way in enumerate(WAYS):
            shift = (number - 1) * _SPREAD
            for place, row in enumerate(rows):
                points = [
                    (one.auroc or {}).get(way, math.nan)
                    for one in results
                    if one.lambda_indep == row.lambda_indep and not one.fault
                ]
                left.plot(
                    [place + shift] * len(points), points, "o", ms=3, mfc="none", mec=colours[way], mew=0.8
                )
            means = [row.auroc[way].value for row in rows]
            left.plot(
                [place + shift for place in range(len(rows))], means, color=colours[way], lw=1.6, label=way
            )
        left.set_ylabel("AUROC, mean over experiments")
        left.legend()
        for place, row in enumerate(rows):
            points = [one.penalty for one in results if one.lambda_indep == row.lambda_indep]
            right.plot([place] * len(points), points, "o", ms=3, mfc="none", mec=INK, mew=0.8)
        right.plot([row.penalty.value for row in rows], color=INK, lw=1.6)
        right.set_ylabel(fill(f"{penalty}, training", LABEL_WIDTH))
        for axes in (left, right):
            _name_prices(axes, [row.lambda_indep for row in rows])
        write_atomically(out / FIGURE, lambda beside: _save(figure, beside))
    return out / FIGURE


def _name_prices(axes: Axes, prices: Sequence[float]) -> None:
    axes.set_xticks(range(len(prices)), [spell(price) for price in prices])
    axes.set_xlabel("price of dependence, lambda")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=150)
