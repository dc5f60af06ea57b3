"""A part of a store is what a build of the part would be, or what numpy cuts from the whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from mfdstore import schema
from mfdstore.errors import ConfigError, MfdError, SourceError, StoreError
from mfdstore.grow.choice import Choice
from mfdstore.grow.subset import subset_store
from mfdstore.layout import write_manifest
from mfdstore.provenance import combine_digests
from mfdstore.repair.bench import RepairSources
from mfdstore.repair.run import repair_store
from mfdstore.store import Store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.mfdstore.grow.parts import bins_of, build_part, check_sound, differing_arrays, files_of, labels_of
from tests.worlds import ACCESSIONS, BIN_SIZE, SIZES

CTCF = ["ENCFF000AAA", "ENCFF001AAA", "ENCFF008AAA"]


# ---- experiments


def test_subset__by_metadata_keeps_windows_and_cuts_labels(little: Little, tmp_path: Path) -> None:
    done = subset_store(little.path, tmp_path / "x.zarr", Choice(where=(("target", "CTCF"),)))
    store = Store(done.path)
    columns = [ACCESSIONS.index(name) for name in CTCF]
    assert list(store.experiments) == CTCF
    assert bins_of(done.path) == little.expected.bins
    expected = little.expected.labels[:, columns]
    np.testing.assert_array_equal(labels_of(done.path), expected)
    np.testing.assert_array_equal(store.n_positive, expected.sum(axis=1))
    np.testing.assert_array_equal(store.labels_of(2), expected[:, 2])
    assert done.positive_pairs == expected.sum()
    # what a user is told
    assert done.counts["windows_kept_below_the_parents_minimum"] == (expected.sum(axis=1) < 2).sum() > 0
    assert done.counts["windows_kept_without_a_positive"] == (expected.sum(axis=1) == 0).sum() > 0
    assert (done.min_experiments, done.complete) == (store.min_experiments, False) == (0, False)
    assert "fewer than 2" in done.notes[0]
    check_sound(done.path, little.sources)


def test_subset__with_a_minimum_is_a_build_of_these_experiments(little: Little, tmp_path: Path) -> None:
    done = subset_store(
        little.path, tmp_path / "x.zarr", Choice(experiments=tuple(reversed(CTCF)), min_experiments=2)
    )
    built, sources = build_part(little.world, tmp_path / "built", CTCF, chroms=("chr1", "chr8", "chr9"))
    # a build leaves out columns that hold nothing for its experiments; a part keeps its columns
    empty = [name for name in Store(done.path).factors.names if name not in Store(built).factors]
    assert differing_arrays(done.path, built) == sorted(empty)
    assert all(Store(done.path).factors[name].missing.all() for name in empty)
    assert (done.min_experiments, done.complete) == (2, True)
    assert done.counts["windows_below_min_experiments"] == len(little.expected.bins) - done.n_windows > 0
    assert Store(done.path).provenance["peaks"] == Store(built).provenance["peaks"]
    check_sound(done.path, sources)


def test_subset__with_a_minimum_below_the_stores_says_what_it_cannot_hold(
    little: Little, tmp_path: Path
) -> None:
    done = subset_store(
        little.path, tmp_path / "x.zarr", Choice(where=(("target", "CTCF"),), min_experiments=1)
    )
    assert (done.min_experiments, done.complete) == (1, False)
    assert (Store(done.path).n_positive >= 1).all()
    assert Store(done.path).provenance["windows"] == {
        "complete": False,
        "why": "bins that fewer than 2 experiments of the parent label were not in it",
    }
    check_sound(done.path, little.sources)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([("lab", "Michael Snyder, Stanford")], [1]),
        ([("lab", "Michael Snyder, Stanford"), ("biosample", "HepG2")], [1]),
        ([("lab", "Michael Snyder, Stanford"), ("lab", "Richard Myers, HAIB")], [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]),
        ([("target", "CTCF,MAX"), ("biosample", "K562")], [0, 6, 8]),
        ([("organ", "blood")], [1, 5, 7]),
        ([("organ", "exocrine gland, blood")], [0, 1, 5, 7]),
        ([("read_length", "36,50.5")], [0, 2]),
        ([("date_released", "2020-02-29")], [2]),
        ([("target", "x[/b]y")], [10]),
    ],
)  # fmt: skip
def test_subset__values_add_up_and_factors_narrow(
    little: Little, tmp_path: Path, where: list[tuple[str, str]], expected: list[int]
) -> None:
    done = subset_store(little.path, tmp_path / "x.zarr", Choice(where=tuple(where), min_experiments=1))
    assert list(Store(done.path).experiments) == [ACCESSIONS[index] for index in expected]
    check_sound(done.path, little.sources)


def test_subset__of_all_experiments_keeps_the_minimum(little: Little, tmp_path: Path) -> None:
    done = subset_store(little.path, tmp_path / "x.zarr", Choice(experiments=tuple(ACCESSIONS)))
    assert (done.min_experiments, done.complete, done.notes) == (2, True, ())


# ---- windows


def test_subset__of_chromosomes_is_a_build_of_them(little: Little, tmp_path: Path) -> None:
    chroms = ("9", "chr1", "8", "chr8")
    done = subset_store(little.path, tmp_path / "x.zarr", Choice(chroms=chroms))
    built, _ = build_part(little.world, tmp_path / "b", ACCESSIONS, chroms=("chr1", "chr8", "chr9"))
    assert done.digest == Store(built).digest
    assert done.complete
    assert Store(done.path).provenance["settings"] == Store(built).provenance["settings"]


def test_subset__copies_the_sequence_shard_by_shard(little: Little, tmp_path: Path) -> None:
    done = subset_store(little.path, tmp_path / "x.zarr", Choice(splits=("test", "valid")))
    before, after = files_of(little.path), files_of(done.path)
    kept = {name for name in before if name.startswith("sequence/chr") and "/c/" in name}
    assert {name for name in after if name in kept} == kept - {
        name for name in kept if name.split("/")[1] in ("chr1", "chrUn_1")
    }
    assert all(after[name] == before[name] for name in kept & after.keys())
    assert Store(done.path).chroms == ("chr8", "chr9")
    assert done.windows_by_split == {"train": 0, "valid": 8, "test": 8, "gap": 0}
    assert done.notes == ("No window of train is left.",)
    check_sound(done.path, little.sources)


def test_subset__keeps_chromosomes_without_windows_if_asked(little: Little, tmp_path: Path) -> None:
    done = subset_store(
        little.path, tmp_path / "x.zarr", Choice(splits=("train", "valid", "test", "gap"), keep_chroms=True)
    )
    assert done.digest == little.report.digest
    done = subset_store(little.path, tmp_path / "y.zarr", Choice(splits=("test",), keep_chroms=True))
    assert Store(done.path).chroms == little.store.chroms
    assert not done.complete
    check_sound(done.path, little.sources)


@st.composite
def regions(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        chrom = draw(st.sampled_from(["chr1", "chr8", "chr9"]))
        start = draw(st.integers(0, SIZES[chrom] - 1))
        found.append((chrom, start, draw(st.integers(start + 1, SIZES[chrom]))))
    return found


@tries(max_examples=12)
@given(asked=regions(), as_bed=st.booleans())
def test_subset__by_region_keeps_bins_that_share_a_base(
    little: Little, tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[str, int, int]], as_bed: bool
) -> None:
    folder = tmp_path_factory.mktemp("regions")
    if as_bed:
        (folder / "r.bed").write_text("".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in asked))
        choice = Choice(bed=folder / "r.bed")
    else:
        choice = Choice(regions=tuple(f"{chrom}:{start:,}-{end}" for chrom, start, end in asked))
    expected = [
        (chrom, start)
        for chrom, start in little.expected.bins
        if any(chrom == other and start < end and first < start + BIN_SIZE for other, first, end in asked)
    ]
    if not expected:
        with pytest.raises(ConfigError, match="found no window left of 48"):
            subset_store(little.path, folder / "x.zarr", choice)
        return
    done = subset_store(little.path, folder / "x.zarr", choice)
    assert bins_of(done.path) == expected
    rows = [little.expected.bins.index(one) for one in expected]
    np.testing.assert_array_equal(labels_of(done.path), little.expected.labels[rows])
    np.testing.assert_array_equal(Store(done.path).windows.split, little.store.windows.split[rows])
    assert verify_store(done.path).sound


def test_subset__of_a_subset_remembers_both(little: Little, tmp_path: Path) -> None:
    first = subset_store(little.path, tmp_path / "x.zarr", Choice(where=(("target", "CTCF"),)))
    second = subset_store(first.path, tmp_path / "y.zarr", Choice(regions=("chr1",), min_experiments=2))
    noted = Store(second.path).provenance
    assert noted["made_by"] == "subset"
    assert noted["asked"] == {"regions": ["chr1:0-5157"], "min_experiments": 2}
    (parent,) = noted["parents"]
    assert (parent["name"], parent["digest"]) == ("x.zarr", first.digest)
    assert parent["provenance"]["parents"][0]["digest"] == little.report.digest
    assert parent["provenance"]["asked"] == {"where": [["target", "CTCF"]]}
    assert "fewer than 2" in noted["windows"]["why"]
    check_sound(second.path, little.sources)


def test_subset__needs_no_manifest(copied: Path, little: Little, tmp_path: Path) -> None:
    shutil.rmtree(copied / schema.MANIFEST)
    done = subset_store(copied, tmp_path / "x.zarr", Choice(splits=("train",)))
    whole = subset_store(little.path, tmp_path / "y.zarr", Choice(splits=("train",)))
    assert done.digest == whole.digest


def test_verify__finds_a_window_that_should_not_be_kept_in_a_part_too(little: Little, tmp_path: Path) -> None:
    done = subset_store(little.path, tmp_path / "x.zarr", Choice(regions=("chr1:0-3000",)))
    described = json.loads((done.path / "zarr.json").read_text())
    attributes = described["attributes"]["mfdstore"]
    attributes["min_experiments"] = 7
    attributes["digest"] = combine_digests(attributes["array_digests"], attributes)
    (done.path / "zarr.json").write_text(json.dumps(described))
    write_manifest(done.path)
    report = verify_store(done.path, peaks=little.sources.peaks, blacklist=little.sources.blacklist)
    (finding,) = [finding for finding in report.findings if finding.check == "filters"]
    n = int((Store(done.path).n_positive < 7).sum())
    assert n > 0
    assert finding.sound is False
    assert finding.detail.startswith(f"{n:,} windows should not be kept")


# ---- faults


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(), "found nothing that says what to keep"),
        (Choice(where=(("tarjet", "CTCF"),)), r"factor 'tarjet'.*Did you mean target\?"),
        (Choice(where=(("target", "ctfc"),)), r"with target 'ctfc'; expected .*CTCF.*Did you mean CTCF\?"),
        (Choice(where=(("target", "CTCF,"),)), "no experiment with target ''"),
        (Choice(where=(("target", ""),)), "no experiment with target ''"),
        (Choice(where=(("lab", "Richard Myers, HAIB,Michael Snyder, Stanford"),)), "each with a --where of its own"),
        (Choice(where=(("read_length", "long"),)), "read_length 'long'; expected 36, 50.5, 101"),
        (Choice(where=(("date_released", "2031"),)), "date_released '2031'; expected 2011-10-29, 2016"),
        (Choice(where=(("target", "CTCF"), ("assay", "DNase-seq"))), "that has all of target=CTCF, assay"),
        (Choice(experiments=("ENCFF000AAB", "x")), r"2 that the store does not have: 'ENCFF000AAB', 'x'.*ENCFF000AAA"),
        (Choice(regions=("chr7",)), "chromosome 'chr7', which the store does not have; expected one of chr1"),
        (Choice(regions=("chr1:5-5",)), "with start before end"),
        (Choice(regions=("chr1:9,999-10,000",)), "expected a start before the end of chr1, 5,157 bp"),
        (Choice(regions=("chr1:-5-10",)), "--region: found 'chr1:-5-10'"),
        (Choice(regions=("",)), "--region: found ''"),
        (Choice(chroms=("chr2",)), "--chroms: found chromosome 'chr2'"),
        (Choice(chroms=("chrUn_1",)), "no window left of 48: 48 windows on other chroms"),
        (Choice(chroms=("chr8",), splits=("train",)), "40 windows on other chroms, 8 windows of other"),
        (Choice(splits=("exam",)), "found 'exam'; expected one of train, valid, test, gap"),
        (Choice(splits=("gap",)), "no window left"),
        (Choice(min_experiments=-1), "expected 0 or more"),
        (Choice(min_experiments=12), r"no window of 48 that 12 of the 11 experiments label.*Ask for at most \d+\."),
    ],
)  # fmt: skip
def test_subset__hostile_selections_are_one_clear_line(
    little: Little, tmp_path: Path, choice: Choice, message: str
) -> None:
    with pytest.raises(MfdError, match=message) as caught:
        subset_store(little.path, tmp_path / "x.zarr", choice)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_subset__a_bad_bed_names_its_line(little: Little, tmp_path: Path) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t0\t100\nchr1\t5\t9999\n")
    with pytest.raises(SourceError, match=r"r\.bed, line 2: found an interval to 9,999"):
        subset_store(little.path, tmp_path / "x.zarr", Choice(bed=bed))
    assert list(tmp_path.iterdir()) == [bed]


def test_subset__never_touches_what_is_there(little: Little, tmp_path: Path) -> None:
    before = files_of(little.path)
    with pytest.raises(StoreError, match="found something there already"):
        subset_store(little.path, little.path, Choice(splits=("train",)))
    (tmp_path / "link").symlink_to(little.path / "sequence")
    for within in (little.path, little.path / "sequence", tmp_path / "link"):
        with pytest.raises(StoreError, match="a name within the store"):
            subset_store(little.path, within / "x.zarr", Choice(splits=("train",)))
    (tmp_path / "x.zarr").write_text("mine")
    with pytest.raises(StoreError, match="found something there already"):
        subset_store(little.path, tmp_path / "x.zarr", Choice(splits=("train",)))
    assert (tmp_path / "x.zarr").read_text() == "mine"
    assert files_of(little.path) == before


@pytest.mark.parametrize("name", ["sequence/chr1/c/0", "label_bits/c/0/0", "label_bits_by_experiment/c/0/0"])
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_subset__of_a_damaged_store_publishes_nothing(
    copied: Path, tmp_path: Path, name: str, how: str
) -> None:
    file = copied / name
    if how == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(StoreError, match=f"array {name.split('/c/')[0]} with a damaged chunk"):
        subset_store(copied, tmp_path / "x.zarr", Choice(experiments=tuple(ACCESSIONS[:-1])))
    assert list(tmp_path.glob("*x.zarr*")) == []


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    from mfdstore.grow.choice import Choice
    from mfdstore.grow.subset import subset_store

    def die(what, done, total):
        if what == sys.argv[3] and done == total:
            os.kill(os.getpid(), signal.SIGKILL)

    subset_store(Path(sys.argv[1]), Path(sys.argv[2]), Choice(splits=("train",)), die)
"""


@pytest.mark.parametrize("stage", ["sequence", "labels by window", "labels by experiment"])
def test_subset__killed_leaves_nothing_under_the_name(little: Little, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "x.zarr"
    arguments: Sequence[str] = (str(little.path), str(out), stage)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), *arguments], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    done = subset_store(little.path, out, Choice(splits=("train",)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]
    check_sound(done.path, little.sources)


def test_subset__whose_factors_are_damaged_is_to_be_made_again(little: Little, tmp_path: Path) -> None:
    path = subset_store(little.path, tmp_path / "x.zarr", Choice(where=(("target", "CTCF"),))).path
    (path / "lab/c/0").unlink()
    sources = little.sources
    report = repair_store(path, RepairSources(sources.peaks, sources.fasta, sources.metadata, sources.report))
    assert [one.file for one in report.lost] == ["lab/c/0"]
    assert "make it again from its parents" in report.lost[0].reason
