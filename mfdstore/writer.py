"""Writes a new store from windows that come one chromosome after another.

Rows come in chromosome by chromosome and leave in whole shards, so that no shard is ever written twice or by
two writers. The digest of each array is taken of the bytes that go in, before any codec.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore import layout, schema
from mfdstore.labels import count_positive, transpose_bits
from mfdstore.metadata import FactorTable
from mfdstore.provenance import digest_values
from mfdstore.schema import n_bytes

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
        self._path = path
        self._group = layout.create_root(path)
        self._labels = layout.create_label_bits(self._group, 0, len(factors))
        self._waiting: list[NDArray[np.uint8]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [] for name in (schema.CHROM, schema.START, schema.SPLIT, schema.N_POSITIVE)
        }
        self._label_digest = hashlib.sha256()
        self._digests: dict[str, str] = {}

    def write_codes(self, chrom: str, codes: NDArray[np.uint8]) -> None:
        """Write the dinucleotide codes of one whole chromosome, shape ``(position,)``."""
        array = layout.create_codes(self._group, chrom, len(codes))
        array[...] = codes
        self._digests[f"{schema.SEQUENCE}/{chrom}"] = digest_values(codes)

    @property
    def path(self) -> Path:
        """Of the directory that is filled."""
        return self._path

    def takes_shards(self, chrom: str, size: int, described: bytes) -> bool:
        """Make the array of a chromosome's codes, if another of the same layout can give its shards as they are.

        Parameters
        ----------
        chrom, size
            Name and length in bp.
        described
            The ``zarr.json`` of the other array.
        """
        made = layout.create_codes(self._group, chrom, size)
        mine = json.loads((self._path / schema.SEQUENCE / chrom / "zarr.json").read_bytes())
        return made.shape == (size,) and bool(mine == json.loads(described))

    def note_codes(self, chrom: str, digest: str) -> None:
        """Take note of a chromosome whose shards were put in place, and of the digest of their values."""
        self._digests[f"{schema.SEQUENCE}/{chrom}"] = digest

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
            self._digests[name] = layout.write_coordinate(self._group, name, values, self._chroms)
        self._digests |= layout.write_factors(self._group, self._factors)
        return layout.finish(
            self._path,
            factors=self._factors,
            chroms=self._chroms,
            chrom_sizes=self._sizes,
            n_windows=len(columns[schema.START]),
            digests=self._digests,
            attributes=attributes,
        )

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
        array = layout.create_label_bits_by_experiment(self._group, n_windows, n_experiments)
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
