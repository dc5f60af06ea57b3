"""One self-contained HTML page of a run: it opens offline and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mfdmodel.analyses.embedding.neighbours import N_PERMUTATIONS, Clustering
from mfdmodel.analyses.embedding.run import RunEmbedding
from mfdmodel.analyses.independence.result import Independence
from mfdmodel.analyses.truth.probes import ProbeScore, ProbeSummary, summarise
from mfdmodel.config import PenaltyConfig
from mfdmodel.evaluate.scores import Evaluation, GroupScore
from mfdmodel.report.content import RunContent
from mfdmodel.report.embedding_figure import draw_embedding
from mfdmodel.report.figures import (
    draw_comparison,
    draw_dependence,
    draw_independence,
    draw_label_shares,
    draw_losses,
    draw_probes,
    draw_scores_by_group,
)

_NOTABLE: Final = 0.005
"""Difference of mean AUROC below which the page calls two subspaces equal."""

_RINGS: Final = " Rings were held out of the loss, and are in no mean beside others."

_CONTROL: Final = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""Characters that a page may not hold, though metadata may."""


@dataclass(frozen=True)
class _SideBySide:
    name: str | None
    n_experiments: int
    auroc: tuple[float, ...]


@dataclass(frozen=True)
class _GroupRow:
    name: str | None
    trained: GroupScore | None
    held_out: GroupScore | None


def render_page(
    run: RunContent,
    *,
    others: Sequence[RunContent] = (),
    probes: Sequence[ProbeScore] = (),
    measured: Independence | None = None,
    embedding: RunEmbedding | None = None,
) -> str:
    """Write the page.

    Every name that comes from metadata or a path is escaped, by the template or by the figures' XML writer.

    Parameters
    ----------
    run
        That the page is about.
    others
        Runs to set beside it, evaluated on the same split.
    probes
        Of planted truths, where they are known.
    measured
        How independent the run's subspaces are, where that is known.
    embedding
        Of the run's experiments by their weights, where it was computed.
    """
    runs = (run, *others)
    names = _distinct_names(runs)
    curves = {name: one.curves for name, one in zip(names, runs, strict=True)}
    scores = run.evaluation.experiments
    rows, colours = _figure_factors(run.evaluation)
    summaries = summarise(probes)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_legal, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_resource("page.html"))
    return template.render(
        run=run,
        runs=runs,
        others=others,
        style=Markup(_resource("style.css")),
        chance=_chance(run.evaluation),
        dependence=None if run.best.l_indep is None else -run.best.l_indep / _divisor(run),
        dependence_title=_dependence_title(run.penalty) if run.penalty else "",
        training_time=_duration(sum(record.seconds for record in run.curves)),
        comparisons=[
            (
                _figure(draw_comparison((names[0], scores), (name, one.evaluation.experiments))),
                f"AUROC of each experiment; above the line {names[0]} is better than {name}."
                + (_RINGS if run.evaluation.held_out or one.evaluation.held_out else ""),
            )
            for name, one in zip(names[1:], others, strict=True)
        ],
        held_out_by_run={
            name: len(one.evaluation.held_out_experiments)
            for name, one in zip(names, runs, strict=True)
            if one.evaluation.held_out
        },
        group_rows={factor: _group_rows(run.evaluation, factor) for factor in run.evaluation.groups},
        side_by_side={factor: _side_by_side(runs, factor) for factor in run.evaluation.groups},
        probes=probes,
        probe_summaries=summaries,
        probe_roles=tuple(probes[0].auroc) if probes else (),
        probe_figure=_figure(draw_probes(probes)) if probes else None,
        verdict=_verdict(summaries),
        measured=measured,
        measured_figure=_figure(draw_independence(measured.found.measures)) if measured else None,
        measured_verdict=_dependence_verdict(measured) if measured else "",
        embedding=embedding,
        embedding_figures=_embedding_figures(embedding),
        clusterings=_clusterings(embedding),
        n_permutations=N_PERMUTATIONS,
        losses=_figure(draw_losses(curves)),
        **_dependence_figure(dict(zip(names, runs, strict=True))),
        scores_figure=_figure(draw_scores_by_group(scores, rows=rows, colours=colours)),
        scores_caption=f"AUROC of each experiment by {rows}, coloured by {colours or 'nothing'}; bars are means."
        + (_RINGS if run.evaluation.held_out else ""),
        experiments=sorted(scores, key=lambda score: (np.isnan(score.auroc), -score.auroc, score.experiment)),
        label_rows=_label_rows(run),
        labels_figure=_figure(
            draw_label_shares(run.labels["train"].n_positive / run.labels["train"].n_windows)
        ),
        facts=_facts(run),
        config=yaml.safe_dump(
            run.description.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ),
    )


