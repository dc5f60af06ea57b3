"""Stores copied and built to S3, and fetched from S3 and HTTP: whole and to the byte, or not there at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mfdstore.build.run import build_store, check_out
from mfdstore.build.settings import Resources
from mfdstore.errors import ConfigError, MfdError, RemoteError, StoreError
from mfdstore.places import connection
from mfdstore.repair.bench import RepairSources
from mfdstore.repair.run import repair_store
from mfdstore.store import Store
from mfdstore.transfer.run import copy_store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.mfdstore.damage import flip
from tests.servers import KEY, SECRET, Bucket, Served, cut, http_server, status
from tests.worlds import settings

LABELS = "label_bits/c/0/0"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_RETRIES", 1)


@pytest.fixture(scope="module")
def other(little: Little, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the same files by name, of other content."""
    out = tmp_path_factory.mktemp("other") / "other.zarr"
    build_store(little.sources, out, replace(settings(), min_overlap=32))
    return out


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


# ---- copies


def test_a_copy_to_s3_is_the_store_to_the_byte_and_its_root_comes_last(
    little: Little, bucket: Bucket
) -> None:
    told: list[tuple[str, int, int]] = []
    address = bucket.address("a folder/x.zarr")
    done = copy_store(little.path, address, lambda *what: told.append(what))
    expected = files_of(little.path)
    assert bucket.files("a folder/x.zarr") == expected
    puts = [path for method, path in bucket.asked if method == "PUT"]
    assert len(puts) == len(expected)
    assert puts[-1].endswith("x.zarr/zarr.json")
    assert (done.n_files, done.n_there, done.digest) == (len(expected), 0, little.store.digest)
    assert str(done.path) == address
    assert told[-1] == ("files", len(expected), len(expected))
    assert verify_store(address).sound


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_store_is_fetched_to_the_byte(
    little: Little, bucket: Bucket, served: Served, tmp_path: Path, kind: str
) -> None:
    there = bucket.upload(little.path, "x.zarr") if kind == "s3" else f"{served.url}/little.zarr"
    done = copy_store(there, tmp_path / "got.zarr")
    assert files_of(tmp_path / "got.zarr") == files_of(little.path)
    assert done.n_files == len(files_of(little.path))
    assert [path.name for path in tmp_path.iterdir()] == ["got.zarr"]
    again = copy_store(there, bucket.address("again.zarr"))
    assert bucket.files("again.zarr") == files_of(little.path)
    assert again.digest == little.store.digest


def test_what_the_manifest_does_not_list_is_not_copied(copied: Path, bucket: Bucket, tmp_path: Path) -> None:
    expected = files_of(copied)
    (copied / "notes.txt").write_text("mine")
    copy_store(copied, bucket.address("x.zarr"))
    copy_store(copied, tmp_path / "y.zarr")
    assert bucket.files("x.zarr") == files_of(tmp_path / "y.zarr") == expected


def test_a_store_without_manifest_is_copied_as_its_metadata_describes(bucket: Bucket, tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent.parent / "golden" / "store_v1.zip") as archive:
        archive.extractall(tmp_path)
    old = tmp_path / "store_v1.zarr"
    with http_server(tmp_path) as served:
        copy_store(f"{served.url}/store_v1.zarr", tmp_path / "got.zarr")
        assert files_of(tmp_path / "got.zarr") == files_of(old)
        flip(old / LABELS, 3)
        with pytest.raises(StoreError, match=r"label_bits/c/0/0 damaged: a checksum"):
            copy_store(f"{served.url}/store_v1.zarr", tmp_path / "not.zarr")
    with pytest.raises(StoreError, match=r"label_bits/c/0/0 damaged: a checksum"):
        copy_store(old, bucket.address("x.zarr"))
    assert not (tmp_path / "not.zarr").exists()


def test_a_name_that_is_taken_is_refused_and_left_alone(
    little: Little, other: Path, bucket: Bucket, served: Served, tmp_path: Path
) -> None:
    address = copy_store(little.path, bucket.address("x.zarr")).path
    before = bucket.files("x.zarr")
    bucket.asked.clear()
    for source in (other, little.path):
        with pytest.raises(StoreError, match="something there already"):
            copy_store(source, address)
    assert bucket.files("x.zarr") == before
    assert bucket.count("PUT") == 0
    (tmp_path / "mine").mkdir()
    with pytest.raises(StoreError, match="something there already"):
        copy_store(address, tmp_path / "mine")
    with pytest.raises(StoreError, match="read only"):
        copy_store(little.path, f"{served.url}/new.zarr")
    with pytest.raises(StoreError, match="no bucket none"):
        copy_store(little.path, "s3://none/x.zarr")
    with pytest.raises(StoreError, match="no directory"):
        copy_store(tmp_path / "none", bucket.address("y.zarr"))
    assert bucket.files("y.zarr") == {}


