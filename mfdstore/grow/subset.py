"""A part of a store: some experiments, some windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.grow.choice import Choice, choose_experiments, choose_windows
from mfdstore.grow.content import (
    Content,
    GrowReport,
    Progress,
    close_store,
    count_splits,
    open_parent,
    read_rows,
    take_columns,
    write_labels,
)
from mfdstore.grow.lineage import Rule, join_reasons, peaks_of, provenance, rule_of
from mfdstore.places.address import AnyPlace
from mfdstore.publish import published
from mfdstore.store import Store
from mfdstore.windows import WindowTable


def subset_store(
    path: AnyPlace, out: Path, choice: Choice, on_progress: Progress = lambda what, done, total: None
) -> GrowReport:
    """Cut a store to some of its experiments and windows, and publish the part under `out`.

    Labels, splits and metadata of what is kept stay as they are. Windows that too few of the experiments wanted
    label stay as well, unless `choice.min_experiments` is given.

    Parameters
    ----------
    path
        Of the store, which is not changed.
    out
        Name to publish the part under.
    choice
        What is kept.
    on_progress
        Told of each stage.

    Raises
    ------
    ConfigError
        If nothing is chosen, a name is none of the store's, or nothing is left.
    SourceError
        If a BED file cannot be used.
    StoreError
        If the store is damaged, or `out` exists or cannot be written.
    """
    with published(out) as folder:
        store = open_parent(path)
        cut = _cut(store, choice, on_progress)
        windows, chroms = store.windows, cut.chroms
        place = np.full(len(store.chroms), -1, np.int16)
        place[[store.chroms.index(chrom) for chrom in chroms]] = np.arange(len(chroms))
        kept = WindowTable(
            chroms,
            place[windows.chrom[cut.rows]],
            windows.start[cut.rows],
            windows.split[cut.rows],
            store.bin_size,
        )
        sizes = tuple(store.chrom_sizes[store.chroms.index(chrom)] for chrom in chroms)
        factors = store.factors.take(cut.columns)

        def labels(begin: int, end: int) -> NDArray[np.uint8]:
            bits = read_rows(store, cut.rows[begin:end])
            return take_columns(bits, store.n_experiments, cut.columns)

        content = Content(factors, kept, sizes, dict.fromkeys(chroms, store))
        writer, n_pairs = write_labels(folder, content, labels, on_progress)
        peaks = peaks_of(store)
        described = provenance(
            "subset",
            [store],
            asked=cut.asked,
            rule=cut.rule,
            peaks={name: peaks[name] for name in factors.experiments if name in peaks},
            counts=cut.counts,
        )
        digest = close_store(writer, store, cut.rule.least, described, on_progress)
    return GrowReport(
        path=out,
        digest=digest,
        n_windows=len(kept),
        n_experiments=len(factors),
        positive_pairs=n_pairs,
        windows_by_split=count_splits(kept),
        min_experiments=cut.rule.least,
        complete=cut.rule.complete,
        counts=cut.counts,
        notes=_notes(store, cut, choice),
    )


@dataclass(frozen=True)
class _Cut:
    """What of a store is kept: rows and columns, ascending; and what is to be said of it."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    chroms: tuple[str, ...]
    rule: Rule
    counts: dict[str, int]
    asked: dict[str, Any]


