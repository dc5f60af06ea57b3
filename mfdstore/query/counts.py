"""Counts of labels by groups of experiments, as dask reductions over the store's shards.

Each task reads the packed labels of one shard, goes from set bit to set bit and gives a small array of counts;
labels are never unpacked. A task holds one shard, 16,384 rows of a bit an experiment, and its counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.query.factors import Groups, group, in_order
from mfdstore.query.kernels import add_experiments, add_pairs, add_windows
from mfdstore.query.origin import columns_of, rows_of, store_of, window_coordinate
from mfdstore.store import Store

Integers = NDArray[np.int64]

GROUP: Final = "group"
"""Dimension of groups by several factors."""
N_EXPERIMENTS: Final = "n_experiments"
N_WINDOWS: Final = "n_windows"


@dataclass(frozen=True)
class _Rows:
    """The store's rows behind a dataset, ascending, cut where shards end.

    Parameters
    ----------
    store
        Where they are read.
    rows
        Shape ``(window,)``.
    order
        Which window of the dataset each row is, shape ``(window,)``.
    is_sorted
        Whether that is the dataset's own order.
    chunks
        Rows in each shard that has any.
    """

    store: Store
    rows: Integers
    order: NDArray[np.intp]
    is_sorted: bool
    chunks: tuple[int, ...]

    @classmethod
    def behind(cls, dataset: xr.Dataset, store: Store) -> _Rows:
        rows = rows_of(dataset, store)
        order = np.arange(len(rows))
        is_sorted = bool((np.diff(rows) >= 0).all())
        if not is_sorted:
            order = np.argsort(rows, kind="stable")
            rows = rows[order]
        cuts = np.flatnonzero(np.diff(rows // schema.ROWS_PER_SHARD)) + 1
        chunks = np.diff(np.concatenate([[0], cuts, [len(rows)]]))
        return cls(store, rows, order, is_sorted, tuple(chunks.tolist()))

    def lazy(self, values: NDArray[Any]) -> da.Array:
        """Chunk an array that runs along the rows."""
        lazy: da.Array = da.from_array(values, chunks=(self.chunks,))
        return lazy


@dataclass(frozen=True)
class _Grouping:
    """Which groups each of the store's experiments is in; what a task needs to know."""

    n: int
    offsets: Integers
    members: Integers


def count_experiments(dataset: xr.Dataset, by: str | Sequence[str]) -> xr.DataArray:
    """Count, for each window, the experiments of each group that label it.

    Parameters
    ----------
    dataset
        Of a store, or a selection of one.
    by
        A factor, or several.

    Returns
    -------
    Lazy int32, shape ``(window, group)``; the second dimension has the name of the factor.

    Raises
    ------
    ConfigError
        If the dataset is not of a store, or the factors do not group its experiments.
    """
    store = store_of(dataset)
    groups, grouping = _group(dataset, store, by)
    read = _Rows.behind(dataset, store)
    counts = da.map_blocks(
        _experiments_of_block,
        read.lazy(read.rows),
        new_axis=1,
        chunks=(read.chunks, (len(groups),)),
        dtype=np.int32,
        meta=np.empty((0, 0), np.int32),
        store=store,
        grouping=grouping,
    )
    if not read.is_sorted:
        counts = counts[np.argsort(read.order)]
    dim, coordinates = _axis(groups)
    windows = {name: value for name, value in dataset.coords.items() if value.dims == (schema.WINDOW,)}
    _refuse_twice([*map(str, windows), *map(str, coordinates)])
    result = xr.DataArray(counts, coordinates, (schema.WINDOW, dim), "experiments", _account(dataset, groups))
    return result.assign_coords(windows)


