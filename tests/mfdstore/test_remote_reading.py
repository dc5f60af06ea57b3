"""Stores read over S3 and HTTP from real servers on loopback: equal to the local one, or an error that says why."""

from __future__ import annotations

import pickle
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

from mfdstore import schema
from mfdstore.errors import MfdError, RemoteError, StoreError
from mfdstore.grow.choice import Choice
from mfdstore.grow.subset import subset_store
from mfdstore.loader import Loader
from mfdstore.places import connection
from mfdstore.places.address import find_place
from mfdstore.places.files import open_files
from mfdstore.store import Store
from mfdstore.transfer.run import copy_store
from tests.mfdstore.conftest import Little
from tests.servers import KEY, SECRET, Bucket, Served, cut, http_server, silent, status, whole_only


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_RETRIES", 2)
    monkeypatch.setattr(connection, "SILENCE_SECONDS", 0.3)


@pytest.fixture(params=["s3", "http"])
def address(request: pytest.FixtureRequest, little: Little) -> Iterator[str]:
    """The little store behind each kind of server."""
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        yield bucket.upload(little.path, "a folder/little.zarr")
    else:
        served: Served = request.getfixturevalue("served")
        yield f"{served.url}/little.zarr"


def assert_same(found: Store, expected: Store) -> None:
    assert found.attributes == expected.attributes
    assert found.experiments == expected.experiments
    np.testing.assert_array_equal(found.windows.start, expected.windows.start)
    np.testing.assert_array_equal(found.n_positive, expected.n_positive)
    np.testing.assert_array_equal(found.label_bits(), expected.label_bits())
    for chrom in expected.chroms:
        np.testing.assert_array_equal(found.codes(chrom), expected.codes(chrom))
    for mine, theirs in zip(found.factors, expected.factors, strict=True):
        assert (mine.name, mine.kind, mine.role, mine.unit) == (
            theirs.name,
            theirs.kind,
            theirs.role,
            theirs.unit,
        )
        assert str(mine.values.tolist()) == str(theirs.values.tolist())


def test_a_store_elsewhere_equals_the_local_one(little: Little, address: str) -> None:
    found = Store(address)
    assert_same(found, little.store)
    assert str(found.path) == found.full_path == address
    assert found.name == little.store.name == "little.zarr"
    for index in range(found.n_experiments):
        np.testing.assert_array_equal(found.labels_of(index), little.expected.labels[:, index])
    np.testing.assert_array_equal(found.label_bits(3, 9), little.store.label_bits(3, 9))


def test_xarray_reads_it_lazily(little: Little, address: str) -> None:
    expected = xr.open_dataset(little.path, engine="mfdstore").load()
    found = xr.open_dataset(address, engine="mfdstore")
    assert found.encoding["source"] == address
    xr.testing.assert_identical(found.isel(window=slice(2, 7)), expected.isel(window=slice(2, 7)))
    xr.testing.assert_identical(found.load(), expected)
    chunked = xr.open_dataset(address, engine="mfdstore", chunks={})
    assert dask.is_dask_collection(chunked.label)
    np.testing.assert_array_equal(chunked.label.mean("window"), expected.label.mean("window"))


def test_queries_ask_it_as_a_local_one(little: Little, address: str) -> None:
    here, there = (xr.open_dataset(place, engine="mfdstore", chunks={}) for place in (little.path, address))
    assert (
        there.mfd.positives(little.store.experiments[0]).sizes
        == here.mfd.positives(little.store.experiments[0]).sizes
    )
    xr.testing.assert_equal(
        there.mfd.count_windows(by="target", per="split").compute(),
        here.mfd.count_windows(by="target", per="split").compute(),
    )
    xr.testing.assert_identical(
        there.mfd.region("chr1:0-2,000").load(), here.mfd.region("chr1:0-2,000").load()
    )


def test_the_loader_gives_the_same_batches(little: Little, address: str) -> None:
    batches = [
        list(
            Loader(Store(place), split="train", batch_size=8, positions=64, strand="random", shuffle="blocks")
        )
        for place in (little.path, address)
    ]
    assert len(batches[0]) == len(batches[1]) > 1
    for mine, theirs in zip(*batches, strict=True):
        np.testing.assert_array_equal(mine.codes, theirs.codes)
        np.testing.assert_array_equal(mine.label_bits, theirs.label_bits)


