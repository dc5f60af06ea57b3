"""A store read while it is used, block by block: for what memory does not hold, or what lies elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.loader.chunks import ChunkReader
from mfdstore.loader.content import DEFAULT_FLANK, Cut, Piece, check_windows, empty_cut
from mfdstore.loader.genome_cache import GenomeCache
from mfdstore.loader.kernels import copy_rows, cut_windows
from mfdstore.loader.stats import Meter
from mfdstore.places.address import Address
from mfdstore.schema import LABEL_BITS

if TYPE_CHECKING:
    from mfdstore.store import Store

DEFAULT_CACHE: Final = 1 << 30
REMOTE_READERS: Final = 32
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
    cutters: int | None = 2

    def __init__(self, store: Store, *, cache_bytes: int = DEFAULT_CACHE, flank: int = DEFAULT_FLANK) -> None:
        self.flank = flank
        self.digest = store.digest
        check_windows(store)
        self._store = store
        self._windows = store.windows
        self._labels = ChunkReader(store, LABEL_BITS)
        self._genome = GenomeCache(store, cache_bytes)

    @contextmanager
    def open(self, threads: int, meter: Meter) -> Iterator[Callable[[Piece], Cut]]:
        """Give what cuts pieces, from any thread; blocks are read by threads of their own."""
        remote = isinstance(self._store.path, Address)
        if threads == 0:
            yield lambda piece: self._cut(piece, None, meter, threading.Event())
            return
        readers = max(threads, REMOTE_READERS) if remote else threads
        stop = threading.Event()
        pool = ThreadPoolExecutor(readers, thread_name_prefix="mfdstore-loader-read")
        try:
            yield lambda piece: self._cut(piece, pool, meter, stop)
        finally:
            stop.set()
            # what is asked of a server may take long: nobody waits for it
            pool.shutdown(wait=not remote, cancel_futures=True)

    def label_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read packed labels of some windows, shape ``(window, label_byte)``."""
        bits = np.empty((len(rows), *self._labels_width()), np.uint8)
        for blocks, place in _blocks(rows, self._labels.rows_per_chunk):
            self._copy_labels(rows[place], blocks, place, bits, Meter())
        return bits

    def _labels_width(self) -> tuple[int, ...]:
        return ((self._store.n_experiments + 7) // 8,)

    def _cut(self, piece: Piece, pool: ThreadPoolExecutor | None, meter: Meter, stop: threading.Event) -> Cut:
        codes, bits = empty_cut(
            len(piece.rows),
            positions=piece.positions,
            n_experiments=self._store.n_experiments,
            pinned=piece.pinned,
        )
        out = codes.numpy(), bits.numpy()
        blocks = _blocks(piece.rows, self._labels.rows_per_chunk)
        if pool is None:
            for chunk, place in blocks:
                self._cut_block(piece, chunk, place, out, meter, stop)
        else:
            futures = [
                pool.submit(self._cut_block, piece, chunk, place, out, meter, stop) for chunk, place in blocks
            ]
            _wait_for(futures)
        # chunks of another store that took the name would fit as well
        self._store.check_same()
        return codes, bits

    def _cut_block(
        self,
        piece: Piece,
        chunk: int,
        place: NDArray[np.int64],
        out: tuple[NDArray[np.uint8], NDArray[np.uint8]],
        meter: Meter,
        stop: threading.Event,
    ) -> None:
        """Cut windows whose labels are in one chunk; `place` says which of the piece they are, sorted by row."""
        if stop.is_set():
            return
        codes, bits = out
        rows = piece.rows[place]
        self._copy_labels(rows, chunk, place, bits, meter)
        table = self._windows
        chrom = table.chrom[rows]
        first = table.start[rows].astype(np.int64)
        first += table.bin_size // 2 - piece.positions // 2
        first += piece.shift[place]
        far = (np.diff(chrom) != 0) | (np.diff(first) > _NEAR)
        ends = [*(np.flatnonzero(far) + 1).tolist(), len(rows)]
        begin = 0
        for end in ends:
            near = first[begin:end]
            start = int(near.min())
            source, offset = self._genome.stretch(
                table.chroms[chrom[begin]], start, int(near.max()) + piece.positions, meter
            )
            with meter.timing("gather"):
                these = place[begin:end]
                cut_windows(source, near - (start - offset), piece.reverse[these], these, codes)
            begin = end

    def _copy_labels(
        self,
        rows: NDArray[np.int64],
        chunk: int,
        place: NDArray[np.int64],
        bits: NDArray[np.uint8],
        meter: Meter,
    ) -> None:
        held = self._labels.read(chunk, 1, meter)
        with meter.timing("gather"):
            copy_rows(held, rows - chunk * self._labels.rows_per_chunk, place, bits)


def _blocks(rows: NDArray[np.int64], rows_per_chunk: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Group windows by the chunk that holds their labels: its number, and which windows, sorted by row."""
    turn = np.argsort(rows, kind="stable")
    chunk = rows[turn] // rows_per_chunk
    first = np.flatnonzero(np.diff(chunk, prepend=-1))
    return list(zip(chunk[first].tolist(), np.split(turn, first[1:]), strict=True))


def _wait_for(futures: list[Future[None]]) -> None:
    """Wait for all; at the first that fails the others are not begun."""
    try:
        for future in futures:
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise
