"""The stream from real servers on loopback: the same windows, the same faults told, and nobody waits for silence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from mfdstore import schema
from mfdstore.errors import RemoteError, StoreError
from mfdstore.loader import Loader
from mfdstore.loader.stream import StreamData
from mfdstore.places import connection
from mfdstore.store import Store
from tests.mfdstore.loader.programs import Programs
from tests.mfdstore.loader.watching import assert_equal, loader_threads, wait_until
from tests.servers import (
    Handler,
    Served,
    environment,
    http_server,
    s3_server,
    set_environment,
    silent,
    status,
)

OPTIONS: dict[str, Any] = {"batch_size": 100, "positions": 300, "shuffle": "blocks", "block": 32, "pool": 256}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_RETRIES", 1)


@pytest.fixture(scope="module")
def shards(new_store: Callable[..., Any]) -> Any:
    """A store of several shards and chunks of each array, and small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "ROWS_PER_CHUNK", 32)
        patch.setattr(schema, "ROWS_PER_SHARD", 256)
        patch.setattr(schema, "CODES_PER_SHARD", 1 << 14)
        patch.setattr("mfdstore.layout._CODES_PER_CHUNK", 1 << 12)
        return new_store({"chr1": 40_000, "chr2": 5_000}, n_windows=900, n_experiments=20, seed=2)


@dataclass
class Shelf:
    """A store on a server."""

    address: str
    read: Callable[[str], bytes]
    put: Callable[[str, bytes], None]
    remove: Callable[[str], None]


@pytest.fixture(params=["s3", "http"])
def shelf(
    request: pytest.FixtureRequest, shards: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shelf]:
    if request.param == "s3":
        with s3_server() as bucket:
            set_environment(monkeypatch, bucket.url)
            address = bucket.upload(shards.path, "a/x.zarr")
            time.sleep(1.1)  # S3 tells times in seconds: what is put later is to be later
            yield Shelf(
                address,
                lambda name: bucket.files("a/x.zarr")[name],
                lambda name, content: bucket.put(f"a/x.zarr/{name}", content),
                lambda name: bucket.remove(f"a/x.zarr/{name}"),
            )
        return
    folder = Path(shutil.copytree(shards.path, tmp_path / "served" / "x.zarr"))

    def write(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)

    with http_server(folder.parent) as served:
        yield Shelf(
            f"{served.url}/x.zarr",
            lambda name: (folder / name).read_bytes(),
            write,
            lambda name: (folder / name).unlink(),
        )


@pytest.fixture
def served(shards: Any, tmp_path: Path) -> Iterator[Served]:
    folder = Path(shutil.copytree(shards.path, tmp_path / "served" / "x.zarr"))
    with http_server(folder.parent) as running:
        yield running


ANEW = """
import json
os.environ.update(json.loads(sys.argv[2]))
print(sum(len(batch) for batch in Loader(Store(sys.argv[1]), batch_size=64)))
"""


def test_stream__gives_what_the_local_store_gives(shelf: Shelf, shards: Any, programs: Programs) -> None:
    store = Store(shelf.address)
    assert isinstance(Loader(store, batch_size=100).data, StreamData)
    for shuffle in ("none", "blocks"):
        for threads in (0, 3):
            options = {**OPTIONS, "shuffle": shuffle, "strand": "random", "max_shift": 5, "threads": threads}
            remote = Loader(store, data=StreamData(store, cache_bytes=10_000), **options)
            assert_equal(remote, Loader(shards, mode="ram", **options))
    assert wait_until(lambda: not loader_threads())
    assert_equal(Loader(store, mode="ram", **OPTIONS), Loader(shards, mode="ram", **OPTIONS))
    where = environment(os.environ.get("AWS_ENDPOINT_URL", ""))
    assert programs.start(ANEW, shelf.address, json.dumps(where)).result() == 900


def test_stream__asks_for_each_block_once(served: Served) -> None:
    store = Store(f"{served.url}/x.zarr")
    loader = Loader(store, data=StreamData(store), **OPTIONS)
    store.windows  # noqa: B018 - read before it is counted
    before = sum("label_bits/c/1/0" in path for path, _ in served.asked)
    assert sum(map(len, loader)) == 900
    # eight chunks; several threads may ask for the index at first
    assert 9 <= sum("label_bits/c/1/0" in path for path, _ in served.asked) - before <= 8 + 32
    before = sum("label_bits/c/1/0" in path for path, _ in served.asked)
    assert sum(map(len, loader)) == 900
    assert sum("label_bits/c/1/0" in path for path, _ in served.asked) - before == 8


def flipped(content: bytes) -> bytes:
    """Flip a bit near the beginning, where the first chunks are."""
    return bytes([*content[:20], content[20] ^ 4, *content[21:]])


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    r"chunk 0: a checksum that does not match": flipped,
    r"its index: a checksum that does not match": lambda whole: whole[: len(whole) // 2],
    r"too short|its index": lambda whole: whole[:3],
    r"no ": lambda whole: None,
}


def test_stream__names_what_is_damaged_at_once(shelf: Shelf) -> None:
    for name in ("label_bits/c/1/0", "sequence/chr1/c/1"):
        whole = shelf.read(name)
        for why, damage in DAMAGES.items():
            content = damage(whole)
            if content is None:
                shelf.remove(name)
            else:
                shelf.put(name, content)
            # opened anew: S3 tells what was put there since
            assert_named_at_once(Store(shelf.address), name, why)
        shelf.put(name, whole)


