"""Faults amid an epoch: damage, a consumer that leaves, slow storage, and what fifty epochs leave behind."""

from __future__ import annotations

import gc
import logging
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
import pytest
import torch
from numcodecs.zstd import Zstd

from mfdstore import layout, schema
from mfdstore.errors import StoreError
from mfdstore.loader import Loader, RamData
from mfdstore.loader.stream import StreamData
from mfdstore.shard_bytes import frame_size
from mfdstore.store import Store
from tests.mfdstore.loader.programs import Programs
from tests.mfdstore.loader.watching import (
    assert_equal,
    descriptors,
    loader_threads,
    n_objects,
    resident_bytes,
    wait_until,
)

Mode = Literal["ram", "stream"]
MODES: tuple[Mode, ...] = ("ram", "stream")
CHUNKS_A_SHARD = 32
"""Of the labels."""


@pytest.fixture
def copy(large_store: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(large_store.path, tmp_path / "copy.zarr"))


def all_batches(path: Path | Store, mode: Mode, threads: int = 2, **options: Any) -> list[Any]:
    store = path if isinstance(path, Store) else Store(path)
    return list(Loader(store, batch_size=500, positions=100, mode=mode, threads=threads, **options))


# damage

LABELS, SEQUENCE = "label_bits/c/1/0", "sequence/chr1/c/0"


def index_of(content: bytes, n_chunks: int) -> np.ndarray[Any, Any]:
    return np.frombuffer(content[-16 * n_chunks - 4 : -4], "<u8").reshape(n_chunks, 2)


def n_chunks_of(file: Path) -> int:
    return CHUNKS_A_SHARD if "label_bits" in str(file) else schema.CODES_PER_SHARD // layout._CODES_PER_CHUNK


def flip_in_chunk(file: Path) -> None:
    """Flip one bit in the middle of chunk 2."""
    content = bytearray(file.read_bytes())
    begin, size = index_of(bytes(content), n_chunks_of(file))[2].tolist()
    content[begin + size // 2] ^= 0x10
    file.write_bytes(content)


def flip_in_index(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-40] ^= 0x01
    file.write_bytes(content)


def cut_in_half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def cut_to_three_bytes(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:3])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def repack(file: Path, size: int) -> None:
    """Put a chunk of another size in the place of chunk 2, with checksums that are right."""
    content, n = file.read_bytes(), n_chunks_of(file)
    index = index_of(content, n).copy()
    packed = Zstd(1).encode(np.zeros(size, np.uint8))
    packed += int(google_crc32c.value(packed)).to_bytes(4, "little")
    body = content[: -16 * n - 4]
    index[2] = len(body), len(packed)
    entries = index.tobytes()
    file.write_bytes(body + packed + entries + int(google_crc32c.value(entries)).to_bytes(4, "little"))


def shorten_chunk(file: Path) -> None:
    repack(file, 100)


def lengthen_chunk(file: Path) -> None:
    repack(file, 5 << 20)


def lose_chunk(file: Path) -> None:
    """Take chunk 2 out of the index, as zarr does with one of fill values."""
    content, n = file.read_bytes(), n_chunks_of(file)
    index = index_of(content, n).copy()
    index[2] = np.iinfo(np.uint64).max
    entries = index.tobytes()
    file.write_bytes(
        content[: -16 * n - 4] + entries + int(google_crc32c.value(entries)).to_bytes(4, "little")
    )


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of a chunk": (flip_in_chunk, r", chunk 2: a checksum that does not match"),
    "a bit of the index": (flip_in_index, r": its index: a checksum that does not match"),
    "half of the file": (cut_in_half, r": its index: a checksum that does not match"),
    "three bytes": (cut_to_three_bytes, r": too short"),
    "an empty file": (empty, r": too short"),
    "no file": (Path.unlink, r": no "),
    "no chunk": (lose_chunk, r", chunk 2: missing"),
    "a short chunk": (shorten_chunk, r", chunk 2: 100 bytes unpacked instead of "),
    "a long chunk": (lengthen_chunk, r", chunk 2: 5242880 bytes unpacked instead of "),
}


