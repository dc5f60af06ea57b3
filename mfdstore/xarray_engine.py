"""`xr.open_dataset(path, engine="mfdstore")`: a store decoded, with lazy sequence and labels.

Dims are window, experiment and position. Nothing large is read on opening: `label` unpacks the bits of the rows
and experiments asked for, `sequence` cuts windows out of the chromosomes' codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from mfdstore import schema
from mfdstore.dinucleotides import BLANK, DINUCLEOTIDES
from mfdstore.errors import ConfigError
from mfdstore.labels import unpack_labels
from mfdstore.layout import encode_values
from mfdstore.metadata import Factor
from mfdstore.query import accessor as _accessor  # noqa: F401  (registers ds.mfd)
from mfdstore.query.origin import STORE
from mfdstore.store import Store

_CHROMS_HELD = 4
"""Chromosomes whose codes `sequence` keeps in memory, 1 byte a base."""
_ROWS_AT_ONCE = 4096


class StoreEntrypoint(BackendEntrypoint):
    """Opens stores for xarray; registered under the engine name ``mfdstore``."""

    description = "Labelled stores of genomic windows made by mfdstore"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "positions")

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | Path,
        *,
        drop_variables: str | Iterable[str] | None = None,
        positions: int = schema.DEFAULT_POSITIONS,
    ) -> xr.Dataset:
        """Open a store.

        Parameters
        ----------
        filename_or_obj
            The store's directory, or its address on S3 or HTTP.
        drop_variables
            Names to leave out.
        positions
            Positions of a window in `sequence`, each a dinucleotide; any number from 1.

        Returns
        -------
        Dataset with variables ``label`` (window, experiment), bool, and ``sequence`` (window, position), uint8 codes;
        coordinates of window and one coordinate of experiment for every factor, with its role in the attributes.
        Missing values are null (``isnull``): `None` or NaN in text, as the versions of xarray and pandas have it, NaN
        in numbers, NaT in dates.

        Raises
        ------
        StoreError
            If the store cannot be opened.
        ConfigError
            If `positions` is not positive.
        """
        if positions < 1:
            raise ConfigError(
                "positions", found=str(positions), expected="1 or more", remedy="Correct the argument."
            )
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        store = Store(filename_or_obj)
        window, experiment = schema.WINDOW, schema.EXPERIMENT
        data = {
            schema.LABEL: _lazy(
                (window, experiment), _LabelArray(store), "a peak of the experiment in the bin"
            ),
            schema.SEQUENCE: _lazy(
                (window, schema.POSITION),
                _SequenceArray(store, positions),
                f"dinucleotide codes: {' '.join(DINUCLEOTIDES)} blank are 0 to {BLANK}",
            ),
        }
        windows = store.windows
        coordinates: dict[str, Any] = {
            schema.CHROM: (window, _spelt(windows.chroms, windows.chrom)),
            schema.START: (
                window,
                windows.start,
                {"long_name": "first base of the bin, 0-based", "units": "bp"},
                {STORE: store},
            ),
            schema.END: (window, windows.end, {"long_name": "first base behind the bin", "units": "bp"}),
            schema.SPLIT: (window, _spelt(schema.SPLITS, windows.split)),
            schema.N_POSITIVE: (
                window,
                store.n_positive,
                {"long_name": "experiments with a peak in the bin"},
                {STORE: store},
            ),
            experiment: (experiment, _texts(store.experiments), {}, {STORE: store}),
        }
        for factor in store.factors:
            coordinates[factor.name] = _factor_variable(factor)
        dataset = xr.Dataset(
            {name: variable for name, variable in data.items() if name not in dropped},
            {name: variable for name, variable in coordinates.items() if name not in dropped},
            {
                "genome": store.genome,
                "bin_size": store.bin_size,
                "min_overlap": store.min_overlap,
                "format_version": schema.FORMAT_VERSION,
                "digest": store.digest,
            },
        )
        dataset.encoding["source"] = str(store.path)
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Leave the choice of engine to the user: plain Zarr readers open a store as well."""
        return False


