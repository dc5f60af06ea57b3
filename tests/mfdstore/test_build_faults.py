"""A build on a disk that fills up, and before the eyes of a reader: a whole store or none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mfdstore.build.run import build_store
from mfdstore.errors import StoreError
from mfdstore.store import Store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.worlds import settings

_ON_A_SMALL_DISK = """
import json, os, sys
from pathlib import Path
from mfdstore.build.run import build_store
from mfdstore.build.settings import Sources
from mfdstore.errors import StoreError
from mfdstore.verify import verify_store
from tests.worlds import settings
folder, disk = Path(sys.argv[1]), Path(sys.argv[2])
sources = Sources(
    folder / "genome.fa", folder / "peaks", folder / "metadata.tsv", folder / "report.tsv", folder / "blacklist.bed"
)
found = None
try:
    build_store(sources, disk / "x.zarr", settings())
except StoreError as error:
    found = error.found
left = os.listdir(disk)
print(json.dumps({"found": found, "left": left, "sound": bool(left) and verify_store(disk / "x.zarr").sound}))
"""


def _small_disks() -> str:
    """Say why no small file system can be mounted here; nothing if one can."""
    if shutil.which("unshare") is None:
        return "no unshare: no disk of a few kilobytes can be mounted"
    tried = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else "this user may not mount a disk of a few kilobytes"


def test_build__on_a_full_disk_leaves_a_whole_store_or_nothing(little: Little, tmp_path: Path) -> None:
    reason = _small_disks()
    if reason:
        pytest.skip(reason)
    disk = tmp_path / "disk"
    disk.mkdir()
    ended = []
    for kilobytes in (16, 64, 128, 192, 256, 384, 4096):
        mount = f'mount -t tmpfs -o size={kilobytes}k none "$2" && exec "$0" -c "$1" "$3" "$2"'
        done = subprocess.run(
            [
                *("unshare", "--mount", "--map-root-user", "sh", "-c", mount),
                *(sys.executable, _ON_A_SMALL_DISK, str(disk), str(little.sources.fasta.parent)),
            ],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(done.stdout)
        if said["found"] is None:
            assert said["left"] == ["x.zarr"]
            assert said["sound"]
        else:
            assert said["found"].startswith("no room")
            assert said["left"] == []
        ended.append(said["found"] is None)
    assert not ended[0]
    assert ended[-1]


def test_build__is_seen_by_a_reader_only_when_it_is_whole(little: Little, tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    seen: list[bool] = []
    refused = 0
    ended = threading.Event()

    def read() -> None:
        nonlocal refused
        while not seen:
            last = ended.is_set()
            try:
                store = Store(out)
                same = np.array_equal(store.label_bits(), little.store.label_bits())
                seen.append(same and store.digest == little.report.digest and verify_store(out).sound)
            except StoreError:
                refused += 1
            if last:
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        build_store(little.sources, out, settings())
    finally:
        ended.set()
        reader.join()
    assert seen == [True]
    assert refused > 0


_SINK_ONTO_A_FULL_DISK = """
import sys
from pathlib import Path
import polars as pl
from mfdstore.export.parquet import _sink
disk = Path(sys.argv[1])
(disk / "full").write_bytes(bytes(64 << 10))
table = pl.DataFrame({f"column_{index}": ["x"] for index in range(int(sys.argv[2]))})
try:
    _sink(iter([table]), table.schema, disk / "x.parquet")
except OSError as error:
    print(error.strerror, sorted(path.name for path in disk.iterdir()))
"""


@pytest.mark.parametrize("n_columns", [1, 400])  # what polars says depends on how much it writes at a time
def test_export__of_parquet_onto_a_disk_that_is_full_before(tmp_path: Path, n_columns: int) -> None:
    reason = _small_disks()
    if reason:
        pytest.skip(reason)
    mount = 'mount -t tmpfs -o size=64k none "$2" && exec "$0" -c "$1" "$2" "$3"'
    ended = subprocess.run(
        [
            *("unshare", "--mount", "--map-root-user", "sh", "-c", mount),
            *(sys.executable, _SINK_ONTO_A_FULL_DISK, str(tmp_path), str(n_columns)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "No space left on device ['full', 'x.parquet']\n", ended.stderr
