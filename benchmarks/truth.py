"""Does MFD find planted truth, and up to which confounding: simulated worlds x methods x seeds.

    python benchmarks/truth.py --work /scratch/truth --jobs 2 --out benchmarks/results/truth_X_YYYYMM.md

Worlds differ in how strongly biosamples stick to a home laboratory and a home year: the strength is the probability
that a measurement goes there, so at 1 laboratory, year and biosample are one column. Everything is measured twice, at
strength 0 by two laboratories. Each laboratory calls peaks at a sequence of its own, so do DNase-seq and ATAC-seq;
assays prefer high or low GC content; older experiments call a repeat. One laboratory more measures everything once:
its experiments are in no loss and are to be predicted. Every method sees the same windows and labels of a world:

- MFD at each lambda; at 0 it is MFD without penalty;
- baseline: the same trunk under a free linear head;
- baseline without GC: the same run, the windows' GC content regressed out of its features.

Each cell is scored as `mfdmodel truth` does, and kept under --work/cells as JSON as soon as it is done: stopped, or
bounded by --minutes, the same command does what is lacking. Tables are of the cells that there are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from truth_tables import write_page

GUEST = "Dogwood"
"""Name of the laboratory beside the three."""
BASELINE, WITHOUT_GC = "baseline", "baseline without GC"


@dataclass(frozen=True)
class Size:
    """Everything beside strength, seed and method that decides a cell."""

    chroms: int
    chrom_size: int
    targets: int
    positions: int
    channels: int
    latent: int
    biological: int
    penalty_steps: int
    penalty_lr: float
    batch: int
    epochs: int
    attributed: int


@dataclass(frozen=True)
class Task:
    """One training, and the cells that are scored of it."""

    strength: float
    seed: int
    lambda_indep: float | None
    """None of the baseline."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of what is scored of it."""
        return (BASELINE, WITHOUT_GC) if self.lambda_indep is None else (f"MFD {self.lambda_indep:g}",)

    @property
    def world(self) -> str:
        """Name of its world's folder."""
        return f"strength{self.strength:g}_seed{self.seed}"

    def cells(self, work: Path) -> list[Path]:
        """List the files of its cells, a method each."""
        return [work / "cells" / f"{self.world}_{method.replace(' ', '-')}.json" for method in self.methods]


def make_world(work: Path, strength: float, seed: int, size: Size) -> None:
    """Simulate and build; the store that the baseline trains on lacks the guest's experiments."""
    from mfdstore.build.run import build_store
    from mfdstore.build.settings import BuildSettings, Resources, Sources
    from mfdstore.grow.choice import Choice
    from mfdstore.grow.subset import subset_store
    from mfdstore.simulate.settings import SimulationSettings
    from mfdstore.simulate.simulation import simulate_sources
    from mfdstore.store import Store

    folder = work / "worlds" / Task(strength, seed, None).world
    settings = SimulationSettings(
        seed=seed,
        n_chroms=size.chroms,
        chrom_size=size.chrom_size,
        n_targets=size.targets,
        n_histone_targets=0,
        n_replicates=2,
        n_guest_labs=1,
        confounding=strength,
        labs_repeat=True,
        year_confounding=strength,
        assay_kmer_bias=1.0,
        missing=0.0,
    )
    asked = json.dumps(asdict(settings))
    done = folder / "done.json"
    if done.exists() and done.read_text(encoding="utf-8") == asked:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = simulate_sources(folder / "sources", settings)
    build_store(
        Sources(made.fasta, made.peaks, made.metadata, made.report, made.blacklist),
        folder / "all.zarr",
        BuildSettings("simulated", valid_chroms=(made.chroms[-2],), test_chroms=(made.chroms[-1],)),
        resources=Resources(jobs=1),
    )
    store = Store(folder / "all.zarr")
    seen = tuple(name for name in store.experiments if name not in guests(store))
    subset_store(folder / "all.zarr", folder / "seen.zarr", Choice(experiments=seen))
    done.write_text(asked, encoding="utf-8")


def guests(store: Any) -> tuple[str, ...]:
    """List the experiments of the laboratory that is to be predicted."""
    labs = store.factors["lab"].values
    return tuple(
        name for name, lab in zip(store.experiments, labs, strict=True) if lab and lab.startswith(GUEST)
    )


def run_task(work: Path, task: Task, size: Size, threads: int) -> float:
    """Train and score; gives seconds."""
    import torch

    from mfdmodel.analyses.truth.run import TruthSettings, score_run
    from mfdmodel.analyses.truth.scores import to_json
    from mfdmodel.config_reading import load_config, override
    from mfdmodel.train.fit import train
    from mfdstore.store import Store

    torch.set_num_threads(threads)
    started = time.monotonic()
    make_world(work, task.strength, task.seed, size)
    world = work / "worlds" / task.world
    baseline = task.lambda_indep is None
    whole = Store(world / "all.zarr")
    store = Store(world / "seen.zarr") if baseline else whole
    options: dict[str, object] = {
        "data.positions": size.positions,
        "model.trunk.channels": size.channels,
        "model.trunk.latent": size.latent,
        "model.trunk.tower_stages": 5,
        "model.trunk.dilated_blocks": 1,
        "model.head.biological_width": size.biological,
        "model.penalty.steps": size.penalty_steps,
        "model.penalty.lr": size.penalty_lr,
        "training.batch_size": size.batch,
        "training.epochs": size.epochs,
        "training.seed": task.seed,
        "training.threads": 1,
    }
    if baseline:
        options["model.kind"] = "linear_head"
    else:
        options |= {"model.penalty.lambda_indep": task.lambda_indep, "training.held_out": guests(whole)}
    run = work / "runs" / f"{task.world}_{'baseline' if baseline else task.lambda_indep}"
    shutil.rmtree(run, ignore_errors=True)
    result = train(
        override(load_config("demo"), options), store=store, run=run, device="cpu", threads=threads
    )
    # the baseline's one subspace is compared at the width of MFD's narrower one
    narrow = min(size.biological, size.latent - size.biological)
    for method, path in zip(task.methods, task.cells(work), strict=True):
        scores = score_run(
            run,
            truth=world / "sources" / "truth",
            settings=TruthSettings(
                width=narrow,
                without_gc=method == WITHOUT_GC,
                n_attributed=size.attributed,
                n_draws=20,  # intervals of the tables are over seeds
            ),
            unseen=world / "all.zarr" if baseline else None,
            device="cpu",
            threads=threads,
        )
        _write(
            path,
            {
                "strength": task.strength,
                "seed": task.seed,
                "method": method,
                "size": asdict(size),
                "association": association(world / "sources" / "truth" / "experiments.tsv"),
                "valid_loss": result.best_valid_loss,
                "best_epoch": result.best_epoch,
                "seconds": time.monotonic() - started,
                "scores": to_json(scores),
            },
        )
    shutil.rmtree(run)
    return time.monotonic() - started


