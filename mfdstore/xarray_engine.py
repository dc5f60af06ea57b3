"""`xr.open_dataset(path, engine="mfdstore")`: a store decoded, with lazy sequence and labels.

Dims are window, experiment and position. Nothing large is read on opening: `label` unpacks the bits of the rows
and experiments asked for, `sequence` cuts windows out of the chromosomes' codes.
"""

from __future__ import annotations

import re
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
from mfdstore.genomes import find_assembly, some, usual_name
from mfdstore.labels import unpack_labels
from mfdstore.metadata import Factor
from mfdstore.store import Store
from mfdstore.writer import encode_values

_CHROMS_HELD = 4
"""Chromosomes whose codes `sequence` keeps in memory, 1 byte a base."""
_REGION = re.compile(r"(?P<chrom>[^:]+)(?::(?P<start>[0-9][0-9,_]*)-(?P<end>[0-9][0-9,_]*))?")


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
            The store's directory.
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
            ),
            schema.END: (window, windows.end, {"long_name": "first base behind the bin", "units": "bp"}),
            schema.SPLIT: (window, _spelt(schema.SPLITS, windows.split)),
            schema.N_POSITIVE: (
                window,
                store.n_positive,
                {"long_name": "experiments with a peak in the bin"},
            ),
            experiment: (experiment, _texts(store.experiments)),
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


@xr.register_dataset_accessor("mfd")  # type: ignore[no-untyped-call]
class Selection:
    """Selects windows by region and experiments by what is known of them: ``ds.mfd.region("chr22:1-2")``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def region(self, region: str) -> xr.Dataset:
        """Select the windows whose bin shares a base with a region.

        Parameters
        ----------
        region
            ``chr22`` or ``chr22:20,000,000-21,000,000``: 0-based half-open bp, as in BED; any spelling of the
            chromosome.

        Raises
        ------
        ConfigError
            If the text is no region, or the store has no such chromosome.
        """
        match = _REGION.fullmatch(region.strip())
        start = end = 0
        if match is not None and match["start"]:
            start, end = (int(re.sub("[,_]", "", match[side])) for side in ("start", "end"))
        if match is None or (match["start"] and start >= end):
            raise ConfigError(
                "region",
                found=repr(region),
                expected="chr22 or chr22:20,000,000-21,000,000, with start before end",
                remedy="Correct the region.",
            )
        windows = self._dataset
        chroms = list(dict.fromkeys(windows[schema.CHROM].values))
        wanted = usual_name(match["chrom"], find_assembly(windows.attrs.get("genome", "")))
        names = [name for name in (wanted, match["chrom"]) if name in chroms]
        if not names:
            raise ConfigError(
                "region",
                found=repr(match["chrom"]),
                expected=some(chroms) if chroms else "windows to choose from, but the selection holds none",
                remedy="Use one of the store's names.",
            )
        keep = windows[schema.CHROM].values == names[0]
        if match["start"]:
            keep &= (windows[schema.START].values < end) & (windows[schema.END].values > start)
        return windows.isel({schema.WINDOW: np.flatnonzero(keep)})

    def split(self, split: schema.Split) -> xr.Dataset:
        """Select the windows of one split."""
        keep = self._dataset[schema.SPLIT].values == split
        return self._dataset.isel({schema.WINDOW: np.flatnonzero(keep)})

    def experiments(self, factors: dict[str, Any]) -> xr.Dataset:
        """Select experiments by the values of their factors.

        Parameters
        ----------
        factors
            A value, or several, for each factor named: ``{"target": "CTCF", "biosample": ["HepG2", "K562"]}``;
            dates as text (``2016-07-28``) or datetime64.
            All must hold. A multi-category factor holds where it has any of the values; a missing value never.

        Raises
        ------
        ConfigError
            If a factor is none of the store's.
        """
        keep = np.ones(self._dataset.sizes[schema.EXPERIMENT], np.bool_)
        for name, wanted in factors.items():
            if name not in self._dataset.coords or self._dataset[name].dims != (schema.EXPERIMENT,):
                known = [
                    key for key, value in self._dataset.coords.items() if value.dims == (schema.EXPERIMENT,)
                ]
                raise ConfigError(
                    f"factor {name!r}",
                    found="no such factor",
                    expected=some(map(str, known), 40),
                    remedy="Correct the name.",
                )
            values = set(wanted) if isinstance(wanted, (list, tuple, set, np.ndarray)) else {wanted}
            column = self._dataset[name]
            if column.dtype.kind == "M":
                values = {np.datetime64(value, "ns") for value in values}
            several = column.attrs.get("kind") == "multi_category"
            keep &= np.array([_holds(value, values, several) for value in column.values], np.bool_)
        return self._dataset.isel({schema.EXPERIMENT: np.flatnonzero(keep)})


def _holds(value: Any, wanted: set[Any], several: bool) -> bool:
    if several:
        return isinstance(value, str) and not wanted.isdisjoint(value.split(schema.MULTI_SEPARATOR))
    return value in wanted


def _lazy(dims: tuple[str, ...], array: BackendArray, meaning: str) -> xr.Variable:
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), {"long_name": meaning})


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
            positions = self._first[rows[mine], None] + columns
            inside = (positions >= 0) & (positions < len(codes))
            values[mine] = np.where(inside, codes[np.clip(positions, 0, len(codes) - 1)], BLANK)
        return _squeeze(values, key)