def _cut(store: Store, choice: Choice, on_progress: Progress) -> _Cut:
    if not choice:
        raise ConfigError(
            "the selection",
            found="nothing that says what to keep",
            expected="at least one of --where, --experiments, --region, --regions, --chroms, --split, "
            "--min-experiments",
            remedy="Say what to keep; to have the store twice, copy its directory.",
        )
    least = choice.min_experiments
    if least is not None and least < 0:
        raise ConfigError(
            "--min-experiments", found=str(least), expected="0 or more", remedy="Correct the option."
        )
    columns = choose_experiments(store, choice)
    chosen = choose_windows(store, choice)
    counts = {"windows_before": store.n_windows, "experiments_before": store.n_experiments} | chosen.counts
    n_positive = _count_positive(store, columns, on_progress)
    keep = chosen.keep & (n_positive >= (least or 0))
    counts["windows_below_min_experiments"] = int((chosen.keep & ~keep).sum())
    if not keep.any():
        raise ConfigError(
            "--min-experiments",
            found=f"no window of {int(chosen.keep.sum()):,} that {least} of the {len(columns):,} experiments label",
            expected="at least one window",
            remedy=f"Ask for at most {int(n_positive[chosen.keep].max())}.",
        )
    counts["windows_kept_below_the_parents_minimum"] = int((n_positive[keep] < store.min_experiments).sum())
    counts["windows_kept_without_a_positive"] = int((n_positive[keep] == 0).sum())
    present = np.bincount(store.windows.chrom[keep], minlength=len(store.chroms)) > 0
    chroms = tuple(
        chrom for chrom, has in zip(store.chroms, present, strict=True) if has or choice.keep_chroms
    )
    counts["chromosomes_left_out"] = len(store.chroms) - len(chroms)
    asked: dict[str, Any] = dict(chosen.asked)
    if choice.where:
        asked["where"] = [list(pair) for pair in choice.where]
    if choice.experiments:
        asked["experiments"] = [store.experiments[column] for column in columns]
    if least is not None:
        asked["min_experiments"] = least
    if choice.keep_chroms:
        asked["keep_chroms"] = True
    on_kept = np.isin(store.windows.chrom, [store.chroms.index(chrom) for chrom in chroms])
    rule = _rule(
        store,
        least=least,
        lost=bool((on_kept & ~chosen.keep).any()),
        filtered=bool((on_kept & chosen.keep & ~keep).any()),
        below=counts["windows_kept_below_the_parents_minimum"] > 0,
        chroms=chroms,
    )
    return _Cut(np.flatnonzero(keep), columns, chroms, rule, counts, asked)


def _count_positive(store: Store, columns: NDArray[np.int64], on_progress: Progress) -> NDArray[np.int32]:
    """Count the experiments wanted that label each window, shape ``(window,)``; read line by line."""
    if len(columns) == store.n_experiments:
        return store.n_positive
    n_positive = np.zeros(store.n_windows, np.int32)
    for done, column in enumerate(columns, start=1):
        n_positive += store.labels_of(int(column))
        on_progress("experiments", done, len(columns))
    return n_positive


def _rule(
    store: Store, *, least: int | None, lost: bool, filtered: bool, below: bool, chroms: tuple[str, ...]
) -> Rule:
    """Say which bins the windows are now.

    Parameters
    ----------
    store
        The parent.
    least
        Minimum of experiments asked for.
    lost
        Whether regions or splits took windows of the chromosomes that are kept.
    filtered
        Whether the minimum took any.
    below
        Whether windows are kept that fewer label than the parent asked for.
    chroms
        Chromosomes kept.
    """
    before = rule_of(store)
    reasons = [before.why]
    if lost:
        reasons.append("windows were chosen by region or split")
    # a bin that so many of the experiments left label was labelled by as many of all, so it was in the parent
    now = least or 0 if below else max(before.least, least or 0)
    if now < before.least:
        reasons.append(f"bins that fewer than {before.least} experiments of the parent label were not in it")
    settings = before.settings
    # blocks are cut by number of windows, so a build would cut others
    if join_reasons(reasons) or (filtered and settings is not None and settings.get("blocks") is not None):
        settings = None
    if settings is not None:
        settings = {**settings, "chroms": list(chroms), "min_experiments": now}
    return Rule(now, join_reasons(reasons), before.blacklist, settings)


def _notes(store: Store, cut: _Cut, choice: Choice) -> tuple[str, ...]:
    notes = []
    below, without = (
        cut.counts[f"windows_kept_{name}"] for name in ("below_the_parents_minimum", "without_a_positive")
    )
    if below:
        notes.append(
            f"{below:,} windows are kept that fewer than {store.min_experiments} of these experiments label, "
            f"{without:,} of them none"
            + ("; --min-experiments leaves such out." if not choice.min_experiments else ".")
        )
    splits = np.bincount(store.windows.split[cut.rows], minlength=len(schema.SPLITS))
    empty = [split for split, n in zip(schema.SPLITS, splits, strict=True) if not n and split != "gap"]
    if empty:
        notes.append(f"No window of {' and '.join(empty)} is left.")
    return tuple(notes)
