"""Downloads from a real server that stumbles on purpose: what lands on disk, and how often it was asked."""

from __future__ import annotations

import email.utils
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfdstore.errors import ConfigError, DownloadError
from mfdstore.sources.cache import cache_folder, cached, held
from mfdstore.sources.downloads import Wanted, check_digest, check_name, download, download_all, is_whole
from mfdstore.sources.web import Patience, Web, check_address
from tests.portal import (
    Loopback,
    cut,
    endless,
    in_chunks,
    instead,
    no_ranges,
    redirect,
    serving,
    slowly,
    stall,
    status,
)

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.02, read_timeout=0.5, connect_timeout=2)
CONTENT = random.Random(1).randbytes(300_000)
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
PATH = "/a/file.bed.gz"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as loopback:
        loopback.files[PATH] = CONTENT
        yield loopback


def _wanted(
    served: Loopback, folder: Path, digest: str | None = MD5, size: int | None = None, path: str = PATH
) -> Wanted:
    return Wanted(served.url(path), folder / "file.bed.gz", digest, size, "the metadata")


def _only(folder: Path) -> bytes:
    """Give the content of the one file that a finished download leaves."""
    assert [path.name for path in folder.iterdir()] == ["file.bed.gz"]
    return (folder / "file.bed.gz").read_bytes()


def _ranges(served: Loopback) -> list[str | None]:
    return [asked.range for asked in served.requests(PATH)]


def test_download__whole(served: Loopback, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(Web(QUICK), _wanted(served, tmp_path), lambda done, total: seen.append((done, total)))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == [None]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert served.asked[0].headers["user-agent"].startswith("mfdstore/")
    assert served.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("digest", [MD5, None])
def test_download__goes_on_where_it_was_cut(served: Loopback, tmp_path: Path, digest: str | None) -> None:
    served.tricks[PATH] = [cut(100_000), cut(50_000)]
    download(Web(QUICK), _wanted(served, tmp_path, digest))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == [None, "bytes=100000-", "bytes=150000-"]
    assert "if-range" in served.asked[1].headers


def test_download__goes_on_in_another_process(served: Loopback, tmp_path: Path) -> None:
    served.always[PATH] = cut(70_000)
    with pytest.raises(DownloadError, match=r"breaks off"):
        download(Web(Patience(attempts=1)), _wanted(served, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".file.bed.gz.part",
        ".file.bed.gz.part.version",
    ]
    del served.always[PATH]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == [None, "bytes=70000-"]


def test_download__starts_over_where_the_server_ignores_ranges(served: Loopback, tmp_path: Path) -> None:
    served.tricks[PATH] = [cut(100_000), no_ranges]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == [None, "bytes=100000-"]


def test_download__starts_over_where_the_file_became_another(served: Loopback, tmp_path: Path) -> None:
    served.tricks[PATH] = [cut(100_000)]
    web = Web(Patience(attempts=1))
    with pytest.raises(DownloadError):
        download(web, _wanted(served, tmp_path, None))
    other = CONTENT[::-1]
    served.files[PATH] = other
    download(web, _wanted(served, tmp_path, None))  # If-Range: the server itself sends the whole
    assert _only(tmp_path) == other


def test_download__without_digest_or_version_does_not_go_on(served: Loopback, tmp_path: Path) -> None:
    served.tricks[PATH] = [cut(100_000, tag=False)]
    download(Web(QUICK), _wanted(served, tmp_path, None))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == [None, None]


@pytest.mark.parametrize("left", [0, 1, 299_999, 300_000, 300_001, 500_000])
@pytest.mark.parametrize("size", [None, 300_000])
def test_download__whatever_part_was_left(
    served: Loopback, tmp_path: Path, left: int, size: int | None
) -> None:
    (tmp_path / ".file.bed.gz.part").write_bytes((CONTENT * 2)[:left])
    download(Web(QUICK), _wanted(served, tmp_path, size=size))
    assert _only(tmp_path) == CONTENT


def test_download__part_of_another_file_is_found_out(served: Loopback, tmp_path: Path) -> None:
    (tmp_path / ".file.bed.gz.part").write_bytes(bytes(1000))
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == ["bytes=1000-", None]


def test_download__wrong_bytes_once(served: Loopback, tmp_path: Path) -> None:
    served.tricks[PATH] = [instead(CONTENT[:-1] + b"?")]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert len(served.asked) == 2


def test_download__wrong_bytes_always(served: Loopback, tmp_path: Path) -> None:
    served.files[PATH] = b"other"
    with pytest.raises(DownloadError) as caught:
        download(Web(QUICK), _wanted(served, tmp_path))
    assert len(served.asked) == 2  # not as often as a server that stumbles
    text = str(caught.value)
    assert f"md5 {hashlib.md5(b'other').hexdigest()}" in text
    assert f"{MD5}, as the metadata says" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [299_999, 300_001])
def test_download__another_length_than_said(served: Loopback, tmp_path: Path, size: int) -> None:
    with pytest.raises(DownloadError, match=rf"expected {size:,} bytes, as the metadata says"):
        download(Web(QUICK), _wanted(served, tmp_path, None, size))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [404, 403, 401, 410, 400])