def test_a_damaged_file_is_named_and_nothing_is_published(
    copied: Path, bucket: Bucket, tmp_path: Path
) -> None:
    address = bucket.upload(copied, "x.zarr")
    sound = bucket.files("x.zarr")[LABELS]
    for content, words in (
        (sound[:-1] + bytes([sound[-1] ^ 1]), "SHA-256"),
        (b"", "SHA-256"),
        (None, "missing"),
    ):
        if content is None:
            bucket.remove(f"x.zarr/{LABELS}")
        else:
            bucket.put(f"x.zarr/{LABELS}", content)
        with pytest.raises(StoreError, match=f"{LABELS} damaged: .*{words}"):
            copy_store(address, tmp_path / "got.zarr")
        assert [path.name for path in tmp_path.iterdir()] == ["copy.zarr"]
    flip(copied / LABELS, 10)
    with pytest.raises(StoreError, match=f"{LABELS} damaged"):
        copy_store(copied, bucket.address("y.zarr"))
    assert "zarr.json" not in bucket.files("y.zarr")


def test_a_damaged_store_is_fetched_repaired_and_published_again(
    little: Little, bucket: Bucket, tmp_path: Path
) -> None:
    address = bucket.upload(little.path, "x.zarr")
    bucket.remove(f"x.zarr/{LABELS}")
    bucket.put("x.zarr/start/c/0", b"flipped")
    with pytest.raises(StoreError, match=r"mfdstore copy s3://lab/x\.zarr PATH --damaged"):
        repair_store(address, RepairSources())
    done = copy_store(address, tmp_path / "got.zarr", damaged=True)
    assert done.damaged == (f"{LABELS}: it is missing", "start/c/0: its SHA-256 is another")
    assert not repair_store(tmp_path / "got.zarr", RepairSources()).lost
    copy_store(tmp_path / "got.zarr", bucket.address("y.zarr"))
    assert bucket.files("y.zarr") == files_of(little.path)
    with pytest.raises(ConfigError, match="--damaged"):
        copy_store(address, bucket.address("z.zarr"), damaged=True)


@pytest.mark.parametrize("lost", ["zarr.json", "manifest/name/c/0", "manifest/sha256/c/0/0"])
def test_a_store_that_lost_what_describes_it_is_fetched_as_well(
    little: Little, bucket: Bucket, tmp_path: Path, lost: str
) -> None:
    address = bucket.upload(little.path, "x.zarr")
    bucket.put(f"x.zarr/{lost}", b"flipped")
    with pytest.raises(StoreError):
        copy_store(address, tmp_path / "not.zarr")
    copy_store(address, tmp_path / "got.zarr", damaged=True)
    repair_store(tmp_path / "got.zarr", RepairSources())
    assert files_of(tmp_path / "got.zarr") == files_of(little.path)


def test_a_copy_that_broke_off_goes_on(
    little: Little, bucket: Bucket, served: Served, tmp_path: Path
) -> None:
    n_files = len(files_of(little.path))
    served.always[f"little.zarr/{LABELS}"] = status(500)
    there = f"{served.url}/little.zarr"
    with pytest.raises(RemoteError, match="the answer 500"):
        copy_store(there, tmp_path / "got.zarr")
    assert [path.name for path in tmp_path.iterdir()] == [".got.zarr.copying"]
    served.always.clear()
    served.tricks["little.zarr/start/c/0"] = [cut(3)]
    assert 0 < copy_store(there, tmp_path / "got.zarr").n_there < n_files
    assert files_of(tmp_path / "got.zarr") == files_of(little.path)
    assert [path.name for path in tmp_path.iterdir()] == ["got.zarr"]

    n_sent = [0]

    def breaks(method: str, path: str) -> int | None:
        n_sent[0] += method == "PUT"
        return 503 if method == "PUT" and n_sent[0] > 9 else None

    bucket.answers = breaks
    with pytest.raises(RemoteError, match="the answer 503"):
        copy_store(little.path, bucket.address("x.zarr"))
    left = bucket.files("x.zarr")
    assert left
    assert "zarr.json" not in left
    with pytest.raises(StoreError, match="no store"):
        Store(bucket.address("x.zarr"))
    bucket.answers = lambda method, path: None
    bucket.asked.clear()
    done = copy_store(little.path, bucket.address("x.zarr"))
    assert done.n_there == len(left)
    assert bucket.count("PUT") == n_files - len(left)
    assert bucket.files("x.zarr") == files_of(little.path)


