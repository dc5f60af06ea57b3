"""Page of the truth benchmark: tables, and what they say of its claim; every sentence with a number is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from machine import describe_machine
from truth_grid import (
    SETS,
    Cell,
    Grid,
    Measured,
    Score,
    best_method,
    differences,
    judge,
    overlapped,
    recovered,
    say,
    transferred,
)

from mfdmodel.intervals import LEVEL


def table(grid: Grid, columns: Mapping[str, Score], methods: Sequence[str] | None = None) -> list[str]:
    """Write a row for each strength and method that has any of the scores."""
    lines = [
        f"| strength | method | seeds | {' | '.join(columns)} |",
        f"|---:|---|---:|{'---:|' * len(columns)}",
    ]
    for strength in grid.strengths:
        for method in methods or grid.methods:
            found = [grid.values(strength, method, score) for score in columns.values()]
            if any(found):
                n = max(map(len, found))
                lines.append(f"| {strength:g} | {method} | {n} | {' | '.join(map(say, found))} |")
    return [*lines, ""]


def claim_table(grid: Grid, measured: Measured) -> list[str]:
    lines = [
        "| strength | method | seeds | biology: combined minus biological | within 0.02 | technique: technical minus "
        "biological | intervals apart | paired difference above 0 | claim |",
        "|---:|---|---:|---:|---|---:|---|---|---|",
    ]
    for strength in grid.strengths:
        for method in grid.priced:
            found = judge(grid, strength, method, measured)
            if found is not None:
                kept = "no" if not found["kept"] else "yes" if found["surely kept"] else "on average"
                lines.append(
                    f"| {strength:g} | {method} | {found['n']} | {say(found['lost'], signed=True)} | {kept} | "
                    f"{say(found['gap'], signed=True)} | {_yes(found['apart'])} | {_yes(found['paired'])} | "
                    f"{'holds' if found['holds'] else 'fails'} |"
                )
    return [*lines, ""]


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def reading(grid: Grid) -> list[str]:
    """Say what the tables show of the claim, and where MFD does not help."""
    best = best_method(grid)
    if best is None:
        return ["No MFD with a penalty is among the cells, so the claim is not judged.", ""]
    verdicts = {strength: judge(grid, strength, best) for strength in grid.strengths}
    known = {strength: one for strength, one in verdicts.items() if one is not None}
    held = [strength for strength, one in known.items() if one["holds"]]
    lines = [
        f"Best lambda: **{best}**, by the claim itself and on these seeds, so it is chosen with hindsight."
    ]
    if min(one["n"] for one in known.values()) < 2:
        lines.append(
            "A strength has one seed only: without an interval the claim is counted as failing there."
        )
    if held:
        lines.append(f"With it the claim holds at strength {_list(held)}.")
    else:
        lines.append("With it the claim holds at no strength.")
    stops = next((strength for strength, one in known.items() if not one["holds"]), None)
    if stops is None:
        lines.append("It holds at all strengths that were tried.")
    else:
        one = known[stops]
        why = [
            "biological features lack more than 0.02 to the combined ones" if not one["kept"] else "",
            "" if one["apart"] else "the intervals of planted technique from either subspace overlap",
        ]
        lines.append(f"The first strength at which it fails is {stops:g}: {' and '.join(filter(None, why))}.")
    told = {strength: judge(grid, strength, best, "told") for strength in grid.strengths}
    apart = [strength for strength, one in told.items() if one is not None and one["holds"]]
    lines.append(
        "Where values are to be told from the others of their factor, it holds at "
        + (f"strength {_list(apart)}." if apart else "no strength.")
    )
    lines += [
        "",
        "Differences within seeds, mean and interval; where an interval holds 0 nothing is shown:",
        "",
    ]
    against = [method for method in ("MFD 0", "baseline", "baseline without GC") if method in grid.methods]
    biology, technique = recovered("biological", "combined"), recovered("technical", "combined")
    from_biology = recovered("technical", "biological")
    for strength in grid.strengths:
        parts = []
        for other in against:
            parts.append(
                f"planted biology from all features, against {other}: {_paired(grid, strength, best, other, biology)}"
            )
        if "MFD 0" in against:
            parts.append(
                "planted technique left in biological features, against MFD 0: "
                + _paired(grid, strength, best, "MFD 0", from_biology)
            )
        for other in against[1:]:
            values = differences(
                grid.values(strength, best, from_biology), grid.values(strength, other, technique)
            )
            parts.append(
                f"planted technique in biological features, against all features of {other}: {say(values, signed=True)}"
            )
        if "baseline" in against:
            values = differences(
                grid.values(strength, best, transferred("combined")),
                grid.values(strength, "baseline", transferred("neighbours")),
            )
            parts.append(f"unseen laboratory, against the baseline's neighbours: {say(values, signed=True)}")
        lines += [f"- strength {strength:g}:", *(f"  - {part}" for part in parts)]
    return [*lines, ""]


def _paired(grid: Grid, strength: float, method: str, other: str, score: Score) -> str:
    values = differences(grid.values(strength, method, score), grid.values(strength, other, score))
    return say(values, signed=True) or "not measured"


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def write_page(out: Path, cells: Sequence[Cell], *, n_cells: int, about: str, threads: int) -> None:
    """Write the page of results.

    Parameters
    ----------
    out
        Markdown file.
    cells
        That are done.
    n_cells
        That were asked for.
    about
        What the program says of itself.
    threads
        Of torch.
    """
    grid = Grid(cells)
    size = cells[0]["size"]
    factors = {"biological": ("target", "biosample"), "technical": ("lab", "year", "assay")}
    ties = []
    for strength in grid.strengths:
        here = [cell["association"] for cell in cells if cell["strength"] == strength]
        ties.append(
            f"| {strength:g} | {np.mean([one['lab'] for one in here]):.2f} | "
            f"{np.mean([one['year'] for one in here]):.2f} |"
        )
    no_gc = [method for method in grid.methods if method != "baseline without GC"]
    lines = [
        "# Does MFD find planted truth?",
        "",
        *describe_machine("mfd", "torch", "numpy", "scikit-learn"),
        *about.strip().split("\n")[4:],
        "",
        f"{len(cells)} of {n_cells} cells; {threads} thread{'s' if threads > 1 else ''} each. "
        + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in size.items())
        + ".",
        "",
        "Scores are AUROC of linear probes on windows of a chromosome that training did not see; ± is half of an "
        f"interval of {LEVEL:.0%} by Student's t over seeds, each of them a world and a start of its own. Sets of "
        f"features are whole but where a table says otherwise: {size['biological']} biological and "
        f"{size['latent'] - size['biological']} technical features, combined both. The guest's sequence is not among "
        "the truths, as no training has seen its labels.",
        "",
        "## The claim",
        "",
        "Biological features recover planted biology within 0.02 of the combined ones, and planted technique worse "
        "than technical features do, the two intervals apart. Biology is the mean of targets and biosamples, technique "
        "that of laboratories, the drift, and the assays' GC and sequences.",
        "",
        "### Each truth from all windows",
        "",
        *claim_table(grid, "whole"),
        "### Each value from the others of its factor",
        "",
        "A feature that says no more than that something is planted reads any truth well from all windows. Here probes "
        "are fitted and scored in windows that hold a value of the factor, so they are asked which; the drift, which "
        "has one value, and GC are left out.",
        "",
        *claim_table(grid, "told"),
        "## Reading",
        "",
        *reading(grid),
        "The worlds are kind: motifs act alone or in pairs, technique is a sequence of its own or GC, and nothing but "
        "the metadata ties technique to biology. A network of this size trained this long does not find all that is "
        "planted, and a linear probe tells what can be read, not what the logits use. At strength 1 laboratory and "
        "biosample are one and the same column of the metadata: no method can tell them apart but by the guest's "
        "experiments, which are not trained on.",
        "",
        "## Worlds: Cramer's V with the biosample",
        "",
        "| strength | laboratory | year |",
        "|---:|---:|---:|",
        *ties,
        "",
    ]
    width = cells[0]["scores"]["width"]
    kinds: dict[Measured, str] = {
        "whole": "all features of each set",
        "told": "all features, a value from the others of its factor",
        "auroc": f"{width} features of each set, of the combined one half from either subspace",
    }
    for measured, kind in kinds.items():
        lines += [f"## Planted biology and technique: {kind}", ""]
        lines += table(
            grid,
            {
                f"{what} from {name}": recovered(role, name, measured=measured)
                for role, what in (("biological", "biology"), ("technical", "technique"))
                for name in SETS
            },
        )
    for measured, kind in list(kinds.items())[:2]:
        lines += [f"## By factor: {kind}", ""]
        lines += table(
            grid,
            {
                f"{factor} from {name}": recovered(role, name, factor=factor, measured=measured)
                for role, names in factors.items()
                for factor in names
                for name in SETS
                if (measured, factor) != ("told", "year")  # one value only
            },
        )
    lines += [
        "## Attributions against planted sites",
        "",
        "Integrated gradients of the logits of a value's experiments, in windows with its sites; the largest positions "
        "of each window. Precision: in sites that act on these experiments. Recall: of the value's own positions. "
        "Technical: in sites of technique.",
        "",
    ]
    for factor in factors["biological"]:
        lines += [f"### {factor}", ""]
        columns: dict[str, Score] = {
            f"{key}, {logits}": overlapped(key, logits, factor)
            for key in ("precision", "recall", "technical")
            for logits in ("biological", "combined")
        }
        columns |= {
            "precision by chance": overlapped("chance", "", factor),
            "technical by chance": overlapped("technical_chance", "", factor),
        }
        lines += table(grid, columns, no_gc)
    lines += [
        "## Experiments of an unseen laboratory",
        "",
        "AUROC of the labels of the guest's experiments. By features under weights from metadata, the laboratory coded "
        "as missing; by neighbours: the mean of the trained experiments that agree in most of target, biosample and "
        "assay.",
        "",
        *table(grid, {by: transferred(by) for by in (*SETS, "neighbours")}, no_gc),
    ]
    minutes = [cell["seconds"] / 60 for cell in cells if cell["method"] != "baseline without GC"]
    lines += [f"A training with its scores took {np.mean(minutes):.1f} min on average.", ""]
    out.write_text("\n".join(lines), encoding="utf-8")