def test_download__refusals_are_final(served: Loopback, tmp_path: Path, code: int) -> None:
    served.always[PATH] = status(code)
    with pytest.raises(DownloadError, match=f"found {code}") as caught:
        download(Web(QUICK), _wanted(served, tmp_path))
    assert caught.value.status == code
    assert len(served.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [500, 502, 503, 504, 408, 429])
def test_download__stumbles_pass(served: Loopback, tmp_path: Path, code: int) -> None:
    served.tricks[PATH] = [status(code), status(code)]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert len(served.asked) == 3


def test_download__stumbles_without_end(served: Loopback, tmp_path: Path) -> None:
    served.always[PATH] = status(500)
    with pytest.raises(DownloadError, match=r"found 500 Internal Server Error, 3 times in a row"):
        download(Web(QUICK), _wanted(served, tmp_path))
    assert len(served.asked) == 3


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_download__leaves_the_server_alone_as_long_as_it_asks(
    served: Loopback, tmp_path: Path, code: int, as_date: bool
) -> None:
    asks = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    served.tricks[PATH] = [status(code, {"Retry-After": asks})]
    begin = time.monotonic()
    download(Web(QUICK), _wanted(served, tmp_path))
    assert time.monotonic() - begin >= 0.9
    assert _only(tmp_path) == CONTENT


@pytest.mark.parametrize("dated", [False, True], ids=["seconds", "date"])
def test_download__does_not_wait_for_a_day(served: Loopback, tmp_path: Path, dated: bool) -> None:
    # the date is made here and not where tests are collected, minutes before this one runs
    asks = email.utils.formatdate(time.time() + 86_400, usegmt=True) if dated else "86400"
    served.always[PATH] = status(429, {"Retry-After": asks})
    with pytest.raises(DownloadError, match=r"429 .*asks for a pause of 86,[34]\d\d s"):
        download(Web(QUICK), _wanted(served, tmp_path))
    assert len(served.asked) == 1


@pytest.mark.parametrize("asks", ["soon", "", "-3"])
def test_download__nonsense_for_a_pause(served: Loopback, tmp_path: Path, asks: str) -> None:
    served.tricks[PATH] = [status(429, {"Retry-After": asks})]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT


def test_download__server_that_falls_silent(served: Loopback, tmp_path: Path) -> None:
    served.tricks[PATH] = [stall(2), stall(2, after=1000)]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert _ranges(served) == [None, None, "bytes=1000-"]


def test_download__server_that_trickles(served: Loopback, tmp_path: Path) -> None:
    served.always[PATH] = slowly(0.05, block=10)
    begin = time.monotonic()
    with pytest.raises(DownloadError, match=r"too slow to wait for: \d+ bytes a second.*2 times in a row"):
        download(Web(Patience(attempts=2, first_wait=0.01, read_timeout=0.4)), _wanted(served, tmp_path))
    assert time.monotonic() - begin < 5


