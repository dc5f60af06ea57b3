r"""Does the biological part of predictions agree better between two laboratories than the combined one: real pairs.

    python benchmarks/replicates.py --store chr22.zarr --run mfd_seed0 --run mfd_seed1 --run linear_head \
        --not-lab ENCODE-DREAM --out benchmarks/results/replicates_X_YYYYMM.md

Runs are trained before (`mfdmodel train`); nothing is trained here. Runs on one store whose configurations differ in
the seed alone are seeds of one model: their scores are averaged by pair, and how they differ stands beside, as no
interval holds it. All pairs of experiments of one target, biosample and assay by
two laboratories are found in the store's metadata. --not-lab names values of `lab` that are no laboratory: ENCODE-DREAM
processed reads of the same laboratories again, so that agreement with it may be agreement with oneself. --probes fits
linear probes of the features besides, on training windows: what the features know, whatever the weights.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray
from replicates_tables import RunScores, pair_table, run_table, tables

from mfdmodel.analyses.pair_probes import equal_widths, probe_pairs
from mfdmodel.analyses.replicates import (
    COMBINED,
    find_pairs,
    parts_of,
    score_pairs,
)
from mfdmodel.checkpoint.models import Description, load_model, read_description
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import open_store_of
from mfdmodel.features import experiment_weights, latent_features
from mfdmodel.intervals import genome_blocks
from mfdmodel.resampling import Resampler
from mfdmodel.splits import check_apart, check_not_fitted
from mfdstore.errors import ConfigError, MfdError
from mfdstore.store import Store

MOST_PROBED = 20_000
"""Training windows that probes are fitted on; evenly taken where there are more."""


def name_models(runs: dict[Path, Description]) -> dict[Path, str]:
    """Name the model of each run: runs of one name are on one store and differ in their seed alone.

    Models of one kind and price of dependence are told apart by what else they differ in.
    """
    facts = {run: _facts(description) for run, description in runs.items()}
    kinds = {run: _kind(description) for run, description in runs.items()}
    names = {}
    for run, own in facts.items():
        alike = [facts[other] for other in runs if kinds[other] == kinds[run]]
        keys = dict.fromkeys(key for other in alike for key in other)
        told = [key for key in keys if any(other.get(key) != own.get(key) for other in alike)]
        said = ", ".join(f"{key} = {_short(own.get(key, 'none'))}" for key in told)
        names[run] = f"{kinds[run]} ({said})" if said else kinds[run]
    seen: dict[tuple[str, int], Path] = {}
    for run, description in runs.items():
        seed = description.config.training.seed
        other = seen.setdefault((names[run], seed), run)
        if other != run:
            raise ConfigError(
                "--run",
                found=f"{other} and {run}, one model ({names[run]}) with the same seed {seed}",
                expected="runs of one model that differ in their seeds",
                remedy="Name one of them: a run that counts twice makes the model look surer than it is.",
            )
    return names


def _short(value: object) -> str:
    """Write a value; of a long one the beginning, and what tells it from others that begin so."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _kind(description: Description) -> str:
    model = description.config.model
    return f"mfd, λ = {model.penalty.lambda_indep:g}" if model.kind == "mfd" else model.kind


def _facts(description: Description) -> dict[str, Any]:
    """Flatten all that makes a model, but for its seed."""
    facts: dict[str, Any] = {}

    def add(node: object, key: str) -> None:
        if isinstance(node, dict) and node:
            for name, value in node.items():
                add(value, f"{key}.{name}".lstrip("."))
        else:
            facts[key] = node

    add(description.config.model_dump(mode="json"), "")
    del facts["training.seed"]
    return facts | {"store": description.store_digest[:12]}


