"""The picture of experiments in the space of their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import matplotlib
from matplotlib.figure import Figure

from mfdmodel.analyses.embedding.experiments import SubspaceView
from mfdmodel.report.drawing import COLOURS, FAINT, INK, ROLE_COLOURS, STYLE, shorten, to_svg

_MARKERS: Final = ("o", "s", "^")


def draw_embedding(views: Sequence[SubspaceView], values: Sequence[str | None], *, factor: str) -> str:
    """Draw experiments in the space of their weights, a picture a subspace, coloured by a factor.

    Where there are more values than colours and shapes together, those of fewest experiments are grey.

    Parameters
    ----------
    views
        Coordinates in each subspace.
    values
        Of each experiment, `None` where missing.
    factor
        That they are of.
    """
    counts = Counter(value for value in values if value is not None)
    named = sorted(counts, key=lambda name: (-counts[name], name))[: len(COLOURS) * len(_MARKERS)]
    groups = [(name, [value == name for value in values]) for name in named]
    others = [value is not None and value not in named for value in values]
    rest = [(f"{len(counts) - len(named)} other values", others), ("(missing)", [v is None for v in values])]
    with matplotlib.rc_context(STYLE):
        height = max(3.4, 0.9 + 0.17 * (len(named) + 2))
        figure = Figure(figsize=(3.3 * len(views) + 2.2, height), layout="constrained")
        panels = figure.subplots(1, len(views), squeeze=False)[0]
        for axes, view in zip(panels, views, strict=True):
            for label, members in rest:
                axes.scatter(*view.coordinates[members].T, s=12, color=FAINT, alpha=0.5, lw=0, label=label)
            for index, (name, members) in enumerate(groups):
                turn, colour = divmod(index, len(COLOURS))
                axes.scatter(
                    *view.coordinates[members].T,
                    s=24,
                    color=COLOURS[colour],
                    marker=_MARKERS[turn],
                    alpha=0.75,
                    lw=0,
                    label=shorten(name),
                )
            parts = ("", "") if view.explained is None else (f", {100 * e:.0f} %" for e in view.explained)
            first, second = parts
            axes.set_xlabel(f"axis 1{first}")
            axes.set_ylabel(f"axis 2{second}")
            axes.locator_params(nbins=5)
            axes.set_title(view.role, fontsize=10, color=ROLE_COLOURS.get(view.role, INK), loc="left")
        handles, labels = panels[0].get_legend_handles_labels()
        drawn = [any(members) for _, members in (*rest, *groups)]
        shown = [index for index in (*range(2, len(drawn)), 0, 1) if drawn[index]]
        figure.legend(
            [handles[index] for index in shown],
            [labels[index] for index in shown],
            title=shorten(factor),
            loc="outside right upper",
            fontsize=8,
        )
        return to_svg(figure)
