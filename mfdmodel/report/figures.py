"""Figures of a run as inline SVG: text stays text, and nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Final

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mfdmodel.analyses.independence.measures import Measure
from mfdmodel.analyses.truth.probes import ProbeScore
from mfdmodel.evaluate.scores import ExperimentScore
from mfdmodel.report.drawing import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    LABEL_WIDTH,
    ROLE_COLOURS,
    STYLE,
    line_of,
    new_figure,
    palette_of,
    shorten,
    spread_dots,
    to_svg,
)
from mfdmodel.train.keeper import EpochRecord, best_epoch

_MOST_ROWS: Final = 60


def draw_losses(runs: Mapping[str, Sequence[EpochRecord]]) -> str:
    """Draw the cross entropy by epoch: the first run's training and validation, the others' validation.

    Parameters
    ----------
    runs
        Learning curves by name; the first is the run that the page is about.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(5.4, 3.3)
        for index, (name, records) in enumerate(runs.items()):
            if not records:
                continue
            colour, line = line_of(index)
            epochs = [record.epoch + 1 for record in records]
            if index == 0:
                losses = [record.train_loss for record in records]
                axes.plot(epochs, losses, color=colour, lw=1.2, ls=(0, (4, 2)), label="training")
            losses = [record.valid_loss for record in records]
            label = "validation" if len(runs) == 1 else f"validation, {shorten(name)}"
            axes.plot(epochs, losses, color=colour, ls=line, lw=2, marker="o", ms=3.5, label=label)
            best = best_epoch(list(records))
            axes.plot(epochs[best], losses[best], "o", ms=9, mfc="none", mec=colour, mew=1.5)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross entropy (nats)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        return to_svg(figure)


def draw_dependence(
    runs: Mapping[str, Sequence[EpochRecord]],
    n_features: Mapping[str, int],
    *,
    title: str = "mean squared correlation",
) -> str | None:
    """Draw the penalty, or how much of each subspace the predictors find in the other, by epoch.

    Parameters
    ----------
    runs
        Learning curves by name.
    n_features
        Features of both subspaces together, by the same names; 1 where the penalty is no sum over features.
    title
        What is drawn.

    Returns
    -------
    The penalty over the number of features; `None` where no run has two subspaces.
    """
    curves = {
        name: [
            (record.epoch + 1, -record.l_indep / n_features[name])
            for record in records
            if record.l_indep is not None
        ]
        for name, records in runs.items()
    }
    if not any(curves.values()):
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(5.4, 3.3)
        for index, (name, points) in enumerate(curves.items()):
            if points:
                colour, line = line_of(index)
                axes.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    ls=line,
                    lw=2,
                    marker="o",
                    ms=3.5,
                    label=shorten(name),
                )
        if all(
            value >= 0 for points in curves.values() for _, value in points
        ):  # a discriminator may guess wrongly
            axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel(fill(title, LABEL_WIDTH))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if sum(bool(points) for points in curves.values()) > 1:
            axes.legend()
        return to_svg(figure)


def draw_scores_by_group(scores: Sequence[ExperimentScore], *, rows: str, colours: str | None) -> str | None:
    """Draw each experiment's AUROC as a dot, one row a value of a factor, rows sorted by their mean.

    Experiments that were held out of the loss are rings, and in no mean beside others.
    Where there are too many values, those of most experiments are drawn, of equals those of the lowest mean, and the
    figure says how many are left out.

    Parameters
    ----------
    scores
        Of the experiments.
    rows
        Factor that makes the rows.
    colours
        Factor that colours the dots, `None` for one colour.
    """
    grouped: dict[str, list[ExperimentScore]] = {}
    for score in scores:
        if not np.isnan(score.auroc):
            grouped.setdefault(score.factors.get(rows) or "(missing)", []).append(score)
    if not grouped:
        return None
    trained = {name: [one for one in members if not one.held_out] for name, members in grouped.items()}
    means = {name: float(np.mean([one.auroc for one in trained[name] or grouped[name]])) for name in grouped}
    largest = sorted(grouped, key=lambda name: (-len(grouped[name]), means[name]))[:_MOST_ROWS]
    order = sorted(largest, key=means.__getitem__)
    n_left_out = len(grouped) - len(order)
    palette = palette_of([score.factors.get(colours) if colours else None for score in scores])
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(7.6, 0.9 + 0.235 * len(order))
        for row, name in enumerate(order):
            members = grouped[name]
            values = np.array([score.auroc for score in members])
            offsets = spread_dots(len(members))
            dots = [palette[(score.factors.get(colours) if colours else None) or ""] for score in members]
            faces = ["white" if one.held_out else dot for one, dot in zip(members, dots, strict=True)]
            axes.scatter(values, row + offsets, s=18, facecolors=faces, edgecolors=dots, alpha=0.8, lw=0.8)
            axes.plot([means[name]] * 2, [row - 0.36, row + 0.36], color=INK, lw=1.6, solid_capstyle="butt")
        axes.axvline(0.5, color=FAINT, lw=1, ls=(0, (3, 3)))
        axes.set_yticks(range(len(order)), [f"{shorten(name)}  ({len(grouped[name])})" for name in order])
        axes.set_ylim(-0.7, len(order) - 0.3)
        axes.grid(axis="y", visible=False)
        left_out = f"the {len(order)} values of most experiments; {n_left_out} others are not drawn"
        axes.set_xlabel(f"AUROC\n{left_out}" if n_left_out else "AUROC")
        handles = [
            axes.scatter([], [], s=18, color=colour, label=shorten(name or "(missing)"))
            for name, colour in palette.items()
            if len(palette) > 1
        ]
        if any(score.held_out for score in scores):
            ring = axes.scatter(
                [], [], s=18, facecolors="white", edgecolors=INK, label="held out of the loss"
            )
            handles.append(ring)
        if handles:
            axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4)
        return to_svg(figure)


