"""A whole shard to the bytes of its file and back, as zarr would write and read it, chunk for chunk.

A shard is its chunks in Morton order, each compressed by zstd with its crc32c behind it, then an index: where each
chunk begins and how many bytes it has, as two little-endian uint64, in C order, and the index's own crc32c. Zarr
does the same through an event loop, whose turns cost more than the work on chunks as small as those of labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

ZSTD_LEVEL: Final = 2
_CHECKSUM: Final = 4
"""Bytes of a checksum, behind what it is of."""
_NO_CHUNK: Final = np.iinfo(np.uint64).max

Shape = tuple[int, ...]


def pack_shard(values: NDArray[Any], file: Shape, chunk: Shape, fill: Any) -> bytes:
    """Pack the values of one shard.

    Parameters
    ----------
    values
        Of the array, cut at its end: no longer than the shard along any axis.
    file, chunk
        Shapes of the shard and of its chunks.
    fill
        Stands behind the array's end in a chunk that reaches beyond it; chunks wholly beyond are left out.
    """
    index = np.full((*_counts(file, chunk), 2), _NO_CHUNK, "<u8")
    codec = Zstd(ZSTD_LEVEL)
    parts, at = [], 0
    for place, span in _chunks(values.shape, file, chunk):
        part = values[span]
        if part.shape != chunk:
            whole = np.full(chunk, fill, values.dtype)
            whole[tuple(slice(0, size) for size in part.shape)] = part
            part = whole
        packed = codec.encode(np.ascontiguousarray(part))
        parts += [packed, _checksum(packed)]
        index[place] = at, len(packed) + _CHECKSUM
        at += len(packed) + _CHECKSUM
    entries = index.tobytes()
    return b"".join([*parts, entries, _checksum(entries)])


def unpack_shard(
    content: bytes, shape: Shape, file: Shape, chunk: Shape, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Unpack the values of one shard.

    Parameters
    ----------
    content
        Of the file.
    shape
        Of the values, cut at the array's end.
    file, chunk, dtype
        Shapes of the shard and of its chunks, and type of the values.

    Raises
    ------
    ValueError
        If a chunk is missing or not what its checksum says.
    """
    view = memoryview(content)
    counts = _counts(file, chunk)
    length = 16 * int(np.prod(counts)) + _CHECKSUM
    entries = read_index(view[max(0, len(view) - length) :], counts)
    codec = Zstd()
    values = np.empty(shape, dtype)
    for place, span in _chunks(shape, file, chunk):
        begin, size = entries[place].tolist()
        if begin == _NO_CHUNK or begin + size > len(view):
            raise ValueError(f"no chunk {place}")
        part = np.frombuffer(codec.decode(checked(view[begin : begin + size])), dtype).reshape(chunk)
        held = values[span]
        held[...] = part[tuple(slice(0, size) for size in held.shape)]
    return values


def _chunks(shape: Shape, file: Shape, chunk: Shape) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
    """Give the places of the chunks that hold any of the values, and which values, in the order of the file."""
    for place in _morton_order(_counts(file, chunk)):
        begins = [index * size for index, size in zip(place, chunk, strict=True)]
        if all(begin < size for begin, size in zip(begins, shape, strict=True)):
            yield place, tuple(slice(begin, begin + size) for begin, size in zip(begins, chunk, strict=True))


def _counts(file: Shape, chunk: Shape) -> Shape:
    return tuple(whole // part for whole, part in zip(file, chunk, strict=True))


@lru_cache(maxsize=8)
def _morton_order(counts: Shape) -> tuple[Shape, ...]:
    """Sort places by their bits, interleaved from the lowest up; an axis has only as many as its length needs."""
    bits = [(count - 1).bit_length() for count in counts]

    def code(place: Shape) -> int:
        found = n_found = 0
        for bit in range(max(bits)):
            for axis, index in enumerate(place):
                if bit < bits[axis]:
                    found |= (index >> bit & 1) << n_found
                    n_found += 1
        return found

    places = (tuple(map(int, place)) for place in np.ndindex(*counts))
    return tuple(sorted(places, key=code))


def _checksum(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(_CHECKSUM, "little")


def read_index(content: bytes | memoryview, counts: Shape) -> NDArray[np.uint64]:
    """Read a shard's index: where each chunk begins and how many bytes it has, shape ``(*chunk, 2)``.

    Raises
    ------
    ValueError
        If it is of another number of chunks, or not what its checksum says.
    """
    entries = np.frombuffer(checked(memoryview(content)), "<u8")
    if len(entries) != 2 * int(np.prod(counts)):
        raise ValueError(f"an index of {len(entries) // 2} chunks")
    return entries.astype(np.uint64).reshape(*counts, 2)


def frame_size(packed: bytes) -> int | None:
    """Tell how many bytes a chunk has when it is unpacked, by the head of its zstd frame (RFC 8878, 3.1.1.1).

    Returns
    -------
    `None` where the head does not say, or is none.
    """
    if len(packed) < 5:
        return None
    descriptor = packed[4]
    single = descriptor >> 5 & 1  # a frame of one segment has no size of a window
    at = 6 - single + (0, 1, 2, 4)[descriptor & 3]
    width = (single, 2, 4, 8)[descriptor >> 6]
    if not width or len(packed) < at + width:
        return None
    return int.from_bytes(packed[at : at + width], "little") + (256 if width == 2 else 0)


def checked(content: memoryview) -> bytes:
    """Give what lies before a checksum, if it is of that.

    Raises
    ------
    ValueError
        If it is not, or there is less.
    """
    held = bytes(content[:-_CHECKSUM])
    if len(content) < _CHECKSUM or _checksum(held) != bytes(content[-_CHECKSUM:]):
        raise ValueError("a checksum that does not match")
    return held
