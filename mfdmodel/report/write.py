"""From a run's folder to its report: gather, probe what was planted where that is known, render, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.embedding.run import read_embedding
from mfdmodel.analyses.truth.probes import ProbeScore, probe_truths
from mfdmodel.analyses.truth.scores import PROBES, has_scores
from mfdmodel.checkpoint.models import load_model
from mfdmodel.checkpoint.states import write_json, write_text
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import open_store_of
from mfdmodel.features import latent_features
from mfdmodel.report.content import read_measured, read_run
from mfdmodel.report.page import render_page
from mfdmodel.splits import check_not_fitted
from mfdstore.errors import RunError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split
from mfdstore.simulate.reading import read_bin_truth

PAGE: Final = Path("report.html")
_MOST_PROBED: Final = 20_000
"""Training windows that probes are fitted on; evenly taken where there are more."""


def write_report(
    run: Path,
    *,
    compare: Sequence[Path] = (),
    truth: Path | None = None,
    split: Split = "test",
    store: AnyPlace | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write a run's report into its folder.

    Parameters
    ----------
    run
        Folder of a run that was evaluated on the split.
    compare
        Folders of other runs, evaluated on the same split of the same store, to be set beside it.
    truth
        Folder of the truth of simulated sources; features are probed for it, and the scores written beside the
        evaluation.
    split
        To report on; not ``train`` with a `truth`, as probes are fitted on that.
    store
        To read for the probes, instead of the one that the run was trained on.
    device, threads
        To compute the features with, as in training.
    on_progress
        Told what is being done, how much is done and how much there is.

    Returns
    -------
    Path of the page.

    Raises
    ------
    RunError
        If a folder is no run, was not evaluated, or the runs to compare were scored on other windows; or if the
        independence was measured of another model, or the embedding is of an earlier one.
    ConfigError
        If what was planted is to be probed on the split of training.
    SourceError
        If the truth does not belong to the store.
    """
    if truth is not None:
        check_not_fitted(split)
    content = read_run(run, split=split)
    others = [read_run(other, split=split) for other in compare]
    for other, path in zip(others, compare, strict=True):
        if other.evaluation.store_digest != content.evaluation.store_digest:
            raise RunError(
                path,
                found=f"scores on a store of digest {other.evaluation.store_digest[:12]}",
                expected=f"scores on that of {run}, digest {content.evaluation.store_digest[:12]}",
                remedy="Evaluate both runs on one store: mfdmodel evaluate RUN --store STORE.",
            )
    measured = read_measured(run, content)
    probes: tuple[ProbeScore, ...] = ()
    if truth is not None:
        probes = probe_run(
            run,
            truth=truth,
            split=split,
            store=store,
            device=device,
            threads=threads,
            on_progress=on_progress,
        )
        # what `mfdmodel truth` wrote of this model says more
        if not has_scores(run, split=split, epoch=content.evaluation.epoch):
            write_json(run / PROBES, {"split": split, "probes": [_probe_to_json(probe) for probe in probes]})
    embedding = read_embedding(run)
    if embedding is not None and embedding.epoch != content.best.epoch:
        raise RunError(
            run,
            found=f"an embedding of the model of epoch {embedding.epoch + 1}",
            expected=f"that of its best model, of epoch {content.best.epoch + 1}",
            remedy=f"The run went on since; place its experiments again: mfdmodel embed {run}",
        )
    page = run / PAGE
    write_text(
        page, render_page(content, others=others, probes=probes, measured=measured, embedding=embedding)
    )
    return page


def probe_run(
    run: Path,
    *,
    truth: Path,
    split: Split = "test",
    store: AnyPlace | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[ProbeScore, ...]:
    """Probe the features of a run's best model for what was planted: fitted on the train split, scored on another.

    Parameters
    ----------
    run, truth, split, store, device, threads, on_progress
        As in `write_report`.

    Raises
    ------
    RunError
        If the run has no model, or the store is not what it was.
    ConfigError
        If the split is that of training.
    SourceError
        If the truth does not belong to the store.
    """
    check_not_fitted(split)
    trained = load_model(run)
    opened = open_store_of(run, trained.description, store, split=split)
    table = read_bin_truth(truth, opened.windows)
    positions = trained.description.config.data.positions
    train_rows = _thin(opened.windows.rows("train"), _MOST_PROBED)
    test_rows = opened.windows.rows(split)
    chosen = choose_device(device)
    with computing_on(chosen, threads):
        features = latent_features(
            trained.model,
            store=opened,
            rows=np.concatenate([train_rows, test_rows]),
            positions=positions,
            device=chosen,
            on_progress=on_progress,
        )
    n_train = len(train_rows)
    return probe_truths(
        table.names,
        train=({role: values[:n_train] for role, values in features.items()}, table.present[train_rows]),
        test=({role: values[n_train:] for role, values in features.items()}, table.present[test_rows]),
        on_progress=on_progress,
    )


def _thin(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Take at most so many rows, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _probe_to_json(probe: ProbeScore) -> dict[str, object]:
    auroc = {role: None if np.isnan(value) else value for role, value in probe.auroc.items()}
    return asdict(probe) | {"auroc": auroc}
