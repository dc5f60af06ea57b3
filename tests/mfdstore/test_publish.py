"""A name is given to what is whole, and to nothing else."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mfdstore.errors import StoreError
from mfdstore.publish import beside, published


def _hidden(out: Path, process: int, host: str = "") -> Path:
    return out.parent / f".{out.name}.writing-{host or socket.gethostname()}-{process}"


def _ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_published__gives_the_name_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "x"
    with published(out) as folder:
        assert folder.parent == tmp_path
        assert list(folder.iterdir()) == []
        (folder / "a").write_text("b")
        assert not out.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "a"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError, PermissionError])
def test_published__a_fault_leaves_nothing_and_keeps_its_kind(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fill() -> None:
        with published(tmp_path / "x") as folder:
            (folder / "a").write_text("b")
            raise error("boom")

    with pytest.raises(error, match="boom"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "link", "dangling link"])
def test_published__never_touches_what_is_there(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "x"
    if "folder" in kind:
        out.mkdir()
        if kind == "folder":
            (out / "kept").write_text("a")
    elif "link" in kind:
        out.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    else:
        out.write_text("kept")
    entered = False
    with pytest.raises(StoreError, match="found something there already"), published(out):
        entered = True
    assert not entered
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_published__never_touches_what_came_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "x"

    def fill() -> None:
        with published(out):
            out.mkdir()
            (out / "theirs").write_text("a")

    with pytest.raises(StoreError, match="found something there already"):
        fill()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["x", "x/theirs"]


def test_published__clears_up_after_the_dead_only(tmp_path: Path) -> None:
    out = tmp_path / "a[b]*.zarr"
    dead, own = _hidden(out, _ended_process()), _hidden(out, os.getpid())
    alive, abroad = _hidden(out, os.getppid()), _hidden(out, 1, "elsewhere")
    other = _hidden(tmp_path / "ab.zarr", _ended_process())
    odd = tmp_path / f"{_hidden(out, 0).name}x"
    for folder in (dead, own, alive, abroad, other, odd):
        folder.mkdir()
        (folder / "left").write_text("a")
    with published(out) as folder:
        (folder / "new").write_text("a")
    assert sorted(path.name for path in out.iterdir()) == ["new"]
    assert {path for path in tmp_path.iterdir() if path != out} == {alive, abroad, other, odd}


def test_published__never_touches_what_a_host_of_a_longer_name_writes(tmp_path: Path) -> None:
    out = tmp_path / "x"
    theirs = _hidden(out, _ended_process(), f"{socket.gethostname()}-2")
    theirs.mkdir()
    with published(out):
        assert theirs.is_dir()


def test_published__wants_the_folder_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found no folder"), published(tmp_path / "a" / "b"):
        pass
    (tmp_path / "file").write_text("a")
    with pytest.raises(StoreError, match="found no folder"), published(tmp_path / "file" / "b"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_published__says_that_a_folder_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    entered = False
    with pytest.raises(StoreError, match="cannot be written"), published(tmp_path / "x"):
        entered = True
    tmp_path.chmod(0o700)
    assert not entered


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
def test_published__says_at_once_that_nobody_can_write_there() -> None:
    entered = False
    with pytest.raises(StoreError, match="cannot be written"), published(Path("/proc/x.zarr")):
        entered = True
    assert not entered


def test_published__says_that_a_name_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"), published(tmp_path / ("x" * 300)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_published__explains_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found no room"), published(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
    assert list(tmp_path.iterdir()) == []


def test_beside__removes_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    path.mkdir()
    left = tmp_path / f".x.zarr.repairing-{socket.gethostname()}-{_ended_process()}"
    left.mkdir()
    (left / "half").write_text("x")
    with pytest.raises(StoreError, match="no room"):
        _fill_the_disk_beside(path, left)
    assert [one.name for one in tmp_path.iterdir()] == ["x.zarr"]


def _fill_the_disk_beside(path: Path, left: Path) -> None:
    with beside(path) as folder:
        assert not left.exists()
        assert folder.parent == path.parent
        raise OSError(errno.ENOSPC, "No space left on device")


def test_beside__names_no_option_that_a_repair_does_not_have(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreError, match="found no room") as caught, beside(tmp_path / "x.zarr"):
        raise full
    assert "--out" not in str(caught.value)
    with pytest.raises(StoreError, match="cannot be written") as caught, beside(tmp_path / "none" / "x.zarr"):
        pass
    assert "--out" not in str(caught.value)