def test_opening_takes_one_request_and_a_dataset_one_an_array(
    little: Little, bucket: Bucket, served: Served
) -> None:
    for address, asked in (
        (bucket.upload(little.path, "x.zarr"), bucket.asked),
        (f"{served.url}/little.zarr", served.asked),
    ):
        asked.clear()
        store = Store(address)
        repr(store)
        assert len(asked) == 1
        n_small = len(store.factors.names) + len(schema.COORDINATES) + 1  # and the experiments
        asked.clear()
        xr.open_dataset(address, engine="mfdstore")
        # the root and all small arrays but `end`, which follows from `start`; and whether the root is the same yet,
        # once behind the windows, the factors, the experiments and the counts
        assert len(asked) <= n_small + 5


def test_small_arrays_are_asked_for_side_by_side(little: Little, served: Served) -> None:
    store = Store(f"{served.url}/little.zarr")
    together = threading.Barrier(4, timeout=5)
    for name in store.attributes["factors"][:4]:
        served.tricks[f"little.zarr/{name['name']}/c/0"] = [
            lambda handler, path: (together.wait(), handler.serve(path))[-1]
        ]
    assert len(store.factors) == store.n_experiments
    assert not together.broken


def test_a_part_of_the_labels_is_a_part_of_their_file(cut_small: Path) -> None:
    with http_server(cut_small.parent) as served:
        store = Store(f"{served.url}/{cut_small.name}")
        served.asked.clear()
        rows = store.label_bits(9, 10)
        np.testing.assert_array_equal(rows, Store(cut_small).label_bits(9, 10))
        root = f"{cut_small.name}/zarr.json"  # asked for behind each reading: is it the same store yet?
        assert {path for path, _ in served.asked} == {f"{cut_small.name}/label_bits/c/1/0", root}
        assert all(part.startswith("bytes=") for path, part in served.asked if path != root)
        served.asked.clear()
        store.read("sequence/chr1", slice(0, 10))
        assert {path for path, _ in served.asked} == {f"{cut_small.name}/sequence/chr1/c/0", root}
        assert [path for path, _ in served.asked].count(root) == 1


def _open_and_read(store: Store) -> int:
    return int(store.label_bits().sum())


def test_another_process_opens_it_from_the_address(little: Little, address: str) -> None:
    store = Store(address)
    pickled = pickle.dumps(store)
    for secret in (KEY, SECRET):
        assert secret.encode() not in pickled
    again = pickle.loads(pickled)  # noqa: S301
    assert again.path == store.path
    assert again.digest == store.digest
    dataset = pickle.dumps(xr.open_dataset(address, engine="mfdstore", chunks={}))
    assert KEY.encode() not in dataset
    assert SECRET.encode() not in dataset
    xr.testing.assert_identical(
        pickle.loads(dataset).load(),  # noqa: S301
        xr.open_dataset(little.path, engine="mfdstore").load(),
    )
    chunks = pickle.dumps(open_files(find_place(address)).zarr_store())
    assert KEY.encode() not in chunks
    assert SECRET.encode() not in chunks
    from dask.base import tokenize

    assert tokenize(store) == tokenize(again) != tokenize(little.store)


def test_many_threads_read_one_store(little: Little, address: str) -> None:
    store = Store(address)
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda _: _open_and_read(store), range(16)))
    assert set(sums) == {_open_and_read(little.store)}


# ---- another store under the address


def _other(little: Little, folder: Path) -> Path:
    """Build a store of fewer windows from the same sources."""
    out = folder / "other.zarr"
    subset_store(little.path, out, Choice(splits=("train",)))
    return out


READS: list[Callable[[Store], object]] = [
    lambda store: store.label_bits(0, 2),
    lambda store: store.labels_of(1),
    lambda store: store.codes("chr1"),
    lambda store: store.windows,
    lambda store: store.factors,
    lambda store: store.experiments,
]


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_store_that_is_replaced_is_noticed(
    little: Little, bucket: Bucket, tmp_path: Path, kind: str, *, read_before: bool
) -> None:
    other = _other(little, tmp_path)
    (tmp_path / "served").mkdir()
    place = tmp_path / "served" / "x.zarr"

    def put(store: Path) -> str:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(store, place)
        for name in bucket.files("x.zarr"):
            bucket.remove(f"x.zarr/{name}")
        return bucket.upload(store, "x.zarr")

    with http_server(place.parent) as served:
        address = {"s3": put(little.path), "http": f"{served.url}/x.zarr"}[kind]
        stores = [Store(address) for _ in READS]
        dataset = xr.open_dataset(address, engine="mfdstore")
        if read_before:
            for store, read in zip(stores, READS, strict=True):
                store.label_bits(3, 4)
                if read is not READS[-1]:
                    read(store)
                    store.__dict__.pop("windows", None)
                    store.__dict__.pop("factors", None)
        put(other)
        for store, read in zip(stores, READS, strict=True):
            with pytest.raises(StoreError, match="which has taken the name since"):
                read(store)
        with pytest.raises(StoreError, match="which has taken the name since"):
            _ = dataset.label[0:2].values
        if kind == "http":  # and back again: the same content is as good
            put(little.path)
            np.testing.assert_array_equal(stores[0].label_bits(), little.store.label_bits())


