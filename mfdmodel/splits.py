"""Whether a store's splits serve a run: they hold windows, and windows of different splits share no base."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.config import DataConfig
from mfdstore.errors import ConfigError, StoreError
from mfdstore.schema import SPLITS, Split
from mfdstore.store import Store
from mfdstore.windows import WindowTable

_APART: Final[tuple[Split, ...]] = ("train", "valid", "test")
"""Splits whose windows must not overlap; windows of the split ``gap`` are not read."""


def check_splits(store: Store, splits: Sequence[Split]) -> None:
    """Make sure that a store has windows to train on, and others to choose the best epoch by.

    Parameters
    ----------
    store
        To train on.
    splits
        That training reads.

    Raises
    ------
    StoreError
        If one of them is empty.
    """
    for split in splits:
        if not len(store.windows.rows(split)):
            raise StoreError(
                store.path,
                found=f"no window in split {split}",
                expected="windows to train on and others to choose the best epoch by",
                remedy="Build the store with --split-valid and --split-test, or with --split-blocks.",
            )


def rows_to_score(store: Store, split: Split) -> NDArray[np.int64]:
    """List the windows of a split, shape ``(window,)``.

    Raises
    ------
    StoreError
        If there is none.
    """
    rows = store.windows.rows(split)
    if not len(rows):
        raise StoreError(
            store.path,
            found=f"no window in split {split}",
            expected="windows to score",
            remedy="Score another split with --split, or build the store with --split-test or --split-blocks.",
        )
    return rows


def check_not_fitted(split: Split) -> None:
    """Make sure that probes, which are fitted on the windows of training, are scored on others.

    Raises
    ------
    ConfigError
        If the split is ``train``.
    """
    if split == "train":
        raise ConfigError(
            "--split",
            found="train, whose windows probes are fitted on",
            expected="valid or test",
            remedy="Score probes on one of these; what was learnt by heart would pass for known.",
        )


def check_apart(store: Store, data: DataConfig) -> None:
    """Make sure that no base is read by windows of two splits of one store.

    What is scored was then not seen in training; of another store `checkpoint.seen` makes sure.

    A window of P positions reads P + 1 bases; those of training also what ``max_shift`` moves them to.

    Parameters
    ----------
    store
        Whose windows are meant.
    data
        How they are cut.

    Raises
    ------
    ConfigError
        If two windows of different splits share a base, naming the gap that would part them.
    """
    table = store.windows
    for pair in combinations(_APART, 2):
        needed = data.positions + 1 + (data.max_shift if "train" in pair else 0)
        nearest = nearest_windows(table, *pair)
        if nearest is None:
            continue
        first, second = nearest
        distance = int(table.start[second]) - int(table.start[first])
        if distance >= needed:
            continue
        places = " and ".join(
            f"{store.chroms[table.chrom[row]]}:{table.start[row]} ({SPLITS[table.split[row]]})"
            for row in nearest
        )
        raise ConfigError(
            store.path,
            found=f"windows of different splits that share bases: of {data.positions} positions at {places}",
            expected=f"bins of different splits at least {needed - store.bin_size} bp apart",
            remedy=f"Build the store with --gap {needed - store.bin_size} or more, or choose fewer data.positions.",
        )


def nearest_windows(table: WindowTable, first: Split, second: Split) -> NDArray[np.int64] | None:
    """Find the two windows of different splits that are nearest to each other on one chromosome.

    Parameters
    ----------
    table
        Sorted by chromosome and start.
    first, second
        Splits that one window each is of.

    Returns
    -------
    Rows of both, ascending, shape ``(2,)``; `None` where no chromosome has windows of both splits.
    """
    rows = np.flatnonzero(np.isin(table.split, (SPLITS.index(first), SPLITS.index(second))))
    chrom, start, split = table.chrom[rows], table.start[rows].astype(np.int64), table.split[rows]
    # the nearest two have no window of either split between them
    border = np.flatnonzero((split[1:] != split[:-1]) & (chrom[1:] == chrom[:-1]))
    if not len(border):
        return None
    at = border[np.argmin(start[border + 1] - start[border])]
    return rows[at : at + 2]