def _resource(name: str) -> str:
    return resources.files("mfdmodel").joinpath("report", name).read_text("utf-8")


def _chance(evaluation: Evaluation) -> float:
    """Average the share of labelled windows over the experiments that the mean average precision is of."""
    scored = [
        score.n_positive
        for score in evaluation.experiments
        if not (score.held_out or np.isnan(score.average_precision))
    ]
    return float(np.mean(scored)) / evaluation.n_windows if scored else float("nan")


def _legal(value: object) -> object:
    """Replace what a page may not hold; what the page's own parts have made is left as it is."""
    return value.translate(_CONTROL) if type(value) is str else value


def _figure(svg: str | None) -> Markup | None:
    """Mark a figure as safe: its writer has escaped the text in it."""
    return None if svg is None else Markup(svg)


def _embedding_figures(embedding: RunEmbedding | None) -> list[tuple[Markup | None, str]]:
    """Draw the experiments once a factor, with what is to be said below."""
    if embedding is None:
        return []
    views = embedding.embedding.subspaces
    return [
        (
            _figure(draw_embedding(views, values, factor=factor)),
            f"Experiments by their weights, coloured by {factor}; where metadata agree, one lies on the other.",
        )
        for factor, values in embedding.colours.items()
    ]


def _clusterings(embedding: RunEmbedding | None) -> dict[str, dict[str, Clustering]]:
    """Sort the measures of clustering by factor, then by subspace."""
    rows: dict[str, dict[str, Clustering]] = {}
    for one in embedding.embedding.clusterings if embedding else ():
        rows.setdefault(one.factor, {})[one.role] = one
    return rows


def _distinct_names(runs: Sequence[RunContent]) -> tuple[str, ...]:
    """Name the runs by their folders, numbered where two are called the same."""
    names = [run.name for run in runs]
    return tuple(
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    )


def _divisor(run: RunContent) -> int:
    """Count the features that the penalty sums over; 1 where it is no such sum."""
    correlation = run.penalty is None or run.penalty.is_correlation
    return run.description.config.model.trunk.n_latent if correlation else 1


def _dependence_title(penalty: PenaltyConfig) -> str:
    return "mean squared correlation" if penalty.is_correlation else penalty.title


def _dependence_figure(runs: Mapping[str, RunContent]) -> dict[str, object]:
    """Draw the penalty of the runs whose terms are those of the first that has some, with what is to be said below."""
    first = next((run.penalty for run in runs.values() if run.penalty), None)
    if first is None:
        return {"dependence_figure": None, "dependence_caption": ""}
    alike = {name for name, run in runs.items() if run.penalty and run.penalty.terms == first.terms}
    others = [name for name, run in runs.items() if run.penalty and name not in alike]
    figure = draw_dependence(
        {name: run.curves if name in alike else () for name, run in runs.items()},
        {name: _divisor(run) for name, run in runs.items()},
        title=_dependence_title(first),
    )
    if first.is_correlation:
        caption = (
            "How much of each subspace the predictors find in the other: squared correlation of features and "
            "predictions within a batch, mean over features. The model pays λ for each unit of its sum."
        )
    else:
        caption = f"The {first.title}, mean over the batches of an epoch. The model pays λ for each unit."
    if others:
        caption += f" Not drawn, as their penalty has other terms: {', '.join(others)}."
    return {"dependence_figure": _figure(figure), "dependence_caption": caption}


def _figure_factors(evaluation: Evaluation) -> tuple[str, str | None]:
    """Choose what makes the rows of the figure of scores, and what its colours."""
    rows = next((name for name in ("target", "biosample", "assay") if name in evaluation.groups), "target")
    colours = next(
        (name for name in ("assay", "biosample") if name in evaluation.groups and name != rows), None
    )
    return rows, colours


