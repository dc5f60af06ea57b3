"""A run's best model held against the truth that its store was simulated from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.analyses.truth.blocks import draw_counts, stretches
from mfdmodel.analyses.truth.overlap import (
    Hits,
    Overlap,
    SitesInWindows,
    average_hits,
    find_hits,
    integrated_gradients,
)
from mfdmodel.analyses.truth.recovery import feature_sets, recover, without_covariate
from mfdmodel.analyses.truth.scores import TruthScores, write_scores
from mfdmodel.analyses.truth.transfer import (
    NEIGHBOURS,
    Transfer,
    predict_by_neighbours,
    predict_by_weights,
    score_transfer,
    weights_from_metadata,
)
from mfdmodel.checkpoint.models import TrainedModel, load_model
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import open_store_of
from mfdmodel.features import latent_features
from mfdmodel.model import SequenceModel
from mfdmodel.strands import both_strands
from mfdstore.errors import ConfigError, StoreError
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split
from mfdstore.simulate.reading import BinTruth, PlantedSites, read_bin_truth, read_sites
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
        Whose windows are scored; probes are fitted on the split ``train``.
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
        If there are fewer features than are to be compared.
    """
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
    train_rows, test_rows = _thin(opened.windows.rows("train"), _MOST_PROBED), opened.windows.rows(split)
    if not len(test_rows) or not len(train_rows):
        raise StoreError(
            opened.path,
            found=f"no window in split {split if len(train_rows) else 'train'}",
            expected="windows to fit probes on, and others to score",
            remedy="Score another split with --split, or build the store with --split-test or --split-blocks.",
        )
    chosen = choose_device(device)
    rng = np.random.default_rng(settings.seed)
    counts = draw_counts(stretches(opened.windows, test_rows), n_draws=settings.n_draws, rng=rng)
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
            overlap = _attribute(
                trained, opened, test_rows, table, sites, counts, settings, device=chosen,
                on_progress=on_progress,
            )  # fmt: skip
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
        width=settings.width or min(widths.values()),
        widths=widths,
        without_gc=settings.without_gc,
        recovery=recover(
            table.names,
            feature_sets(widths, width=settings.width, seed=settings.seed),
            train=(latent[:n_train], table.present[train_rows]),
            test=(latent[n_train:], table.present[test_rows]),
            counts=counts,
            on_progress=on_progress,
        ),
        overlap=overlap,
        transfer=None
        if settings.without_gc
        else _predict_unseen(
            trained,
            opened,
            None if unseen is None else Store(unseen),
            {role: values[n_train:] for role, values in features.items()},
            test_rows,
            counts,
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


def _attribute(
    trained: TrainedModel,
    store: Store,
    rows: NDArray[np.int64],
    table: BinTruth,
    sites: PlantedSites,
    counts: NDArray[np.float64],
    settings: TruthSettings,
    *,
    device: torch.device,
    on_progress: Progress | None,
) -> tuple[Overlap, ...]:
    """Attribute the logits of each biological value's trained experiments in windows that hold its sites."""
    factors = trained.description.factors
    positions = trained.description.config.data.positions
    held_out = set(trained.description.config.training.held_out)
    biological = [name for name in table.names if name.startswith("biological:")]
    hits: list[Hits] = []
    for done, name in enumerate(biological):
        _, factor, value = name.split(":", 2)
        group = [
            index
            for index, experiment in enumerate(factors.experiments)
            if factor in factors and factors[factor].values[index] == value and experiment not in held_out
        ]
        holding = np.flatnonzero(table.present[rows, table.names.index(name)])
        holding = _thin(holding, settings.n_attributed)
        if group and len(holding):
            acting_on = {
                key: {factors[key].values[index] for index in group}
                for key in ("target", "biosample")
                if key in factors
            }
            planted = sites_in_windows(
                sites, store, rows[holding], positions=positions, own=(factor, value), acting_on=acting_on
            )
            attributions = _attributions(
                trained.model, store, rows[holding], group, positions, settings.n_steps, device
            )
            # a site whose middle is in the bin lies in the window, unless the window is no wider than the bin
            inside = planted.own.any(1)
            planted = SitesInWindows(planted.own[inside], planted.acting[inside], planted.technical[inside])
            kept = {key: values[inside] for key, values in attributions.items()}
            hits.append(find_hits(name, kept, planted, row=holding[inside], n_top=settings.n_top))
        if on_progress is not None:
            on_progress("attributing", done + 1, len(biological))
    return average_hits(hits, counts)


def sites_in_windows(
    sites: PlantedSites,
    store: Store,
    rows: NDArray[np.int64],
    *,
    positions: int,
    own: tuple[str, str],
    acting_on: Mapping[str, set[object]],
) -> SitesInWindows:
    """Mark the bases of sites in windows.

    Parameters
    ----------
    sites
        That act.
    store
        With the windows.
    rows
        Of them, shape ``(window,)``.
    positions
        Of a window; position p is its base p.
    own
        Factor and value whose sites are marked as own.
    acting_on
        Values of the experiments that are attributed, by factor: biological sites of these act on them, those of
        targets if they are bound in one of their biosamples.
    """
    is_own = (sites.factor == own[0]) & (sites.name == own[1])
    wanted = {(factor, value) for factor, values in acting_on.items() for value in values}
    of_value = np.array([pair in wanted for pair in zip(sites.factor, sites.name, strict=True)], np.bool_)
    biosamples = acting_on.get("biosample", set())
    bound = np.array([not names or bool(names & biosamples) for names in sites.biosamples], np.bool_)
    acts = is_own | ((sites.role == "biological") & of_value & bound)
    marks = {
        "own": is_own,
        "acting": acts,
        "technical": sites.role == "technical",
    }
    planted = {name: np.zeros((len(rows), positions), np.bool_) for name in marks}
    first = store.windows.first_position(positions)[rows]
    for index, (row, begin) in enumerate(zip(rows.tolist(), first.tolist(), strict=True)):
        chrom = store.windows.chroms[store.windows.chrom[row]]
        near = np.flatnonzero(
            (sites.chrom == chrom) & (sites.end > begin) & (sites.start < begin + positions)
        )
        for site in near.tolist():
            low, high = max(0, int(sites.start[site]) - begin), int(sites.end[site]) - begin
            for name, mask in marks.items():
                planted[name][index, low:high] |= mask[site]
    return SitesInWindows(planted["own"], planted["acting"], planted["technical"])


def _attributions(
    model: SequenceModel,
    store: Store,
    rows: NDArray[np.int64],
    experiments: list[int],
    positions: int,
    n_steps: int,
    device: torch.device,
) -> dict[str, NDArray[np.float32]]:
    model.to(device).eval()
    parts: list[dict[str, NDArray[np.float32]]] = []
    for batches in both_strands(store, rows, positions=positions, batch_size=64):
        forward, reverse = (
            integrated_gradients(model, batch.to(device).one_hot(), experiments, n_steps=n_steps)
            for batch in batches
        )
        # dinucleotide p of the reverse strand is the last but p of the forward one
        parts.append({key: ((forward[key] + reverse[key].flip(1)) / 2).cpu().numpy() for key in forward})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _predict_unseen(
    trained: TrainedModel,
    store: Store,
    other: Store | None,
    features: Mapping[str, NDArray[np.float32]],
    rows: NDArray[np.int64],
    counts: NDArray[np.float64],
) -> Transfer | None:
    held_out = set(trained.description.config.training.held_out)
    is_unseen = np.array([name in held_out for name in store.experiments], np.bool_)
    source = store
    columns = np.flatnonzero(is_unseen)
    if other is not None:
        _check_same_windows(store, other)
        source = other
        known = set(store.experiments) - held_out
        columns = np.array([i for i, name in enumerate(other.experiments) if name not in known], np.int64)
    if not len(columns):
        return None
    with torch.no_grad():
        latent = {role: torch.from_numpy(values) for role, values in features.items()}
        model = trained.model.to("cpu")
        probabilities = torch.sigmoid(model.logits(latent)).T.numpy().astype(np.float64)
    trained_rows = np.flatnonzero(~is_unseen)
    predictions = {
        NEIGHBOURS: predict_by_neighbours(
            probabilities[trained_rows], store.factors.take(trained_rows), source.factors.take(columns)
        )
    }
    experiments = [source.experiments[index] for index in columns.tolist()]
    # weights exist for the model's own outputs alone
    weights = weights_from_metadata(model, is_unseen) if other is None else None
    if weights is not None:
        predictions = predict_by_weights(features, weights) | predictions
    labels = np.stack([source.labels_of(index)[rows] for index in columns.tolist()])
    return score_transfer(predictions, labels, experiments=experiments, counts=counts)


def _check_same_windows(store: Store, other: Store) -> None:
    first, second = store.windows, other.windows
    same = (
        first.chroms == second.chroms
        and np.array_equal(first.chrom, second.chrom)
        and np.array_equal(first.start, second.start)
        and np.array_equal(first.split, second.split)
    )
    if not same:
        raise StoreError(
            other.path,
            found=f"{len(second):,} windows that are not those of {store.path}",
            expected="the same windows with other experiments",
            remedy="Cut the store of the training from this one: mfdstore subset.",
        )


def _thin(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Take at most so many rows, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
