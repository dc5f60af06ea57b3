"""Chunks of a store's arrays, read one by one without zarr's event loop, from a disk or a server.

A shard's index is read once and kept: 512 bytes for each of the labels, 256 for each of the sequence.
"""

from __future__ import annotations

import errno
import math
import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from mfdstore.errors import StoreError
from mfdstore.loader.stats import Meter
from mfdstore.opening import damaged
from mfdstore.shard_bytes import checked, frame_size, read_index

if TYPE_CHECKING:
    from mfdstore.store import Store

_CODECS: Final = ("bytes", "zstd", "crc32c")


class ChunkReader:
    """Reads chunks along the first axis of one array; along any other it has only one.

    Parameters
    ----------
    store
        That holds it.
    name
        Of the array.
    shape
        That it should have: whoever cuts what is read relies on it.

    Raises
    ------
    StoreError
        If there is no such array, or it is not packed as docs/format.md says.
    """

    def __init__(self, store: Store, name: str, shape: tuple[int, ...]) -> None:
        array = store.array(name)
        self._store = store
        self._name = name
        shards = array.shards
        codecs = getattr(array.metadata, "codecs", ())
        inner = tuple(
            codec.to_dict()["name"] for codec in getattr(codecs[0] if codecs else None, "codecs", ())
        )
        plain = array.chunks[1:] == array.shape[1:] and shards is not None and shards[1:] == array.shape[1:]
        if shards is None or inner != _CODECS or not plain or array.dtype != np.uint8:
            raise damaged(
                store.path, f"array {name} that is packed otherwise ({', '.join(inner) or 'no shards'})"
            )
        if array.shape != shape:
            raise damaged(store.path, f"array {name} of shape {array.shape} instead of {shape}")
        self.n_rows: int = array.shape[0]
        self.rows_per_chunk: int = array.chunks[0]
        self.n_chunks = -(-self.n_rows // self.rows_per_chunk)
        self._width: tuple[int, ...] = array.shape[1:]
        self.rows_per_shard: int = shards[0]
        self._per_shard = self.rows_per_shard // self.rows_per_chunk
        self._indexes: dict[int, NDArray[np.uint64]] = {}
        self._codecs = threading.local()

    def read(self, first: int, n_chunks: int, meter: Meter) -> NDArray[np.uint8]:
        """Read some chunks that follow one another, cut at the array's end.

        Parameters
        ----------
        first, n_chunks
            Chunks, counted through from the array's first.
        meter
            Counts the time and the bytes.

        Returns
        -------
        Shape ``(row,)`` or ``(row, byte)``.

        Raises
        ------
        StoreError
            If a chunk is damaged or missing; the message names it.
        RemoteError
            If it cannot be had.
        """
        start = first * self.rows_per_chunk
        out = np.empty((min(n_chunks * self.rows_per_chunk, self.n_rows - start), *self._width), np.uint8)
        self.read_into(out, first, meter)
        return out

    def read_each(self, first: int, n_chunks: int, meter: Meter) -> list[NDArray[np.uint8]]:
        """Read some chunks that follow one another, each into memory of its own; raises as `read`."""
        last = self.n_rows - first * self.rows_per_chunk
        outs = [
            np.empty((min(self.rows_per_chunk, last - at), *self._width), np.uint8)
            for at in range(0, n_chunks * self.rows_per_chunk, self.rows_per_chunk)
        ]
        self._read(outs, first, meter)
        return outs

    def read_into(self, out: NDArray[np.uint8], first: int, meter: Meter) -> None:
        """Read the chunks of as many rows as `out` has, from the first row of a chunk on; raises as `read`."""
        step = self.rows_per_chunk
        self._read([out[at : at + step] for at in range(0, len(out), step)], first, meter)

    def _read(self, outs: list[NDArray[np.uint8]], first: int, meter: Meter) -> None:
        """Fill an array for each chunk; those of one shard by one request."""
        while outs:
            shard, inner = divmod(first, self._per_shard)
            here = min(len(outs), self._per_shard - inner)
            self._read_of_shard(outs[:here], shard, inner, meter)
            outs, first = outs[here:], first + here

    def _read_of_shard(self, outs: list[NDArray[np.uint8]], shard: int, inner: int, meter: Meter) -> None:
        started = time.perf_counter()
        index = self._index(shard)[inner : inner + len(outs)]
        begin, end = int(index[:, 0].min()), int(index.sum(1).max())
        # chunks that follow one another are neighbours in the file; were they not, the holes would come along
        content = memoryview(self._part(shard, begin, end - begin))
        read = time.perf_counter()
        for number, ((at, size), rows) in enumerate(zip(index.tolist(), outs, strict=True)):
            try:
                self._unpack(content[at - begin : at - begin + size], rows)
            except (ValueError, RuntimeError) as error:
                raise self._damaged(shard, inner + number, str(error)) from error
        meter.add_work("decode", time.perf_counter() - read)
        meter.add_work("read", read - started, len(content))

    def _unpack(self, packed: memoryview, rows: NDArray[np.uint8]) -> None:
        # a decompressor serves one thread at a time
        codec = getattr(self._codecs, "zstd", None)
        if codec is None:
            codec = self._codecs.zstd = Zstd()
        held = checked(packed)
        size = self.rows_per_chunk * math.prod(self._width)
        # of less the codec would leave the rest of the memory as it was
        if frame_size(held) != size:
            raise ValueError(f"{frame_size(held)} bytes unpacked instead of {size}")
        if len(rows) == self.rows_per_chunk:
            codec.decode(held, out=rows)
            return
        whole = np.empty((self.rows_per_chunk, *self._width), np.uint8)
        codec.decode(held, out=whole)
        rows[...] = whole[: len(rows)]

    def _index(self, shard: int) -> NDArray[np.uint64]:
        """Give where each chunk of a shard begins and how many bytes it has, shape ``(chunk, 2)``."""
        index = self._indexes.get(shard)
        if index is None:
            length = 16 * self._per_shard + 4
            try:
                index = read_index(self._part(shard, -length, length), (self._per_shard,))
            except ValueError as error:
                raise self._damaged(shard, None, f"its index: {error}") from error
            used = index[: min(self._per_shard, self.n_chunks - shard * self._per_shard)]
            # no chunk of ours is 4 GB; what is not written counts 2^64 - 1
            if (used >> np.uint64(32)).any():
                raise self._damaged(shard, int(np.flatnonzero((used >> np.uint64(32)).any(1))[0]), "missing")
            self._indexes[shard] = index
        return index

    def _part(self, shard: int, start: int, length: int) -> bytes:
        file = self._file(shard)
        try:
            return self._store.part(file, start, length)
        except FileNotFoundError as error:
            raise self._damaged(shard, None, f"no {file}") from error
        except OSError as error:
            # of a file that has fewer bytes than its index the last ones are no place to go to
            why = "too short" if error.errno == errno.EINVAL else error.strerror or str(error)
            raise self._damaged(shard, None, why) from error

    def _file(self, shard: int) -> str:
        return "/".join([self._name, "c", str(shard), *("0" for _ in self._width)])

    def _damaged(self, shard: int, inner: int | None, why: str) -> StoreError:
        where = "" if inner is None else f", chunk {inner}"
        return damaged(
            self._store.path, f"array {self._name} with a damaged chunk ({self._file(shard)}{where}: {why})"
        )
