"""A run's best model held against the truth that its store was simulated from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.truth.attributing import attribute_values, thin
from mfdmodel.analyses.truth.overlap import average_hits
from mfdmodel.analyses.truth.recovery import feature_sets, recover, without_covariate
from mfdmodel.analyses.truth.scores import STRETCH, TruthScores, write_scores
from mfdmodel.analyses.truth.unseen import predict_unseen
from mfdmodel.checkpoint.models import TrainedModel, load_model
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import open_store_of
from mfdmodel.features import latent_features
from mfdmodel.intervals import genome_blocks
from mfdmodel.resampling import Resampler
from mfdmodel.splits import check_not_fitted
from mfdstore.errors import ConfigError, StoreError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split
from mfdstore.simulate.reading import BinTruth, read_bin_truth, read_sites
from mfdstore.store import Store

_MOST_PROBED: Final = 20_000
"""Training windows that probes are fitted on; evenly taken where there are more."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class TruthSettings:
    """How a run is held against the truth.

    Parameters
    ----------
    width
        Features that sets are compared at; `None` for those of the narrowest subspace.
    without_gc
        Take the GC content of the windows out of the features before they are probed.
    n_draws
        Of stretches of chromosome, behind each interval.
    n_attributed
        Windows of each biological value that logits are attributed in, at most; 0 leaves attributions out.
    n_top
        Positions taken from each of them.
    n_steps
        Of the integrated gradients.
    seed
        Of draws of features and of stretches.

    Raises
    ------
    ConfigError
        If a number is too small.
    """

    width: int | None = None
    without_gc: bool = False
    n_draws: int = 500
    n_attributed: int = 48
    n_top: int = 20
    n_steps: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"width": 1, "n_draws": 2, "n_attributed": 0, "n_top": 1, "n_steps": 1, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError(
                    name.removeprefix("n_"),
                    found=str(value),
                    expected=f"{low} or more",
                    remedy="Choose a larger number.",
                )


