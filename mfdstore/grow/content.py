"""What a child store holds, written to a directory in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import StoreError
from mfdstore.labels import count_positive, pack_labels, unpack_labels
from mfdstore.metadata import FactorTable
from mfdstore.places.address import AnyPlace
from mfdstore.store import Store
from mfdstore.windows import WindowTable
from mfdstore.writer import StoreWriter

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is."""
LabelRows = Callable[[int, int], NDArray[np.uint8]]
"""Gives the packed labels of the child's windows [begin, end), shape ``(window, label_byte)``."""


@dataclass(frozen=True)
class Content:
    """What a child store holds, beside its labels.

    Parameters
    ----------
    factors
        Its experiments.
    windows
        Its windows, and their chromosomes.
    sizes
        Length of each chromosome, in bp.
    origins
        Store that each chromosome's sequence is taken from.
    """

    factors: FactorTable
    windows: WindowTable
    sizes: tuple[int, ...]
    origins: Mapping[str, Store]


@dataclass(frozen=True)
class GrowReport:
    """What a command made.

    Parameters
    ----------
    path, digest
        Of the new store.
    n_windows, n_experiments, positive_pairs, windows_by_split
        What it holds.
    min_experiments
        So many experiments label each of its windows.
    complete
        Whether each bin that passes all filters is a window of it.
    counts
        What was kept and left out.
    notes
        What a user should know, in sentences.
    """

    path: Path
    digest: str
    n_windows: int
    n_experiments: int
    positive_pairs: int
    windows_by_split: Mapping[str, int]
    min_experiments: int
    complete: bool
    counts: Mapping[str, int]
    notes: tuple[str, ...] = field(default=())


def open_parent(path: AnyPlace) -> Store:
    """Open a store that another is to be made of.

    Raises
    ------
    StoreError
        If it cannot be opened, or its windows are not ascending bins of its chromosomes.
    """
    store = Store(path)
    windows = store.windows
    key = windows.chrom.astype(np.int64) << 32 | windows.start
    ends = windows.start.astype(np.int64) + store.bin_size
    tiled = (windows.start >= 0) & (windows.start % store.bin_size == 0)
    tiled &= ends <= np.array(store.chrom_sizes)[windows.chrom]
    if not tiled.all() or (np.diff(key) <= 0).any() or len(windows) != store.n_windows:
        raise StoreError(
            path,
            found="windows that are not ascending bins, each once and within its chromosome",
            expected="a whole store",
            remedy="`mfdstore verify` says what is wrong with it; build it again.",
        )
    return store


def read_rows(store: Store, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read packed labels of some windows, ascending, shard by shard; shape ``(window, label_byte)``."""
    bits = np.empty((len(rows), schema.n_bytes(store.n_experiments)), np.uint8)
    shards = rows // schema.ROWS_PER_SHARD
    edges = np.flatnonzero(np.diff(shards, prepend=-1, append=-1))
    for low, high in pairwise(edges):
        first = int(rows[low])
        block = store.label_bits(first, int(rows[high - 1]) + 1)
        bits[low:high] = block if len(block) == high - low else block[rows[low:high] - first]
    return bits


def take_columns(bits: NDArray[np.uint8], n: int, columns: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Keep some of `n` experiments of packed labels, in that order, shape ``(window, label_byte)``."""
    if len(columns) == n and (columns == np.arange(n)).all():
        return bits
    return pack_labels(np.take(unpack_labels(bits, n), columns, axis=1))


def chrom_spans(windows: WindowTable) -> Iterator[tuple[int, int, int]]:
    """Give code, first window and first window behind of each chromosome that has any."""
    edges = np.searchsorted(windows.chrom, np.arange(len(windows.chroms) + 1))
    for code, (begin, end) in enumerate(pairwise(edges)):
        if begin < end:
            yield code, int(begin), int(end)


def count_splits(windows: WindowTable) -> dict[str, int]:
    """Count the windows of each split."""
    counts = np.bincount(windows.split, minlength=len(schema.SPLITS)).tolist()
    return dict(zip(schema.SPLITS, counts, strict=True))


def write_labels(
    folder: Path, content: Content, rows: LabelRows, on_progress: Progress
) -> tuple[StoreWriter, int]:
    """Write sequence and labels.

    Parameters
    ----------
    folder
        Empty directory of the child.
    content
        What it holds.
    rows
        Asked for each window once, in order, a shard at a time.
    on_progress
        Told of sequence and labels.

    Returns
    -------
    The writer, to be closed, and the number of positive pairs.
    """
    windows = content.windows
    writer = StoreWriter(folder, content.factors, windows.chroms, content.sizes)
    for done, chrom in enumerate(windows.chroms):
        on_progress("sequence", done, len(windows.chroms))
        _copy_sequence(writer, content.origins[chrom], chrom)
    on_progress("sequence", len(windows.chroms), len(windows.chroms))
    n_pairs = 0
    for code, first, last in chrom_spans(windows):
        for begin in range(first, last, schema.ROWS_PER_SHARD):
            end = min(begin + schema.ROWS_PER_SHARD, last)
            bits = rows(begin, end)
            n_pairs += int(count_positive(bits).sum(dtype=np.int64))
            writer.append_windows(
                windows.chroms[code], windows.start[begin:end], windows.split[begin:end], bits
            )
            on_progress("labels by window", end, len(windows))
    return writer, n_pairs


def close_store(
    writer: StoreWriter, store: Store, least: int, provenance: Mapping[str, Any], on_progress: Progress
) -> str:
    """Write what is left, with the attributes that a child shares with its parent; gives its digest."""
    return writer.close(
        {
            "genome": store.genome,
            "bin_size": store.bin_size,
            "min_overlap": store.min_overlap,
            "min_experiments": least,
            "provenance": dict(provenance),
        },
        lambda done, total: on_progress("labels by experiment", done, total),
    )


def _copy_sequence(writer: StoreWriter, store: Store, chrom: str) -> None:
    """Copy a chromosome's shards as they are, each held against the parent's manifest; decode what cannot be."""
    name = f"{schema.SEQUENCE}/{chrom}"
    size = store.chrom_sizes[store.chroms.index(chrom)]
    shards = _shards_of(store, name)
    if not shards or not writer.takes_shards(chrom, size, store.files.read(f"{name}/zarr.json")):
        writer.write_codes(chrom, store.codes(chrom))
        return
    for file, digest in shards.items():
        target = writer.path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = store.files.read(file)
            target.write_bytes(content)
            sound = hashlib.sha256(content).digest() == digest.tobytes()
        except FileNotFoundError:
            sound = False
        if not sound:
            raise StoreError(
                store.path,
                found=f"array {name} with a damaged chunk (file {file} is not what its manifest says)",
                expected="a whole store",
                remedy="`mfdstore verify` lists what is damaged; build the store again.",
            )
    writer.note_codes(chrom, store.array_digests[name])


def _shards_of(store: Store, name: str) -> dict[str, NDArray[np.uint8]]:
    """Look up the files of an array's shards and their digests; none where a store has no manifest."""
    try:
        store.files.read(f"{schema.MANIFEST}/zarr.json")
    except FileNotFoundError:
        return {}
    files = store.read(f"{schema.MANIFEST}/{schema.FILE_NAMES}")
    digests = store.read(f"{schema.MANIFEST}/{schema.FILE_DIGESTS}")
    found = {
        str(file): digest
        for file, digest in zip(files, digests, strict=True)
        if str(file).startswith(f"{name}/c/") and ".." not in str(file)
    }
    size = store.array(name).shape[0]
    return found if len(found) == -(-size // schema.CODES_PER_SHARD) else {}