def association(path: Path) -> dict[str, float]:
    """Measure how strongly lab and year are tied to the biosample, guests aside: Cramer's V."""
    import csv

    from scipy.stats import contingency

    with path.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if not row["lab"].startswith(GUEST)]
    biosamples = [row["biosample"] for row in rows]
    found = {}
    for name, values in (
        ("lab", [row["lab"] for row in rows]),
        ("year", [row["released"][:4] for row in rows]),
    ):
        found[name] = float(contingency.association(contingency.crosstab(values, biosamples).count))
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(beside, path)


def read_cells(work: Path, tasks: Sequence[Task], size: Size) -> list[dict[str, Any]]:
    """Read the cells that are done; stop where they are of another size."""
    cells = []
    for task in tasks:
        for path in task.cells(work):
            if path.exists():
                cell = json.loads(path.read_text(encoding="utf-8"))
                if cell["size"] != asdict(size):
                    raise SystemExit(f"{path} is of another size: {cell['size']}; choose another --work")
                cells.append(cell)
    return cells


def run_all(work: Path, tasks: Sequence[Task], size: Size, options: argparse.Namespace) -> None:
    """Do the tasks that lack a cell, world by world, as many at a time as there are jobs."""
    lacking = [task for task in tasks if not all(path.exists() for path in task.cells(work))]
    started = time.monotonic()
    seconds: list[float] = []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:

        def run_these(calls: Sequence[tuple[str, Callable[..., Any], tuple[Any, ...]]], timed: bool) -> None:
            waiting, running = list(calls), dict[Future[Any], str]()
            while waiting or running:
                late = options.minutes is not None and time.monotonic() - started > 60 * options.minutes
                if late:
                    waiting = []
                while waiting and len(running) < options.jobs:
                    name, function, arguments = waiting.pop(0)
                    running[pool.submit(function, *arguments)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    name, took = running.pop(future), future.result()
                    if timed:
                        seconds.append(took)
                        left = len(waiting) * sum(seconds) / len(seconds) / options.jobs / 60
                        print(
                            f"{name}: {took:.0f} s; {len(waiting)} to begin, {left:.0f} min", file=sys.stderr
                        )

        worlds = dict.fromkeys((task.strength, task.seed) for task in lacking)
        run_these([("world", make_world, (work, *world, size)) for world in worlds], False)
        run_these(
            [
                (f"{task.world} {task.methods[0]}", run_task, (work, task, size, options.threads))
                for task in lacking
            ],
            True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of worlds and finished cells")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5, 0.9, 1.0])
    parser.add_argument("--lambdas", type=float, nargs="+", default=[0.0, 0.003, 0.01])
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--chroms", type=int, default=5, help="the last two are for validation and test")
    parser.add_argument("--chrom-size", type=int, default=1_700_000, help="of the first, in bp")
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--positions", type=int, default=256)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--latent", type=int, default=32)
    parser.add_argument(
        "--biological", type=int, default=16, help="features of the latent that are biological"
    )
    parser.add_argument("--penalty-steps", type=int, default=1, help="of the adversary, a batch")
    parser.add_argument("--penalty-lr", type=float, default=0.003, help="of the adversary")
    parser.add_argument("--batch", type=int, default=32, help="windows a step")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--attributed", type=int, default=32, help="windows of each planted value")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in each")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many")
    parser.add_argument("--tables-only", action="store_true", help="of the cells that there are")
    options = parser.parse_args()
    size = Size(
        options.chroms, options.chrom_size, options.targets, options.positions, options.channels,
        options.latent, options.biological, options.penalty_steps, options.penalty_lr, options.batch, options.epochs,
        options.attributed,
    )  # fmt: skip
    priced: list[float | None] = [*options.lambdas]
    if not options.no_baseline:
        priced.append(None)
    # seed by seed, so that what is there when time is up is a whole grid of fewer seeds
    tasks = [
        Task(strength, seed, price)
        for seed in options.seeds
        for strength in options.strengths
        for price in priced
    ]
    read_cells(options.work, tasks, size)
    if not options.tables_only:
        run_all(options.work, tasks, size, options)
    cells = read_cells(options.work, tasks, size)
    if not cells:
        raise SystemExit("no cell is done yet")
    n_cells = sum(len(task.methods) for task in tasks)
    write_page(options.out, cells, n_cells=n_cells, about=__doc__ or "", threads=options.threads)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