def test_chunks_that_are_put_over_those_of_an_open_store_are_refused(
    little: Little, bucket: Bucket, tmp_path: Path
) -> None:
    other = _other(little, tmp_path)
    address = bucket.upload(little.path, "x.zarr")
    stores = [Store(address) for _ in READS]
    dataset = xr.open_dataset(address, engine="mfdstore")
    stores[0].label_bits(3, 4)
    sent = pickle.dumps(stores[1])
    time.sleep(1.1)  # servers tell times by the second
    for file in other.rglob("*"):
        if file.is_file() and file != other / "zarr.json":  # the root comes last, or never
            bucket.put(f"x.zarr/{file.relative_to(other).as_posix()}", file.read_bytes())
    for store, read in zip([*stores, pickle.loads(sent)], [*READS, READS[0]], strict=True):  # noqa: S301
        with pytest.raises(StoreError, match="put there after the store was opened"):
            read(store)
    with pytest.raises(StoreError, match="put there after the store was opened"):
        _ = dataset.label.values


def test_a_request_for_the_stamp_that_fails_is_made_once(little: Little, served: Served) -> None:
    over = threading.Event()
    for trick in (status(500), silent(over)):
        store = Store(f"{served.url}/little.zarr")
        served.always["little.zarr/zarr.json"] = lambda handler, path, trick=trick: (  # type: ignore[misc]
            trick(handler, path) if handler.command == "HEAD" else handler.serve(path)
        )
        store.label_bits()
        served.asked.clear()
        np.testing.assert_array_equal(store.label_bits(0, 3), little.store.label_bits(0, 3))
        assert [path for path, _ in served.asked].count("little.zarr/zarr.json") == 1
    over.set()


def test_a_server_that_tells_nothing_of_its_files_is_asked_for_the_root(
    little: Little, served: Served
) -> None:
    store = Store(f"{served.url}/little.zarr")
    store.label_bits(0, 1)
    served.asked.clear()
    served.always["little.zarr/zarr.json"] = lambda handler, path: (
        handler.answer(405) if handler.command == "HEAD" else handler.serve(path)
    )
    np.testing.assert_array_equal(store.label_bits(), little.store.label_bits())
    assert any(path == "little.zarr/zarr.json" for path, _ in served.asked)


# ---- what was lost


def test_a_chunk_that_is_not_there_is_an_error_and_never_fill_values(
    little: Little, bucket: Bucket, served: Served
) -> None:
    for name, read in (
        ("label_bits/c/0/0", lambda store: store.label_bits(0, 1)),
        ("label_bits_by_experiment/c/0/0", lambda store: store.labels_of(3)),
        ("sequence/chr9/c/0", lambda store: store.codes("chr9")),
        ("n_positive/c/0", lambda store: store.n_positive),
        ("target/c/0", lambda store: store.factors),
    ):
        address = bucket.upload(little.path, "x.zarr")
        bucket.remove(f"x.zarr/{name}")
        served.always = {f"little.zarr/{name}": status(404)}
        for place in (address, f"{served.url}/little.zarr"):
            with pytest.raises(StoreError) as caught:
                read(Store(place))
            assert not isinstance(caught.value, RemoteError)
            assert name in str(caught.value)
            assert name.split("/c/")[0] in caught.value.found
            if name != "label_bits_by_experiment/c/0/0":  # all labels are read by window
                with pytest.raises(StoreError, match="damaged chunk"):
                    xr.open_dataset(place, engine="mfdstore").load()


