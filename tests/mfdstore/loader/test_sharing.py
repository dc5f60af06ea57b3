"""Judges of the copy that processes share: its inode and its locks by the system, and who reads the store."""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfdstore.errors import StoreError
from mfdstore.loader import Loader, RamData
from mfdstore.loader.sharing import MEMORY_FOLDER, share_ram
from mfdstore.store import Store
from tests.mfdstore.loader.programs import Programs, Running
from tests.mfdstore.loader.watching import assert_equal, descriptors, wait_until

# tells how many parts of the store it read, and what its copy holds
SHARE = """
import hashlib, json, os, time
from pathlib import Path
from mfdstore.loader.sharing import share_ram
path, folder, how = sys.argv[1:]
plain, asked = Store.part, []
def part(self, *what):
    asked.append(what)
    if how == "slowly" and len(asked) > 3:
        os.write(1, b"filling\\n")  # whole, whichever of the threads is first
        time.sleep(0.2)
    if how == "half" and len(asked) > 3:
        os.write(1, b"filling\\n")  # whole, whichever of the threads is first
        time.sleep(60)
    return plain(self, *what)
Store.part = part
data = share_ram(Store(path), folder=Path(folder))
digest = hashlib.sha256(data.codes.tobytes() + data.label_bits.tobytes()).hexdigest()
print(json.dumps([len(asked), digest]), flush=True)
if how == "fork":
    if os.fork() == 0:
        del data
        sys.exit(0)
    os.wait()
    print(json.dumps(os.listdir(folder)), flush=True)
while how == "stay":
    time.sleep(0.01)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for copies; whether it is memory is all the same to the locks."""
    made = tmp_path / "memory"
    made.mkdir()
    return made


