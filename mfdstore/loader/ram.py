"""A store held in RAM: codes and packed labels, shared by any number of loaders."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.dinucleotides import BLANK
from mfdstore.errors import StoreError
from mfdstore.loader.chunks import ChunkReader
from mfdstore.loader.content import DEFAULT_FLANK, Cut, Piece, check_windows, empty_cut
from mfdstore.loader.kernels import cut_piece
from mfdstore.loader.memory import available_memory, cores
from mfdstore.loader.recycling import Recycler
from mfdstore.loader.stats import Meter
from mfdstore.loader.threads import end_threads, start_threads
from mfdstore.places.address import Address
from mfdstore.schema import LABEL_BITS, SEQUENCE, n_bytes

if TYPE_CHECKING:
    from mfdstore.store import Store

log = logging.getLogger(__name__)

_WINDOWS_A_PIECE: Final = 8192
"""To hand a piece over and back takes as long as to cut some hundred windows."""
_REMOTE_THREADS: Final = 32


class RamData:
    """The content of one store in RAM, laid out so that every window is one plain copy.

    The chromosomes that have windows stand one after another with a flank of blanks before, between and
    behind them. So a window that reaches over a chromosome's end is like any other. The other strand is not held: a
    window's reverse complement is made while it is copied. This takes 1 byte a base, the labels as packed on disk, and
    8 bytes a window: 7.5 GB for a human genome and 16 million windows of 2106 experiments.

    Parameters
    ----------
    store
        To be read, once.
    flank
        Blanks around each chromosome, in bp; it limits how far a window may reach over a chromosome's end.
    arrays
        Memory to read into, or that holds the content already (`sharing`).
    on_progress
        Told how many bytes are read, of how many.

    Attributes
    ----------
    codes
        Shape ``(base,)``.
    label_bits
        Shape ``(window, label_byte)``.
    centre
        Where in `codes` the centre of each window's bin is, shape ``(window,)``.
    flank
        As given, in bp.
    digest
        Of the store's content.
    store
        As given.

    Raises
    ------
    StoreError
        If the store needs more memory than there is, a chunk is damaged, or a window is not on its chromosome.
    """

    codes: NDArray[np.uint8]
    label_bits: NDArray[np.uint8]
    centre: NDArray[np.int64]
    flank: int
    digest: str
    store: Store
    windows_a_piece = _WINDOWS_A_PIECE
    pieces_ahead = 5
    cutters: int | None = None
    leave = False

    def __init__(
        self,
        store: Store,
        *,
        flank: int = DEFAULT_FLANK,
        arrays: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
        filled: bool = False,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        started = time.perf_counter()
        self.store = store
        self.flank = flank
        self.digest = store.digest
        self._n_experiments = store.n_experiments
        self._recycler = Recycler()
        check_windows(store)
        layout = RamLayout(store, flank)
        self.centre = layout.centres()
        if arrays is None:
            _check_memory(store, layout.n_bytes)
            arrays = np.empty(layout.n_codes, np.uint8), np.empty(layout.labels_shape, np.uint8)
        self.codes, self.label_bits = arrays
        if not filled:
            layout.read_into(self.codes, self.label_bits, on_progress)
            store.check_same()
            log.info(
                "read %s into %.2f GB of memory in %.1f s",
                store.path,
                self.nbytes / 1e9,
                time.perf_counter() - started,
            )

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes; the table of the windows belongs to the store."""
        return self.codes.nbytes + self.label_bits.nbytes + self.centre.nbytes

    @contextmanager
    def open(self, threads: int, meter: Meter, stop: threading.Event) -> Iterator[Callable[[Piece], Cut]]:
        """Give what cuts pieces, from any thread."""

        def cut(piece: Piece) -> Cut:
            with meter.timing("gather"):
                return self._cut(piece)

        yield cut

    def _cut(self, piece: Piece) -> Cut:
        codes, bits = empty_cut(
            len(piece.rows),
            positions=piece.positions,
            n_experiments=self._n_experiments,
            pinned=piece.pinned,
            recycler=self._recycler,
        )
        cut_piece(
            self.codes,
            self.centre,
            self.label_bits,
            piece.rows,
            piece.reverse,
            piece.shift,
            codes.numpy(),
            bits.numpy(),
        )
        return codes, bits

    def label_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give packed labels of some windows, shape ``(window, label_byte)``."""
        return self.label_bits[rows]


class RamLayout:
    """Where a store's content lies in memory, and how it comes there.

    Parameters
    ----------
    store
        To be read.
    flank
        Blanks around each chromosome, in bp.
    """

    def __init__(self, store: Store, flank: int) -> None:
        self._store = store
        self._flank = flank
        table = store.windows
        sizes = dict(zip(store.chroms, store.chrom_sizes, strict=True))
        self._used = [int(code) for code in np.unique(table.chrom)]
        self._sizes = [sizes[table.chroms[code]] for code in self._used]
        self._origins = np.cumsum([flank, *(size + flank for size in self._sizes)])
        self.n_codes = int(self._origins[-1])
        self.labels_shape = (len(table), n_bytes(store.n_experiments))
        self.n_bytes = self.n_codes + self.labels_shape[0] * self.labels_shape[1] + 8 * len(table)

    def centres(self) -> NDArray[np.int64]:
        """Find the centre of each window's bin among the codes, shape ``(window,)``."""
        table = self._store.windows
        origin = np.zeros(len(table.chroms), np.int64)
        origin[self._used] = self._origins[:-1]
        centre = origin[table.chrom]
        centre += table.start
        centre += table.bin_size // 2
        return centre

    def read_into(
        self,
        codes: NDArray[np.uint8],
        label_bits: NDArray[np.uint8],
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Read codes and labels into memory that is given, by threads; raises as `ChunkReader.read`."""
        store, meter = self._store, Meter()
        tasks: list[tuple[ChunkReader, NDArray[np.uint8], int]] = []
        codes[: self._flank] = BLANK
        for code, size, origin in zip(self._used, self._sizes, self._origins.tolist(), strict=False):
            reader = ChunkReader(store, f"{SEQUENCE}/{store.windows.chroms[code]}", (size,))
            tasks += _shards(reader, codes[origin : origin + size])
            codes[origin + size : origin + size + self._flank] = BLANK
        tasks += _shards(ChunkReader(store, LABEL_BITS, self.labels_shape), label_bits)
        total, done = sum(out.nbytes for _, out, _ in tasks), 0
        remote = isinstance(store.path, Address)
        threads = _REMOTE_THREADS if remote else cores()
        pool = start_threads(threads, "fill", leave=remote)
        try:
            futures = [pool.submit(reader.read_into, out, first, meter) for reader, out, first in tasks]
            for (_, out, _), future in zip(tasks, futures, strict=True):
                future.result()
                done += out.nbytes
                if on_progress is not None:
                    on_progress("bytes read", done, total)
        finally:
            end_threads(pool)


def _shards(reader: ChunkReader, out: NDArray[np.uint8]) -> list[tuple[ChunkReader, NDArray[np.uint8], int]]:
    """Divide an array into what is read by one request."""
    step = reader.rows_per_shard
    return [
        (reader, out[start : start + step], start // reader.rows_per_chunk)
        for start in range(0, len(out), step)
    ]


def _check_memory(store: Store, needed: int) -> None:
    available = available_memory()
    if available is not None and needed > available:
        raise StoreError(
            store.path,
            found=f"content that takes {needed:,} bytes in RAM",
            expected=f"no more than the {available:,} bytes that are available",
            remedy='Read it with mode="stream", or use a machine with more memory.',
        )