def count_windows(
    dataset: xr.Dataset, by: str | Sequence[str], per: str | Sequence[str] = (), *, labels: bool = False
) -> xr.DataArray:
    """Count, for each group, the windows that any of its experiments labels, or all of its labels.

    Parameters
    ----------
    dataset
        Of a store, or a selection of one.
    by
        A factor, or several.
    per
        Coordinates of the windows (split, chrom) to count apart by; a window without a value is left out.
    labels
        Count labels: a window as often as experiments of the group label it.

    Returns
    -------
    Lazy int64, shape ``(*per, group)``; the last dimension has the name of the factor.

    Raises
    ------
    ConfigError
        If the dataset is not of a store, the factors do not group its experiments, or it has no such coordinate.
    """
    store = store_of(dataset)
    groups, grouping = _group(dataset, store, by)
    per = (per,) if isinstance(per, str) else tuple(per)
    dim, coordinates = _axis(groups)
    _refuse_twice([*per, *coordinates, N_WINDOWS])
    parts, values = _part(dataset, store, per)
    shape = tuple(len(listed) for _, listed in values.values())
    n_parts = int(np.prod(shape))
    read = _Rows.behind(dataset, store)
    blocks = da.map_blocks(
        _windows_of_block,
        read.lazy(read.rows),
        read.lazy(parts[read.order]),
        new_axis=[1, 2],
        chunks=((1,) * len(read.chunks), (n_parts,), (len(groups),)),
        dtype=np.int64,
        meta=np.empty((0, 0, 0), np.int64),
        store=store,
        grouping=grouping,
        n_parts=n_parts,
        labels=labels,
    )
    counts = blocks.sum(axis=0).reshape((*shape, len(groups)))
    n_windows = np.bincount(parts[parts >= 0], minlength=n_parts).reshape(shape)
    attributes = _account(dataset, groups)
    if per and (parts < 0).any():
        attributes["n_windows_left_out"] = int((parts < 0).sum())
    result = xr.DataArray(counts, coordinates, (*per, dim), "labels" if labels else "windows", attributes)
    return result.assign_coords(values | {N_WINDOWS: (per, n_windows)})


def jaccard(dataset: xr.Dataset, by: str) -> xr.DataArray:
    """Measure how far the windows of two groups are the same: those of both over those of either.

    Parameters
    ----------
    dataset
        Of a store, or a selection of one.
    by
        A factor, or ``experiment``.

    Returns
    -------
    Lazy float64, shape ``(group, group)``, dims the factor's name and that with ``_other``; NaN where neither
    labels any window.

    Raises
    ------
    ConfigError
        If the dataset is not of a store, or the factor does not group its experiments.
    """
    store = store_of(dataset)
    groups, grouping = _group(dataset, store, (by,))
    read = _Rows.behind(dataset, store)
    n = len(groups)
    both = da.map_blocks(
        _pairs_of_block,
        read.lazy(read.rows),
        new_axis=[1, 2],
        chunks=((1,) * len(read.chunks), (n,), (n,)),
        dtype=np.int64,
        meta=np.empty((0, 0, 0), np.int64),
        store=store,
        grouping=grouping,
    ).sum(axis=0)
    own = da.diagonal(both)
    either = own[:, None] + own[None, :] - both
    share = da.where(either > 0, both / da.maximum(either, 1), np.nan)
    dim, coordinates = _axis(groups)
    other = f"{dim}_other"
    _refuse_twice([*coordinates, other])
    result = xr.DataArray(share, coordinates, (dim, other), "jaccard", _account(dataset, groups))
    return result.assign_coords({other: np.asarray(coordinates[dim])})


def _group(dataset: xr.Dataset, store: Store, by: str | Sequence[str]) -> tuple[Groups, _Grouping]:
    groups = group(dataset, by)
    offsets, members = groups.by_column(columns_of(dataset, store), store.n_experiments)
    return groups, _Grouping(len(groups), offsets, members)


