"""Several stores of one genome as one: experiments side by side, windows one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import same_assembly, some
from mfdstore.grow.columns import join_factors, merge_orders
from mfdstore.grow.content import (
    Content,
    GrowReport,
    Progress,
    close_store,
    count_splits,
    open_parent,
    write_labels,
)
from mfdstore.grow.lineage import provenance, together
from mfdstore.grow.matching import (
    MatchedLabels,
    Member,
    SplitChoice,
    WindowChoice,
    count_left_out,
    gather,
    match_windows,
    merged_rule,
)
from mfdstore.places.address import AnyPlace
from mfdstore.publish import published
from mfdstore.store import Store
from mfdstore.windows import WindowTable


def merge_stores(
    paths: Sequence[AnyPlace],
    out: Path,
    *,
    windows: WindowChoice = "intersection",
    splits: SplitChoice = "agree",
    on_progress: Progress = lambda what, done, total: None,
) -> GrowReport:
    """Put stores together, and publish the whole under `out`.

    Stores of the same experiments give their windows one after another. Stores of different experiments give them
    side by side, on the windows that all hold, or on those that any holds: that only where a window which a store
    does not hold is known to be labelled by none of its experiments. An experiment that stands in several
    stores becomes one.

    Parameters
    ----------
    paths
        Of two stores or more; they are not changed.
    out
        Name to publish the whole under.
    windows
        ``intersection`` or ``union``, for stores of different experiments.
    splits
        ``agree``: stores must agree on the split of a window; ``first``: the first store that holds it tells.
    on_progress
        Told of each stage.

    Raises
    ------
    ConfigError
        If the stores do not fit together, a label would not be known, stores contradict one another, or no window
        is left.
    StoreError
        If a store is damaged, or `out` exists or cannot be written.
    """
    for option, given, known in (
        ("--windows", windows, get_args(WindowChoice)),
        ("--splits", splits, get_args(SplitChoice)),
    ):
        if given not in known:
            raise ConfigError(
                option, found=repr(given), expected=" or ".join(known), remedy="Correct the option."
            )
    if len(paths) < 2:
        raise ConfigError(
            "the stores",
            found=f"{len(paths)}",
            expected="two or more",
            remedy="Name all that are to be put together.",
        )
    with published(out) as folder:
        stores = [open_parent(path) for path in paths]
        _check_alike(stores)
        peaks = together(stores)
        factors = join_factors([(str(store.path), store.factors) for store in stores])
        members = gather(stores, factors.experiments)
        all_chroms = merge_orders([store.chroms for store in stores])
        found = _drop_chroms(members, match_windows(members, all_chroms, windows, splits))
        left_out = list(count_left_out(members, found))
        counts = {f"windows_left_out_of_store_{number}": n for number, n in enumerate(left_out, start=1)}
        counts["chromosomes_left_out"] = len(all_chroms) - len(found.chroms)
        rule = merged_rule(members, found, windows)
        origins = {chrom: _first_with(stores, chrom) for chrom in found.chroms}
        sizes = tuple(store.chrom_sizes[store.chroms.index(chrom)] for chrom, store in origins.items())
        content = Content(factors, found, sizes, origins)
        labels = MatchedLabels(members, found, factors.experiments)
        writer, n_pairs = write_labels(folder, content, labels.rows, on_progress)
        described = provenance(
            "merge",
            stores,
            asked={"windows": windows, "splits": splits},
            rule=rule,
            peaks={name: peaks[name] for name in factors.experiments if name in peaks},
            counts=counts,
        )
        digest = close_store(writer, stores[0], rule.least, described, on_progress)
    notes = tuple(
        f"{n:,} of {store.n_windows:,} windows of {store.path} are left out, for not all stores hold them."
        for store, n in zip(stores, left_out, strict=True)
        if n
    )
    return GrowReport(
        path=out,
        digest=digest,
        n_windows=len(found),
        n_experiments=len(factors),
        positive_pairs=n_pairs,
        windows_by_split=count_splits(found),
        min_experiments=rule.least,
        complete=rule.complete,
        counts=counts,
        notes=notes,
    )


def _check_alike(stores: Sequence[Store]) -> None:
    """Refuse stores of another genome, bins or sequence than the first."""
    first = stores[0]
    for store in stores[1:]:
        if not same_assembly(first.genome, store.genome):
            raise _unlike(store, first, f"genome {store.genome}", f"genome {first.genome}")
        for name, unit in (("bin_size", "bins"), ("min_overlap", "an overlap")):
            if getattr(first, name) != getattr(store, name):
                found, expected = (f"{unit} of {getattr(one, name)} bp" for one in (store, first))
                raise _unlike(store, first, found, expected)
    for before, store in ((one, other) for one in stores for other in stores if one is not other):
        for chrom in before.chroms:
            name = f"{schema.SEQUENCE}/{chrom}"
            if chrom in store.chroms and before.array_digests.get(name) != store.array_digests.get(name):
                raise _unlike(store, before, f"another sequence of {chrom}", f"that of {before.path}")


def _unlike(store: Store, first: Store, found: str, expected: str) -> ConfigError:
    return ConfigError(
        str(store.path),
        found=found,
        expected=f"{expected}, as in {first.path}" if str(first.path) not in expected else expected,
        remedy="Only stores of one genome and one kind of bins can be put together.",
    )


def _drop_chroms(members: Sequence[Member], found: WindowTable) -> WindowTable:
    """Leave out chromosomes that lost all of their windows; those that never had any stay.

    Raises
    ------
    ConfigError
        If no window is left at all.
    """
    if not len(found):
        raise ConfigError(
            some([str(member.store.path) for member in members]),
            found="no window that all hold",
            expected="at least one",
            remedy="Check that they are of the same chromosomes; --windows union keeps what any holds, where it can.",
        )
    present = np.bincount(found.chrom, minlength=len(found.chroms)) > 0
    kept = [
        code
        for code, chrom in enumerate(found.chroms)
        if present[code] or not any(len(member.starts(chrom)) for member in members)
    ]
    place = np.full(len(found.chroms), -1, np.int16)
    place[kept] = np.arange(len(kept))
    chroms = tuple(found.chroms[code] for code in kept)
    return WindowTable(chroms, place[found.chrom], found.start, found.split, found.bin_size)


def _first_with(stores: Sequence[Store], chrom: str) -> Store:
    return next(store for store in stores if chrom in store.chroms)