def score_run(
    run: Path, model: str, options: argparse.Namespace, rows: NDArray[np.int64], blocks: NDArray[np.int64]
) -> RunScores:
    trained = load_model(run)
    config = trained.description.config
    store = open_store_of(run, trained.description, options.store, split=options.split)
    check_apart(store, config.data)
    fitted = store.windows.rows("train") if options.probes else rows[:0]
    fitted = (
        fitted[np.unique(np.linspace(0, len(fitted) - 1, MOST_PROBED).astype(np.int64))]
        if len(fitted)
        else fitted
    )
    every = np.concatenate([rows, fitted])
    device = choose_device(options.device)
    with computing_on(device, options.threads):
        of_all = latent_features(
            trained.model, store=store, rows=every, positions=config.data.positions, device=device
        )
    features = {role: values[: len(rows)] for role, values in of_all.items()}
    factors = trained.description.factors
    pairs = find_pairs(factors, not_labs=options.not_lab)
    all_labels = np.stack([store.labels_of(index)[every] for index in range(store.n_experiments)], axis=1)
    labels = all_labels[: len(rows)]
    resampler = Resampler.draw(blocks, rng=np.random.default_rng(options.seed), n_draws=options.draws)
    scores = {
        name: score_pairs(part, labels, pairs, factors=factors, resampler=resampler)
        for name, part in parts_of(features, experiment_weights(trained.model)).items()
    }
    if options.probes:
        chosen = {role: of_all[role][:, columns] for role, columns in equal_widths(of_all).items()}
        chosen = (chosen if len(chosen) > 1 else {}) | {COMBINED: np.concatenate(list(of_all.values()), 1)}
        for name, values in chosen.items():
            probed = probe_pairs(
                [(pair.first, pair.second) for pair in pairs],
                train=(values[len(rows) :], all_labels[len(rows) :]),
                test=(values[: len(rows)], labels),
                resampler=resampler,
            )
            scores[name] = tuple(
                replace(one, values={**one.values, **{key: found[index] for key, found in probed.items()}})
                for index, one in enumerate(scores[name])
            )
    return RunScores(run.resolve().name, model, config.training.seed, trained.valid_loss, scores)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument(
        "--run", type=Path, action="append", required=True, help="trained run; may be repeated"
    )
    parser.add_argument("--not-lab", action="append", default=[], help="value of lab that is no laboratory")
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--block", type=int, default=100_000, help="bp of a block of windows")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument(
        "--probes", action="store_true", help="fit linear probes of the features too; minutes a run"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    try:
        text = report(options)
    except MfdError as error:
        sys.exit(f"Error: {error}")
    options.out.write_text(text, encoding="utf-8")
    print(text)


def report(options: argparse.Namespace) -> str:
    if options.probes:
        check_not_fitted(options.split)
    if len(set(options.run)) != len(options.run):
        raise ConfigError(
            "--run",
            found="a run that is named twice",
            expected="each run once",
            remedy="Name it once: a run that counts twice makes the model look surer than it is.",
        )
    names = name_models({run: read_description(run) for run in options.run})
    store = Store(options.store)
    rows = store.windows.rows(options.split)
    pairs = find_pairs(store.factors, not_labs=options.not_lab)
    if not pairs or not len(rows):
        raise ConfigError(
            options.store,
            found=f"{len(pairs)} pairs of laboratories and {len(rows)} windows in split {options.split}",
            expected="both",
            remedy="Use a store of experiments that two laboratories did, with a held-out split.",
        )
    blocks = genome_blocks(store.windows.chrom[rows], store.windows.start[rows], width=options.block)
    models: dict[str, list[RunScores]] = {}
    for run in names:
        scores = score_run(run, names[run], options, rows, blocks)
        models.setdefault(scores.model, []).append(scores)
    n_equal = {
        name: sum(one.equal_weights for one in scores)
        for name, scores in next(iter(models.values()))[0].parts.items()
    }
    left_out = f" Not counted as a laboratory: {', '.join(options.not_lab)}." if options.not_lab else ""
    n_targets = len({pair.target for pair in pairs})
    lines = [
        "# Two laboratories, one target: does the biological part agree better",
        "",
        *describe_machine("torch", "numpy", "scipy"),
        f"{len(pairs)} pairs of experiments, {n_targets} targets, {len(rows):,} windows of split {options.split} in "
        f"{int(blocks.max()) + 1} blocks of {options.block:,} bp.{left_out} Logits are means of both strands, "
        "without bias.",
        "Pairs are averaged by target, directions by pair, runs by model. Intervals are the middle 95 % of "
        f"{options.draws:,} draws: of blocks of windows, of targets, or (unless said) of both. p: signs of the "
        "targets' differences flipped, two-sided, not corrected for the number of measures.",
        "What an interval holds: other windows of this genome and other pairs of targets, for the very runs that are "
        "named. What it does not: another seed. Seeds: the lowest and the highest of single runs, means over targets; "
        "of two models, of each run of the one less each of the other. A model of one run has no such spread.",
        "Of these pairs, weights are equal by metadata alone in "
        + ", ".join(f"{n} ({name})" for name, n in n_equal.items())
        + ": their correlation, retrieval and cosine are 1, and their difference says nothing, whatever was learnt.",
        *(
            [
                f"Probes are logistic regressions on at most {MOST_PROBED:,} training windows, subspaces at the width "
                "of the narrowest, combined of all features.",
            ]
            if options.probes
            else []
        ),
        "",
        *run_table(models),
        *tables(models),
        *pair_table(next(iter(models.values())), store.experiments),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
