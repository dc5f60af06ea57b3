"""Whole shards: the same bytes as zarr writes, and the same values as zarr reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, ZstdCodec

from mfdstore.shard_bytes import ZSTD_LEVEL, pack_shard, unpack_shard

CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "whole": ((64,), (32,), (8,)),
    "end within a chunk": ((61,), (32,), (8,)),
    "end between chunks": ((48,), (32,), (8,)),
    "rows": ((50, 3), (32, 3), (8, 3)),
    "lines": ((13, 37), (8, 40), (1, 5)),
    "lines of many chunks": ((5, 300), (8, 301), (1, 7)),
    "squares": ((9, 9), (6, 9), (2, 3)),
}


def _written(
    path: Path, values: np.ndarray[Any, Any], file: tuple[int, ...], chunk: tuple[int, ...], fill: int
) -> None:
    array = zarr.create_array(
        str(path),
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunk,
        shards=file,
        compressors=(ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()),
        fill_value=fill,
        config={"write_empty_chunks": True},
    )
    array[...] = values


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@given(seed=st.integers(0, 1000), most=st.sampled_from([1, 3, 100]), fill=st.sampled_from([0, 16]))
@settings(max_examples=5, deadline=None)
def test_pack_shard__has_the_bytes_that_zarr_writes(
    tmp_path_factory: pytest.TempPathFactory,
    case: str,
    dtype: type[np.generic],
    seed: int,
    most: int,
    fill: int,
) -> None:
    shape, file, chunk = CASES[case]
    values = np.random.default_rng(seed).integers(0, most, shape).astype(dtype)
    path = tmp_path_factory.mktemp("zarr")
    _written(path, values, file, chunk, fill)
    for place in np.ndindex(*(-(-size // span) for size, span in zip(shape, file, strict=True))):
        span = tuple(slice(i * size, (i + 1) * size) for i, size in zip(place, file, strict=True))
        content = path.joinpath("c", *map(str, place)).read_bytes()
        assert pack_shard(values[span], file, chunk, fill) == content
        held = unpack_shard(content, values[span].shape, file, chunk, values.dtype)
        assert np.array_equal(held, values[span])
        assert held.dtype == values.dtype


def test_unpack_shard__refuses_every_flipped_byte() -> None:
    values = np.arange(40, dtype=np.uint8).reshape(10, 4)
    content = pack_shard(values, (16, 4), (4, 4), 0)
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0x40
        with pytest.raises(ValueError, match=r"checksum|no chunk"):
            unpack_shard(bytes(flipped), values.shape, (16, 4), (4, 4), values.dtype)


@pytest.mark.parametrize("length", [0, 3, 4, 67, 68, 69])
def test_unpack_shard__refuses_what_was_cut_off(length: int) -> None:
    content = pack_shard(np.zeros((10, 4), np.uint8), (16, 4), (4, 4), 0)
    with pytest.raises(ValueError, match=r"checksum|no chunk"):
        unpack_shard(content[:length], (10, 4), (16, 4), (4, 4), np.dtype(np.uint8))
