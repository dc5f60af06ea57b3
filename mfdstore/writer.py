"""Writes a new store: arrays, chunks and attributes as docs/format.md lays down.

Rows come in chromosome by chromosome and leave in whole shards, so that no shard is ever written twice or by
two writers. The digest of each array is taken of the bytes that go in, before any codec.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from mfdstore import schema
from mfdstore.dinucleotides import BLANK
from mfdstore.labels import count_positive, transpose_bits
from mfdstore.metadata import Factor, FactorTable
from mfdstore.provenance import combine_digests, digest_values
from mfdstore.schema import n_bytes

_CODECS: Final = (ZstdCodec(level=3), Crc32cCodec())
_CODES_PER_CHUNK: Final = 1 << 20
_CODES_PER_SHARD: Final = 1 << 24
_VALUES_PER_CHUNK: Final = 1 << 18
_WINDOW_BYTES_PER_CHUNK: Final = 1 << 16
_EXPERIMENTS_PER_SHARD: Final = 8
_TRANSPOSE_BYTES: Final = 1 << 28
"""Memory that turning the labels to experiment-major order may take, in bytes."""


class StoreWriter:
    """Fills a new directory with a store; the caller publishes it by renaming.

    Parameters
    ----------
    path
        Directory to create.
    factors
        Experiments and what is known of them.
    chroms, chrom_sizes
        Names and lengths in bp, in the store's order.
    """

    def __init__(
        self, path: Path, factors: FactorTable, chroms: Sequence[str], chrom_sizes: Sequence[int]
    ) -> None:
        self._factors = factors
        self._chroms = tuple(chroms)
        self._sizes = tuple(chrom_sizes)
        self._n_bytes = n_bytes(len(factors))
        self._group = zarr.create_group(str(path), zarr_format=3)
        self._sequence = self._group.create_group(schema.SEQUENCE)
        self._labels = self._create(
            schema.LABEL_BITS,
            shape=(0, self._n_bytes),
            dtype=np.dtype(np.uint8),
            dims=(schema.WINDOW, schema.LABEL_BYTE),
            chunks=(schema.ROWS_PER_CHUNK, self._n_bytes),
            shards=(schema.ROWS_PER_SHARD, self._n_bytes),
        )
        self._waiting: list[NDArray[np.uint8]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [] for name in (schema.CHROM, schema.START, schema.SPLIT, schema.N_POSITIVE)
        }
        self._label_digest = hashlib.sha256()
        self._digests: dict[str, str] = {}

    def write_codes(self, chrom: str, codes: NDArray[np.uint8]) -> None:
        """Write the dinucleotide codes of one whole chromosome, shape ``(position,)``."""
        array = self._create(
            f"{schema.SEQUENCE}/{chrom}",
            shape=codes.shape,
            dtype=codes.dtype,
            dims=(schema.POSITION,),
            chunks=(_CODES_PER_CHUNK,),
            shards=(_CODES_PER_SHARD,),
            fill_value=BLANK,
        )
        array[...] = codes
        self._digests[f"{schema.SEQUENCE}/{chrom}"] = digest_values(codes)

    def append_windows(
        self, chrom: str, starts: NDArray[np.int32], split: NDArray[np.int8], label_bits: NDArray[np.uint8]
    ) -> None:
        """Add the windows of one chromosome.

        Parameters
        ----------
        chrom
            Its name; chromosomes come in the store's order.
        starts
            Of the bins in bp, ascending, shape ``(window,)``.
        split
            Codes of `schema.SPLITS`, shape ``(window,)``.
        label_bits
            Shape ``(window, label_byte)``.
        """
        self._columns[schema.CHROM].append(np.full(len(starts), self._chroms.index(chrom), np.int16))
        self._columns[schema.START].append(starts.astype(np.int32))
        self._columns[schema.SPLIT].append(split.astype(np.int8))
        self._columns[schema.N_POSITIVE].append(count_positive(label_bits))
        self._label_digest.update(np.ascontiguousarray(label_bits).data)
        self._waiting.append(label_bits)
        if sum(map(len, self._waiting)) >= schema.ROWS_PER_SHARD:
            self._flush(whole_shards=True)

    def close(
        self,
        attributes: Mapping[str, Any],
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> str:
        """Write what is left, the coordinates and the attributes.

        Parameters
        ----------
        attributes
            What the format's attributes hold beyond what the writer knows itself.
        on_progress
            Called with the experiments turned to experiment-major order and their number.

        Returns
        -------
        The store's digest, in hexadecimal.
        """
        self._flush(whole_shards=False)
        self._digests[schema.LABEL_BITS] = self._label_digest.hexdigest()
        self._write_by_experiment(on_progress)
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        columns[schema.END] = columns[schema.START] + np.int32(attributes["bin_size"])
        for name, values in columns.items():
            self._write_vector(name, values, schema.WINDOW, _flags(name, self._chroms))
        self._write_vector(schema.EXPERIMENT, _strings(self._factors.experiments), schema.EXPERIMENT, {})
        for factor in self._factors:
            self._write_vector(factor.name, encode_values(factor), schema.EXPERIMENT, _describe(factor))
        described = {
            "format": schema.FORMAT_NAME,
            "format_version": schema.FORMAT_VERSION,
            "chroms": list(self._chroms),
            "chrom_sizes": list(self._sizes),
            "n_windows": len(columns[schema.START]),
            "n_experiments": len(self._factors),
            "factors": [
                {"name": factor.name, "kind": factor.kind, "role": factor.role, "unit": factor.unit}
                for factor in self._factors
            ],
            "array_digests": dict(sorted(self._digests.items())),
            **attributes,
        }
        digest = combine_digests(self._digests, described)
        self._group.attrs.update(
            {
                "coordinates": " ".join([*columns, *self._factors.names]),
                schema.ATTRIBUTES: described | {"digest": digest},
            }
        )
        with warnings.catch_warnings():
            # consolidated metadata is not yet in the Zarr 3 text; readers that do not know it ignore it
            warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
            zarr.consolidate_metadata(self._group.store)
        return digest

    def _flush(self, *, whole_shards: bool) -> None:
        rows = np.concatenate(self._waiting) if self._waiting else np.empty((0, self._n_bytes), np.uint8)
        n = len(rows) // schema.ROWS_PER_SHARD * schema.ROWS_PER_SHARD if whole_shards else len(rows)
        before = self._labels.shape[0]
        if n:
            self._labels.resize((before + n, self._n_bytes))
            self._labels[before : before + n] = rows[:n]
        self._waiting = [rows[n:]]

    def _write_by_experiment(self, on_progress: Callable[[int, int], None]) -> None:
        n_windows, n_experiments = self._labels.shape[0], len(self._factors)
        array = self._create(
            schema.LABEL_BITS_BY_EXPERIMENT,
            shape=(n_experiments, n_bytes(n_windows)),
            dtype=np.dtype(np.uint8),
            dims=(schema.EXPERIMENT, schema.WINDOW_BYTE),
            chunks=(1, _WINDOW_BYTES_PER_CHUNK),
            shards=(
                _EXPERIMENTS_PER_SHARD,
                -(-n_bytes(n_windows) // _WINDOW_BYTES_PER_CHUNK) * _WINDOW_BYTES_PER_CHUNK,
            ),
        )
        digest = hashlib.sha256()
        step = min(self._n_bytes, max(1, _TRANSPOSE_BYTES // max(1, n_windows)))
        for byte in range(0, self._n_bytes, step):
            columns = np.asarray(self._labels[:, byte : byte + step])
            first, last = 8 * byte, min(8 * (byte + step), n_experiments)
            turned = transpose_bits(columns, last - first)
            array[first:last] = turned
            digest.update(turned.data)
            on_progress(last, n_experiments)
        self._digests[schema.LABEL_BITS_BY_EXPERIMENT] = digest.hexdigest()

    def _write_vector(self, name: str, values: NDArray[Any], dim: str, attributes: Mapping[str, Any]) -> None:
        array = self._create(
            name,
            shape=values.shape,
            dtype=values.dtype,
            dims=(dim,),
            chunks=(max(1, min(len(values), _VALUES_PER_CHUNK)),),
            attributes=attributes,
        )
        array[...] = values
        self._digests[name] = digest_values(values)

    def _create(
        self,
        name: str,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        dims: tuple[str, ...],
        chunks: tuple[int, ...],
        shards: tuple[int, ...] | None = None,
        fill_value: Any = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> zarr.Array[Any]:
        return self._group.create_array(
            name,
            shape=shape,
            dtype=str if dtype.kind == "O" else dtype,
            chunks=chunks,
            shards=shards,
            compressors=_CODECS,
            fill_value=fill_value,
            dimension_names=dims,
            attributes=dict(attributes or {}),
            # a chunk of nothing but fill values is written all the same: then a missing file is a lost one
            config={"write_empty_chunks": True},
        )


def encode_values(factor: Factor) -> NDArray[Any]:
    """Turn a factor's values into what is stored: text, or float64; missing is the empty string or NaN."""
    if factor.kind == "number":
        return factor.values.astype(np.float64)
    if factor.kind == "date":
        days = factor.values.astype("datetime64[D]").astype(np.int64).astype(np.float64)
        days[factor.missing] = np.nan
        return days
    if factor.kind == "multi_category":
        return _strings(
            ["" if value is None else schema.MULTI_SEPARATOR.join(value) for value in factor.values]
        )
    return _strings(["" if value is None else value for value in factor.values])


def _strings(values: Sequence[str]) -> NDArray[np.object_]:
    return np.array(list(values), object)


def _describe(factor: Factor) -> dict[str, Any]:
    described: dict[str, Any] = {"role": factor.role or "", "kind": factor.kind}
    if factor.kind == "date":
        described |= {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}
    elif factor.kind == "number":
        described |= {"unit": factor.unit}
    else:
        described |= {"missing": ""}
    return described


def _flags(name: str, chroms: Sequence[str]) -> dict[str, Any]:
    """Explain coded coordinates in the words of the CF conventions."""
    meanings = {schema.CHROM: chroms, schema.SPLIT: schema.SPLITS}.get(name)
    if meanings is None:
        return {}
    return {"flag_values": list(range(len(meanings))), "flag_meanings": " ".join(meanings)}