@pytest.mark.parametrize("file", [LABELS, SEQUENCE])
@pytest.mark.parametrize("damage", DAMAGES)
def test_loader__names_what_is_damaged_at_once(copy: Path, damage: str, file: str) -> None:
    do, why = DAMAGES[damage]
    do(copy / file)
    store = Store(copy)
    array = file.partition("/c/")[0]
    for mode, threads in (("ram", 2), ("stream", 0), ("stream", 1), ("stream", 3)):
        took = []
        while min(took, default=1) >= 1 and len(took) < 3:  # another program may have had the processor
            started = time.monotonic()
            with pytest.raises(
                StoreError, match=rf"array {array} with a damaged chunk \({file}{why}"
            ) as raised:
                all_batches(store, mode, threads)  # type: ignore[arg-type]
            took.append(time.monotonic() - started)
            assert not loader_threads()
        assert min(took) < 1
        assert str(raised.value).startswith(str(copy))
        assert "\n" not in str(raised.value)
        assert "--repair" in raised.value.remedy


@pytest.mark.parametrize("threads", [0, 2])
def test_stream__gives_what_stands_before_the_damage(copy: Path, large_store: Any, threads: int) -> None:
    flip_in_chunk(copy / LABELS)  # windows 17,408 to 17,919
    seen: list[int] = []
    loader = Loader(Store(copy), batch_size=500, positions=10, mode="stream", threads=threads)
    with pytest.raises(StoreError, match=r"chunk 2"):
        seen.extend(row for batch in loader for row in batch.window.tolist())
    assert seen == list(range(16_000))
    # the loader is as good as before: whoever repairs the store may go on
    shutil.copyfile(large_store.path / LABELS, copy / LABELS)
    assert sum(map(len, loader)) == 20_000


def test_frame_size__is_what_the_codec_unpacks() -> None:
    for size in (0, 1, 255, 256, 257, 65_535, 65_791, 65_792, 1 << 20):
        for values in (np.zeros(size, np.uint8), np.random.default_rng(size).bytes(size)):
            assert frame_size(bytes(Zstd(2).encode(values))) == size
    for text in (b"", b"(\xb5/\xfd", b"(\xb5/\xfd\x00", b"(\xb5/\xfd\xc0\x00"):
        assert frame_size(text) is None


# another store under the name


def put_in_place(path: Path, other: Path) -> None:
    """Put a copy of another store where one is, by renaming, as publishing does."""
    new = Path(shutil.copytree(other, path.with_name("new.zarr")))
    path.rename(path.with_name("old.zarr"))
    new.rename(path)


@pytest.fixture(scope="module", params=[True, False], ids=["same_size", "smaller"])
def other(request: pytest.FixtureRequest, new_store: Callable[..., Any]) -> Any:
    sizes = {"chr1": 2_500_000, "chr2": 300_000} if request.param else {"chr1": 900_000, "chr2": 300_000}
    return new_store(sizes, n_windows=20_000 if request.param else 5_000, n_experiments=21, seed=4)


@pytest.mark.parametrize("threads", [0, 2])
def test_stream__refuses_another_store_that_takes_the_name(copy: Path, other: Any, threads: int) -> None:
    options: dict[str, Any] = {"shuffle": "blocks", "pool": 1024, "threads": threads, "ahead": 1}
    loader = Loader(Store(copy), batch_size=512, positions=100, mode="stream", **options)
    iterator = iter(loader)
    next(iterator)
    put_in_place(copy, other.path)
    started = time.monotonic()
    with pytest.raises(StoreError, match=f"digest {other.digest[:12]}, which has taken the name since"):
        list(iterator)
    assert time.monotonic() - started < 1
    assert not loader_threads()


def test_stream__goes_on_with_a_copy_of_the_same_store(copy: Path, large_store: Any) -> None:
    options: dict[str, Any] = {"batch_size": 512, "positions": 100, "shuffle": "blocks", "pool": 1024}
    loader = Loader(Store(copy), mode="stream", **options)
    iterator = iter(loader)
    batches = [next(iterator)]
    put_in_place(copy, large_store.path)
    batches += iterator
    assert_equal(batches, Loader(large_store, mode="stream", **options))


