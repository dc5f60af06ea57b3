"""How well MFD and its two baselines predict held-out windows of a real chromosome, and how long they train.

    python benchmarks/chromosome.py --store chr22.zarr --runs runs --out benchmarks/results/chromosome_X_YYYYMM.md

Runs the commands a user runs, one after another: `mfdmodel train --resume`, `mfdmodel evaluate --split test`. A run
that is already whole in the folder of runs is not trained again; one of another configuration is refused.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe_machine

MODELS = {
    "mfd": "MFD",
    "linear_head": "same trunk, linear head, no metadata, no penalty",
    "dinucleotides": "dinucleotide frequencies, linear",
}


def mfdmodel(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("mfdmodel")), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def train_and_score(
    store: Path, run: Path, kind: str, preset: str, seed: int
) -> tuple[dict[str, Any], float, int, int]:
    """Train unless done; returns the evaluation, minutes of training, epochs and threads."""
    # a run that is whole is gone through without a step, and refused where its configuration is another
    mfdmodel(
        *("train", "--store", str(store), "--out", str(run), "--preset", preset, "--model", kind),
        *("--seed", str(seed), "--device", "cpu", "--resume"),
    )
    mfdmodel("evaluate", str(run), "--split", "test")
    evaluation = json.loads((run / "evaluation" / "test.json").read_text())
    with (run / "logs" / "metrics.csv").open() as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    n_threads = json.loads((run / "run.json").read_text())["torch_threads"]
    return evaluation, sum(seconds) / 60, len(seconds), n_threads


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    options.runs.mkdir(exist_ok=True)
    lines = [
        "# One real chromosome: MFD beside its baselines",
        "",
        *describe_machine("torch", "lightning", "numpy"),
    ]
    rows, by_target = [], {}
    for kind, described in MODELS.items():
        evaluation, minutes, n_epochs, n_threads = train_and_score(
            options.store, options.runs / kind, kind, options.preset, options.seed
        )
        overall = evaluation["overall"]
        targets = {group["name"]: group for group in evaluation["groups"]["target"]}
        by_target[kind] = targets
        rows.append(
            f"| {described} | {overall['auroc']:.4f} | {overall['average_precision']:.4f} | "
            f"{targets['CTCF']['auroc']:.4f} | {targets['CTCF']['average_precision']:.4f} | "
            f"{n_epochs} | {minutes:.1f} | {n_threads} |"
        )
    lines += [
        "Held-out end of the chromosome, both strands averaged, means over experiments; CTCF over its experiments.",
        "",
        "| model | AUROC | average precision | CTCF AUROC | CTCF average precision | epochs | minutes | threads |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *rows,
        "",
        "AUROC by target, for targets of three experiments and more:",
        "",
        "| target | experiments | MFD | linear head | dinucleotides |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, group in sorted(by_target["mfd"].items(), key=lambda item: -item[1]["n_experiments"]):
        if group["n_experiments"] >= 3:
            scores = " | ".join(f"{by_target[kind][name]['auroc']:.3f}" for kind in MODELS)
            lines.append(f"| {name} | {group['n_experiments']} | {scores} |")
    text = "\n".join([*lines, ""])
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
