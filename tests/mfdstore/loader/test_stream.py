"""Judges of the stream: the same windows from RAM, the strings a store was made from, a count of what is read."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mfdstore import layout, schema
from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader import Loader, RamData
from mfdstore.loader.genome_cache import GenomeCache
from mfdstore.loader.stats import Meter
from mfdstore.loader.stream import StreamData
from mfdstore.sampler.draws import draw_augmentation
from mfdstore.store import Store
from tests.mfdstore.loader.watching import assert_equal, everything, loader_threads

CHUNK = layout._CODES_PER_CHUNK
"""Codes in a chunk of a store as it is written."""


@pytest.fixture(scope="module")
def crumbs(new_store: Callable[..., Any]) -> Any:
    """A store whose chunks are shorter than a window: 64 codes, 4 rows, 4 chunks a shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "ROWS_PER_CHUNK", 4)
        patch.setattr(schema, "ROWS_PER_SHARD", 16)
        patch.setattr(schema, "CODES_PER_SHARD", 256)
        patch.setattr("mfdstore.layout._CODES_PER_CHUNK", 64)
        return new_store({"chr1": 1500, "chr2": 128, "chr3": 700}, n_windows=90, n_experiments=10, seed=9)


@pytest.fixture(scope="module")
def crumbs_in_ram(crumbs: Any) -> RamData:
    return RamData(crumbs)


@pytest.fixture(scope="module")
def crumbs_in_order(crumbs: Any) -> dict[str, NDArray[np.uint8]]:
    return {chrom: crumbs.codes(chrom) for chrom in crumbs.chroms}


@pytest.fixture(scope="module")
def large_in_ram(large_store: Any) -> RamData:
    return RamData(large_store)


class Counted:
    """Counts which part of which file is read, and how many at a time."""

    def __init__(self, seconds: float = 0) -> None:
        self.parts: Counter[tuple[str, int, int]] = Counter()
        self.n_bytes = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._seconds = seconds
        self._plain = Store.part

    def __call__(self, store: Store, name: str, start: int, length: int) -> bytes:
        with self._lock:
            self.parts[name, start, length] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self._seconds)
            content = self._plain(store, name, start, length)
        finally:
            with self._lock:
                self.at_once -= 1
        self.n_bytes += len(content)
        return content

    def chunks(self, array: str) -> Counter[tuple[str, int, int]]:
        """Give what was read but for the indexes of shards, which are asked for from the end."""
        return Counter(
            {part: n for part, n in self.parts.items() if part[0].startswith(f"{array}/c/") and part[1] >= 0}
        )

    def indexes(self) -> Counter[tuple[str, int, int]]:
        return Counter({part: n for part, n in self.parts.items() if part[1] < 0})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(Store, "part", lambda *asked: counted(*asked))
    return counted


# the same as from RAM


@settings(max_examples=60)
@given(
    shuffle=st.sampled_from(["none", "blocks"]),
    block=st.sampled_from([1, 3, 4, 16, 50, 1000]),
    blocks_a_pool=st.sampled_from([1, 2, 7]),
    threads=st.sampled_from([0, 1, 3]),
    strand=st.sampled_from(["forward", "reverse", "random"]),
    max_shift=st.sampled_from([0, 3, 200]),
    positions=st.sampled_from([1, 2, 63, 64, 65, 300, 3000]),
    batch_size=st.sampled_from([1, 5, 32, 100]),
    cache_bytes=st.sampled_from([1, 130, 1 << 20]),
    rows=st.none() | st.lists(st.integers(0, 89), min_size=1, max_size=120),
    seed=st.integers(0, 99),
)
def test_stream__gives_what_ram_gives(
    crumbs: Any,
    crumbs_in_ram: RamData,
    shuffle: Literal["none", "blocks"],
    block: int,
    blocks_a_pool: int,
    threads: int,
    strand: Literal["forward", "reverse", "random"],
    max_shift: int,
    positions: int,
    batch_size: int,
    cache_bytes: int,
    rows: list[int] | None,
    seed: int,
) -> None:
    options: dict[str, Any] = {
        "rows": None if rows is None else np.array(rows),
        "batch_size": batch_size,
        "positions": positions,
        "strand": strand,
        "max_shift": max_shift,
        "shuffle": shuffle,
        "block": block,
        "pool": block * blocks_a_pool,
        "seed": seed,
    }
    stream = Loader(crumbs, data=StreamData(crumbs, cache_bytes=cache_bytes), threads=threads, **options)
    ram = Loader(crumbs, data=crumbs_in_ram, **options)
    for _ in range(2):
        assert_equal(stream, ram)
    assert not loader_threads()