def test_ram__does_not_read_the_store_again(copy: Path, large_store: Any) -> None:
    loader = Loader(Store(copy), batch_size=500, positions=100, mode="ram")
    shutil.rmtree(copy)
    assert_equal(loader, Loader(large_store, batch_size=500, positions=100, mode="stream"))


# a consumer that leaves


def leave_by_error(loader: Loader) -> None:
    for _ in loader:
        raise RuntimeError("planted")


def leave_by_interrupt(loader: Loader) -> None:
    for _ in loader:
        raise KeyboardInterrupt


def leave_by_break(loader: Loader) -> None:
    for _ in loader:
        break


def leave_by_forgetting(loader: Loader) -> None:
    iterator = iter(loader)
    next(iterator)
    del iterator


def leave_without_beginning(loader: Loader) -> None:
    iter(loader)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_loader__leaves_no_thread(large_store: Any, mode: Mode, threads: int) -> None:
    loader = Loader(
        large_store, batch_size=64, positions=100, mode=mode, threads=threads, shuffle="blocks", pool=1024
    )
    before = threading.active_count()
    for leave in (
        leave_by_error,
        leave_by_interrupt,
        leave_by_break,
        leave_by_forgetting,
        leave_without_beginning,
        list,
    ):
        held = None
        try:
            leave(loader)  # type: ignore[operator]
        except (RuntimeError, KeyboardInterrupt) as error:
            held = error  # the account of it is no reason to live on
        assert not loader_threads()
        assert (held is None) == (leave not in (leave_by_error, leave_by_interrupt))
    assert threading.active_count() == before


def slow_down(monkeypatch: pytest.MonkeyPatch, seconds: float, also: Callable[[], object] = int) -> None:
    plain = Store.part

    def part(self: Store, name: str, start: int, length: int) -> bytes:
        time.sleep(seconds)
        also()
        return plain(self, name, start, length)

    monkeypatch.setattr(Store, "part", part)


