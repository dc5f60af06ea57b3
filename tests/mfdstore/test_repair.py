# ruff: noqa: E501  (what is damaged is listed one a line)
"""A repaired store has the bytes that it had before it was damaged."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mfdstore import schema
from mfdstore.build.settings import Sources
from mfdstore.errors import SourceError, StoreError
from mfdstore.manifest import DIGESTS_FILE, METADATA_FILE, NAMES_FILE
from mfdstore.repair.bench import RepairSources
from mfdstore.repair.run import RepairReport, repair_store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.mfdstore.damage import all_files, flip
from tests.worlds import ACCESSIONS


def _all_of(sources: Sources) -> RepairSources:
    return RepairSources(sources.peaks, sources.fasta, sources.metadata, sources.report, sources.blacklist)


def _content(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in all_files(path)}


def _repair(path: Path, sources: RepairSources | None = None) -> RepairReport:
    report = repair_store(path, sources or RepairSources(), n_jobs=2)
    assert [left.name for left in path.parent.iterdir() if left.name.startswith(".")] == []
    return report


def _spoil(path: Path, files: Sequence[str]) -> None:
    """Flip a byte of some files, delete others, in turn."""
    for turn, name in enumerate(files):
        file = path / name
        if turn % 3 == 2:
            file.unlink()
        else:
            flip(file, file.stat().st_size // 3)


def _kind(file: str) -> str:
    """Say what a file is repaired from when it alone is damaged."""
    array = file.split("/c/")[0]
    if file in (NAMES_FILE, DIGESTS_FILE):
        return "all files, whose arrays hold against their digests"
    if file == METADATA_FILE:
        return "the metadata itself"
    if file == f"{schema.MANIFEST}/{schema.METADATA}/zarr.json":
        return "the consolidated metadata"
    if file.endswith("zarr.json"):
        return "the copy of the metadata"
    if array.startswith("sequence/"):
        return "the FASTA"
    return {
        "label_bits": "labels by experiment",
        "label_bits_by_experiment": "labels by window",
        "n_positive": "the labels",
        "start": "array end",
        "end": "array start",
        "chrom": "array start",
        "split": "the settings and places of the windows",
        "experiment": "the attributes",
    }.get(array, "the tables")


def test_repair__gives_every_single_file_its_bytes_back(cut_small: Path, little: Little) -> None:
    before = _content(cut_small)
    # many shards of one array are repaired alike
    files = [name for name in before if not name.startswith("sequence/chr1/c/") or name.endswith("/1")]
    for turn, name in enumerate(files):
        if turn % 2:
            flip(cut_small / name, len(before[name]) // 3)
        else:
            (cut_small / name).unlink()
        needs = _all_of(little.sources) if _kind(name) in ("the FASTA", "the tables") else RepairSources()
        report = _repair(cut_small, needs)
        assert report.lost == ()
        assert [(one.file, one.source) for one in report.repaired] == [(name, _kind(name))]
        assert _content(cut_small) == before
    assert verify_store(cut_small).sound


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        # both orders of the same labels
        (["label_bits/c/0/0", "label_bits_by_experiment/c/0/0", "label_bits_by_experiment/c/1/0"], {"the peaks", "labels by experiment"}),
        # where windows are
        (["start/c/0", "end/c/0"], {"the peaks"}),
        (["chrom/c/0", "start/c/1", "end/c/1", "split/c/0", "n_positive/c/1"], {"the peaks", "the labels"}),
        (["start/c/0", "end/c/1", "chrom/c/1"], {"array end", "array start"}),
        # all at once
        (["zarr.json", "lab/c/0", "experiment/c/0", "age/c/0", "sequence/chr1/c/2", "sequence/chr8/c/0", "sequence/chr9/c/1"], None),
        (["label_bits/zarr.json", "label_bits/c/1/0", "lab/zarr.json", "sequence/zarr.json"], None),
        ([METADATA_FILE, "label_bits/zarr.json", "sequence/zarr.json", "lab/zarr.json", f"{schema.MANIFEST}/zarr.json"], {"the consolidated metadata", "the metadata itself"}),
    ],
)  # fmt: skip
def test_repair__of_several_files(
    cut_small: Path, little: Little, files: list[str], sources: set[str] | None
) -> None:
    before = _content(cut_small)
    _spoil(cut_small, files)
    assert {damage.file for damage in verify_store(cut_small).damage} == set(files)
    report = _repair(cut_small, _all_of(little.sources))
    assert report.lost == ()
    assert {one.file for one in report.repaired} == set(files)
    assert sources is None or {one.source for one in report.repaired} == sources
    assert _content(cut_small) == before


def test_repair__of_every_array_at_once(cut_small: Path, little: Little) -> None:
    before = _content(cut_small)
    for name in before:
        if "/c/" in name and not name.startswith(schema.MANIFEST):
            (cut_small / name).write_bytes(b"")
    report = _repair(cut_small, _all_of(little.sources))
    assert report.lost == ()
    assert _content(cut_small) == before


def test_repair__of_labels_lost_in_part_of_either_order_needs_no_peaks(cut_small: Path) -> None:
    # shards of rows are windows 0-7, 8-15, ...; chunks of lines are windows 0-15, 16-31, 32-47
    before = _content(cut_small)
    file = cut_small / "label_bits_by_experiment/c/0/0"
    content = before["label_bits_by_experiment/c/0/0"]
    flip(cut_small / "label_bits/c/0/0", 3)
    for at in range(len(content)):
        flip(file, at)
        damage = {one.file: one for one in verify_store(cut_small).damage}
        if damage["label_bits_by_experiment/c/0/0"].windows == ((16, 32),):
            break
        flip(file, at)
    else:
        pytest.fail("no chunk of windows 16 to 31")
    report = _repair(cut_small)
    assert {one.source for one in report.repaired} == {"labels by window", "labels by experiment"}
    assert _content(cut_small) == before


def test_repair__removes_what_zarr_could_read_and_leaves_what_is_somebodys(copied: Path) -> None:
    before = _content(copied)
    (copied / "start/c/1").write_bytes(b"x")
    (copied / "label_bits/c/0/0.123.partial").write_bytes(b"x")
    (copied / "notes.txt").write_text("mine")
    report = _repair(copied)
    assert {one.file for one in report.repaired} == {"start/c/1", "label_bits/c/0/0.123.partial"}
    assert [(one.file, one.reason) for one in report.lost] == [
        ("notes.txt", "it is no file of the store; move it away")
    ]
    (copied / "notes.txt").unlink()
    assert _content(copied) == before


@pytest.mark.parametrize(
    "name", ["sequence/chr1/c/0", "lab/c/0", "label_bits/c/0/0", "start/zarr.json", METADATA_FILE]
)
@pytest.mark.parametrize("to", ["{}.old", "{}.123.partial", "sequence/chr1/c/7", "mine/kept.bin"])
def test_repair__puts_back_a_file_that_was_renamed(copied: Path, name: str, to: str) -> None:
    before = _content(copied)
    there = copied / to.format(name)
    there.parent.mkdir(exist_ok=True)
    (copied / name).rename(there)
    report = _repair(copied)
    assert report.lost == ()
    assert _content(copied) == before
    moved = to.format(name)
    assert [(one.file, one.source) for one in report.repaired] == [
        (name, f"{moved}, which holds its bytes"),
        (moved, f"renamed to {name}"),
    ]


def test_repair__puts_back_files_that_have_each_others_names(cut_small: Path) -> None:
    before = _content(cut_small)
    first, second, third = (cut_small / f"sequence/chr1/c/{index}" for index in range(3))
    first.rename(cut_small / "aside")
    second.rename(first)
    third.rename(second)
    (cut_small / "aside").rename(third)
    assert _repair(cut_small).lost == ()
    assert _content(cut_small) == before


def test_repair__leaves_what_is_somebodys_among_chunks(copied: Path) -> None:
    (copied / "label_bits/c/notes.txt").write_text("mine")
    shutil.copyfile(copied / "lab/c/0", copied / "lab/c/0.old")
    before = _content(copied)
    report = _repair(copied)
    assert report.repaired == ()
    assert [one.file for one in report.lost] == ["lab/c/0.old", "label_bits/c/notes.txt"]
    assert _content(copied) == before


def test_repair__of_a_whole_manifest(copied: Path) -> None:
    before = _content(copied)
    shutil.rmtree(copied / schema.MANIFEST)
    report = _repair(copied)
    assert report.lost == ()
    assert _content(copied) == before


def test_repair__does_not_write_a_manifest_of_what_is_damaged(copied: Path) -> None:
    flip(copied / NAMES_FILE, 9)
    flip(copied / "start/c/0", 9)
    before = _content(copied)
    report = _repair(copied)
    assert report.repaired == ()
    assert [one.file for one in report.lost] == [NAMES_FILE, "start/c/0"]
    assert _content(copied) == before


@pytest.mark.parametrize("file", [NAMES_FILE, DIGESTS_FILE, METADATA_FILE])
@pytest.mark.parametrize(
    "left",
    [
        "notes.txt",
        "manifest/notes.txt",
        "label_bits/c/0/0.4f5e.partial",
        "start/c/9",
        f"{NAMES_FILE}.4f5e.partial",
    ],
)
def test_repair__of_a_manifest_beside_what_is_no_file_of_the_store(
    copied: Path, file: str, left: str
) -> None:
    before = _content(copied)
    flip(copied / file, 9)
    (copied / left).write_text("mine")
    assert {damage.file for damage in verify_store(copied).damage} == {file, left}
    report = _repair(copied)
    assert file in {one.file for one in report.repaired}
    if left.endswith("notes.txt"):
        assert [one.file for one in report.lost] == [left]
        assert (copied / left).read_text() == "mine"
        (copied / left).unlink()
    else:
        assert report.lost == ()
    assert _content(copied) == before
    assert verify_store(copied).sound


def test_repair__of_the_copy_of_the_metadata_beside_a_lost_chunk(copied: Path, little: Little) -> None:
    before = _content(copied)
    flip(copied / METADATA_FILE, 9)
    (copied / "lab/c/0").unlink()
    assert _repair(copied, _all_of(little.sources)).lost == ()
    assert _content(copied) == before


def test_repair__of_a_sound_store_changes_nothing(copied: Path) -> None:
    before = _content(copied)
    assert _repair(copied) == RepairReport(copied, (), ())
    assert _content(copied) == before


# ---- what is missing is said, and nothing is made of other sources


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("sequence/chr1/c/0", "pass --fasta"),
        ("lab/c/0", "pass --metadata and --report"),
        ("start/c/0 end/c/0", "pass --peaks and --blacklist"),
        (
            "label_bits_by_experiment/c/0/0 label_bits/c/0/0",
            "the same labels by window are lost too; pass --peaks",
        ),
        (f"zarr.json {METADATA_FILE}", "the copy of the metadata is damaged too"),
    ],
)
def test_repair__says_which_source_it_needs(copied: Path, file: str, reason: str) -> None:
    files = file.split()
    for name in files:
        flip(copied / name, 5)
    before = _content(copied)
    report = _repair(copied)
    assert report.repaired == ()
    assert {one.file for one in report.lost} == set(files)
    assert {one.file: one.reason for one in report.lost}[files[0]] == reason
    assert _content(copied) == before


@pytest.mark.parametrize("which", ["fasta", "metadata", "report", "peaks", "blacklist"])
def test_repair__refuses_sources_that_are_not_those_of_the_build(
    copied: Path, little: Little, tmp_path: Path, which: str
) -> None:
    files = {
        "fasta": ["sequence/chr1/c/0"],
        "peaks": ["label_bits/c/0/0", "label_bits_by_experiment/c/0/0"],
        "blacklist": ["start/c/0", "end/c/0"],
    }.get(which, ["lab/c/0"])
    for name in files:
        flip(copied / name, 5)
    before = _content(copied)
    sources = _all_of(little.sources)
    if which == "peaks":
        other = Path(shutil.copytree(little.sources.peaks, tmp_path / "peaks"))
        first = other / f"{ACCESSIONS[3]}.bed.gz"
        first.write_bytes(gzip.compress(gzip.decompress(first.read_bytes()) + b"chr1\t640\t900\tp\t0\t.\n"))
        where = str(first)
    else:
        given = getattr(sources, which)
        other = tmp_path / given.name
        other.write_bytes(given.read_bytes() + b"\n")
        where = str(other)
    with pytest.raises(SourceError, match="as the store notes of the file") as caught:
        _repair(copied, replace(sources, **{which: other}))
    assert caught.value.where == where
    assert _content(copied) == before
    assert [path.name for path in copied.parent.iterdir() if path.name.startswith(".")] == []


def test_repair__of_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no Zarr version 3 group"):
        repair_store(tmp_path, RepairSources())


def test_repair__of_a_store_without_manifest_is_refused_if_it_is_damaged(
    tmp_path: Path,
) -> None:
    import zipfile

    with zipfile.ZipFile(Path(__file__).parent.parent / "golden" / "store_v1.zip") as archive:
        archive.extractall(tmp_path)
    path = tmp_path / "store_v1.zarr"
    before = _content(path)
    assert _repair(path).repaired == ()
    assert _content(path) == before
    flip(path / "start/c/0", 5)
    with pytest.raises(StoreError, match="no manifest: an earlier mfd built it"):
        _repair(path)