def test_what_is_there_is_compared_where_the_server_tells_no_md5(little: Little, bucket: Bucket) -> None:
    expected = files_of(little.path)
    bucket.put(f"x.zarr/{LABELS}", expected[LABELS])
    bucket.disguise(f"x.zarr/{LABELS}")
    assert copy_store(little.path, bucket.address("x.zarr")).n_there == 1
    assert bucket.files("x.zarr") == expected


@pytest.mark.parametrize("name", ["zarr.txt", LABELS])
def test_what_another_upload_left_is_never_overwritten(little: Little, bucket: Bucket, name: str) -> None:
    bucket.put(f"x.zarr/{name}", b"another's")
    with pytest.raises(StoreError, match=f"objects of another upload.*{name}"):
        copy_store(little.path, bucket.address("x.zarr"))
    left = bucket.files("x.zarr")
    assert left[name] == b"another's"
    assert "zarr.json" not in left


def test_two_that_write_to_one_name_never_mix(little: Little, other: Path, bucket: Bucket) -> None:
    stores = [little.path, other]
    contents = [files_of(path) for path in stores]
    for turn in range(3):
        address = bucket.address(f"{turn}.zarr")
        begin = threading.Barrier(2)
        failed: list[MfdError] = []

        def publish(path: Path, begin: threading.Barrier, address: str, failed: list[MfdError]) -> None:
            begin.wait()
            try:
                copy_store(path, address)
            except MfdError as error:
                failed.append(error)

        threads = [threading.Thread(target=publish, args=(path, begin, address, failed)) for path in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        there = bucket.files(f"{turn}.zarr")
        assert failed
        if "zarr.json" in there:
            assert there in contents
        else:
            assert len(failed) == 2  # each met what the other had sent


# ---- builds


def test_a_build_to_s3_equals_the_local_build(little: Little, bucket: Bucket, tmp_path: Path) -> None:
    told: list[str] = []
    address = bucket.address("built.zarr")
    report = build_store(
        little.sources,
        address,
        settings(),
        lambda stage, *_: told.append(stage),
        Resources(scratch=tmp_path / "w"),
    )
    assert bucket.files("built.zarr") == files_of(little.path)
    assert str(report.path) == address
    assert report.digest == little.report.digest
    assert report.counts == little.report.counts
    assert told[-1] == "upload"
    assert report.seconds["upload"] > 0
    assert list((tmp_path / "w").iterdir()) == []
    whole = b"".join(bucket.files("built.zarr").values())
    for secret in (KEY, SECRET, bucket.url):
        assert secret.encode() not in whole


def test_a_build_to_a_name_that_is_taken_is_refused_before_it_begins(
    little: Little, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = str(copy_store(little.path, bucket.address("taken.zarr")).path)
    bucket.put("half.zarr/label_bits/c/0/0", b"another's")
    resources = Resources(scratch=tmp_path / "w")
    told: list[str] = []
    for out, words in (
        (taken, "something there already"),
        (bucket.address("half.zarr"), "objects of another upload"),
        ("http://127.0.0.1:9/x.zarr", "read only"),
        ("s3://none/x.zarr", "no bucket"),
        ("gs://lab/x.zarr", "gs://"),
        (str(little.path), "something there already"),
    ):
        with pytest.raises(StoreError, match=words):
            build_store(little.sources, out, settings(), lambda stage, *_: told.append(stage), resources)
        with pytest.raises(StoreError, match=words):
            check_out(out, resources)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="no AWS_SECRET_ACCESS_KEY"):
        build_store(little.sources, bucket.address("new.zarr"), settings(), resources=resources)
    assert told == []
    assert not (tmp_path / "w").exists()


KILLED = """
import os, signal, sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from mfdstore.build.run import build_store
from mfdstore.build.settings import Resources, Sources
from tests.worlds import settings

folder, out, scratch, after = sys.argv[1:]
def on_progress(stage, done, total):
    if stage == "upload" and done == int(after):
        os.kill(os.getpid(), signal.SIGKILL)

folder = Path(folder)
sources = Sources(*(None if name == "-" else Path(name) for name in sys.stdin.read().split("\\n")))
build_store(sources, out, settings(), on_progress, Resources(jobs=1, scratch=Path(scratch)))
"""


def test_a_build_killed_in_its_upload_leaves_no_store_and_goes_on(
    little: Little, bucket: Bucket, tmp_path: Path
) -> None:
    expected = files_of(little.path)
    address, scratch = bucket.address("killed.zarr"), tmp_path / "w"
    sources = little.sources
    given = [sources.fasta, sources.peaks, sources.metadata, sources.report, sources.blacklist]
    text = "\n".join("-" if path is None else str(path) for path in given)
    for after in (1, len(expected) // 2, len(expected) - 1):
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), address, str(scratch), str(after)],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
        there = bucket.files("killed.zarr")
        assert there
        assert "zarr.json" not in there
        with pytest.raises(StoreError, match="no store"):
            Store(address)
    n_left = len(bucket.files("killed.zarr"))
    bucket.asked.clear()
    report = build_store(little.sources, address, settings(), resources=Resources(scratch=scratch))
    assert bucket.files("killed.zarr") == expected
    assert bucket.count("PUT") == len(expected) - n_left
    assert report.digest == little.report.digest
    assert list(scratch.iterdir()) == []


