"""New experiments in a store: with the old peak files a build of all, without them the same windows."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mfdstore.build.settings import Resources, Sources
from mfdstore.errors import MfdError
from mfdstore.grow.add import AddedSources, add_experiments
from mfdstore.grow.choice import Choice
from mfdstore.grow.columns import join_factors
from mfdstore.grow.subset import subset_store
from mfdstore.metadata import Factor, FactorTable
from mfdstore.store import Store
from tests.mfdstore.grow.parts import bins_of, build_part, check_sound, files_of, labels_of, write_part
from tests.worlds import ACCESSIONS, METADATA_COLUMNS, World, expect, write_table

OLD, NEW = ACCESSIONS[:5], ACCESSIONS[5:]


@dataclass
class Case:
    """A store of the old experiments, the files of the new ones, and those of all."""

    folder: Path
    world: World
    store: Path
    old: Sources
    new: Sources

    @property
    def out(self) -> Path:
        """Name of the store to make."""
        return self.folder / "out" / "x.zarr"

    @property
    def added(self) -> AddedSources:
        """The new files, without the old ones."""
        return AddedSources(self.new.peaks, self.new.metadata, self.new.report)

    @property
    def with_old(self) -> AddedSources:
        """The new files and the old ones."""
        return replace(self.added, old_peaks=self.old.peaks, blacklist=self.old.blacklist)

    def peak(self, accession: str) -> Path:
        """Path of a peak file, old or new."""
        folder = self.old.peaks if accession in OLD else self.new.peaks
        return folder / f"{accession}.bed.gz"

    def write_rows(self, change: Callable[[dict[str, str]], None], names: list[str] = NEW) -> None:
        """Write the new metadata table with changed rows."""
        rows = [row for row in self.world.metadata_rows() if row["File accession"] in names]
        for row in rows:
            change(row)
        columns = METADATA_COLUMNS + [name for name in rows[0] if name not in METADATA_COLUMNS]
        write_table(self.new.metadata, columns, rows)


def _case(folder: Path, *, old: list[str] = OLD, new: list[str] = NEW, **changes: object) -> Case:
    world = World()
    store, sources = build_part(world, folder / "old", old, **changes)  # type: ignore[arg-type]
    (folder / "out").mkdir()
    return Case(folder, world, store, sources, write_part(world, folder / "new", new))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return _case(tmp_path)


# ---- with the old peak files: a build of all


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"min_experiments": 0},
        {"min_experiments": 3, "blacklist": False},
        {"blocks": (0.5, 0.25, 0.25), "gap": 130},
        {"chroms": ("chr8", "chr9"), "blocks": (0.5, 0.25, 0.25), "gap": 0},
    ],
    ids=str,
)
def test_add__with_old_peaks_is_a_build_of_all(tmp_path: Path, changes: dict[str, object]) -> None:
    case = _case(tmp_path, **changes)
    before = files_of(case.store)
    built, sources = build_part(case.world, tmp_path / "all", OLD + NEW, **changes)  # type: ignore[arg-type]
    added = case.with_old if changes.get("blacklist", True) else replace(case.with_old, blacklist=None)
    done = add_experiments(case.store, case.out, added, resources=Resources(jobs=2))
    assert done.digest == Store(built).digest
    assert done.complete
    mine, theirs = files_of(case.out), files_of(built)
    same = [name for name in theirs if name != "zarr.json" and not name.startswith("manifest")]
    assert {name: mine[name] for name in same} == {name: theirs[name] for name in same}
    assert mine.keys() == theirs.keys()
    noted, expected = Store(case.out).provenance, Store(built).provenance
    for key in ("blacklist", "fasta", "settings"):
        assert noted[key] == expected[key]
    # which sequences a FASTA has beside the store's chromosomes is not known any more
    for entry in (*noted["peaks"].values(), *expected["peaks"].values()):
        del entry["n_elsewhere"]
    assert noted["peaks"] == expected["peaks"]
    assert noted["parents"][0]["digest"] == Store(case.store).digest
    assert files_of(case.store) == before
    n_new = len(bins_of(case.out)) - len(bins_of(case.store))
    assert done.counts["windows_added"] == n_new
    assert done.notes[0].startswith(f"{n_new:,} windows were added to")
    check_sound(case.out, sources)


def test_add__says_that_blocks_were_cut_anew(tmp_path: Path) -> None:
    case = _case(tmp_path, blocks=(0.5, 0.25, 0.25), gap=0)
    done = add_experiments(case.store, case.out, case.with_old)
    assert "old windows are of another split now" in done.notes[1]


def test_add__to_a_part_that_a_build_would_give(case: Case) -> None:
    part = subset_store(
        case.store, case.folder / "part.zarr", Choice(experiments=tuple(OLD[:3]), min_experiments=2)
    )
    built, _ = build_part(case.world, case.folder / "all", OLD[:3] + NEW, chroms=("chr1", "chr8", "chr9"))
    done = add_experiments(part.path, case.out, case.with_old)
    assert Store(done.path).array_digests == Store(built).array_digests


# ---- without: the same windows


@pytest.mark.parametrize("n_old", [5, 8, 1])
def test_add__without_old_peaks_keeps_the_windows(tmp_path: Path, n_old: int) -> None:
    old, new = ACCESSIONS[:n_old], ACCESSIONS[n_old:]
    case = _case(tmp_path, old=old, new=new, min_experiments=1)
    done = add_experiments(case.store, case.out, case.added)
    assert bins_of(case.out) == bins_of(case.store)
    everything = expect(case.world, min_experiments=0)
    rows = [everything.bins.index(one) for one in bins_of(case.store)]
    np.testing.assert_array_equal(labels_of(case.out), everything.labels[rows])
    store = Store(case.out)
    assert list(store.experiments) == ACCESSIONS
    np.testing.assert_array_equal(store.windows.split, Store(case.store).windows.split)
    assert list(store.provenance["peaks"]) == ACCESSIONS
    assert (done.min_experiments, done.complete) == (1, False)
    assert store.provenance["windows"]["why"].startswith("experiments were added without the bins")
    assert "cannot be known without the old peak files" in done.notes[0]
    check_sound(case.out, write_part(case.world, tmp_path / "all", ACCESSIONS))


def test_add__to_all_bins_needs_no_old_peaks(tmp_path: Path) -> None:
    case = _case(tmp_path, min_experiments=0)
    built, _ = build_part(case.world, tmp_path / "all", OLD + NEW, min_experiments=0)
    done = add_experiments(case.store, case.out, case.added)
    assert done.digest == Store(built).digest
    assert (done.complete, done.notes) == (True, ())


def test_add__twice_is_one_after_the_other(case: Case) -> None:
    first = write_part(case.world, case.folder / "first", NEW[:2])
    second = write_part(case.world, case.folder / "second", NEW[2:])
    add_experiments(
        case.store, case.folder / "y.zarr", AddedSources(first.peaks, first.metadata, first.report)
    )
    twice = add_experiments(
        case.folder / "y.zarr",
        case.folder / "z.zarr",
        AddedSources(second.peaks, second.metadata, second.report),
    )
    once = add_experiments(case.store, case.out, case.added)
    assert Store(twice.path).array_digests == Store(once.path).array_digests
    assert Store(twice.path).provenance["parents"][0]["provenance"]["made_by"] == "add"


# ---- metadata


def test_add__passes_over_rows_of_what_is_there(case: Case) -> None:
    case.write_rows(lambda row: None, ACCESSIONS)
    done = add_experiments(case.store, case.out, case.added)
    assert done.counts["experiments_passed_over"] == len(OLD)
    assert done.counts["experiments_added"] == len(NEW)


def test_add__new_and_missing_columns_are_missing_values(case: Case) -> None:
    def change(row: dict[str, str]) -> None:
        row["Batch"] = "third"
        row["Lab"] = row["Biosample term name"] = ""

    case.write_rows(change)
    add_experiments(case.store, case.out, replace(case.added, report=None))
    factors = Store(case.out).factors
    before = Store(case.store).factors
    assert list(factors["batch"].values) == [None] * len(OLD) + ["third"] * len(NEW)
    assert list(factors["biosample"].values) == [*before["biosample"].values, *[None] * len(NEW)]
    assert list(factors["lab"].values) == [*before["lab"].values, *[None] * len(NEW)]


def test_add__a_column_of_another_kind_is_an_error(case: Case) -> None:
    # "Start" is no column that the portal knows, so it is text in the table; here the store holds numbers
    store = Store(case.store)
    factor = store.factors["start_"]
    table = FactorTable(store.experiments, (replace(factor, kind="number", values=np.arange(5.0)),))
    other = FactorTable(("x",), (Factor("start_", "category", None, np.array(["7"], object)),))
    with pytest.raises(
        MfdError, match=r"new\.tsv: found factor start_ of kind category; expected kind number, as in a"
    ):
        join_factors([("a.zarr", table), ("new.tsv", other)])


# ---- faults


def _again(case: Case) -> AddedSources:
    case.peak(OLD[1]).rename(case.new.peaks / f"{OLD[1]}.bed.gz")
    return case.added


def _none_new(case: Case) -> AddedSources:
    case.write_rows(lambda row: None, OLD)
    return case.added


def _stranger(case: Case) -> AddedSources:
    case.write_rows(lambda row: None, NEW[1:])
    return case.added


def _missing(case: Case) -> AddedSources:
    case.peak(NEW[2]).unlink()
    return case.added


def _elsewhere(case: Case) -> AddedSources:
    content = gzip.compress(b"chr7\t10\t400\n", mtime=0)
    case.peak(NEW[0]).write_bytes(content)
    case.write_rows(lambda row: row.update(md5sum=""))
    return case.added


def _beyond(case: Case) -> AddedSources:
    _elsewhere(case)
    case.peak(NEW[0]).write_bytes(gzip.compress(b"chr1\t10\t999999\n", mtime=0))
    return case.added


def _md5(case: Case) -> AddedSources:
    case.write_rows(lambda row: row.update(md5sum=hashlib.md5(b"").hexdigest()))
    return case.added


def _old_changed(case: Case) -> AddedSources:
    case.peak(OLD[0]).write_bytes(gzip.compress(b"chr1\t10\t400\n", mtime=0))
    return case.with_old


def _old_missing(case: Case) -> AddedSources:
    case.peak(OLD[0]).unlink()
    return case.with_old


def _other_blacklist(case: Case) -> AddedSources:
    assert case.old.blacklist is not None
    case.old.blacklist.write_text("chr1\t0\t10\n")
    return case.with_old


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_again, "found peak files of 1 experiment.s. that the store has already: ENCFF001AAA"),
        (_none_new, "found only experiments that the store has already: ENCFF000AAA"),
        (_stranger, "peak files without a row in the metadata: ENCFF005AAA"),
        (_missing, "no peak file for 1 experiment.s. of the metadata: ENCFF007AAA"),
        (_elsewhere, "1 experiment.s. without a peak on chr1, chr8, chr9, chrUn_1: ENCFF005AAA"),
        (_beyond, "ENCFF005AAA.bed.gz, line 1: found an interval to 999,999"),
        (_md5, "as the metadata says"),
        (_old_changed, "1 peak file.s. that are not those of the store, by md5: ENCFF000AAA"),
        (_old_missing, "no peak file for 1 experiment.s. of the store: ENCFF000AAA"),
        (_other_blacklist, r"--blacklist: found .*blacklist\.bed of md5 \w+; expected blacklist\.bed of md5"),
        (lambda case: replace(case.with_old, blacklist=None), "found no blacklist; expected blacklist.bed"),
        (lambda case: replace(case.added, blacklist=case.old.blacklist), "found no --old-peaks beside it"),
        (lambda case: replace(case.added, peaks=case.folder / "none"), "none: found no such folder"),
        (lambda case: replace(case.with_old, old_peaks=case.folder / "none"), "Check the path given to --old-peaks"),
        (lambda case: replace(case.added, metadata=case.folder / "none"), "none: found no readable file"),
    ],
)  # fmt: skip
def test_add__faults_are_one_clear_line(
    case: Case, prepare: Callable[[Case], AddedSources], message: str
) -> None:
    with pytest.raises(MfdError, match=message) as caught:
        add_experiments(case.store, case.out, prepare(case))
    assert "\n" not in str(caught.value)
    assert list(case.out.parent.iterdir()) == []


def test_add__may_leave_out_and_keep_empty(case: Case) -> None:
    _elsewhere(case)
    case.peak(NEW[2]).unlink()
    done = add_experiments(case.store, case.out, replace(case.added, allow_missing=True, allow_empty=True))
    assert done.n_experiments == len(ACCESSIONS) - 1
    assert not Store(case.out).labels_of(len(OLD)).any()


def test_add__to_windows_that_were_chosen_keeps_them(case: Case) -> None:
    part = subset_store(case.store, case.folder / "part.zarr", Choice(regions=("chr1:0-3000",))).path
    with pytest.raises(
        MfdError, match="whose windows no build gives: windows were chosen by region or split"
    ):
        add_experiments(part, case.out, case.with_old)
    done = add_experiments(part, case.out, case.added)
    assert bins_of(case.out) == bins_of(part)
    assert not done.complete


def test_add__never_touches_what_is_there(case: Case) -> None:
    with pytest.raises(MfdError, match="found something there already"):
        add_experiments(case.store, case.store, case.added)
    with pytest.raises(MfdError, match="within the store"):
        add_experiments(case.store, case.store / "x.zarr", case.added)


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    from mfdstore.grow.add import AddedSources, add_experiments

    def die(what, done, total):
        if what == sys.argv[5]:
            os.kill(os.getpid(), signal.SIGKILL)

    store, out, peaks, metadata = map(Path, sys.argv[1:5])
    add_experiments(store, out, AddedSources(peaks, metadata), die)
"""


@pytest.mark.parametrize("stage", ["peak files", "labels by window"])
def test_add__killed_leaves_nothing_under_the_name(case: Case, stage: str) -> None:
    arguments = [str(path) for path in (case.store, case.out, case.new.peaks, case.new.metadata)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), *arguments, stage], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert not case.out.exists()
    done = add_experiments(case.store, case.out, case.added)
    assert [path.name for path in case.out.parent.iterdir()] == ["x.zarr"]
    assert not (case.out / "scratch").exists()
    assert done.n_experiments == len(ACCESSIONS)
