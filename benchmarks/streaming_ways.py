"""What stream mode is measured beside: decompression alone, and blocks and rows read by plain zarr.

All take the windows of some blocks of rows, and hand over codes and packed labels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from mfdstore.schema import DEFAULT_POSITIONS, LABEL_BITS, SEQUENCE
from mfdstore.shard_bytes import checked, read_index
from mfdstore.store import Store

BLOCK = 512
POOL = 32_768
BLANK = 16

BEGINNING = (
    "As at the beginning of a first epoch: almost every block needs chunks of the sequence that are unread."
)
WHOLE_EPOCH = (
    "In random order, as over a whole epoch with a cache that holds the genome: each chunk serves all blocks "
    "in it."
)

Windows = tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]
"""Rows, codes ``(window, position)``, packed labels ``(window, label_byte)``."""


def scattered_blocks(store: Store, n_blocks: int, seed: int) -> NDArray[np.int64]:
    """Draw first rows of whole blocks all over the store: what an epoch in random order meets in so much time."""
    whole = store.n_windows // BLOCK
    drawn = np.random.default_rng(seed).choice(whole, min(n_blocks, whole), replace=False)
    return np.asarray(BLOCK * drawn, np.int64)


def neighbouring_blocks(store: Store, n_blocks: int, seed: int) -> NDArray[np.int64]:
    """Take blocks that follow one another from the store's first, in random order: whole shards."""
    drawn = np.random.default_rng(seed).permutation(min(n_blocks, store.n_windows // BLOCK))
    return np.asarray(BLOCK * drawn, np.int64)


def rows_of(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """List the windows of blocks, block by block."""
    return np.asarray((blocks[:, None] + np.arange(BLOCK)).ravel(), np.int64)


class ZarrReader:
    """Windows by plain zarr and numpy, as one writes it by hand."""

    def __init__(self, store: Store, threads: int) -> None:
        table = store.windows
        group = zarr.open_group(str(store.path), mode="r")
        self.labels = group[LABEL_BITS]
        self.sequence = {name: group[f"{SEQUENCE}/{name}"] for name in store.chroms}
        self.chrom, self.chroms = table.chrom, table.chroms
        self.first = table.first_position(DEFAULT_POSITIONS).astype(np.int64)
        self.threads = threads

    def block(self, start: int) -> Windows:
        """Read one block: its labels in one piece, the sequence in one piece a chromosome."""
        stop = start + BLOCK
        bits = np.asarray(self.labels[start:stop])
        codes = np.full((BLOCK, DEFAULT_POSITIONS), BLANK, np.uint8)
        for code in np.unique(self.chrom[start:stop]):
            here = np.flatnonzero(self.chrom[start:stop] == code)
            first = self.first[start + here]
            array = self.sequence[self.chroms[code]]
            low, high = int(first[0]), int(first[-1]) + DEFAULT_POSITIONS
            begin, end = max(low, 0), min(high, array.shape[0])
            stretch = np.asarray(array[begin:end])
            stretch = np.pad(stretch, (begin - low, high - end), constant_values=BLANK)
            views = np.lib.stride_tricks.sliding_window_view(stretch, DEFAULT_POSITIONS)
            codes[here] = views[first - low]
        return np.arange(start, stop), codes, bits

    def shuffled_blocks(self, blocks: NDArray[np.int64], batch_size: int) -> Iterator[Windows]:
        """Mix blocks in pools, each read by threads while the one before is handed over."""
        rng = np.random.default_rng(0)
        a_pool = POOL // BLOCK
        with ThreadPoolExecutor(self.threads) as pool:
            under_way = [pool.submit(self.block, int(start)) for start in blocks[:a_pool]]
            for begin in range(0, len(blocks), a_pool):
                done = [future.result() for future in under_way]
                later = blocks[begin + a_pool : begin + 2 * a_pool]
                under_way = [pool.submit(self.block, int(start)) for start in later]
                rows, codes, bits = (np.concatenate(parts) for parts in zip(*done, strict=True))
                order = rng.permutation(len(rows))
                for first in range(0, len(rows), batch_size):
                    some = order[first : first + batch_size]
                    yield rows[some], codes[some], bits[some]

    def single_rows(self, rows: NDArray[np.int64]) -> Iterator[Windows]:
        """Read window by window."""
        for row in rows.tolist():
            array = self.sequence[self.chroms[self.chrom[row]]]
            low = int(self.first[row])
            high = low + DEFAULT_POSITIONS
            begin, end = max(low, 0), min(high, array.shape[0])
            codes = np.pad(np.asarray(array[begin:end]), (begin - low, high - end), constant_values=BLANK)
            yield np.array([row]), codes[None], np.asarray(self.labels[row])[None]


class Shards:
    """The chunks that blocks need, decompressed without any use of what comes out."""

    def __init__(self, store: Store, blocks: NDArray[np.int64], threads: int) -> None:
        self.threads = threads
        group = zarr.open_group(str(store.path), mode="r")
        table = store.windows
        first = table.first_position(DEFAULT_POSITIONS).astype(np.int64)
        needed: dict[str, Counter[int]] = {LABEL_BITS: Counter()}
        step = group[LABEL_BITS].chunks[0]
        for start in blocks.tolist():
            needed[LABEL_BITS].update(range(start // step, (start + BLOCK - 1) // step + 1))
            for code in np.unique(table.chrom[start : start + BLOCK]):
                here = start + np.flatnonzero(table.chrom[start : start + BLOCK] == code)
                name = f"{SEQUENCE}/{table.chroms[code]}"
                span, size = group[name].chunks[0], group[name].shape[0]
                low = max(0, int(first[here[0]])) // span
                high = min(int(first[here[-1]]) + DEFAULT_POSITIONS, size) - 1
                needed.setdefault(name, Counter()).update(range(low, high // span + 1))
        self._spans = {name: (group[name], min(chunks), max(chunks) + 1) for name, chunks in needed.items()}
        self._packed: list[tuple[bytes, int, int]] = []
        self._n_labels = 0
        for name, chunks in needed.items():
            self._load(Path(store.path), group[name], name, chunks)
            if name == LABEL_BITS:
                self._n_labels = len(self._packed)

    def _load(self, path: Path, array: Any, name: str, chunks: Counter[int]) -> None:
        """Take packed chunks into memory, with their size and how often a block needs them."""
        per_shard = array.shards[0] // array.chunks[0]
        size = int(np.prod(array.chunks))
        tail = ["0"] * (len(array.shape) - 1)
        for shard in sorted({chunk // per_shard for chunk in chunks}):
            content = path.joinpath(name, "c", str(shard), *tail).read_bytes()
            index = read_index(content[-16 * per_shard - 4 :], (per_shard,)).tolist()
            for chunk in sorted(chunk for chunk in chunks if chunk // per_shard == shard):
                begin, length = index[chunk % per_shard]
                self._packed.append((content[begin : begin + length], size, chunks[chunk]))

    def describe(self) -> str:
        """Say how much there is to decompress."""
        n_bytes = sum(size for _, size, _ in self._packed)
        n_uses = sum(uses for _, _, uses in self._packed)
        return (
            f"{len(self._packed):,} chunks, {n_bytes / 1e6:,.0f} MB unpacked; a block needs a chunk "
            f"{n_uses / len(self._packed):.1f} times on average"
        )

    def decompress(self, *, each_use: bool = False, labels_only: bool = False) -> None:
        """Check and unpack chunks by numcodecs, once each or as often as a block needs them."""
        chunks = self._packed[: self._n_labels] if labels_only else self._packed
        largest = max(size for _, size, _ in chunks)

        def work(share: int) -> None:
            codec, out = Zstd(), np.empty(largest, np.uint8)
            for packed, size, uses in chunks[share :: self.threads]:
                for _ in range(uses if each_use else 1):
                    codec.decode(checked(memoryview(packed)), out=out[:size])

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(work, range(self.threads)))

    def read_by_zarr(self) -> None:
        """Read all from the first to the last chunk that is needed, a shard at a time, by zarr; each thread its own."""
        tasks = []
        for array, low, high in self._spans.values():
            start, stop, step = low * array.chunks[0], high * array.chunks[0], array.shards[0]
            borders = [start, *range((start // step + 1) * step, stop, step), stop]
            tasks += [(array, *span) for span in pairwise(borders)]
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(lambda task: task[0][task[1] : task[2]], tasks))


def files_of(path: Path) -> list[Path]:
    """List the files of labels by window and of the sequence."""
    return [
        file for file in chain((path / LABEL_BITS).rglob("*"), (path / SEQUENCE).rglob("*")) if file.is_file()
    ]


def forget(files: list[Path]) -> None:
    """Ask the system to drop what it keeps of files in memory, so that they are read from the disk."""
    for file in files:
        with suppress(OSError), file.open("rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
