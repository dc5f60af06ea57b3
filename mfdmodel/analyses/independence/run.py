"""The independence of a run's subspaces on held-out windows: features read, measured, written into its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.independence.associations import CodedFactor, associate
from mfdmodel.analyses.independence.logits import share_variance
from mfdmodel.analyses.independence.measures import N_RESAMPLES, N_ROTATIONS, measure_independence
from mfdmodel.analyses.independence.parts import Parts, part_windows
from mfdmodel.analyses.independence.result import Independence, write_independence
from mfdmodel.analyses.independence.subspaces import FlatError
from mfdmodel.checkpoint.models import TrainedModel, load_model
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import open_store_of
from mfdmodel.features import experiment_weights, latent_features
from mfdmodel.intervals import LEAST_BLOCKS
from mfdmodel.resampling import Resampler
from mfdmodel.splits import check_apart
from mfdstore.errors import RunError, StoreError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import ROLES, Split
from mfdstore.store import Store

DEFAULT_WINDOWS: Final = 10_000
"""Windows that are read, evenly taken from the split."""

_FEWEST: Final = {"fit": 150, "tune": 40, "score": 120}


def measure_run(
    run: Path,
    *,
    split: Split = "test",
    store: AnyPlace | None = None,
    n_windows: int = DEFAULT_WINDOWS,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Independence:
    """Measure the independence of a run's subspaces, and write it into the run's folder.

    Parameters
    ----------
    run
        Folder of the run.
    split
        Whose windows are read.
    store
        To read instead of the one that the run was trained on; it must hold the same experiments.
    n_windows
        To read, at most, evenly taken from the split.
    seed
        Of everything random.
    device, threads
        To compute features with, as in training; as many threads grow trees.
    on_progress
        Told what is being done, how much is done and how much there is.

    Returns
    -------
    What was written to ``evaluation/independence.json`` and the tables beside it.

    Raises
    ------
    RunError
        If the run has no model, or one without two subspaces, it is damaged, its features are no numbers or one
        subspace says the same of all windows, or the store is not what it was.
    ConfigError
        If windows of different splits of the store share bases.
    StoreError
        If there is no such store, or it has too few windows in the split.
    """
    trained = load_model(run)
    _refuse_single(run, trained)
    config = trained.description.config.data
    opened = open_store_of(run, trained.description, store, split=split)
    check_apart(opened, config)
    rows = opened.windows.rows(split)
    if len(rows) > n_windows:
        rows = rows[np.linspace(0, len(rows) - 1, max(0, n_windows)).astype(np.int64)]
    table = opened.windows
    parts = part_windows(table.chrom[rows], table.start[rows], span=config.positions + 1, seed=seed)
    _refuse_few(opened, parts, split)
    chosen = choose_device(device)
    with computing_on(chosen, threads):
        features = latent_features(
            trained.model,
            store=opened,
            rows=rows,
            positions=config.positions,
            device=chosen,
            on_progress=on_progress,
        )
        weights = experiment_weights(trained.model)
    _refuse_mute(run, features)
    try:
        found = measure_independence(
            features["biological"],
            features["technical"],
            parts,
            direct=trained.model.direct_features,
            seed=seed,
            threads=threads,
            on_progress=on_progress,
        )
    except FlatError as error:
        raise RunError(
            run,
            found=str(error),
            expected="features that vary from window to window wherever they are measured",
            remedy="Raise --windows, or train again: a subspace that hardly varies is next to dead.",
        ) from error
    rng = np.random.default_rng(seed)
    experiments, logits, mean_logit = share_variance(
        features,
        weights,
        experiments=opened.experiments,
        resampler=Resampler.draw(parts.block, rng=rng, n_draws=N_RESAMPLES),
    )
    associations = associate(
        features,
        weights,
        labels=np.stack([opened.labels_of(index)[rows] for index in range(opened.n_experiments)], axis=1),
        factors=_coded_factors(trained),
        direct=trained.model.direct_features,
        parts=parts,
        resampler=Resampler.draw(parts.block[parts.score], rng=rng, n_draws=N_RESAMPLES),
    )
    result = Independence(
        split=split,
        n_windows=len(rows),
        n_fit=len(parts.fit),
        n_tune=len(parts.tune),
        n_scored=len(parts.score),
        n_dropped=parts.n_dropped,
        n_blocks=int(parts.block[-1]) + 1,
        n_scored_blocks=parts.n_scored_blocks,
        n_rotations=N_ROTATIONS,
        seed=seed,
        epoch=trained.epoch,
        store_digest=opened.digest,
        found=found,
        logits=logits,
        mean_logit=mean_logit,
        experiments=experiments,
        associations=associations,
    )
    write_independence(run, result)
    return result


def _coded_factors(trained: TrainedModel) -> list[CodedFactor]:
    factors = trained.description.factors
    return [
        CodedFactor(name, factors[name].role, coding.values, coding.encode(factors[name]))
        for name, coding in trained.model.codings.items()
    ]


def _refuse_single(run: Path, trained: TrainedModel) -> None:
    if set(trained.model.roles) != set(ROLES):
        raise RunError(
            run,
            found=f"a model of kind {trained.description.config.model.kind}, which has no two subspaces",
            expected="a model of kind mfd, whose biological and technical features can depend on each other",
            remedy="Name a run that was trained with --model mfd.",
        )


def _refuse_few(store: Store, parts: Parts, split: str) -> None:
    sizes = {"fit": len(parts.fit), "tune": len(parts.tune), "score": len(parts.score)}
    enough = all(sizes[name] >= fewest for name, fewest in _FEWEST.items())
    if enough and parts.n_scored_blocks >= LEAST_BLOCKS:
        return
    found = (
        f"{len(parts.block):,} windows of split {split}"
        if len(parts.block)
        else f"no window in split {split}"
    )
    if len(parts.block):
        found += (
            f", in parts with gaps between them {sizes['fit']} to fit on, {sizes['tune']} to tune by and "
            f"{sizes['score']} to score in {parts.n_scored_blocks} blocks"
        )
    raise StoreError(
        store.path,
        found=found,
        expected=f"at least {_FEWEST['fit']}, {_FEWEST['tune']} and {_FEWEST['score']} windows, the last in "
        f"{LEAST_BLOCKS} blocks",
        remedy="Raise --windows if it was given, name another --split, or build a store that holds out more of the "
        "genome with --split-test or --split-blocks.",
    )


def _refuse_mute(run: Path, features: dict[str, NDArray[np.float32]]) -> None:
    for role, values in features.items():
        if not np.isfinite(values).all():
            raise RunError(
                run,
                found=f"{role} features that are no numbers",
                expected="features of every window",
                remedy="The training diverged; train again with a lower training.lr or with training.gradient_clip.",
            )
        if not (np.ptp(values, axis=0) > 0).any():
            raise RunError(
                run,
                found=f"{role} features that are the same for all windows",
                expected="at least one that varies",
                remedy="The subspace is dead; train again with a lower --lambda-indep or training.lr.",
            )