@pytest.fixture
def share(programs: Programs, store: Any, folder: Path) -> Callable[[str], Running]:
    return lambda how: programs.start(SHARE, store.path, folder, how)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List what this process reads of stores."""
    plain, read = Store.part, list[str]()

    def part(self: Store, name: str, start: int, length: int) -> bytes:
        read.append(name)
        return plain(self, name, start, length)

    monkeypatch.setattr(Store, "part", part)
    return read


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def told(running: Running, line: int = 0) -> tuple[int, str]:
    n_parts, digest = json.loads(running.line(line))
    return n_parts, digest


def test_share_ram__is_what_ram_data_is(store: Any, folder: Path) -> None:
    data = share_ram(store, folder=folder)
    alone = RamData(store)
    np.testing.assert_array_equal(data.codes, alone.codes)
    np.testing.assert_array_equal(data.label_bits, alone.label_bits)
    options: dict[str, Any] = {"batch_size": 32, "positions": 300, "shuffle": True, "strand": "random"}
    assert_equal(Loader(store, data=data, **options), Loader(store, data=alone, **options))


def test_share_ram__is_in_a_folder_that_is_memory(store: Any) -> None:
    name = f"mfdstore-{os.getuid()}-{store.digest[:32]}-8200"
    data = share_ram(store, flank=8200)
    in_memory = MEMORY_FOLDER / name
    assert in_memory.exists() == MEMORY_FOLDER.is_dir()
    del data
    gc.collect()
    assert not in_memory.exists()


def test_share_ram__the_second_does_not_read(store: Any, folder: Path, parts: list[str]) -> None:
    one = share_ram(store, folder=folder)
    assert parts
    parts.clear()
    inode = only_file(folder).stat().st_ino
    two = share_ram(store, folder=folder)
    assert not parts
    assert only_file(folder).stat().st_ino == inode
    # what is written by one is seen by the other: it is one memory
    one.codes[0] = 7
    assert two.codes[0] == 7
    assert only_file(folder).stat().st_mode & 0o777 == 0o600


def test_share_ram__processes_hold_one_copy_until_the_last_leaves(
    share: Callable[[str], Running], store: Any, folder: Path, parts: list[str]
) -> None:
    first, second = share("stay"), share("stay")
    read, digests = zip(told(first), told(second), strict=True)
    assert sorted(read)[0] == 0 < sorted(read)[1]
    assert len(set(digests)) == 1
    parts.clear()
    mine = share_ram(store, folder=folder)
    assert not parts
    file = only_file(folder)
    for process in (first, second):
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
        assert f" {file.stat().st_ino} " in maps
    for process in (first, second):
        process.signal(signal.SIGTERM)
        process.wait()
        assert file.exists()
    assert mine.codes[0] == 16
    del mine
    gc.collect()
    assert not list(folder.iterdir())


def test_share_ram__many_that_begin_together_read_once(share: Callable[[str], Running], folder: Path) -> None:
    running = [share("slowly") for _ in range(6)]
    results = [process.result() for process in running]
    assert len({digest for _, digest in results}) == 1
    # whoever came when the last of the others had left reads again
    assert sum(read > 0 for read, _ in results) == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize("n_killed", [1, 3])
def test_share_ram__takes_over_what_killed_processes_left(
    share: Callable[[str], Running], store: Any, folder: Path, parts: list[str], n_killed: int
) -> None:
    running = [share("stay") for _ in range(n_killed)]
    for process in running:
        told(process)
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    inode = only_file(folder).stat().st_ino
    parts.clear()
    data = share_ram(store, folder=folder)
    assert not parts
    assert only_file(folder).stat().st_ino == inode
    np.testing.assert_array_equal(data.codes, RamData(store).codes)
    del data
    gc.collect()
    assert not list(folder.iterdir())


def test_share_ram__sweeps_what_killed_processes_left_of_other_stores(
    share: Callable[[str], Running], store: Any, new_store: Callable[..., Any], folder: Path
) -> None:
    kept, killed = share("stay"), share("stay")
    told(kept)
    told(killed)
    left = only_file(folder)
    other = new_store({"chr1": 700}, n_windows=20, seed=5)
    killed.signal(signal.SIGKILL)
    killed.wait()
    data = share_ram(other, folder=folder)
    assert left.exists()  # somebody holds it yet
    kept.signal(signal.SIGKILL)
    kept.wait()
    wider = share_ram(other, folder=folder, flank=9000)
    assert not left.exists()
    assert len(list(folder.iterdir())) == 2
    del data, wider
    gc.collect()
    assert not list(folder.iterdir())


def test_share_ram__fills_anew_what_a_killed_process_had_half_filled(
    share: Callable[[str], Running], store: Any, folder: Path, parts: list[str]
) -> None:
    filling = share("half")
    assert filling.line() == "filling"
    length = only_file(folder).stat().st_size
    waiting = share("")
    # it waits while the other one fills
    assert not wait_until(lambda: waiting.ended() is not None or bool(waiting.out), 0.3)
    filling.signal(signal.SIGKILL)
    read, _ = waiting.result()
    assert read
    data = share_ram(store, folder=folder)
    assert only_file(folder).stat().st_size == length
    np.testing.assert_array_equal(data.codes, RamData(store).codes)


def test_share_ram__an_interrupt_while_it_waits_or_fills_leaves_nothing(
    share: Callable[[str], Running], folder: Path
) -> None:
    filling = share("slowly")
    filling.line()
    waiting = share("")
    assert not wait_until(lambda: waiting.ended() is not None, 0.2)
    waiting.signal(signal.SIGINT)
    assert waiting.wait(10) == -signal.SIGINT
    filling.signal(signal.SIGINT)
    assert filling.wait(10) == -signal.SIGINT
    assert not list(folder.iterdir())


def test_share_ram__a_fork_that_ends_takes_nothing_away(
    share: Callable[[str], Running], folder: Path
) -> None:
    running = share("fork")
    assert len(running.result()) == 1
    assert not list(folder.iterdir())


def test_share_ram__a_damaged_store_leaves_no_copy(store: Any, tmp_path: Path, folder: Path) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "copy.zarr"))
    (path / "sequence/chrX/c/0").unlink()
    before = descriptors()
    for _ in range(3):
        with pytest.raises(StoreError, match=r"array sequence/chrX with a damaged chunk"):
            share_ram(Store(path), folder=folder)
    assert not list(folder.iterdir())
    gc.collect()
    assert descriptors() == before


# no room, and what others put there


NO_ROOM = """
import json, resource, signal
from pathlib import Path
from mfdstore.errors import StoreError
from mfdstore.loader.sharing import share_ram
path, folder = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    share_ram(Store(path), folder=Path(folder))
except StoreError as error:
    print(json.dumps(str(error)))