@settings(max_examples=25)
@given(
    rows=st.lists(st.integers(0, 89), min_size=1, max_size=40),
    positions=st.sampled_from([1, 64, 65, 301, 2000]),
    max_shift=st.sampled_from([0, 100]),
    seed=st.integers(0, 99),
)
def test_stream__cuts_windows_as_from_a_string(
    crumbs: Any, rows: list[int], positions: int, max_shift: int, seed: int
) -> None:
    loader = Loader(
        crumbs,
        rows=np.array(rows),
        batch_size=7,
        positions=positions,
        strand="random",
        max_shift=max_shift,
        seed=seed,
        data=StreamData(crumbs, cache_bytes=200),
        threads=seed % 3,
    )
    codes, label_bits, window = everything(loader)
    assert window.tolist() == rows
    tickets = np.array([row + 90 * rows[:place].count(row) for place, row in enumerate(rows)])
    drawn = draw_augmentation(tickets, seed=seed, epoch=0, max_shift=max_shift)
    for i, row in enumerate(rows):
        shift, reverse = int(drawn.shift[i]), bool(drawn.reverse[i])
        assert codes[i].tolist() == crumbs.expected(row, positions=positions, shift=shift, reverse=reverse)
    labels = np.unpackbits(label_bits.numpy(), axis=1, count=10).astype(bool)
    np.testing.assert_array_equal(labels, crumbs.label[rows])


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("shuffle", ["none", "blocks"])
def test_stream__gives_what_ram_gives_of_chunks_as_they_are_written(
    large_store: Any, large_in_ram: RamData, shuffle: Literal["none", "blocks"], threads: int
) -> None:
    options: dict[str, Any] = {
        "batch_size": 1000,
        "positions": 200,
        "strand": "random",
        "max_shift": 3,
        "shuffle": shuffle,
        "pool": 4096,
    }
    streamed = StreamData(large_store, cache_bytes=CHUNK + 1)  # of all chunks it holds one
    assert_equal(
        Loader(large_store, data=streamed, threads=threads, **options),
        Loader(large_store, data=large_in_ram, **options),
    )