def _axis(groups: Groups) -> tuple[str, xr.Coordinates]:
    """Name the dimension of groups, and say what each is and how many experiments it has."""
    if len(groups.by) == 1:
        dim = groups.by[0]
        _refuse_twice([dim, N_EXPERIMENTS])
        coordinates = xr.Coordinates({dim: (dim, _listed([value for (value,) in groups.names]))})
    else:
        dim = GROUP
        _refuse_twice([*groups.by, GROUP, N_EXPERIMENTS])
        table = pd.MultiIndex.from_tuples(groups.names, names=groups.by)
        coordinates = xr.Coordinates.from_pandas_multiindex(table, GROUP)
    return dim, coordinates.assign({N_EXPERIMENTS: (dim, groups.sizes)})


def _listed(values: Sequence[Any]) -> NDArray[Any]:
    """Make an array of values; of texts as the engine has them, of any length."""
    return np.array(values, object if any(isinstance(value, str) for value in values) else None)


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            "counts",
            found=f"{', '.join(map(repr, twice))} twice among the names of the result",
            expected="each once",
            remedy="Give the coordinate another name: ds.rename({...}).",
        )


def _account(dataset: xr.Dataset, groups: Groups) -> dict[str, Any]:
    """Say how many experiments were grouped, and how many have no value to be grouped by."""
    attributes: dict[str, Any] = {"n_experiments_of_all": dataset.sizes[schema.EXPERIMENT]}
    for name, n in groups.n_missing.items():
        if name != schema.EXPERIMENT:
            attributes[f"n_without_{name}"] = n
    return attributes


def _part(
    dataset: xr.Dataset, store: Store, per: tuple[str, ...]
) -> tuple[Integers, dict[str, tuple[str, NDArray[Any]]]]:
    """Number the combinations of windows' coordinates in C order, -1 where one is missing; list their values."""
    parts = np.zeros(dataset.sizes.get(schema.WINDOW, 0), np.int64)
    values = {}
    for name in per:
        column = window_coordinate(dataset, name)
        found, held = pd.factorize(column)
        known = {schema.CHROM: store.chroms, schema.SPLIT: schema.SPLITS}.get(name, ())
        listed = [value for value in known if value in held] if set(held) <= set(known) else in_order(held)
        # the last place is that of what is missing
        places = np.array([*(listed.index(value) for value in held), -1])
        codes = places[found]
        values[name] = (name, _listed(listed))
        parts = np.where((parts < 0) | (codes < 0), -1, parts * len(listed) + codes)
    return parts, values


def _bits(store: Store, rows: Integers) -> NDArray[np.uint8]:
    """Read the packed labels of rows of one shard, ascending; shape ``(window, label_byte)``."""
    if not len(rows):
        return np.empty((0, schema.n_bytes(store.n_experiments)), np.uint8)
    first, last = int(rows[0]), int(rows[-1]) + 1
    bits = store.label_bits(first, last)
    return bits if len(bits) == len(rows) and (np.diff(rows) == 1).all() else bits[rows - first]


def _experiments_of_block(rows: Integers, *, store: Store, grouping: _Grouping) -> NDArray[np.int32]:
    counts = np.zeros((len(rows), grouping.n), np.int32)
    add_experiments(_bits(store, rows), grouping.offsets, grouping.members, counts)
    return counts


def _windows_of_block(
    rows: Integers, parts: Integers, *, store: Store, grouping: _Grouping, n_parts: int, labels: bool
) -> Integers:
    of_windows, of_labels = (np.zeros((n_parts, grouping.n), np.int64) for _ in range(2))
    add_windows(_bits(store, rows), parts, grouping.offsets, grouping.members, of_windows, of_labels)
    return (of_labels if labels else of_windows)[None]


def _pairs_of_block(rows: Integers, *, store: Store, grouping: _Grouping) -> Integers:
    both = np.zeros((grouping.n, grouping.n), np.int64)
    add_pairs(_bits(store, rows), grouping.offsets, grouping.members, both)
    return (both + both.T - np.diag(np.diag(both)))[None]