def test_download__slow_but_steady_is_well(served: Loopback, tmp_path: Path) -> None:
    served.always[PATH] = slowly(0.05, block=20_000)
    download(Web(Patience(attempts=1, read_timeout=0.2)), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT


def test_download__headway_counts_attempts_anew(served: Loopback, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(9 << 20)
    served.files[PATH] = content
    served.always[PATH] = cut(1_100_000)  # nine attempts, where three without headway would end it
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    download(Web(QUICK), _wanted(served, tmp_path, digest))
    assert _only(tmp_path) == content


def test_download__no_headway_without_ranges(served: Loopback, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(9 << 20)
    served.files[PATH] = content

    def cut_whole(handler, body):  # type: ignore[no-untyped-def]
        handler.begin(body, ranges=False)
        handler.wfile.write(body[:2_000_000])
        handler.hang_up()

    served.always[PATH] = cut_whole
    with pytest.raises(DownloadError, match="3 times in a row"):
        download(Web(QUICK), _wanted(served, tmp_path))
    assert len(served.asked) == 3


def test_download__follows_redirects_with_its_range(served: Loopback, tmp_path: Path) -> None:
    served.files["/storage/x"] = CONTENT
    served.always[PATH] = redirect(served.url("/storage/x"))
    served.tricks["/storage/x"] = [cut(100_000)]
    download(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert [asked.range for asked in served.requests("/storage/x")] == [None, "bytes=100000-"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "/a/file.bed.gz"])
def test_download__redirects_that_lead_nowhere(served: Loopback, tmp_path: Path, to: str) -> None:
    served.always[PATH] = redirect(to)
    with pytest.raises(DownloadError, match="expected an answer over http or https"):
        download(Web(QUICK), _wanted(served, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_download__endless(served: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfdstore.sources.downloads.LARGEST_FILE", 1_000_000)
    served.always[PATH] = endless
    with pytest.raises(DownloadError, match=r"more than 1,000,000 bytes"):
        download(Web(QUICK), _wanted(served, tmp_path))
    with pytest.raises(DownloadError, match=r"more than 5,000 bytes; expected 5,000 bytes, as the metadata"):
        download(Web(QUICK), _wanted(served, tmp_path, size=5000))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DownloadError, match=r"an answer of more than 1,000,000 bytes"):
        Web(QUICK).read(served.url(PATH), largest=1_000_000)


def test_read__tables_in_chunks(served: Loopback) -> None:
    served.tricks[PATH] = [in_chunks(after=50_000), in_chunks()]
    assert Web(QUICK).read(served.url(PATH)) == CONTENT
    assert len(served.asked) == 2


def test_download__nobody_there(tmp_path: Path) -> None:
    with serving() as gone:
        address = gone.url(PATH)
    with pytest.raises(DownloadError, match=r"no connection \(Connection refused\), 3 times in a row"):
        download(Web(QUICK), Wanted(address, tmp_path / "x"))


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://x/y",
        "/etc/passwd",
        "",
        "http://",
        "https://user:secret@host/x",
        "http://host/a b",
        "http://host/a\nb",
        "http://[::1",
        "http://host:99999/",
        "javascript:alert(1)",
    ],
)
def test_check_address__hostile(address: str) -> None:
    with pytest.raises(DownloadError, match="no address of the web"):
        check_address(address)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "-rf", "a\\b", "x" * 201, "a\nb", "a..b"])
def test_check_name__hostile(name: str) -> None:
    with pytest.raises(DownloadError, match="unfit for a file"):
        check_name(name)


@pytest.mark.parametrize("digest", ["", "md5:", "md5:12", "x" * 32, "crc32:0011", "sha1:" + "0" * 32])
def test_check_digest__is_none(digest: str) -> None:
    with pytest.raises(ConfigError, match="--digest"):
        check_digest(digest)


def test_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not is_whole(Wanted("", path))
    path.write_bytes(CONTENT)
    assert is_whole(Wanted("", path, MD5, len(CONTENT)))
    assert is_whole(Wanted("", path))
    assert not is_whole(Wanted("", path, MD5, 1))
    assert not is_whole(Wanted("", path, "md5:" + "0" * 32))


# ---- many


def _many(served: Loopback, folder: Path, n: int = 12) -> list[Wanted]:
    wanted = []
    for index in range(n):
        content = CONTENT[index:]
        served.files[f"/{index}"] = content
        wanted.append(
            Wanted(
                served.url(f"/{index}"), folder / f"{index}", f"md5:{hashlib.md5(content).hexdigest()}", None
            )
        )
    return wanted


def test_download_all__side_by_side(served: Loopback, tmp_path: Path) -> None:
    wanted = _many(served, tmp_path)
    for index in range(12):
        served.always[f"/{index}"] = slowly(0.02, block=60_000)
    seen: list[tuple[int, int]] = []
    assert (
        download_all(Web(QUICK), wanted, jobs=4, on_progress=lambda done, total: seen.append((done, total)))
        == []
    )
    assert all(is_whole(one) for one in wanted)
    assert 2 <= served.most_at_once <= 4
    assert seen == [(done, 12) for done in range(13)]


def test_download_all__one_that_fails_keeps_the_others(served: Loopback, tmp_path: Path) -> None:
    wanted = _many(served, tmp_path)
    served.always["/3"] = status(404)
    faults = download_all(Web(QUICK), wanted, jobs=2, on_progress=lambda done, total: None)
    assert [fault.where for fault in faults] == [served.url("/3")]
    assert sum(is_whole(one) for one in wanted) == 11


def test_download_all__disk_at_fault_ends_all(served: Loopback, tmp_path: Path) -> None:
    wanted = _many(served, tmp_path, 40)
    (tmp_path / ".0.part").mkdir()
    with pytest.raises(OSError, match=r"\.0\.part") as caught:
        download_all(Web(QUICK), wanted, jobs=2, on_progress=lambda done, total: None)
    assert caught.value.filename == str(tmp_path / ".0.part")
    assert len(served.asked) < 40


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_download__full_disk_names_the_file(served: Loopback, tmp_path: Path) -> None:
    (tmp_path / ".file.bed.gz.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        download(Web(QUICK), _wanted(served, tmp_path))
    assert caught.value.filename == str(tmp_path / ".file.bed.gz.part")


# ---- the cache


def test_cached__asks_once(served: Loopback, tmp_path: Path) -> None:
    for _ in range(3):
        path = cached(Web(QUICK), _wanted(served, tmp_path))
        assert path.read_bytes() == CONTENT
    assert len(served.asked) == 1
    assert _only(tmp_path) == CONTENT
    path.write_bytes(b"damaged")
    cached(Web(QUICK), _wanted(served, tmp_path))
    assert _only(tmp_path) == CONTENT
    assert len(served.asked) == 2
    cached(Web(QUICK), _wanted(served, tmp_path, None))
    assert len(served.asked) == 2
    cached(Web(QUICK), _wanted(served, tmp_path, None), refresh=True)
    assert len(served.asked) == 3


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MFD_CACHE", raising=False)
    assert cache_folder().name == "mfd"
    monkeypatch.setenv("MFD_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    assert cache_folder(tmp_path / "b") == tmp_path / "b"


_FETCH = """
import sys
from pathlib import Path
from mfdstore.sources.cache import cached, held
from mfdstore.sources.downloads import Wanted
from mfdstore.sources.web import Web
address, folder, digest = sys.argv[1:]
with held(Path(folder)):
    cached(Web(), Wanted(address, Path(folder) / "file.bed.gz", digest))
"""


def _start(served: Loopback, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _FETCH, served.url(PATH), str(folder), MD5])


def test_cached__two_processes_share_one_download(served: Loopback, tmp_path: Path) -> None:
    served.always[PATH] = slowly(0.05, block=20_000)
    processes = [_start(served, tmp_path) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "file.bed.gz").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "file.bed.gz"]
    assert len(served.asked) == 1


def test_cached__killed_and_run_again(served: Loopback, tmp_path: Path) -> None:
    served.tricks[PATH] = [slowly(0.2, block=20_000)]
    process = _start(served, tmp_path)
    part = tmp_path / ".file.bed.gz.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 60_000):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, 9)
    process.wait()
    left = part.stat().st_size
    assert not (tmp_path / "file.bed.gz").exists()
    assert _start(served, tmp_path).wait(60) == 0
    assert (tmp_path / "file.bed.gz").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "file.bed.gz"]
    assert _ranges(served) == [None, f"bytes={left}-"]


def test_held__waits_for_its_turn(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with held(tmp_path):
            order.append("second")

    with held(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
