"""Stretches of the sequence, of which the chunks read last are kept unpacked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfdstore.dinucleotides import BLANK
from mfdstore.loader.chunks import ChunkReader
from mfdstore.loader.stats import Meter
from mfdstore.schema import SEQUENCE

if TYPE_CHECKING:
    from mfdstore.store import Store

_Key = tuple[str, int]


class GenomeCache:
    """Reads stretches of chromosomes; safe from any thread, none of which reads what another one is reading.

    Parameters
    ----------
    store
        To be read.
    max_bytes
        Memory for unpacked chunks, 1 byte a base; those that were used longest ago are dropped. What is in use is
        held beside them.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._sizes = dict(zip(store.chroms, store.chrom_sizes, strict=True))
        self._readers: dict[str, ChunkReader] = {}
        self._chunks: OrderedDict[_Key, Future[NDArray[np.uint8]]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._held

    def stretch(self, chrom: str, start: int, stop: int, meter: Meter) -> tuple[NDArray[np.uint8], int]:
        """Give codes of a chromosome, and which of them is the first asked for.

        Parameters
        ----------
        chrom
            Name in the store.
        start, stop
            Positions, which may lie outside of the chromosome; there the codes are blank.
        meter
            Counts what has to be read.

        Returns
        -------
        Codes, not to be written to, and the place of `start` among them; they hold all up to `stop`.

        Raises
        ------
        StoreError
            If a chunk is damaged or missing.
        RemoteError
            If it cannot be had.
        """
        size = self._sizes[chrom]
        reader = self._reader(chrom)
        step = reader.rows_per_chunk
        low, high = max(start, 0), min(stop, size)
        if low >= high:
            return np.full(stop - start, BLANK, np.uint8), 0
        first, last = low // step, (high - 1) // step
        chunks = self._chunks_of(reader, chrom, first, last - first + 1, meter)
        if first == last and start == low and stop == high:
            return chunks[0], start - first * step
        codes = np.full(stop - start, BLANK, np.uint8)
        for number, chunk in enumerate(chunks, first):
            begin, end = max(low, number * step), min(high, (number + 1) * step)
            codes[begin - start : end - start] = chunk[begin - number * step : end - number * step]
        return codes, 0

    def _reader(self, chrom: str) -> ChunkReader:
        with self._lock:
            reader = self._readers.get(chrom)
        if reader is None:
            # another thread may make one too: they are alike
            reader = ChunkReader(self._store, f"{SEQUENCE}/{chrom}", (self._sizes[chrom],))
            with self._lock:
                reader = self._readers.setdefault(chrom, reader)
        return reader

    def _chunks_of(
        self, reader: ChunkReader, chrom: str, first: int, n_chunks: int, meter: Meter
    ) -> list[NDArray[np.uint8]]:
        """Give some chunks that follow one another: those that nobody has are read here, neighbours by one request."""
        keys = [(chrom, number) for number in range(first, first + n_chunks)]
        mine: list[_Key] = []
        with self._lock:
            for key in keys:
                if key in self._chunks:
                    self._chunks.move_to_end(key)
                else:
                    self._chunks[key] = Future()
                    mine.append(key)
            futures = [self._chunks[key] for key in keys]
        try:
            while mine:
                run = [key for place, key in enumerate(mine) if key[1] == mine[0][1] + place]
                for key, chunk in zip(run, reader.read_each(run[0][1], len(run), meter), strict=True):
                    with self._lock:
                        self._held += chunk.nbytes
                    futures[key[1] - first].set_result(chunk)
                mine = mine[len(run) :]
        except BaseException as error:
            with self._lock:
                for key in mine:
                    del self._chunks[key]
            for key in mine:
                futures[key[1] - first].set_exception(error)
            raise
        chunks = [future.result() for future in futures]
        with self._lock:
            self._drop_oldest()
        return chunks

    def _drop_oldest(self) -> None:
        """Drop what was used longest ago, until the rest fits; what is being read stays."""
        dropped: list[_Key] = []
        for key, future in self._chunks.items():
            if self._held <= self._max_bytes:
                break
            if future.done():
                dropped.append(key)
                self._held -= future.result().nbytes
        for key in dropped:
            del self._chunks[key]
