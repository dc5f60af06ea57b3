"""All runs of a sweep: one after another, or some side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from mfdmodel.config import RunConfig
from mfdmodel.splits import check_apart, check_splits, rows_to_score
from mfdmodel.sweep.cells import Cell, CellResult, check_begun, do_cell, plan_cells
from mfdmodel.sweep.summary import write_sweep
from mfdstore.errors import RunError, StoreError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split
from mfdstore.store import Store


def run_sweep(
    config: RunConfig,
    *,
    store: AnyPlace,
    out: Path,
    lambdas: tuple[float, ...],
    seeds: tuple[int, ...],
    split: Split = "test",
    jobs: int = 1,
    device: str = "auto",
    threads: int | None = None,
    on_result: Callable[[CellResult, int, int], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[CellResult, ...]:
    """Train and score one configuration at each price of dependence with each seed.

    A sweep that was stopped goes on where it was: runs that are done are taken as they are, the others are resumed.
    A run that diverged, or whose files are damaged, has its fault in place of numbers; the others are done.

    Parameters
    ----------
    config
        Of all runs, but for price and seed.
    store
        To train on.
    out
        Folder of the sweep, a folder in it for each run.
    lambdas, seeds
        Of the runs.
    split
        To be scored.
    jobs
        Runs at a time; each in a process of its own where there is more than one.
    device, threads
        As in training; `threads` of each run, by default the processors divided by `jobs`.
    on_result
        Told each run that is done, how many are, and of how many.
    on_progress
        Told of the training and scoring of each run, where `jobs` is 1.

    Returns
    -------
    What came of the runs, in the order of prices and seeds; also written to ``sweep.json`` and ``sweep.tsv``.

    Raises
    ------
    ConfigError
        If the grid or the configuration does not fit.
    RunError
        If the folder holds runs of another configuration or store, or cannot be written; if a process was killed.
    StoreError
        If the store is damaged, replaced meanwhile, or has no window in the split.
    """
    cells = plan_cells(config, lambdas, seeds)
    opened = Store(store)
    check_splits(opened, ("train", "valid"))
    check_apart(opened, config.data)
    rows_to_score(opened, split)
    check_begun(cells, out=out, store=opened)
    out.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"out": out, "split": split, "device": device}
    found: dict[str, CellResult] = {}

    def take(result: CellResult) -> None:
        found[result.name] = result
        # what is known is written as it comes: a sweep lasts hours
        write_sweep(
            out,
            [found[cell.name] for cell in cells if cell.name in found],
            split=split,
            penalty=config.model.penalty.title,
        )
        if on_result is not None:
            on_result(result, len(found), len(cells))

    if jobs == 1:
        for cell in cells:
            take(do_cell(cell, store=opened, **options, threads=threads, on_progress=on_progress))
    else:
        options["threads"] = threads or max(1, torch.get_num_threads() // jobs)
        _side_by_side(cells, opened, options, jobs, take)
    return tuple(found[cell.name] for cell in cells)


def _side_by_side(
    cells: tuple[Cell, ...],
    store: Store,
    options: dict[str, Any],
    jobs: int,
    take: Callable[[CellResult], None],
) -> None:
    # torch and lightning hold threads that a fork would wait for
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_do, cell, store.path, store.digest, options) for cell in cells]
        try:
            for future in as_completed(futures):
                take(future.result())
        except BrokenProcessPool as error:
            raise RunError(
                options["out"],
                found="a process of the sweep that ended at once, as the system ends one that takes too much memory",
                expected="runs that end by themselves",
                remedy="Call it again with fewer --jobs: runs that are done are kept.",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _do(cell: Cell, store: AnyPlace, digest: str, options: dict[str, Any]) -> CellResult:
    opened = Store(store)
    if opened.digest != digest:
        raise StoreError(
            opened.path,
            found=f"a store of digest {opened.digest[:12]}, which has taken the name since",
            expected=f"digest {digest[:12]}, as the sweep began with",
            remedy="Sweep over the new store into another folder.",
        )
    return do_cell(cell, store=opened, **options)
