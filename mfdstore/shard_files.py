"""Whole shards of an array of a store, written and read without zarr's event loop; see `shard_bytes`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from mfdstore.publish import write_whole
from mfdstore.shard_bytes import pack_shard, unpack_shard


def write_shard(path: Path, name: str, first: int, values: NDArray[Any]) -> str:
    """Write one whole shard of an array in place of any other; one killed meanwhile leaves the one before.

    Parameters
    ----------
    path, name
        Of the store that is being written, and of the array.
    first
        Where the values begin along the first axis: at a shard. Along any other the array has only one.
    values
        As many as the shard holds, or as the array has left.

    Returns
    -------
    Name of the file, relative to the store.
    """
    array = zarr.open_array(str(path), path=name, mode="r", zarr_format=3)
    assert array.shards is not None
    place = (first // array.shards[0], *(0 for _ in array.shape[1:]))
    file = "/".join([name, "c", *map(str, place)])
    write_whole(path / file, pack_shard(values, array.shards, array.chunks, array.fill_value))
    return file


def read_shards(path: Path, name: str) -> Iterator[NDArray[Any]]:
    """Read an array shard by shard along its first axis; along any other it has only one.

    Raises
    ------
    ValueError
        If a chunk is damaged.
    OSError
        If a shard is lost.
    """
    array = zarr.open_array(str(path), path=name, mode="r", zarr_format=3)
    assert array.shards is not None
    step = array.shards[0]
    for shard in range(-(-array.shape[0] // step)):
        content = path.joinpath(name, "c", str(shard), *("0" for _ in array.shape[1:])).read_bytes()
        shape = (min(step, array.shape[0] - shard * step), *array.shape[1:])
        yield unpack_shard(content, shape, array.shards, array.chunks, array.dtype)