"""


def test_share_ram__says_that_there_is_no_room(programs: Programs, store: Any, folder: Path) -> None:
    """A real limit of the system, not of the file system."""
    said = programs.start(NO_ROOM, store.path, folder).result()
    assert "no room for 3" in said
    assert f"bytes in {folder} (File too large)" in said
    assert 'mode="stream"' in said
    assert not list(folder.iterdir())


def test_share_ram__says_that_the_disk_is_full(
    store: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fill)
    before = descriptors()
    with pytest.raises(StoreError, match=r"no room for [\d,]+ bytes in .* \(No space left on device\)"):
        share_ram(store, folder=folder)
    assert not list(folder.iterdir())
    assert descriptors() == before


def test_share_ram__says_that_there_is_no_folder(store: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be opened \(No such file or directory\)"):
        share_ram(store, folder=tmp_path / "nowhere")


def name_of(store: Any, folder: Path) -> Path:
    """Find out under which name the copy would be."""
    data = share_ram(store, folder=folder)
    name = only_file(folder).name
    del data
    gc.collect()
    return folder / name


def test_share_ram__does_not_follow_a_link(store: Any, folder: Path, tmp_path: Path) -> None:
    name = name_of(store, folder)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name.symlink_to(victim)
    with pytest.raises(StoreError, match="cannot be opened"):
        share_ram(store, folder=folder)
    assert victim.read_text() == "precious"
    assert name.is_symlink()
    # nor when it sweeps
    with pytest.raises(StoreError, match="cannot be opened"):
        share_ram(store, folder=folder)
    other = share_ram(store, folder=folder, flank=9000)
    assert name.is_symlink()
    assert victim.read_text() == "precious"
    del other


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_share_ram__refuses_what_is_no_file(store: Any, folder: Path, kind: str) -> None:
    name = name_of(store, folder)
    if kind == "folder":
        name.mkdir()
    else:
        os.mkfifo(name)
    with pytest.raises(StoreError, match=r"cannot be opened|no file of this user"):
        share_ram(store, folder=folder)
    other = share_ram(store, folder=folder, flank=9000)
    assert name.exists()
    del other


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_share_ram__trusts_no_file_of_another_user(store: Any, folder: Path) -> None:
    name = name_of(store, folder)
    name.write_bytes(b"planted")
    os.chown(name, 12_345, 12_345)
    with pytest.raises(StoreError, match="no file of this user"):
        share_ram(store, folder=folder)
    other = share_ram(store, folder=folder, flank=9000)
    assert name.read_bytes() == b"planted"
    del other


def test_share_ram__leaves_files_of_other_names_alone(store: Any, folder: Path) -> None:
    names = [f"mfdstore-{os.getuid() + 1}-abc-8192", "mfdstore", f"xmfdstore-{os.getuid()}-abc"]
    for name in names:
        (folder / name).write_text("precious")
    data = share_ram(store, folder=folder)
    assert len(list(folder.iterdir())) == 4
    del data
    gc.collect()
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)


def test_share_ram__keeps_its_lock_while_it_is_used(store: Any, folder: Path) -> None:
    data = share_ram(store, folder=folder)
    loader = Loader(store, batch_size=8, positions=10, data=data)
    del data
    gc.collect()
    with only_file(folder).open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert sum(map(len, loader)) == 300
    batch = next(iter(loader))
    before = batch.codes.clone()
    del loader
    gc.collect()
    assert not list(folder.iterdir())
    assert (batch.codes == before).all()