def _group_rows(evaluation: Evaluation, factor: str) -> list[_GroupRow]:
    """Set the means over the experiments trained on beside those over the held out ones, value by value."""
    trained = {group.name: group for group in evaluation.groups[factor]}
    others = evaluation.held_out.groups[factor] if evaluation.held_out else ()
    held_out = {group.name: group for group in others}
    return [_GroupRow(name, trained.get(name), held_out.get(name)) for name in trained | held_out]


def _side_by_side(runs: Sequence[RunContent], factor: str) -> list[_SideBySide]:
    means = [{group.name: group.auroc for group in run.evaluation.groups.get(factor, ())} for run in runs]
    return [
        _SideBySide(
            group.name, group.n_experiments, tuple(mean.get(group.name, float("nan")) for mean in means)
        )
        for group in runs[0].evaluation.groups[factor]
    ]


def _label_rows(run: RunContent) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for split, labels in run.labels.items():
        n_labels = int(labels.n_positive.sum())
        n_windows = max(labels.n_windows, 1)
        rows.append(
            {
                "split": split,
                "n_windows": labels.n_windows,
                "n_labels": n_labels,
                "per_window": n_labels / n_windows,
                "share": n_labels / n_windows / max(len(labels.n_positive), 1),
            }
        )
    return rows


def _facts(run: RunContent) -> dict[str, str]:
    description, record = run.description, run.record
    model, training = description.config.model, description.config.training
    n_threads = int(record["torch_threads"])
    facts = {
        # without its folder: a page is shared, and tells nothing of the machine that made it
        "store": Path(description.store_path).name,
        "digest of its content": description.store_digest,
        "digest of the store scored": run.evaluation.store_digest,
        "genome": description.genome,
        "bin": f"{description.bin_size} bp",
        "window": f"{description.config.data.positions} positions",
    }
    if model.kind != "dinucleotides":
        facts["network"] = f"{model.trunk.channels} channels, latent of {model.trunk.n_latent} features"
    if model.kind == "mfd":
        facts["predictors"] = f"{record['n_parameters']['predictors']:,} parameters"
    return facts | {
        "training": f"at most {training.epochs} epochs, batches of {_batches(run)}, seed {training.seed}",
        "learning rate": f"{training.lr:g}, schedule {training.schedule}",
        "speed": f"{np.median([row.windows_per_second for row in run.curves]):,.0f} windows/s, median of epochs",
        "device": f"{record['device']}, {n_threads} thread{'s' if n_threads > 1 else ''}",
        "processes": str(run.n_processes),
        "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
        "Python": record["python"],
    }


def _batches(run: RunContent) -> str:
    """Say what a step was made of: batches of several processes are joined."""
    size, n = run.description.config.training.batch_size, run.n_processes
    return str(size) if n == 1 else f"{n * size:,} ({n} processes of {size})"


def _verdict(summaries: Sequence[ProbeSummary]) -> str:
    """Say in a sentence from which features each role's truths are read better, all its factors together."""
    parts = []
    for role in dict.fromkeys(one.role for one in summaries):
        members = [one for one in summaries if one.role == role and one.n_scored]
        if not members or any({"biological", "technical"} - one.auroc.keys() for one in members):
            continue
        mean = {
            features: float(np.mean([one.auroc[features] for one in members]))
            for features in ("biological", "technical")
        }
        better, worse = sorted(mean, key=lambda features: -mean[features])
        factors = " and ".join(
            (", ".join(one.factor for one in members[:-1]), members[-1].factor)
        ).removeprefix(" and ")
        how = (
            f"better from {better} features"
            if mean[better] - mean[worse] >= _NOTABLE
            else "equally from both"
        )
        parts.append(
            f"What is planted for {factors} ({role}) is read {how}: mean AUROC {mean['biological']:.3f} "
            f"from biological, {mean['technical']:.3f} from technical features."
        )
    return " ".join(parts)


def _dependence_verdict(measured: Independence) -> str:
    """Say in a sentence how many measures see the subspaces depend on each other."""
    found = measured.found.measures
    seen = sum(one.dependent for one in found)
    if not seen:
        return "None of the measures is above what rotated windows give: no dependence was seen."
    lines = {
        one.name: one for one in found if one.name.startswith(("r2", "canonical_first", "principal_first"))
    }
    linear = any(one.dependent for name, one in lines.items() if not name.endswith("perceptron"))
    kind = "" if linear else ", none of them one that sees straight lines alone: the dependence is not linear"
    return f"{seen} of {len(found)} measures are above what rotated windows give{kind}."


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
