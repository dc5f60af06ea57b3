"""Every damage of a store is found and named: the file, and the windows, experiments and positions it held."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mfdstore import schema
from mfdstore.bitmaps import turn_rows
from mfdstore.layout import write_manifest
from mfdstore.manifest import DIGESTS_FILE, METADATA_FILE, NAMES_FILE, has_manifest
from mfdstore.places.files import LocalFiles
from mfdstore.shards import Grid, find_bad_chunks
from mfdstore.store import Store
from mfdstore.verify import Damage, VerifyReport, verify_store
from mfdstore.verify.arrays import block_of_windows
from tests.mfdstore.damage import all_files, flip
from tests.worlds import ACCESSIONS


def _named(report: VerifyReport) -> dict[str, Damage]:
    assert len({damage.file for damage in report.damage}) == len(report.damage)
    return {damage.file: damage for damage in report.damage}


# ---- one flipped byte


def _flip_at_random(path: Path, n_flips: int, seed: int) -> None:
    """Flip one byte after another anywhere in a store; each must be named, and nothing beside it."""
    files = all_files(path)
    sizes = np.array([file.stat().st_size for file in files])
    draw = np.random.default_rng(seed)
    for turn in range(n_flips):
        # every other one by bytes, the rest by files: otherwise most hit the root's metadata
        index = int(draw.choice(len(files), p=sizes / sizes.sum() if turn % 2 else None))
        at, by = int(draw.integers(sizes[index])), int(draw.integers(1, 256))
        flip(files[index], at, by)
        name = files[index].relative_to(path).as_posix()
        report = verify_store(path)
        assert not report.sound, (name, at, by)
        assert set(_named(report)) == {name}, (name, at, by)
        flip(files[index], at, by)
    assert verify_store(path).sound


def test_verify__names_each_of_100_flipped_bytes(copied: Path) -> None:
    _flip_at_random(copied, 100, seed=1)


@pytest.mark.slow
def test_verify__names_each_of_500_flipped_bytes(cut_small: Path) -> None:
    _flip_at_random(cut_small, 500, seed=2)


def _unreadable(path: Path, name: str, selections: list[Any]) -> list[int]:
    """List the selections that zarr itself cannot read: checksums of chunks, judged by another reader of them."""
    array = zarr.open_array(str(path), path=name, mode="r")
    bad = []
    for index, selection in enumerate(selections):
        try:
            array[selection]
        except (ValueError, RuntimeError):
            bad.append(index)
    return bad


def _places(file: Path) -> list[int]:
    """Choose bytes of a shard: in its first chunk, further on, and in its index."""
    size = file.stat().st_size
    return [3, size // 2, size - 9]


def test_verify__names_the_windows_of_a_chunk_of_labels(cut_small: Path) -> None:
    store = Store(cut_small)
    windows = store.windows
    for file in sorted((cut_small / schema.LABEL_BITS).glob("c/*/0"))[1::3]:
        for at in _places(file):
            flip(file, at)
            bad = _unreadable(
                cut_small, schema.LABEL_BITS, [slice(row, row + 1) for row in range(len(windows))]
            )
            (damage,) = verify_store(cut_small).damage
            assert [row for low, high in damage.windows for row in range(low, high)] == bad
            assert damage.array == schema.LABEL_BITS
            assert damage.experiments == ()
            covered = [row for row in range(len(windows)) if _covers(damage, store, row)]
            assert covered == bad
            flip(file, at)


def _covers(damage: Damage, store: Store, row: int) -> bool:
    windows = store.windows
    chrom, start = windows.chroms[windows.chrom[row]], int(windows.start[row])
    for region in damage.regions:
        name, span = region.split(":")
        low, high = (int(part.replace(",", "")) for part in span.split("-"))
        if name == chrom and low <= start < high:
            return True
    return False


def test_verify__names_the_experiments_and_windows_of_a_chunk_of_lines(cut_small: Path) -> None:
    n_windows = Store(cut_small).n_windows
    width = schema.n_bytes(n_windows)
    for file in sorted((cut_small / schema.LABEL_BITS_BY_EXPERIMENT).glob("c/*/0")):
        for at in _places(file):
            flip(file, at)
            (damage,) = verify_store(cut_small).damage
            lines = _unreadable(cut_small, schema.LABEL_BITS_BY_EXPERIMENT, list(range(len(ACCESSIONS))))
            assert list(damage.experiments) == [ACCESSIONS[line] for line in lines]
            columns = _unreadable(
                cut_small, schema.LABEL_BITS_BY_EXPERIMENT, [(slice(None), column) for column in range(width)]
            )
            expected = {8 * column + bit for column in columns for bit in range(8)} & set(range(n_windows))
            assert {row for low, high in damage.windows for row in range(low, high)} == expected
            flip(file, at)


def test_verify__names_the_positions_of_a_chunk_of_the_sequence(cut_small: Path) -> None:
    size = dict(zip(Store(cut_small).chroms, Store(cut_small).chrom_sizes, strict=True))["chr1"]
    for file in sorted((cut_small / "sequence" / "chr1" / "c").iterdir())[::2]:
        flip(file, 20)
        (damage,) = verify_store(cut_small).damage
        (region,) = damage.regions
        low, high = (int(part.replace(",", "")) for part in region.removeprefix("chr1:").split("-"))
        steps = [slice(first, first + 1) for first in range(0, size, 128)]
        assert [128 * step for step in _unreadable(cut_small, "sequence/chr1", steps)] == [
            first for first in range(0, size, 128) if low <= first < high
        ]
        assert (damage.n_bad_chunks, high - low <= 256) == (1, True)
        flip(file, 20)


def test_verify__names_the_windows_of_a_chunk_of_a_coordinate(cut_small: Path) -> None:
    flip(cut_small / "n_positive" / "c" / "1", 3)
    (damage,) = verify_store(cut_small).damage
    assert (damage.file, damage.array, damage.windows) == ("n_positive/c/1", "n_positive", ((20, 40),))
    assert damage.holds.startswith("n_positive: windows 20-39, chr1:")


# ---- other damage


Wreck = Callable[[Path], None]


def _all(*wrecks: Wreck) -> Wreck:
    def wreck(path: Path) -> None:
        for one in wrecks:
            one(path)

    return wreck


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


SPOILED: dict[str, tuple[Wreck, dict[str, str]]] = {
    "chunk cut short": (
        lambda path: _write(path / "start/c/0", (path / "start/c/0").read_bytes()[:-1]),
        {"start/c/0": "damaged"},
    ),
    "chunk emptied": (lambda path: _write(path / "lab/c/0", b""), {"lab/c/0": "damaged"}),
    "chunk deleted": (lambda path: (path / "lab/c/0").unlink(), {"lab/c/0": "missing"}),
    "shard deleted": (lambda path: (path / "label_bits/c/0/0").unlink(), {"label_bits/c/0/0": "missing"}),
    "a folder in place of a shard": (
        _all(lambda path: (path / "label_bits/c/0/0").unlink(), lambda path: (path / "label_bits/c/0/0").mkdir()),
        {"label_bits/c/0/0": "damaged"},
    ),
    "description deleted": (
        lambda path: (path / "label_bits/zarr.json").unlink(),
        {"label_bits/zarr.json": "missing"},
    ),
    "root deleted": (lambda path: (path / "zarr.json").unlink(), {"zarr.json": "missing"}),
    "root emptied": (lambda path: _write(path / "zarr.json", b""), {"zarr.json": "damaged"}),
    "file added": (lambda path: _write(path / "start/c/1", b"x"), {"start/c/1": "added"}),
    "link added": (lambda path: (path / "note").symlink_to("nowhere"), {"note": "added"}),
    "array deleted": (
        lambda path: shutil.rmtree(path / "end"),
        {"end/c/0": "missing", "end/zarr.json": "missing"},
    ),
    "names deleted": (lambda path: (path / NAMES_FILE).unlink(), {NAMES_FILE: "missing"}),
    "digests emptied": (lambda path: _write(path / DIGESTS_FILE, b""), {DIGESTS_FILE: "damaged"}),
    "copy of metadata deleted": (lambda path: (path / METADATA_FILE).unlink(), {METADATA_FILE: "missing"}),
    "manifest and a chunk": (
        _all(lambda path: (path / NAMES_FILE).unlink(), lambda path: flip(path / "start/c/0", 5)),
        {NAMES_FILE: "missing", "start/c/0": "damaged"},
    ),
    "manifest and a description": (
        _all(lambda path: (path / NAMES_FILE).unlink(), lambda path: _write(path / "lab/zarr.json", b"{}")),
        {NAMES_FILE: "missing", "lab/zarr.json": "damaged"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_verify__names_what_was_spoiled(copied: Path, name: str) -> None:
    wreck, expected = SPOILED[name]
    wreck(copied)
    report = verify_store(copied)
    assert not report.sound
    assert {damage.file: damage.fault for damage in report.damage} == expected


def test_verify__names_files_that_were_swapped(copied: Path) -> None:
    first, second = copied / "label_bits_by_experiment/c/0/0", copied / "label_bits_by_experiment/c/1/0"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    named = _named(verify_store(copied))
    assert set(named) == {"label_bits_by_experiment/c/0/0", "label_bits_by_experiment/c/1/0"}
    assert (
        "holds the bytes of label_bits_by_experiment/c/1/0" in named["label_bits_by_experiment/c/0/0"].detail
    )
    # the one of three experiments, in the place of the one of eight, lacks lines; the other's checksums all hold
    assert named["label_bits_by_experiment/c/1/0"].experiments == tuple(ACCESSIONS[8:])


def test_verify__of_a_store_without_its_manifest(copied: Path) -> None:
    shutil.rmtree(copied / schema.MANIFEST)
    assert has_manifest(LocalFiles(copied))
    report = verify_store(copied)
    assert not report.sound
    assert {NAMES_FILE, DIGESTS_FILE} <= set(_named(report))
    assert all(damage.file.startswith("manifest/") for damage in report.damage)


def test_verify__refuses_a_manifest_that_leads_out_of_the_store(copied: Path) -> None:
    group = zarr.open_group(str(copied), mode="r+", use_consolidated=False)
    names = group["manifest/name"][...]  # type: ignore[index]
    names[0] = "../../etc/passwd"
    group["manifest/name"][...] = names  # type: ignore[index]
    (damage,) = verify_store(copied).damage
    assert "'../../etc/passwd', which is no file of a store" in damage.detail


def test_verify__of_a_store_of_before_names_chunks_by_their_checksums(copied: Path) -> None:
    shutil.rmtree(copied / schema.MANIFEST)
    root = json.loads((copied / "zarr.json").read_text())
    nodes = root["consolidated_metadata"]["metadata"]
    for name in [name for name in nodes if name.startswith(schema.MANIFEST)]:
        del nodes[name]
    (copied / "zarr.json").write_text(json.dumps(root))
    report = verify_store(copied)
    assert report.sound
    assert [finding.check for finding in report.findings if finding.sound is None] == ["files"]
    flip(copied / "label_bits" / "c" / "0" / "0", 9)
    (copied / "lab" / "zarr.json").write_text("{}")
    (copied / "end" / "c" / "0").unlink()
    named = _named(verify_store(copied))
    assert {name: damage.fault for name, damage in named.items()} == {
        "label_bits/c/0/0": "damaged",
        "lab/zarr.json": "damaged",
        "end/c/0": "missing",
    }
    assert named["label_bits/c/0/0"].windows == ((0, 48),)


def test_verify__finds_an_array_that_is_not_what_its_digest_says(copied: Path) -> None:
    group = zarr.open_group(str(copied), mode="r+", use_consolidated=False)
    group["lab"][0] = "another"  # type: ignore[index]
    write_manifest(copied)
    report = verify_store(copied)
    assert [finding.check for finding in report.findings if not finding.sound] == ["array lab"]
    assert report.damage == ()


# ---- parts


@given(
    rows=npst.arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(1, 4))),
    spare=st.integers(0, 7),
)
def test_turn_rows__is_the_transpose(rows: np.ndarray, spare: int) -> None:
    n_experiments = 8 * rows.shape[1] - spare
    lines = np.zeros((n_experiments, schema.n_bytes(len(rows))), np.uint8)
    turn_rows(rows, lines)
    bits = np.unpackbits(rows, axis=1, count=n_experiments)
    np.testing.assert_array_equal(lines, np.packbits(bits.T, axis=1))


@pytest.mark.parametrize("width", [1, 19, 264, 2500, 100_000])
def test_block_of_windows__bounds_the_labels_read_at_a_time(width: int) -> None:
    block = block_of_windows(width)
    assert block % 65_536 == 0
    assert 65_536 <= block <= 524_288
    assert block * width <= 1 << 28 or block == 65_536


def test_grid__refuses_what_is_no_array() -> None:
    for described in (
        {},
        {"shape": [3]},
        {"shape": [3], "chunk_grid": {"configuration": {"chunk_shape": [0]}}, "codecs": [{"name": "x"}]},
    ):
        with pytest.raises(ValueError, match="array"):
            Grid.from_metadata(described)


def test_find_bad_chunks__of_any_bytes_whatever() -> None:
    grid = Grid((10, 3), (8, 3), (2, 3))
    assert grid.n_files == (2, 1)
    assert grid.chunks((1, 0)) == [(0, 0)]
    draw = np.random.default_rng(3)
    for size in (0, 1, 3, 4, 67, 68, 69, 200):
        assert find_bad_chunks(draw.bytes(size), grid, (0, 0)) == [(0, 0), (1, 0), (2, 0), (3, 0)]