def assert_named_at_once(store: Store, name: str, why: str) -> None:
    array = name.partition("/c/")[0]
    for threads in (0, 3):
        loader = Loader(store, data=StreamData(store), threads=threads, **OPTIONS)
        took = []
        while min(took, default=1) >= 1 and len(took) < 3:  # another program may have had the processor
            started = time.monotonic()
            with pytest.raises(
                StoreError, match=rf"array {array} with a damaged chunk \((.*)({why})"
            ) as raised:
                list(loader)
            took.append(time.monotonic() - started)
            loader.set_epoch(0)
        assert min(took) < 1
        assert name in str(raised.value)
        assert str(raised.value).startswith(str(store.path))
        assert wait_until(lambda: not loader_threads())


def test_stream__refuses_another_store_that_takes_the_name(
    shelf: Shelf, new_store: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "ROWS_PER_CHUNK", 32)
        patch.setattr(schema, "ROWS_PER_SHARD", 256)
        other = new_store({"chr1": 40_000, "chr2": 5_000}, n_windows=900, n_experiments=20, seed=3)
    store = Store(shelf.address)
    iterator = iter(Loader(store, data=StreamData(store), ahead=1, **OPTIONS))
    next(iterator)
    for file in sorted(Path(other.path).rglob("*")):
        if file.is_file():
            shelf.put(file.relative_to(other.path).as_posix(), file.read_bytes())
    with pytest.raises(StoreError, match=r"put there after the store was opened|has taken the name since"):
        list(iterator)
    assert wait_until(lambda: not loader_threads())


def test_stream__a_server_that_fails_is_told_apart_from_damage(served: Served) -> None:
    store = Store(f"{served.url}/x.zarr")
    loader = Loader(store, data=StreamData(store), **OPTIONS)
    served.always["x.zarr/label_bits/c/2/0"] = status(503)
    with pytest.raises(RemoteError, match=r"the answer 503 for label_bits/c/2/0"):
        list(loader)
    assert wait_until(lambda: not loader_threads())
    served.always.clear()
    loader.set_epoch(0)
    assert sum(map(len, loader)) == 900


def test_stream__asks_for_many_blocks_at_a_time(served: Served) -> None:
    """Each answer takes 50 ms; one after another they would take three seconds."""
    lock, now, most = threading.Lock(), [0], [0]

    def late(handler: Handler, path: str) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        handler.serve(path)

    store = Store(f"{served.url}/x.zarr")
    loader = Loader(store, data=StreamData(store), **OPTIONS)
    for file in (served.folder / "x.zarr").rglob("c/**/*"):
        served.always[file.relative_to(served.folder).as_posix()] = late
    assert sum(map(len, loader)) == 900
    assert most[0] >= 8


def test_stream__who_leaves_does_not_wait_for_a_silent_server(served: Served) -> None:
    store = Store(f"{served.url}/x.zarr")
    loader = Loader(store, data=StreamData(store), **{**OPTIONS, "shuffle": "none", "batch_size": 32})
    over = threading.Event()
    try:
        served.always["x.zarr/label_bits/c/3/0"] = silent(over)
        for interrupted in (False, True):
            iterator = iter(loader)
            if interrupted:
                ask = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
                ask.start()
                with pytest.raises(KeyboardInterrupt):
                    list(iterator)
                ask.join()
            started = time.monotonic()
            del iterator
            assert time.monotonic() - started < 0.5
    finally:
        over.set()
    # they end when the server has said something
    assert wait_until(lambda: not loader_threads(), 10)


SILENCE = """
path, mode, how = sys.argv[1:]
store = Store(path)
store.windows
print("asking", flush=True)
loader = Loader(store, batch_size=100, positions=300, mode=mode)
if how == "held":
    kept = iter(loader)
    next(kept)
for batch in loader:
    pass
"""


@pytest.mark.parametrize(("mode", "how"), [("stream", "loop"), ("stream", "held"), ("ram", "loop")])
def test_program__that_waits_for_a_silent_server_can_be_interrupted(
    programs: Programs, served: Served, mode: Literal["ram", "stream"], how: str
) -> None:
    over = threading.Event()
    try:
        served.always["x.zarr/label_bits/c/1/0"] = silent(over)
        running = programs.start(SILENCE, f"{served.url}/x.zarr", mode, how, whole=True)
        running.line()
        assert wait_until(lambda: any("label_bits/c/1/0" in path for path, _ in served.asked), 10)
        time.sleep(0.1)
        running.signal(signal.SIGINT)
        assert running.wait(seconds=8) == -signal.SIGINT
        assert running.err.rstrip().endswith("KeyboardInterrupt")
    finally:
        over.set()


FORK = """
import json, time
from mfdstore.errors import ConfigError
from mfdstore.loader import WindowDataset
path, how = sys.argv[1:]
store = Store(path)
dataset = WindowDataset(store, positions=90)
dataset[3]
back, forth = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        if how == "dataset":
            dataset[5]
        elif how == "store":
            store.label_bits(3, 9)
        elif how == "loader":
            next(iter(Loader(store, batch_size=8)))
        else:
            Store(path)
    except ConfigError as error:
        os.write(forth, str(error).encode())
    os._exit(0)
os.close(forth)
deadline = time.monotonic() + 10
while os.waitpid(pid, os.WNOHANG) == (0, 0):
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        raise SystemExit("it hangs")
    time.sleep(0.005)
print(json.dumps(os.read(back, 2000).decode()))
"""


@pytest.mark.parametrize("how", ["dataset", "store", "loader", "anew"])
def test_fork__of_whoever_asked_a_server_is_refused(programs: Programs, served: Served, how: str) -> None:
    """A DataLoader forks its workers unless it is told otherwise."""
    running = programs.start(FORK, f"{served.url}/x.zarr", how)
    said = running.result()
    assert f"a fork of process {running.pid} that " in said
    assert '"forkserver"' in said
