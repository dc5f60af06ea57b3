"""What two stores differ in, judged by the definitions of what each holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.mfdstore_app import app
from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.diff import diff_stores
from mfdstore.differences import Change, FactorChange, LabelChange, StoreDiff
from mfdstore.provenance import combine_digests
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.worlds import ACCESSIONS, METADATA_COLUMNS, Expected, World, expect, settings, write_table


def _build(world: World, folder: Path, **changes: object) -> Store:
    sources = world.write(folder / "sources")
    return Store(build_store(sources, folder / "x.zarr", settings(**changes)).path)


def _expected_labels(a: Expected, b: Expected) -> dict[str, tuple[int, int]]:
    """Compare labels of shared bins by loops."""
    rows_b = {place: row for row, place in enumerate(b.bins)}
    found = {}
    for index, name in enumerate(ACCESSIONS):
        only_a = only_b = 0
        for row, place in enumerate(a.bins):
            if place in rows_b:
                here, there = bool(a.labels[row, index]), bool(b.labels[rows_b[place], index])
                only_a += here and not there
                only_b += there and not here
        if only_a or only_b:
            found[name] = (only_a, only_b)
    return found


def test_diff__of_a_store_and_itself(little: Little) -> None:
    found = diff_stores(little.store, little.store)
    assert found.equal
    assert found == StoreDiff(n_shared_windows=little.store.n_windows)


def test_diff__of_two_builds_of_the_same_sources(little: Little, tmp_path: Path) -> None:
    other = build_store(little.sources, tmp_path / "x.zarr", settings()).path
    assert diff_stores(little.store, Store(other)).equal


def test_diff__of_other_peaks(little: Little, tmp_path: Path) -> None:
    world = World()
    world.peaks[ACCESSIONS[4]]["chr1"] = [
        (s + 300, e + 300) for s, e in world.peaks[ACCESSIONS[4]]["chr1"] if e < 4800
    ]
    world.peaks[ACCESSIONS[7]]["chr8"] = [(600, 900)]
    other = _build(world, tmp_path)
    found = diff_stores(little.store, other)
    a, b = little.expected, expect(world)
    assert {one.experiment: (one.only_a, one.only_b) for one in found.labels} == _expected_labels(a, b)
    assert len(found.labels) == 2
    for mine, theirs, bins in ((found.windows_only_a, b, a), (found.windows_only_b, a, b)):
        places = [chrom for chrom, start in bins.bins if (chrom, start) not in theirs.bins]
        assert mine == {chrom: places.count(chrom) for chrom in dict.fromkeys(places)}
    assert found.n_shared_windows == len(set(a.bins) & set(b.bins))
    peaks = {f"peaks of {ACCESSIONS[index]}" for index in (4, 7)}
    assert peaks | {"table 1"} == {one.what for one in found.sources}
    assert {(one.experiment, one.factor) for one in found.values} == {
        (ACCESSIONS[4], "md5sum"),
        (ACCESSIONS[7], "md5sum"),
    }
    assert (found.settings, found.sequence, found.splits, found.factors) == ((), {}, {}, ())
    swapped = diff_stores(other, little.store)
    assert swapped.labels == tuple(
        LabelChange(one.experiment, one.only_b, one.only_a) for one in found.labels
    )


def test_diff__of_other_labels_on_the_same_windows(little: Little, tmp_path: Path) -> None:
    """With every bin kept, windows are the same whatever the peaks."""
    world = World()
    world.peaks[ACCESSIONS[4]]["chr9"] = [(600, 900)]
    a = _build(World(), tmp_path / "a", min_experiments=0)
    b = _build(world, tmp_path / "b", min_experiments=0)
    found = diff_stores(a, b)
    expected = _expected_labels(expect(World(), min_experiments=0), expect(world, min_experiments=0))
    assert {one.experiment: (one.only_a, one.only_b) for one in found.labels} == expected
    assert list(expected) == [ACCESSIONS[4]]
    assert (found.windows_only_a, found.windows_only_b) == ({}, {})


def test_diff__of_fewer_experiments_in_another_order(little: Little, tmp_path: Path) -> None:
    world = World()
    sources = world.write(tmp_path / "sources")
    left_out = ACCESSIONS[2]
    (sources.peaks / f"{left_out}.bed.gz").unlink()
    rows = [row for row in world.metadata_rows() if row["File accession"] != left_out][::-1]
    write_table(sources.metadata, METADATA_COLUMNS, rows)
    other = Store(build_store(sources, tmp_path / "x.zarr", settings()).path)
    found = diff_stores(little.store, other)
    assert (found.only_a, found.only_b, found.experiments_reordered) == ((left_out,), (), True)
    assert found.labels == ()
    assert found.values == ()
    assert not found.equal


def test_diff__of_factors(little: Little, tmp_path: Path) -> None:
    world = World()
    sources = world.write(tmp_path / "sources")
    rows = world.metadata_rows()
    rows[0]["Biosample organ slims"] = "blood"
    rows[1]["Read length"] = "75"
    rows[2]["Experiment date released"] = ""
    for row in rows:
        row["Start"] = ""
    write_table(sources.metadata, METADATA_COLUMNS, rows)
    found = diff_stores(little.store, Store(build_store(sources, tmp_path / "x.zarr", settings()).path))
    assert sorted(found.values, key=lambda one: one.experiment) == [
        FactorChange(ACCESSIONS[0], "organ", ["exocrine gland", "liver"], ["blood"]),
        FactorChange(ACCESSIONS[1], "read_length", None, 75.0),
        FactorChange(ACCESSIONS[2], "date_released", "2020-02-29", None),
    ]
    assert found.factors == (Change("start_", {"kind": "category", "role": None, "unit": ""}, None),)


def test_diff__of_settings_and_splits(little: Little, tmp_path: Path) -> None:
    other = _build(World(), tmp_path, valid_chroms=("chr9",), test_chroms=("chr8",), min_overlap=65)
    found = diff_stores(little.store, other)
    assert {one.what: (one.a, one.b) for one in found.settings} == {
        "valid_chroms": (["chr8"], ["chr9"]),
        "test_chroms": (["chr9"], ["chr8"]),
        "min_overlap": (64, 65),
    }
    windows = little.store.windows
    shared = set(little.expected.bins) - set(found.windows_only_a)
    assert found.splits == {
        "valid to test": sum(chrom == "chr8" for chrom, _ in shared & set(_bins(other))),
        "test to valid": sum(chrom == "chr9" for chrom, _ in shared & set(_bins(other))),
    }
    assert len(windows) >= sum(found.splits.values()) > 0


def _bins(store: Store) -> list[tuple[str, int]]:
    windows = store.windows
    return [
        (windows.chroms[chrom], int(start)) for chrom, start in zip(windows.chrom, windows.start, strict=True)
    ]


def test_diff__of_sequence_and_chromosomes(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    letters = list(world.sequences["chr1"])
    letters[2000] = "A" if letters[2000] != "A" else "C"
    world.sequences["chr1"] = "".join(letters)
    world.sequences["chr9"] += "A"
    world.sequences["chrUn_2"] = world.sequences.pop("chrUn_1")
    other = _build(world, tmp_path)
    monkeypatch.setattr(schema, "CODES_PER_SHARD", 1000)
    found = diff_stores(little.store, other)
    # a base is in two dinucleotides
    assert found.sequence == {"chr1": 2, "chr9": -1}
    assert {one.what for one in found.settings} == {"chromosomes", "size of chr9"}
    assert "fasta" in {one.what for one in found.sources}


def test_diff__of_bins_of_another_size_compares_no_labels(little: Little, tmp_path: Path) -> None:
    found = diff_stores(little.store, _build(World(), tmp_path, bin_size=64, min_overlap=32))
    assert not found.labels_compared
    assert (found.labels, found.n_shared_windows) == ((), 0)
    counts = np.bincount(little.store.windows.chrom)
    assert found.windows_only_a == {"chr1": counts[0], "chr8": counts[1], "chr9": counts[2]}


def test_diff__of_a_store_that_notes_no_sources(little: Little, tmp_path: Path) -> None:
    other = Store(little.path)
    other.provenance = {}
    found = diff_stores(little.store, other)
    assert {"fasta", "blacklist", "table 1", f"peaks of {ACCESSIONS[0]}"} <= {
        one.what for one in found.sources
    }
    assert not found.equal
    assert replace(found, sources=(), settings=()).equal


def test_diff__of_factors_in_another_order(little: Little, copied: Path) -> None:
    attributes = little.store.attributes
    described = attributes | {"factors": attributes["factors"][::-1]}
    _describe(copied, described | {"digest": combine_digests(attributes["array_digests"], described)})
    found = diff_stores(little.store, Store(copied))
    assert not found.equal
    assert found == StoreDiff(
        factors_reordered=True, same_digest=False, n_shared_windows=found.n_shared_windows
    )


def test_diff__never_calls_stores_of_other_digests_equal(little: Little, copied: Path) -> None:
    _describe(copied, dict(little.store.attributes) | {"digest": "0" * 64})
    assert not diff_stores(little.store, Store(copied)).equal
    shown = CliRunner().invoke(app, ["diff", str(little.path), str(copied)])
    assert shown.exit_code == 1
    assert "digests of the stores differ" in shown.output


def _describe(path: Path, attributes: dict[str, object]) -> None:
    """Give a store other attributes."""
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["mfdstore"] = attributes
    file.write_text(json.dumps(content))