def _lazy(dims: tuple[str, ...], array: _LabelArray | _SequenceArray, meaning: str) -> xr.Variable:
    """Make a variable whose dask chunks, unless a user says otherwise, are the rows of a shard."""
    chunks = dict(zip(dims, (schema.ROWS_PER_SHARD, array.shape[1]), strict=True))
    return xr.Variable(
        dims, indexing.LazilyIndexedArray(array), {"long_name": meaning}, {"preferred_chunks": chunks}
    )


def _spelt(names: Sequence[str], codes: NDArray[np.integer[Any]]) -> NDArray[np.object_]:
    return np.asarray(_texts(names)[codes])


def _texts(texts: Sequence[str]) -> NDArray[np.object_]:
    """Make an array of texts of any length, as factors are: of one length, Zarr 3 has no settled type for them."""
    return np.array(texts, object)


def _factor_variable(factor: Factor) -> tuple[str, NDArray[Any], dict[str, str]]:
    attributes: dict[str, str] = {"role": factor.role or "", "kind": factor.kind}
    if factor.unit:
        attributes["units"] = factor.unit
    if factor.kind == "number":
        return schema.EXPERIMENT, factor.values, attributes
    if factor.kind == "date":
        return schema.EXPERIMENT, factor.values.astype("datetime64[ns]"), attributes
    text = encode_values(factor)
    text[factor.missing] = None
    return schema.EXPERIMENT, text, attributes


def _as_rows(key: Any, size: int) -> NDArray[np.int64]:
    """Spell out one axis of an outer indexer as indices."""
    if isinstance(key, slice):
        return np.arange(size)[key]
    return np.atleast_1d(np.arange(size)[key])


def _squeeze(values: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Drop the axes that were indexed by an integer."""
    axes = tuple(axis for axis, part in enumerate(key) if isinstance(part, (int, np.integer)))
    return values.squeeze(axes) if axes else values


class _LabelArray(BackendArray):
    """Labels (window, experiment), unpacked from whichever of the two layouts asks for fewer bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.shape = (store.n_windows, store.n_experiments)
        self.dtype = np.dtype(np.bool_)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.bool_]:
        rows, columns = (_as_rows(part, size) for part, size in zip(key, self.shape, strict=True))
        values = np.zeros((len(rows), len(columns)), np.bool_)
        if not values.size:
            return _squeeze(values, key)
        first, last = int(rows.min()), int(rows.max()) + 1
        if len(columns) * self.shape[0] < (last - first) * self.shape[1]:
            for index, column in enumerate(columns):
                values[:, index] = self._store.labels_of(int(column))[rows]
            return _squeeze(values, key)
        step = schema.ROWS_PER_SHARD
        for begin in range(first // step * step, last, step):
            inside = (rows >= begin) & (rows < begin + step)
            if inside.any():
                low, high = int(rows[inside].min()), int(rows[inside].max()) + 1
                bits = self._store.label_bits(low, high)[rows[inside] - low]
                values[inside] = unpack_labels(bits, self.shape[1])[:, columns]
        return _squeeze(values, key)


class _SequenceArray(BackendArray):
    """Codes (window, position), cut out of chromosomes that are read when first needed."""

    def __init__(self, store: Store, positions: int) -> None:
        self._store = store
        self._positions = positions
        self._first = store.windows.first_position(positions)
        self.shape = (store.n_windows, positions)
        self.dtype = np.dtype(np.uint8)
        self._codes = lru_cache(_CHROMS_HELD)(store.codes)

    def __reduce__(self) -> tuple[type[_SequenceArray], tuple[Store, int]]:
        """Leave behind what is held of chromosomes when sent to another process."""
        return _SequenceArray, (self._store, self._positions)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.uint8]:
        rows, columns = (_as_rows(part, size) for part, size in zip(key, self.shape, strict=True))
        values = np.full((len(rows), len(columns)), BLANK, np.uint8)
        chrom = self._store.windows.chrom[rows]
        for index in np.unique(chrom):
            codes = self._codes(self._store.chroms[index])
            mine = np.flatnonzero(chrom == index)
            # some rows at a time: the positions take 8 bytes where a code takes one
            for these in np.array_split(mine, -(-len(mine) // _ROWS_AT_ONCE)):
                positions = self._first[rows[these], None] + columns
                inside = (positions >= 0) & (positions < len(codes))
                values[these] = np.where(inside, codes[np.clip(positions, 0, len(codes) - 1)], BLANK)
        return _squeeze(values, key)
