"""All runs of a sweep: one after another, or some side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from mfdmodel.config import RunConfig
from mfdmodel.splits import check_apart, check_splits, rows_to_score
from mfdmodel.sweep.cells import Cell, CellResult, do_cell, plan_cells
from mfdmodel.sweep.summary import write_sweep
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
        If the folder holds runs of another configuration.
    StoreError
        If the store is damaged, or has no window in the split.
    """
    cells = plan_cells(config, lambdas, seeds)
    opened = Store(store)
    check_splits(opened, ("train", "valid"))
    check_apart(opened, config.data)
    rows_to_score(opened, split)
    out.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"store": store, "out": out, "split": split, "device": device}
    found: dict[str, CellResult] = {}

    def take(result: CellResult) -> None:
        found[result.name] = result
        # what is known is written as it comes: a sweep lasts hours
        write_sweep(out, [found[cell.name] for cell in cells if cell.name in found], split=split)
        if on_result is not None:
            on_result(result, len(found), len(cells))

    if jobs == 1:
        for cell in cells:
            take(do_cell(cell, **options, threads=threads, on_progress=on_progress))
    else:
        options["threads"] = threads or max(1, torch.get_num_threads() // jobs)
        _side_by_side(cells, options, jobs, take)
    return tuple(found[cell.name] for cell in cells)


def _side_by_side(
    cells: tuple[Cell, ...], options: dict[str, Any], jobs: int, take: Callable[[CellResult], None]
) -> None:
    # torch and lightning hold threads that a fork would wait for
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_do, cell, options) for cell in cells]
        try:
            for future in as_completed(futures):
                take(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _do(cell: Cell, options: dict[str, Any]) -> CellResult:
    return do_cell(cell, **options)