def test_a_chunk_that_is_empty_short_or_flipped_is_an_error(little: Little, bucket: Bucket) -> None:
    address = bucket.upload(little.path, "x.zarr")
    key = "x.zarr/label_bits/c/0/0"
    sound = bucket.files("x.zarr")["label_bits/c/0/0"]
    for content in (b"", sound[:3], sound[: len(sound) // 2], sound[:-1] + bytes([sound[-1] ^ 1])):
        bucket.put(key, content)
        with pytest.raises(StoreError, match="label_bits"):
            Store(address).label_bits()


def test_a_store_without_manifest_is_read_under_the_same_rule(bucket: Bucket, tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent.parent / "golden" / "store_v1.zip") as archive:
        archive.extractall(tmp_path)
    old = tmp_path / "store_v1.zarr"
    address = bucket.upload(old, "old.zarr")
    assert_same(Store(address), Store(old))
    bucket.remove("old.zarr/label_bits/c/0/0")
    with pytest.raises(StoreError, match="label_bits/c/0/0"):
        Store(address).label_bits()


def test_where_there_is_no_store_it_says_so(little: Little, bucket: Bucket, served: Served) -> None:
    bucket.put("other.zarr/zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    bucket.put("text.zarr/zarr.json", b"no json")
    bucket.put("half.zarr/label_bits/c/0/0", b"left by an upload that was killed")
    for place, words in (
        (bucket.address("none.zarr"), "no store"),
        (bucket.address("half.zarr"), "no store"),
        (bucket.address("text.zarr"), "no Zarr version 3 group"),
        (bucket.address("other.zarr"), "another kind"),
        ("s3://not-there/x.zarr", "no bucket not-there"),
        (f"{served.url}/none.zarr", "no store"),
    ):
        with pytest.raises(StoreError, match=words) as caught:
            Store(place)
        assert place in str(caught.value)


# ---- servers that misbehave


def test_what_passes_is_tried_again(little: Little, served: Served) -> None:
    place = "little.zarr/label_bits/c/0/0"
    for tricks in ([status(500), status(503)], [status(429)], [cut(0)], [cut(5)]):
        served.tricks[place] = tricks
        served.tricks["little.zarr/zarr.json"] = [*tricks]
        np.testing.assert_array_equal(
            Store(f"{served.url}/little.zarr").label_bits(), little.store.label_bits()
        )
        assert not served.tricks[place]


@pytest.mark.parametrize(
    ("trick", "words"),
    [
        (status(401), "the answer 401"),
        (status(403), "the answer 403"),
        (status(410), "the answer 410"),
        (status(500), "the answer 500"),
        (cut(5), "cut short"),
        (whole_only, "no parts of files"),
        (lambda handler, path: handler.serve(path, shifted=3), "other parts of files"),
        (status(302), "that points elsewhere for label_bits/c/0/0; expected a server that gives it"),
    ],
)
def test_what_stays_is_told_in_one_line(little: Little, served: Served, trick: Any, words: str) -> None:
    store = Store(f"{served.url}/little.zarr")
    served.always["little.zarr/label_bits/c/0/0"] = trick
    with pytest.raises(RemoteError) as caught:
        store.label_bits(0, 2)
    said = str(caught.value)
    assert words in said
    assert "label_bits/c/0/0" in said
    assert "\n" not in said
    assert "\x1b" not in said
    assert "said by the server" not in said


def test_a_silent_server_is_waited_for_no_longer_than_set(little: Little, served: Served) -> None:
    store = Store(f"{served.url}/little.zarr")
    over = threading.Event()
    served.always["little.zarr/label_bits/c/0/0"] = silent(over)
    with pytest.raises(RemoteError, match="no answer in time"):
        store.label_bits()
    over.set()


def test_no_server_and_no_leave_are_told(
    little: Little, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RemoteError, match="no server that listens there"):
        Store("http://127.0.0.1:9/x.zarr")
    bucket.upload(little.path, "x.zarr")
    bucket.answers = lambda method, path: 403
    with pytest.raises(RemoteError, match=r"the answer 403 \(Told\).*AWS_ACCESS_KEY_ID") as caught:
        Store(bucket.address("x.zarr"))
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)
    bucket.answers = lambda method, path: 301
    with pytest.raises(RemoteError, match="AWS_REGION"):
        Store(bucket.address("x.zarr"))
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(RemoteError, match="AWS_ALLOW_HTTP"):
        Store(bucket.address("x.zarr"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://who:{SECRET}@127.0.0.1:9")
    with pytest.raises(MfdError) as hidden:
        Store(bucket.address("x.zarr"))
    assert SECRET not in str(hidden.value)


@pytest.mark.parametrize(
    "name", ["label_bits/c/0/0", "label_bits_by_experiment/c/0/0", "sequence/chr1/c/0", "start/c/0"]
)
def test_an_object_that_was_emptied_is_no_stretch_without_peaks(
    little: Little, bucket: Bucket, name: str
) -> None:
    address = bucket.address("emptied.zarr")
    copy_store(little.path, address)
    bucket.put(f"emptied.zarr/{name}", b"")
    store = Store(address)
    array = name.split("/c/")[0]
    with pytest.raises(StoreError, match=rf"array {array} with a damaged chunk \({name} is "):
        store.read(array)
    with pytest.raises(
        StoreError, match=rf"array {array} with a damaged chunk \({name} is (too short|empty)"
    ):
        store.read(array, slice(0, 1))
    dataset = xr.open_dataset(address, engine="mfdstore") if array == "label_bits" else None
    if dataset is not None:
        with pytest.raises(StoreError, match="damaged chunk"):
            _ = dataset.label.values
