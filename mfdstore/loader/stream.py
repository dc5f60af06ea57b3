"""A store read while it is used, block by block: for what memory does not hold, or what lies elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import RemoteError, StoreError
from mfdstore.loader.chunks import ChunkReader
from mfdstore.loader.content import DEFAULT_FLANK, Cut, Piece, check_windows, empty_cut
from mfdstore.loader.genome_cache import GenomeCache
from mfdstore.loader.kernels import cut_stretch
from mfdstore.loader.processes import check_process
from mfdstore.loader.recycling import Recycler
from mfdstore.loader.stats import Meter
from mfdstore.loader.threads import end_threads, start_threads
from mfdstore.places.address import Address
from mfdstore.schema import LABEL_BITS, n_bytes

if TYPE_CHECKING:
    from mfdstore.store import Store

DEFAULT_CACHE: Final = 1 << 30
REMOTE_READERS: Final = 64
"""Requests under way at a time where each takes some hundredths of a second, whatever it brings."""
_WINDOWS_A_PIECE: Final = 16_384
_NEAR: Final = 1 << 15
"""Windows nearer to each other than this, in bp, are cut from one stretch."""


class StreamData:
    """Cuts pieces from chunks of labels, read when they are needed, and a cache of the sequence.

    Parameters
    ----------
    store
        To be read, on disk or elsewhere.
    cache_bytes
        Memory for chunks of the sequence, 1 byte a base; where it holds the whole genome (3.1 GB for hg38), each
        chunk is read once.
    flank
        How far a window may reach from the centre of its bin, in bp.

    Raises
    ------
    StoreError
        If the store's arrays are not as docs/format.md says, or a window is not on its chromosome.
    """

    windows_a_piece = _WINDOWS_A_PIECE
    pieces_ahead = 2
    cutters: int | None = 2

    def __init__(self, store: Store, *, cache_bytes: int = DEFAULT_CACHE, flank: int = DEFAULT_FLANK) -> None:
        self.flank = flank
        self._cache_bytes = cache_bytes
        self.digest = store.digest
        self._process = os.getpid()
        self.leave = isinstance(store.path, Address)
        check_windows(store)
        self._store = store
        self._windows = store.windows
        self._labels = ChunkReader(store, LABEL_BITS, (store.n_windows, n_bytes(store.n_experiments)))
        self._recycler = Recycler()
        self._genome = GenomeCache(store, cache_bytes)

    def __reduce__(self) -> tuple[Callable[..., StreamData], tuple[Store, int, int]]:
        """Open anew in another process."""
        return _reopen, (self._store, self._cache_bytes, self.flank)

    @contextmanager
    def open(self, threads: int, meter: Meter, stop: threading.Event) -> Iterator[Callable[[Piece], Cut]]:
        """Give what cuts pieces, from any thread; blocks are read by threads of their own."""
        check_process(self._process)
        if threads == 0:
            yield lambda piece: self._cut(piece, None, meter, stop)
            return
        readers = max(threads, REMOTE_READERS) if self.leave else threads
        pool = start_threads(readers, "read", leave=self.leave)
        try:
            yield lambda piece: self._cut(piece, pool, meter, stop)
        finally:
            stop.set()
            end_threads(pool)

    def label_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read packed labels of some windows, shape ``(window, label_byte)``."""
        bits = np.empty((len(rows), n_bytes(self._store.n_experiments)), np.uint8)
        turn = np.argsort(rows, kind="stable")
        for begin, end in _spans(rows[turn] // self._labels.rows_per_chunk):
            place = turn[begin:end]
            chunk, first_row = self._chunk_of(rows[place[0]])
            bits[place] = self._labels.read(chunk, 1, Meter())[rows[place] - first_row]
        return bits

    def _cut(self, piece: Piece, pool: Executor | None, meter: Meter, stop: threading.Event) -> Cut:
        cut = empty_cut(
            len(piece.rows),
            positions=piece.positions,
            n_experiments=self._store.n_experiments,
            pinned=piece.pinned,
            recycler=self._recycler,
        )
        work = self._plan(piece, cut)
        tasks = (
            partial(self._cut_block, work, begin, end, meter, stop)
            for begin, end in _spans(work.rows // self._labels.rows_per_chunk)
        )
        try:
            if pool is None:
                for task in tasks:
                    task()
            else:
                _wait_for([pool.submit(task) for task in tasks])
        except RemoteError:
            raise
        except StoreError:
            self._store.check_same()  # a chunk may be lost because another store is being put there
            raise
        # chunks of another store that took the name would fit as well
        self._store.check_same()
        return cut

    def _plan(self, piece: Piece, cut: Cut) -> _Work:
        """Sort the windows of a piece by row, and find what lies together on the genome."""
        place = np.argsort(piece.rows, kind="stable")
        rows = piece.rows[place]
        table = self._windows
        chrom = table.chrom[rows]
        first = table.start[rows].astype(np.int64)
        first += table.bin_size // 2 - piece.positions // 2
        first += piece.shift[place]
        far = np.flatnonzero((np.diff(chrom) != 0) | (np.diff(first) > _NEAR)) + 1
        codes, bits = cut
        return _Work(
            rows, chrom, first, piece.reverse[place], place, far, piece.positions, codes.numpy(), bits.numpy()
        )

    def _cut_block(self, work: _Work, begin: int, end: int, meter: Meter, stop: threading.Event) -> None:
        """Cut the windows from `begin` to `end`, whose labels are in one chunk."""
        if stop.is_set():
            return
        chunk, first_row = self._chunk_of(work.rows[begin])
        label_bits = self._labels.read(chunk, 1, meter)
        inner = slice(*np.searchsorted(work.far, (begin + 1, end)).tolist())
        for one, other in pairwise([begin, *work.far[inner].tolist(), end]):
            if stop.is_set():
                return
            first = work.first[one:other]
            start = int(first.min())
            source, offset = self._genome.stretch(
                self._windows.chroms[work.chrom[one]], start, int(first.max()) + work.positions, meter
            )
            began = time.perf_counter()
            cut_stretch(
                source,
                start - offset,
                label_bits,
                first_row,
                first,
                work.rows[one:other],
                work.reverse[one:other],
                work.place[one:other],
                work.codes,
                work.bits,
            )
            meter.add_work("gather", time.perf_counter() - began)

    def _chunk_of(self, row: int) -> tuple[int, int]:
        """Find the chunk of labels that holds a row, and the chunk's first row."""
        chunk = int(row) // self._labels.rows_per_chunk
        return chunk, chunk * self._labels.rows_per_chunk


@dataclass(frozen=True)
class _Work:
    """A piece, its windows sorted by row: `place` says which of the piece each is, `far` where stretches begin."""

    rows: NDArray[np.int64]
    chrom: NDArray[np.int16]
    first: NDArray[np.int64]
    reverse: NDArray[np.bool_]
    place: NDArray[np.int64]
    far: NDArray[np.int64]
    positions: int
    codes: NDArray[np.uint8]
    bits: NDArray[np.uint8]


def _spans(groups: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Find where each run of equal numbers begins and ends."""
    first = np.flatnonzero(np.diff(groups, prepend=-1)).tolist()
    return list(pairwise([*first, len(groups)]))


def _wait_for(futures: list[Future[None]]) -> None:
    """Wait for all; at the first that fails the others are not begun."""
    try:
        for future in futures:
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _reopen(store: Store, cache_bytes: int, flank: int) -> StreamData:
    return StreamData(store, cache_bytes=cache_bytes, flank=flank)