def draw_comparison(
    first: tuple[str, Sequence[ExperimentScore]], second: tuple[str, Sequence[ExperimentScore]]
) -> str | None:
    """Draw the AUROC of the same experiments under two runs against each other; rings are held out by either.

    Returns
    -------
    `None` where no experiment has a score under both.
    """
    other = {score.experiment: score for score in second[1]}
    both = [(other[score.experiment], score) for score in first[1] if score.experiment in other]
    both = [pair for pair in both if not any(np.isnan(score.auroc) for score in pair)]
    if not both:
        return None
    pairs = np.array([[score.auroc for score in pair] for pair in both])
    trained = np.array([not any(score.held_out for score in pair) for pair in both])
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(3.7, 3.6)
        low, high = float(pairs.min()) - 0.02, min(float(pairs.max()) + 0.02, 1.005)
        axes.plot([low, high], [low, high], color=FAINT, lw=1)
        faces = np.where(trained, COLOURS[0], "white").tolist()
        x, y = pairs.T
        axes.scatter(x, y, s=16, facecolors=faces, edgecolors=COLOURS[0], alpha=0.7, lw=0.8)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_aspect("equal")
        axes.set_xlabel(f"AUROC, {shorten(second[0])}")
        axes.set_ylabel(f"AUROC, {shorten(first[0])}")
        title = f"higher in {(y > x)[trained].sum()} of {trained.sum()} experiments"
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        return to_svg(figure)


def draw_probes(scores: Sequence[ProbeScore]) -> str | None:
    """Draw, for each planted truth, how well it is read from the features of each role."""
    known = [score for score in scores if not any(np.isnan(value) for value in score.auroc.values())]
    if not known:
        return None
    known = sorted(known, key=lambda score: (score.role != "technical", score.factor))
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(7.6, 1.1 + 0.27 * len(known))
        for row, score in enumerate(known):
            values = list(score.auroc.values())
            axes.plot(
                [min(values), max(values)], [row, row], color=GRID, lw=4, zorder=1, solid_capstyle="round"
            )
            for role, value in score.auroc.items():
                axes.scatter(value, row, s=42, color=ROLE_COLOURS.get(role, COLOURS[2]), zorder=2, lw=0)
        names = [f"{score.role}: {score.factor} {shorten(score.value)}" for score in known]
        axes.set_yticks(range(len(known)), names)
        axes.axvline(0.5, color=FAINT, lw=1, ls=(0, (3, 3)))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("AUROC of a linear probe on test windows")
        handles = [
            axes.scatter(
                [], [], s=42, color=ROLE_COLOURS.get(role, COLOURS[2]), label=f"from {role} features"
            )
            for role in known[0].auroc
        ]
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
        return to_svg(figure)


def draw_independence(measures: Sequence[Measure]) -> str | None:
    """Draw each measure with its interval above the same of rotated windows, and a line where independence is."""
    known = [one for one in measures if not (np.isnan(one.value.value) or np.isnan(one.null.value))]
    if not known:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(9.0, 1.1 + 0.33 * len(known))
        rows = np.arange(len(known))[::-1]
        for shift, colour, label, estimates in (
            (0.13, COLOURS[1], "measured", [one.value for one in known]),
            (-0.13, FAINT, "windows of one subspace rotated", [one.null for one in known]),
        ):
            axes.hlines(
                rows + shift,
                [one.low for one in estimates],
                [one.high for one in estimates],
                color=colour,
                lw=2,
            )
            values = [one.value for one in estimates]
            axes.scatter(values, rows + shift, s=26, color=colour, lw=0, zorder=3, label=label)
        chances = [one.chance for one in known]
        axes.vlines(chances, rows - 0.34, rows + 0.34, color=INK, lw=1, ls=(0, (3, 2)), label="independent")
        axes.set_yticks(rows, [one.title for one in known])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("accuracy, R2 or correlation (95 %)")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
        return to_svg(figure)


def draw_label_shares(shares: NDArray[np.float64]) -> str:
    """Draw a histogram of the share of training windows that each experiment labels.

    Parameters
    ----------
    shares
        Shape ``(experiment,)``; drawn in percent.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(5.4, 2.6)
        axes.hist(
            100 * shares, bins=min(40, max(8, len(shares) // 4)), color=COLOURS[0], edgecolor="white", lw=0.6
        )
        axes.set_xlabel("labelled training windows (%)")
        axes.set_ylabel("experiments")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return to_svg(figure)