def score_run(
    run: Path,
    *,
    truth: Path,
    settings: TruthSettings | None = None,
    split: Split = "test",
    store: AnyPlace | None = None,
    unseen: AnyPlace | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> TruthScores:
    """Score a run's best model against planted truth, and write the scores into the run's folder.

    Parameters
    ----------
    run
        Folder of the run.
    truth
        Folder of the truth that the sources of its store were drawn with.
    settings
        Sizes; `None` for the defaults.
    split
        Whose windows are scored, not ``train``: probes are fitted on that.
    store
        To read instead of the one that the run was trained on; it must hold the same experiments.
    unseen
        Store of the same windows with experiments that the run's store lacks, to be predicted; those that the
        training held out are predicted in any case.
    device, threads
        As in training.
    on_progress
        Told what is being done, how much is done and how much there is.

    Returns
    -------
    What was written to ``evaluation/truth.json``.

    Raises
    ------
    RunError
        If the run has no model, or a store is not what it was.
    SourceError
        If the truth cannot be read, or does not belong to the store.
    StoreError
        If there is no such store, it has no windows in the split, or that of the unseen experiments has others.
    ConfigError
        If there are fewer features than are to be compared, or the split is that of training.
    """
    check_not_fitted(split)
    settings = settings or TruthSettings()
    trained = load_model(run)
    opened = open_store_of(run, trained.description, store, split=split)
    table = read_bin_truth(truth, opened.windows)
    sites = read_sites(truth) if settings.n_attributed and not settings.without_gc else None
    table = _learnable(table, trained)
    widths = trained.model.widths
    if settings.width is not None and settings.width > min(widths.values()):
        raise ConfigError(
            "--width",
            found=str(settings.width),
            expected=f"at most {min(widths.values())}, the features of the narrowest subspace",
            remedy="Choose a smaller number, or leave it out.",
        )
    train_rows, test_rows = thin(opened.windows.rows("train"), _MOST_PROBED), opened.windows.rows(split)
    if not len(test_rows) or not len(train_rows):
        raise StoreError(
            opened.path,
            found=f"no window in split {split if len(train_rows) else 'train'}",
            expected="windows to fit probes on, and others to score",
            remedy="Score another split with --split, or build the store with --split-test or --split-blocks.",
        )
    chosen = choose_device(device)
    resampler = Resampler.draw(
        genome_blocks(opened.windows.chrom[test_rows], opened.windows.start[test_rows], width=STRETCH),
        rng=np.random.default_rng(settings.seed),
        n_draws=settings.n_draws,
    )
    with computing_on(chosen, threads):
        features = latent_features(
            trained.model,
            store=opened,
            rows=np.concatenate([train_rows, test_rows]),
            positions=trained.description.config.data.positions,
            device=chosen,
            on_progress=on_progress,
        )
        overlap = None
        if sites is not None:
            hits = attribute_values(
                trained,
                opened,
                test_rows,
                table,
                sites,
                n_windows=settings.n_attributed,
                n_top=settings.n_top,
                n_steps=settings.n_steps,
                device=chosen,
                on_progress=on_progress,
            )
            overlap = average_hits(hits, resampler)
    n_train = len(train_rows)
    latent = np.concatenate(list(features.values()), axis=1)
    if settings.without_gc:
        rows = np.concatenate([train_rows, test_rows])
        gc = gc_content(opened, rows, positions=trained.description.config.data.positions)
        latent = without_covariate(latent, gc, np.arange(len(rows)) < n_train)
    scores = TruthScores(
        split=split,
        epoch=trained.epoch,
        store_digest=opened.digest,
        n_train=n_train,
        n_windows=len(test_rows),
        n_blocks=resampler.n_blocks,
        width=settings.width or min(widths.values()),
        widths=widths,
        without_gc=settings.without_gc,
        recovery=recover(
            table.names,
            feature_sets(widths, width=settings.width, seed=settings.seed),
            train=(latent[:n_train], table.present[train_rows]),
            test=(latent[n_train:], table.present[test_rows]),
            resampler=resampler,
            on_progress=on_progress,
        ),
        overlap=overlap,
        transfer=None
        if settings.without_gc
        else predict_unseen(
            trained,
            opened,
            None if unseen is None else Store(unseen),
            {role: values[n_train:] for role, values in features.items()},
            test_rows,
            resampler,
        ),
        n_top=settings.n_top,
        n_steps=settings.n_steps,
        n_draws=settings.n_draws,
    )
    write_scores(run, scores)
    return scores


def _learnable(table: BinTruth, trained: TrainedModel) -> BinTruth:
    """Leave out truths of values that no trained experiment has, such as the laboratory of unseen ones."""
    factors = trained.description.factors
    held_out = set(trained.description.config.training.held_out)
    kept = []
    for index, name in enumerate(table.names):
        _, factor, value = name.split(":", 2)
        if factor not in ("target", "biosample", "lab") or factor not in factors:
            kept.append(index)
            continue
        pairs = zip(factors.experiments, factors[factor].values, strict=True)
        if value in {known for experiment, known in pairs if experiment not in held_out}:
            kept.append(index)
    return BinTruth(tuple(table.names[index] for index in kept), table.present[:, kept])


def gc_content(store: Store, rows: NDArray[np.int64], *, positions: int) -> NDArray[np.float64]:
    """Measure the share of G and C among the known bases that each window's positions begin at.

    Parameters
    ----------
    store
        With the windows.
    rows
        Of them, shape ``(window,)``.
    positions
        Of a window.

    Returns
    -------
    Shape ``(window,)``; the mean of the others where a window has no known base.
    """
    share = np.full(len(rows), np.nan)
    first = store.windows.first_position(positions)[rows]
    chrom = store.windows.chrom[rows]
    for code in np.unique(chrom).tolist():
        codes = store.codes(store.windows.chroms[code])
        known = np.concatenate([[0], np.cumsum(codes < 16, dtype=np.int64)])
        gc = np.concatenate([[0], np.cumsum((codes >= 4) & (codes < 12), dtype=np.int64)])
        mine = np.flatnonzero(chrom == code)
        low = np.clip(first[mine], 0, len(codes))
        high = np.clip(first[mine] + positions, 0, len(codes))
        n_known = (known[high] - known[low]).astype(np.float64)
        found = np.full(len(mine), np.nan)
        np.divide(gc[high] - gc[low], n_known, out=found, where=n_known > 0)
        share[mine] = found
    return np.where(np.isnan(share), np.nanmean(share), share)