def places(store: Any) -> dict[str, NDArray[np.int64]]:
    """Rows where something may go wrong: astride the borders of chunks, at the ends, far from each other."""
    start, chrom = store.windows.start, store.windows.chrom
    last = np.array(store.chrom_sizes)[chrom] - store.bin_size
    return {
        "borders": np.flatnonzero(np.abs((start + 64 + CHUNK // 2) % CHUNK - CHUNK // 2) < 700),
        "ends": np.flatnonzero((start == 0) | (start == last)),
        "sparse": np.arange(13, len(start), 1009),
        "backwards": np.arange(len(start))[::-701],
    }


@pytest.mark.parametrize("where", ["borders", "ends", "sparse", "backwards"])
def test_stream__reads_places_where_something_may_go_wrong(large_store: Any, where: str) -> None:
    rows = places(large_store)[where][:40]
    assert len(rows) >= 8
    streamed = StreamData(large_store, cache_bytes=1)
    for strand in ("forward", "reverse"):
        loader = Loader(
            large_store, rows=rows, batch_size=16, positions=1401, strand=strand, data=streamed, threads=3
        )
        codes, label_bits, window = everything(loader)
        assert window.tolist() == rows.tolist()
        for i, row in enumerate(rows.tolist()):
            expected = large_store.expected(row, positions=1401, shift=0, reverse=strand == "reverse")
            assert codes[i].tolist() == expected
        labels = np.unpackbits(label_bits.numpy(), axis=1, count=21).astype(bool)
        np.testing.assert_array_equal(labels, large_store.label[rows])


def test_stream__gives_views_as_ram_does(crumbs: Any, crumbs_in_ram: RamData) -> None:
    options: dict[str, Any] = {"batch_size": 13, "positions": 90, "shuffle": "blocks", "block": 8, "pool": 24}
    stream = Loader(crumbs, data=StreamData(crumbs), **options).views(("forward", "reverse"), (-70, 0, 5))
    ram = Loader(crumbs, data=crumbs_in_ram, **options).views(("forward", "reverse"), (-70, 0, 5))
    for one, two in zip(stream, ram, strict=True):
        assert_equal(one, two)


@settings(max_examples=20)
@given(rows=st.lists(st.integers(0, 89), max_size=30))
def test_label_rows__are_those_of_the_store(crumbs: Any, rows: list[int]) -> None:
    bits = StreamData(crumbs).label_rows(np.array(rows, np.int64))
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1, count=10).astype(bool), crumbs.label[rows])


# how often is read


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("shuffle", ["none", "blocks"])
def test_stream__reads_each_block_once_an_epoch(
    large_store: Any, counted: Counted, shuffle: Literal["none", "blocks"], threads: int
) -> None:
    loader = Loader(
        large_store,
        data=StreamData(large_store),
        batch_size=256,
        positions=100,
        shuffle=shuffle,
        pool=2048,
        threads=threads,
    )
    for epoch in (1, 2):
        assert sum(map(len, loader)) == 20_000
        labels, sequence = counted.chunks("label_bits"), counted.chunks("sequence/chr1")
        assert len(labels) == -(-20_000 // 512)
        assert set(labels.values()) == {epoch}
        # the cache holds the genome: neighbours are asked for together, and nothing twice
        assert set(sequence.values()) == {1}
        read = sum(part[2] for part in counted.parts if part[0] == "sequence/chr1/c/0" and part[1] >= 0)
        index = 16 * (schema.CODES_PER_SHARD // CHUNK) + 4
        assert read == Path(large_store.path, "sequence/chr1/c/0").stat().st_size - index
        # several threads may ask for an index at first
        assert max(counted.indexes().values()) <= max(1, threads)
    assert counted.most_at_once <= max(1, threads)


def test_stream__counts_the_bytes_it_reads(large_store: Any, counted: Counted) -> None:
    loader = Loader(
        large_store, data=StreamData(large_store), batch_size=256, positions=100, shuffle="blocks"
    )
    list(loader)
    read = sum(length * n for (_, start, length), n in counted.parts.items() if start >= 0)
    assert loader.stats().n_bytes == read
    on_disk = sum(
        file.stat().st_size
        for array in ("label_bits", "sequence")
        for file in Path(large_store.path, array).rglob("*")
        if file.is_file()
    )
    assert 0.9 * on_disk < read < on_disk


def test_genome_cache__no_thread_reads_what_another_one_is_reading(
    large_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(0.05)
    monkeypatch.setattr(Store, "part", lambda *asked: counted(*asked))
    cache, meter = GenomeCache(large_store, 1 << 30), Meter()
    found: list[NDArray[np.uint8]] = []

    def read() -> None:
        codes, first = cache.stretch("chr1", CHUNK - 500, CHUNK + 500, meter)
        found.append(codes[first : first + 1000])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(counted.chunks("sequence/chr1").values()) == {1}
    assert len(found) == 8
    assert all((codes == found[0]).all() for codes in found)


@settings(max_examples=30)
@given(
    spans=st.lists(
        st.tuples(st.sampled_from(["chr1", "chr2", "chr3"]), st.integers(-300, 1800), st.integers(1, 900)),
        max_size=12,
    ),
    max_bytes=st.sampled_from([1, 64, 200, 1 << 20]),
)
def test_genome_cache__holds_no_more_than_it_may(
    crumbs: Any,
    crumbs_in_order: dict[str, NDArray[np.uint8]],
    spans: list[tuple[str, int, int]],
    max_bytes: int,
) -> None:
    cache, meter = GenomeCache(crumbs, max_bytes), Meter()
    blank = np.full(1000, 16, np.uint8)
    for chrom, start, length in spans:
        codes, first = cache.stretch(chrom, start, start + length, meter)
        whole = np.concatenate([blank, crumbs_in_order[chrom], blank, blank, blank])
        np.testing.assert_array_equal(
            codes[first : first + length], whole[1000 + start : 1000 + start + length]
        )
        assert cache.nbytes <= max(max_bytes, 64)


def test_stream__is_not_shuffled_fully(crumbs: Any) -> None:
    with pytest.raises(ConfigError, match=r"'full'; expected True, False, \"blocks\""):
        Loader(crumbs, mode="stream", batch_size=8, shuffle="full")
    assert Loader(crumbs, mode="stream", batch_size=8, positions=10, shuffle=True)


def test_stream__several_loaders_and_iterators_share_a_content(crumbs: Any, crumbs_in_ram: RamData) -> None:
    data = StreamData(crumbs, cache_bytes=500)
    options: dict[str, Any] = {"batch_size": 7, "positions": 80}
    mine = [Loader(crumbs, split=split, data=data, **options) for split in ("train", "valid")]
    theirs = [Loader(crumbs, split=split, data=crumbs_in_ram, **options) for split in ("train", "valid")]
    running = [iter(loader) for loader in (*mine, *mine)]
    taken: list[list[Any]] = [[] for _ in running]
    for _ in range(5):
        for iterator, batches in zip(running, taken, strict=True):
            batches += [batch] if (batch := next(iterator, None)) is not None else []
    for batches, loader in zip(taken, (*theirs, *theirs), strict=True):
        assert_equal(batches, iter_epoch(loader, 0))
    del running, iterator
    assert not loader_threads()


def iter_epoch(loader: Loader, epoch: int) -> Iterator[Any]:
    loader.set_epoch(epoch)
    return iter(loader)


def test_stream__batches_that_are_kept_do_not_change(crumbs: Any) -> None:
    loader = Loader(
        crumbs, data=StreamData(crumbs, cache_bytes=1), batch_size=7, positions=80, shuffle="blocks", block=4
    )
    kept = list(loader)
    copies = [batch.clone() for batch in kept]
    for _ in range(12):
        for batch in loader:
            batch.codes.fill_(99)
            batch.label_bits.fill_(99)
    assert all(torch.equal(one.codes, two.codes) for one, two in zip(kept, copies, strict=True))
    assert all(torch.equal(one.label_bits, two.label_bits) for one, two in zip(kept, copies, strict=True))


def test_stream__refuses_an_array_of_another_shape(crumbs: Any, tmp_path: Path) -> None:
    """The loops that cut do not look where an array ends."""
    import json
    import shutil

    for array, shape in (("label_bits", [80, 2]), ("label_bits", [100, 2]), ("sequence/chr1", [1400])):
        path = Path(shutil.copytree(crumbs.path, tmp_path / f"{array.replace('/', '_')}_{shape[0]}.zarr"))
        described = json.loads((path / array / "zarr.json").read_text(encoding="utf-8"))
        described["shape"] = shape
        (path / array / "zarr.json").write_text(json.dumps(described), encoding="utf-8")
        store = Store(path)
        for mode in ("ram", "stream"):
            with pytest.raises(StoreError, match=rf"array {array} of shape .* instead of"):
                list(Loader(store, batch_size=8, positions=10, mode=mode))
    assert not loader_threads()
