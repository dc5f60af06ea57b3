"""Which windows an epoch has: of a split, of regions, by weight, by experiment, or with negatives for positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.samplings import ByWeight, EachOnce, Sampling, WithNegatives
from mfdstore.schema import Split
from mfdstore.selecting import locate_regions
from mfdstore.windows import check_split

if TYPE_CHECKING:
    from mfdstore.store import Store


def choose_sampling(
    store: Store, split: Split | None, rows: NDArray[np.int64] | None, sampling: Sampling | None
) -> Sampling:
    """Take what a loader was given to choose windows by, and refuse to read none.

    Raises
    ------
    ConfigError
        If the rows are no integers, or there is no such split.
    StoreError
        If there is no such window, or none at all.
    ValueError
        If more than one is given.
    """
    if sum(given is not None for given in (split, rows, sampling)) > 1:
        raise ValueError("give a split or rows, not both, or a sampling instead")
    if sampling is not None and sampling.digest != store.digest:
        raise StoreError(
            store.path,
            found=f"a sampling of windows of another store, of digest {sampling.digest[:12]}",
            expected=f"of this one, {store.digest[:12]}",
            remedy="Make the sampling with the store that is read.",
        )
    chosen = sampling or EachOnce(store, _choose_rows(store, split, rows))
    if not chosen.n_windows:
        what = "rows" if split is None else f"split {split}"
        raise StoreError(
            store.path,
            found=f"no window in {what}",
            expected="at least one",
            remedy="See `mfdstore info` for the splits that this store has.",
        )
    return chosen


def by_weight(
    store: Store, weights: NDArray[np.float64], *, split: Split | None = None, n_windows: int | None = None
) -> ByWeight:
    """Sample windows by weights of all windows of a store, shape ``(window,)``; see `ByWeight`."""
    rows = _choose_rows(store, split, None)
    if len(weights) != store.n_windows:
        raise ConfigError(
            "weights",
            found=f"{len(weights):,}",
            expected=f"one for each of the store's {store.n_windows:,} windows",
            remedy="Give weights of all windows; the split is chosen here.",
        )
    return ByWeight(store, rows, np.asarray(weights, np.float64)[rows], n_windows)


def by_group(
    store: Store,
    shares: Mapping[str, float],
    *,
    split: Split | None = None,
    n_windows: int | None = None,
) -> ByWeight:
    """Give the positives of some experiments, however rare, a share of the epoch.

    A share s of the windows of an epoch is, in expectation, drawn uniformly from the windows that hold a label of that
    experiment; what is left of 1 is drawn uniformly from all windows.

    Parameters
    ----------
    store
        To be sampled.
    shares
        Of each experiment, by accession; together no more than 1.
    split
        Whose windows are chosen from; all where none is given.
    n_windows
        Of an epoch; as many as there are to choose from where it is not said.

    Raises
    ------
    ConfigError
        If there is no such experiment, it has no positive here, or the shares are more than 1.
    """
    rows = _choose_rows(store, split, None)
    total = sum(shares.values())
    if any(not share >= 0 for share in shares.values()) or total > 1 + 1e-9:
        raise ConfigError(
            "shares",
            found=f"{dict(shares)}",
            expected="numbers from 0 on, together no more than 1",
            remedy="Give smaller shares.",
        )
    weights = np.full(len(rows), max(0.0, 1 - total) / max(1, len(rows)))
    for accession, share in shares.items():
        positive = store.labels_of(_column(store, accession))[rows]
        if not positive.any():
            raise ConfigError(
                "shares",
                found=f"{accession}, which labels no window of {split or 'the store'}",
                expected="an experiment that labels some",
                remedy="Leave it out.",
            )
        weights[positive] += share / positive.sum()
    return ByWeight(store, rows, weights, n_windows)


def with_negatives(
    store: Store,
    ratio: float,
    *,
    experiments: str | Sequence[str] | None = None,
    split: Split | None = None,
) -> WithNegatives:
    """Sample all positives and, anew each epoch, so many negatives for each.

    Parameters
    ----------
    store
        To be sampled. Most stores hold windows with labels alone: those have negatives of some experiments, but none
        of all (``mfdstore build --min-experiments 0`` keeps every window).
    ratio
        Negatives for each positive.
    experiments
        A window that holds a label of any of these is positive; all experiments where none is given.
    split
        Whose windows are chosen from; all where none is given.

    Raises
    ------
    ConfigError
        If there is no such experiment, or the ratio is no number from 0 on.
    StoreError
        If there is no positive.
    """
    rows = _choose_rows(store, split, None)
    if isinstance(experiments, str):
        experiments = [experiments]
    if experiments is None:
        positive = store.n_positive > 0
    else:
        positive = np.zeros(store.n_windows, np.bool_)
        for accession in experiments:
            positive |= store.labels_of(_column(store, accession))
    held = positive[rows]
    return WithNegatives(store, rows[held], rows[~held], ratio)


def in_regions(store: Store, regions: str | Sequence[str], *, split: Split | None = None) -> EachOnce:
    """Choose the windows whose bins overlap any of some regions.

    Parameters
    ----------
    store
        To be sampled.
    regions
        Such as ``chr8`` or ``chr8:127,000,000-129,000,000``, 0-based half-open.
    split
        Whose windows are chosen from; all where none is given.

    Raises
    ------
    ConfigError
        If a region cannot be read, or its chromosome is not in the store.
    StoreError
        If no window is there.
    """
    rows = _choose_rows(store, split, None)
    if isinstance(regions, str):
        regions = [regions]
    table = store.windows
    inside = np.zeros(len(table), np.bool_)
    for chrom, start, end in locate_regions("regions", regions, store.reference):
        here = table.chrom == table.chroms.index(chrom)
        inside |= here & (table.start < end) & (table.end > start)
    chosen = rows[inside[rows]]
    if not len(chosen):
        raise StoreError(
            store.path,
            found=f"no window{'' if split is None else f' of split {split}'} in {', '.join(regions)}",
            expected="at least one",
            remedy="Choose other regions, or another split.",
        )
    return EachOnce(store, chosen)


def _column(store: Store, accession: str) -> int:
    column = store.columns.get(accession)
    if column is None:
        raise ConfigError(
            "experiments",
            found=repr(accession),
            expected=f"an experiment of {store.path}",
            remedy="`mfdstore info --experiments` lists them.",
        )
    return column


def _choose_rows(store: Store, split: Split | None, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """List the windows to be read."""
    if rows is not None:
        return _check_rows(store, np.asarray(rows))
    if split is not None:
        check_split(split)
        return store.windows.rows(split)
    return np.arange(store.n_windows)


def _check_rows(store: Store, given: NDArray[np.generic]) -> NDArray[np.int64]:
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise ConfigError(
            "rows",
            found=f"an array of {given.dtype} in {given.ndim} dimensions",
            expected="a list of integers, the windows to be read in their order",
            remedy="Give np.flatnonzero(mask) for a mask." if given.dtype == bool else "Give integers.",
        )
    # compared before they are converted: an unsigned number may be too large for a signed one
    if given.size and (given.min() < 0 or given.max() >= store.n_windows):
        raise StoreError(
            store.path,
            found=f"rows from {given.min()} to {given.max()}",
            expected=f"rows from 0 to {store.n_windows - 1}",
            remedy="Ask for windows that the store has.",
        )
    return given.astype(np.int64)
