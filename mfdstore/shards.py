"""Which chunks of a file of a Zarr array are damaged, by the checksum (crc32c) behind each of them.

A shard is its chunks one after another and, behind them, an index: where each chunk begins and how many bytes it
has, as two little-endian uint64, and the index's own checksum. This reads only that frame, never the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np

_CHECKSUM: Final = 4
"""Bytes of a checksum, behind what it is of."""
_ENTRY: Final = 16
"""Bytes of a chunk's entry in an index."""
_NO_CHUNK: Final = np.iinfo(np.uint64).max


@dataclass(frozen=True)
class Grid:
    """How an array is cut into files, and these into chunks.

    Parameters
    ----------
    shape
        Of the array.
    file
        Shape of what one file holds: a shard, or a chunk where there are no shards.
    chunk
        Shape of a chunk.
    """

    shape: tuple[int, ...]
    file: tuple[int, ...]
    chunk: tuple[int, ...]

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Grid:
        """Read it from what a ``zarr.json`` says.

        Raises
        ------
        ValueError
            If that is not the metadata of an array.
        """
        try:
            shape = tuple(map(int, metadata["shape"]))
            file = tuple(map(int, metadata["chunk_grid"]["configuration"]["chunk_shape"]))
            codec = metadata["codecs"][0]
            sharded = codec["name"] == "sharding_indexed"
            chunk = tuple(map(int, codec["configuration"]["chunk_shape"])) if sharded else file
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"no metadata of an array ({error})") from error
        if not len(shape) == len(file) == len(chunk) or min((*file, *chunk), default=0) < 1:
            raise ValueError("chunks that do not fit the array")
        return cls(shape, file, chunk)

    @property
    def sharded(self) -> bool:
        """Whether a file holds chunks with checksums of their own."""
        return self.file != self.chunk

    @property
    def n_files(self) -> tuple[int, ...]:
        """Files along each axis."""
        return tuple(-(-size // span) for size, span in zip(self.shape, self.file, strict=True))

    def span(self, file: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Give first and behind of what a chunk of a file holds, along each axis; cut at the array's end."""
        spans = []
        for axis, size in enumerate(self.shape):
            begin = file[axis] * self.file[axis] + chunk[axis] * self.chunk[axis]
            spans.append((min(begin, size), min(begin + self.chunk[axis], size)))
        return tuple(spans)

    def chunks(self, file: tuple[int, ...]) -> list[tuple[int, ...]]:
        """List the chunks of a file that hold anything of the array."""
        counts = tuple(whole // part for whole, part in zip(self.file, self.chunk, strict=True))
        places = (tuple(map(int, place)) for place in np.ndindex(*counts))
        return [place for place in places if all(low < high for low, high in self.span(file, place))]


def find_bad_chunks(content: bytes, grid: Grid, file: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Find the chunks of a file that are not what their checksums say.

    Parameters
    ----------
    content
        Of the file.
    grid
        Of the array.
    file
        Which file of the array it is.

    Returns
    -------
    Places within the file; all of them where the index itself is damaged.
    """
    places = grid.chunks(file)
    view = memoryview(content)
    if not grid.sharded:
        return [] if _holds(view) else places
    counts = tuple(whole // part for whole, part in zip(grid.file, grid.chunk, strict=True))
    length = math.prod(counts) * _ENTRY
    index = view[len(view) - length - _CHECKSUM :] if len(view) >= length + _CHECKSUM else view[:0]
    if not _holds(index):
        return places
    entries = np.frombuffer(index[:length], "<u8").reshape(*counts, 2)
    bad = []
    for place in places:
        begin, size = entries[place].tolist()
        # a chunk that is not there would be read as fill values
        if begin == _NO_CHUNK or not _holds(
            view[begin : begin + size] if begin + size <= len(view) else view[:0]
        ):
            bad.append(place)
    return bad


def _holds(content: memoryview) -> bool:
    """Say whether the last four bytes are the checksum of those before them."""
    if len(content) < _CHECKSUM:
        return False
    found = int.from_bytes(content[-_CHECKSUM:], "little")
    return bool(google_crc32c.value(bytes(content[:-_CHECKSUM])) == found)