def test_a_build_whose_upload_fails_is_kept_and_says_where(
    little: Little, bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resources = Resources(scratch=tmp_path)
    address = bucket.address("x.zarr")
    bucket.answers = lambda method, path: 403 if method == "PUT" else None
    with pytest.raises(RemoteError, match="the answer 403"):
        build_store(little.sources, address, settings(), resources=resources)
    (kept,) = tmp_path.iterdir()
    assert str(kept) in caplog.text
    assert SECRET not in caplog.text
    copy_store(kept / "store", tmp_path / "taken out.zarr")
    assert files_of(tmp_path / "taken out.zarr") == files_of(little.path)
    bucket.answers = lambda method, path: None
    changed = replace(little.sources, blacklist=None)
    build_store(changed, address, settings(), resources=resources)
    assert verify_store(address).sound
    assert Store(address).digest != little.report.digest  # what changed of the sources was built anew


def test_a_name_taken_while_it_was_built_is_left_alone(
    little: Little, other: Path, bucket: Bucket, tmp_path: Path
) -> None:
    address = bucket.address("x.zarr")

    def meanwhile(stage: str, done: int, total: int) -> None:
        if stage == "bins" and done == total and not bucket.files("x.zarr"):
            copy_store(other, address)

    with pytest.raises(StoreError, match="something there already"):
        build_store(little.sources, address, settings(), meanwhile, Resources(scratch=tmp_path))
    assert bucket.files("x.zarr") == files_of(other)


def test_a_server_without_parts_of_files_is_enough_to_fetch_from(little: Little, tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=little.path.parent)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/little.zarr"
        assert Store(address).experiments == little.store.experiments
        with pytest.raises(RemoteError, match=f"gives no parts of files.*mfdstore copy {address} PATH"):
            Store(address).label_bits(0, 1)
        copy_store(address, tmp_path / "got.zarr")
        server.shutdown()
    assert files_of(tmp_path / "got.zarr") == files_of(little.path)


def test_a_store_is_not_written_into_another(little: Little, copied: Path, bucket: Bucket) -> None:
    address = bucket.address("around.zarr")
    copy_store(little.path, address)
    before = bucket.files("around.zarr")
    with pytest.raises(RemoteError, match=r"a name within the store s3://"):
        copy_store(little.path, f"{address}/inner/x.zarr")
    assert bucket.files("around.zarr") == before
    for inner in (copied / "inner.zarr", copied / "label_bits" / "inner.zarr"):
        with pytest.raises(StoreError, match="a name within the store"):
            copy_store(little.path, inner)
        with pytest.raises(StoreError, match="a name within the store"):
            build_store(little.sources, inner, settings())
    assert files_of(copied) == files_of(little.path)