def test_stream__who_leaves_does_not_wait_for_what_was_planned(
    large_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool is of 40 blocks, which take six seconds."""
    loader = Loader(
        large_store, batch_size=64, positions=10, mode="stream", threads=1, shuffle="none", pool=20_480
    )
    iterator = iter(loader)
    next(iterator)
    slow_down(monkeypatch, 0.15)
    iterator = iter(loader)
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert not loader_threads()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("mode", "where"), [("ram", (RamData, "_cut")), ("stream", (StreamData, "_cut_block"))]
)
def test_loader__a_garbage_collection_in_a_thread_may_end_its_iterator(
    large_store: Any, mode: Mode, where: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that cuts or reads would wait for itself."""
    faults: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", faults.append)
    begun, forgotten = threading.Event(), threading.Event()
    done: list[str] = []
    plain = getattr(*where)

    def collect(*given: Any) -> Any:
        if begun.is_set():
            forgotten.wait(5)
            gc.collect()
        done.append(threading.current_thread().name)
        return plain(*given)

    loader = Loader(large_store, batch_size=64, positions=10, mode=mode, shuffle="blocks", pool=1024)
    monkeypatch.setattr(*where, collect)
    gc.collect()
    gc.disable()
    try:
        iterator = iter(loader)
        next(iterator)
        n_done = -1
        while n_done < len(done):  # until what is ahead is cut
            n_done = len(done)
            time.sleep(0.1)
        begun.set()
        for _ in range(17):  # another piece is begun, which waits
            next(iterator)
        circle: list[Any] = [iterator]
        circle.append(circle)
        del circle, iterator
        assert loader_threads()
        forgotten.set()
        assert wait_until(lambda: not loader_threads())
    finally:
        gc.enable()
    assert not faults
    assert {name.rpartition("-")[0] for name in done} == {"mfdstore-loader"}


PROGRAM = """
import time
path, mode, how = sys.argv[1:]
loader = Loader(Store(path), batch_size=64, positions=100, mode=mode, shuffle="blocks", threads=3)
plain = Store.part
def part(self, *asked):
    time.sleep(0.02)
    return plain(self, *asked)
if mode == "stream":
    Store.part = part
kept = iter(loader)
next(kept)
print("reading", flush=True)
while how == "loop":
    for batch in loader:
        pass
while how == "held":
    time.sleep(0.01)
sys.exit(3)
"""


@pytest.mark.parametrize(
    ("mode", "how"), [("ram", "loop"), ("stream", "loop"), ("ram", "held"), ("stream", "held")]
)
def test_program__ends_at_once_when_it_is_interrupted(
    programs: Programs, large_store: Any, mode: Mode, how: str
) -> None:
    """A real signal; the iterator is in use, or held by a variable that nobody clears."""
    running = programs.start(PROGRAM, large_store.path, mode, how, whole=True)
    assert running.line() == "reading"
    time.sleep(0.1)
    started = time.monotonic()
    running.signal(signal.SIGINT)
    assert running.wait(seconds=10) == -signal.SIGINT
    assert time.monotonic() - started < 5
    assert running.err.rstrip().endswith("KeyboardInterrupt")
    assert running.err.count("Traceback") == 1


@pytest.mark.parametrize("mode", MODES)
def test_program__ends_at_once_when_it_leaves_an_iterator(
    programs: Programs, large_store: Any, mode: Mode
) -> None:
    running = programs.start(PROGRAM, large_store.path, mode, "exit", whole=True)
    running.line()
    assert running.wait(seconds=10) == 3
    assert running.err == ""


# what is left behind


@pytest.mark.parametrize("mode", MODES)
def test_loader__fifty_epochs_leave_nothing_behind(large_store: Any, mode: Mode) -> None:
    loader = Loader(
        large_store,
        rows=np.arange(0, 20_000, 3),
        batch_size=256,
        positions=300,
        mode=mode,
        shuffle="blocks",
        pool=4096,
        strand="random",
        max_shift=3,
    )
    held: list[int] = []
    counts: list[tuple[int, int]] = []
    for epoch in range(50):
        if epoch % 5 == 4:
            leave_by_break(loader)
        else:
            assert sum(map(len, loader)) == 6667
        held.append(resident_bytes())
        assert not loader_threads()
        if epoch in (9, 49):
            counts.append((descriptors(), n_objects()))
    # an epoch hands over 2 MB
    assert statistics.median(held[40:]) - statistics.median(held[5:15]) < 8e6
    (files_before, objects_before), (files_after, objects_after) = counts
    assert files_after <= files_before
    assert objects_after - objects_before < 100


# slow storage


def test_stats__say_where_the_time_goes(
    large_store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mfdstore.loader.stats._LEAST_SECONDS", 0.2)
    slept: list[float] = []
    slow_down(monkeypatch, 0.01, lambda: slept.append(0.01))
    loader = Loader(
        large_store, batch_size=256, positions=100, mode="stream", threads=2, shuffle="blocks", pool=2048
    )
    started = time.perf_counter()
    with caplog.at_level(logging.WARNING, "mfdstore"):
        for _ in range(2):
            assert sum(map(len, loader)) == 20_000
    took = time.perf_counter() - started
    stats = loader.stats()
    assert (stats.windows, stats.batches) == (40_000, 2 * 79)
    assert 0.5 * took < stats.seconds <= took
    assert 0.5 * stats.seconds < stats.wait <= stats.seconds
    assert stats.waiting_share == stats.wait / stats.seconds
    assert stats.read >= sum(slept)
    assert stats.decode > 0
    assert stats.gather > 0
    # two threads read, and two wait for them
    assert stats.read + stats.decode + stats.gather <= 2 * took
    assert stats.n_bytes > 2 * 20_000 * 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert said.startswith("storage is slower than its consumer: ")
    assert "windows in" in said
    assert "waited for" in said
    assert "MB" in said


@pytest.mark.parametrize("mode", MODES)
def test_stats__do_not_warn_of_a_slow_consumer(
    large_store: Any, mode: Mode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mfdstore.loader.stats._LEAST_SECONDS", 0.1)
    loader = Loader(large_store, batch_size=2048, positions=100, mode=mode, shuffle="blocks")
    with caplog.at_level(logging.WARNING, "mfdstore"):
        for batch in loader:
            time.sleep(0.03)
            torch.sum(batch.codes)
    assert not caplog.records
    assert loader.stats().waiting_share < 0.5
    assert (loader.stats().n_bytes > 0) == (mode == "stream")
