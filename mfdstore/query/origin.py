"""Which store a dataset came from, and which of its rows and columns the dataset's windows and experiments are.

The coordinates `start`, `n_positive` and `experiment` carry the opened store in their encoding, which xarray keeps
through selecting, sorting, chunking, copying and pickling. Where datasets of two stores are joined, xarray keeps that
of the first: windows of the others are found out by their counts, as far as these differ. Rows and columns are found
by what the coordinates say, never by place, so they are right in whatever order and selection a dataset has them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import some
from mfdstore.store import Store

STORE: Final = "store"
"""Key of the encoding that carries the store."""
_OPEN: Final = 'Select from what xr.open_dataset(path, engine="mfdstore") gives.'


def store_of(dataset: xr.Dataset) -> Store:
    """Find the store that a dataset was opened from.

    Raises
    ------
    ConfigError
        If it came from none, or from several.
    """
    stores = find_stores(dataset)
    if not stores:
        raise ConfigError(
            "dataset",
            found="no store behind it: it was not opened from one, or was written and read back",
            expected="a dataset opened from a store, or a selection of one",
            remedy=_OPEN,
        )
    if len({store.digest for store in stores}) > 1:
        raise ConfigError(
            "dataset",
            found=f"windows and experiments of two stores: {some(str(store.path) for store in stores)}",
            expected="those of one",
            remedy="Ask each store by itself.",
        )
    return stores[0]


def find_stores(dataset: xr.Dataset) -> list[Store]:
    """List the stores that the windows and the experiments say they are of; empty where they say nothing."""
    carried = (
        dataset[name].encoding.get(STORE)
        for name in (schema.START, schema.EXPERIMENT)
        if name in dataset.coords
    )
    return [store for store in carried if isinstance(store, Store)]


def window_coordinate(dataset: xr.Dataset, name: str) -> NDArray[Any]:
    """Read a coordinate of the windows, shape ``(window,)``.

    Raises
    ------
    ConfigError
        If the dataset has none of that name.
    """
    if name not in dataset.coords or dataset[name].dims != (schema.WINDOW,):
        known = [str(key) for key, value in dataset.coords.items() if value.dims == (schema.WINDOW,)]
        raise ConfigError(
            f"coordinate {name!r}",
            found="no such coordinate of the windows",
            expected=some(known, 40) if known else "windows with their coordinates, but there are none",
            remedy="Correct the name, or keep the coordinate and the dimension window when you select.",
        )
    return np.asarray(dataset[name].values)


def rows_of(dataset: xr.Dataset, store: Store) -> NDArray[np.int64]:
    """Find each window of a dataset in the store by chromosome and start, shape ``(window,)``.

    Raises
    ------
    ConfigError
        If a window is none of the store's.
    """
    starts = window_coordinate(dataset, schema.START)
    codes, names = pd.factorize(window_coordinate(dataset, schema.CHROM))
    rows = np.full(len(starts), -1, np.int64)
    chroms = store.windows.chrom
    bounds = np.searchsorted(chroms, np.arange(len(store.chroms) + 1, dtype=chroms.dtype))
    for code, name in enumerate(names):
        if name not in store.chroms:
            continue
        index = store.chroms.index(name)
        first, last = int(bounds[index]), int(bounds[index + 1])
        kept = store.windows.start[first:last]
        mine = np.flatnonzero(codes == code)
        if np.array_equal(starts[mine], kept):
            rows[mine] = np.arange(first, last)  # a whole chromosome, in order
        elif len(kept):
            places = np.minimum(np.searchsorted(kept, starts[mine]), len(kept) - 1)
            rows[mine] = np.where(kept[places] == starts[mine], places + first, -1)
    if (rows < 0).any():
        row = int(np.argmax(rows < 0))
        name = names[codes[row]] if codes[row] >= 0 else "no chromosome"
        raise ConfigError(
            f"window {row} of the dataset",
            found=f"a bin at {name}:{starts[row]}",
            expected=f"only windows of {store.path}",
            remedy=_OPEN,
        )
    _check_counts(dataset, store, rows)
    return rows


def _check_counts(dataset: xr.Dataset, store: Store, rows: NDArray[np.int64]) -> None:
    """Refuse windows that another store counted: of datasets that were joined, only the first one's store is known."""
    if schema.N_POSITIVE not in dataset.coords or STORE not in dataset[schema.N_POSITIVE].encoding:
        return  # left out, or a user's own counts
    found = window_coordinate(dataset, schema.N_POSITIVE)
    other = found != store.n_positive[rows]
    if other.any():
        row = int(np.argmax(other))
        raise ConfigError(
            f"window {row} of the dataset",
            found=f"{found[row]} experiments that label it, which are {store.n_positive[rows[row]]} in {store.path}",
            expected="windows of one store",
            remedy="Ask datasets of several stores each by itself, before they are joined.",
        )


def columns_of(dataset: xr.Dataset, store: Store) -> NDArray[np.int64]:
    """Find each experiment of a dataset in the store by its accession, shape ``(experiment,)``.

    Raises
    ------
    ConfigError
        If an experiment is none of the store's, or the dataset has none.
    """
    if schema.EXPERIMENT not in dataset.coords or dataset[schema.EXPERIMENT].dims != (schema.EXPERIMENT,):
        raise ConfigError(
            "dataset",
            found="no coordinate experiment by experiment",
            expected="the experiments of a store",
            remedy="Keep the coordinate and the dimension experiment when you select: isel(experiment=[0]).",
        )
    names = np.asarray(dataset[schema.EXPERIMENT])
    return np.array([column_of(store, str(name)) for name in names], np.int64)


def column_of(store: Store, accession: str) -> int:
    """Find one experiment in the store.

    Raises
    ------
    ConfigError
        If the store has none of that name.
    """
    if not isinstance(accession, str) or accession not in store.columns:
        raise ConfigError(
            f"experiment {accession!r}",
            found="no such experiment in the store",
            expected=some(store.experiments),
            remedy="Correct the accession; ds.experiment lists them.",
        )
    return store.columns[accession]
