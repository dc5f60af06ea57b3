"""A store read back: factors as they went in, and every kind of damage told."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from mfdstore import schema
from mfdstore.dinucleotides import encode_chromosome
from mfdstore.errors import StoreError
from mfdstore.grow.choice import Choice
from mfdstore.grow.subset import subset_store
from mfdstore.layout import encode_values
from mfdstore.metadata import Factor, FactorTable, decode_values
from mfdstore.sources.encode import read_experiments
from mfdstore.store import Store
from mfdstore.verify import verify_store
from mfdstore.writer import StoreWriter
from tests.mfdstore.conftest import Little
from tests.worlds import ACCESSIONS, GENOME, SIZES


def _attributes(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the format's attributes of a store on disk."""
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    change(content["attributes"][schema.ATTRIBUTES])
    file.write_text(json.dumps(content))


def _chunk_files(path: Path) -> list[Path]:
    """Files of the arrays that readers use; those of the manifest are another test's."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json")
    return [file for file in files if not file.is_relative_to(path / "manifest")]


def test_store__says_what_it_is(little: Little) -> None:
    store = little.store
    assert (store.genome, store.bin_size, store.min_overlap, store.min_experiments) == (GENOME, 128, 64, 2)
    assert dict(zip(store.chroms, store.chrom_sizes, strict=True)) == SIZES
    assert store.experiments == tuple(ACCESSIONS)
    assert (store.n_windows, store.n_experiments) == (len(little.expected.bins), 11)
    assert store.digest == little.report.digest
    assert Store(str(little.path)).path == little.path


def test_store__keeps_factors_with_role_kind_and_what_is_missing(little: Little) -> None:
    before = read_experiments(little.sources.metadata, little.sources.report, GENOME).factors
    after = little.store.factors
    assert after.experiments == before.experiments
    assert after.names == before.names
    for old, new in zip(before, after, strict=True):
        assert (old.kind, old.role, old.unit) == (new.kind, new.role, new.unit)
        np.testing.assert_array_equal(old.missing, new.missing)
        np.testing.assert_array_equal(old.values, new.values)


texts = st.none() | st.text(st.characters(exclude_characters=",\0", exclude_categories=["Cs"]), min_size=1)
items = st.text(st.characters(exclude_characters=",\0", exclude_categories=["Cs"]), min_size=1)
several = st.none() | st.lists(items, min_size=1, max_size=4).map(tuple)
numbers = st.floats(allow_nan=True, width=64)
days = st.none() | st.dates()


@given(st.data(), st.sampled_from(schema.KINDS))
def test_values__come_back_from_what_is_stored(data: st.DataObject, kind: schema.Kind) -> None:
    drawn = data.draw(
        st.lists(
            {"category": texts, "multi_category": several, "number": numbers, "date": days}[kind], max_size=6
        )
    )
    if kind == "number":
        values: np.ndarray = np.array(drawn, np.float64)
    elif kind == "date":
        values = np.array(
            [np.datetime64("NaT") if day is None else np.datetime64(day) for day in drawn], "M8[D]"
        )
    else:
        values = np.empty(len(drawn), object)
        for index, value in enumerate(drawn):
            values[index] = value
    factor = Factor("x", kind, None, values)
    found = Factor("x", kind, None, decode_values(kind, encode_values(factor)))
    np.testing.assert_array_equal(found.values, factor.values)
    np.testing.assert_array_equal(found.missing, factor.missing)


def test_codes__of_an_unknown_chromosome(little: Little) -> None:
    with pytest.raises(StoreError, match="no chromosome '1'; expected one of chr1, chr8, chr9, chrUn_1"):
        little.store.codes("1")


@given(st.integers(0, 60), st.none() | st.integers(0, 60))
def test_label_bits__of_some_windows_are_rows_of_all(little: Little, start: int, stop: int | None) -> None:
    np.testing.assert_array_equal(little.store.label_bits(start, stop), little.store.label_bits()[start:stop])


def test_store__is_opened_again_by_another_process(little: Little) -> None:
    store = little.store
    before = len(pickle.dumps(store))
    assert store.windows is store.windows
    sent = pickle.dumps(store)
    assert len(sent) == before
    assert pickle.loads(sent).digest == store.digest  # noqa: S301


def test_store__opens_with_plain_zarr_readers_in_silence(little: Little) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(little.path).load()
    expected = little.expected
    assert dict(dataset.sizes) == {
        "window": len(expected.bins),
        "label_byte": 2,
        "experiment": 11,
        "window_byte": -(-len(expected.bins) // 8),
    }
    assert set(dataset.data_vars) == {"label_bits", "label_bits_by_experiment"}
    assert dataset["label_bits"].dtype == np.uint8
    unpacked = np.unpackbits(dataset["label_bits"].values, axis=1, count=11)
    np.testing.assert_array_equal(unpacked, expected.labels)
    assert dataset["start"].values.tolist() == [start for _, start in expected.bins]
    assert (dataset["end"] - dataset["start"] == 128).all()
    assert dataset["chrom"].attrs["flag_meanings"].split() == list(SIZES)
    assert dataset["experiment"].values.tolist() == ACCESSIONS
    assert dataset["target"].attrs["role"] == "biological"
    assert dataset["lab"].attrs["role"] == "technical"
    assert dataset["target"].values[9] == ""
    assert str(dataset["date_released"].values[0])[:10] == "2011-10-29"
    assert np.isnat(dataset["date_released"].values[1])
    assert set(little.store.factors.names) <= set(dataset.coords)


def test_store__every_array_has_a_checksum(little: Little) -> None:
    arrays = {"manifest/name", "manifest/sha256", "manifest/metadata", *little.store.array_digests}
    for name in arrays:
        described = json.loads((little.path / name / "zarr.json").read_text())
        inner = described["codecs"][0]
        codecs = (
            inner["configuration"]["codecs"] if inner["name"] == "sharding_indexed" else described["codecs"]
        )
        assert codecs[-1]["name"] == "crc32c", name
    n_groups = 3  # the root, sequence, manifest
    assert len(arrays) == len(list(little.path.rglob("zarr.json"))) - n_groups


# ---- many shards


def test_writer__writes_more_than_one_shard_however_rows_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "ROWS_PER_CHUNK", 4)
    monkeypatch.setattr(schema, "ROWS_PER_SHARD", 8)
    monkeypatch.setattr("mfdstore.layout._WINDOW_BYTES_PER_CHUNK", 2)
    monkeypatch.setattr("mfdstore.writer._TRANSPOSE_BYTES", 1)  # one byte of experiments at a time
    draw = np.random.default_rng(5)
    labels = draw.random((45, 19)) < 0.3
    names = tuple(f"E{index}" for index in range(19))
    digests = []
    for cuts in ([0, 45, 45, 45], [0, 3, 20, 45], [0, 8, 16, 45]):
        path = tmp_path / str(cuts[1:3])
        writer = StoreWriter(path, FactorTable(names, ()), ["a", "b", "c"], [6000, 6000, 6000])
        for chrom, (first, last) in zip("abc", itertools.pairwise(cuts), strict=True):
            writer.write_codes(chrom, encode_chromosome(b"ACGT" * 1500))
            starts = np.arange(first, last, dtype=np.int32) * np.int32(128)
            writer.append_windows(
                chrom, starts, np.zeros(last - first, np.int8), np.packbits(labels[first:last], axis=1)
            )
        writer.close(
            {"genome": "x", "bin_size": 128, "min_overlap": 64, "min_experiments": 0, "provenance": {}}
        )
        store = Store(path)
        np.testing.assert_array_equal(np.unpackbits(store.label_bits(), axis=1, count=19), labels)
        np.testing.assert_array_equal(np.stack([store.labels_of(index) for index in range(19)]).T, labels)
        assert store.windows.chrom.tolist() == [
            index for index in range(3) for _ in range(cuts[index], cuts[index + 1])
        ]
        digests.append(
            {name: store.array_digests[name] for name in ("label_bits", "label_bits_by_experiment")}
        )
        assert verify_store(path).sound
    assert digests[0] == digests[1] == digests[2]


# ---- damage


def test_store__of_a_newer_format_version(copied: Path) -> None:
    _attributes(copied, lambda attributes: attributes.update(format_version=schema.FORMAT_VERSION + 1))
    with pytest.raises(StoreError, match=r"found format version 2; expected at most 1.*Install a newer mfd"):
        Store(copied)


@pytest.mark.parametrize("version", [None, "1", 0, -1, 1.5])
def test_store__of_a_version_that_is_none(copied: Path, version: Any) -> None:
    _attributes(copied, lambda attributes: attributes.update(format_version=version))
    with pytest.raises(StoreError, match="format version"):
        Store(copied)


@pytest.mark.parametrize("name", ["genome", "chroms", "n_windows", "digest", "factors", "provenance"])
def test_store__without_an_attribute(copied: Path, name: str) -> None:
    _attributes(copied, lambda attributes: attributes.pop(name))
    with pytest.raises(StoreError, match=f"no attribute '{name}'"):
        Store(copied)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("genome", 7),
        ("bin_size", "128"),
        ("bin_size", 0),
        ("bin_size", True),
        ("min_overlap", None),
        ("min_experiments", -1),
        ("chroms", 5),
        ("chroms", []),
        ("chroms", ["chr1", "chr1", "chr8", "chr9"]),
        ("chrom_sizes", "abcd"),
        ("chrom_sizes", [1, 2, 3, "4"]),
        ("n_windows", 1.5),
        ("n_experiments", [11]),
        ("digest", 0),
        ("array_digests", []),
        ("array_digests", {"start": 1}),
        ("provenance", None),
        ("factors", {}),
        ("factors", ["lab"]),
    ],
)
def test_store__with_an_attribute_of_another_kind(copied: Path, name: str, value: Any) -> None:
    _attributes(copied, lambda attributes: attributes.update({name: value}))
    with pytest.raises(StoreError, match=f"attribute of another kind \\({name} is not "):
        Store(copied)


def test_store__with_more_sizes_than_chromosomes(copied: Path) -> None:
    _attributes(copied, lambda attributes: attributes["chrom_sizes"].append(9))
    with pytest.raises(StoreError, match="4 chroms and 5 chrom_sizes"):
        Store(copied)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", None, "no name"),
        ("name", "biosample", "twice"),
        ("kind", "colour", "kind 'colour'"),
        ("kind", [], "kind"),
        ("role", "chemical", "role 'chemical'"),
        ("role", {}, "role"),
        ("unit", None, "unit None"),
    ],
)
def test_store__with_a_factor_that_is_none(copied: Path, key: str, value: Any, words: str) -> None:
    _attributes(copied, lambda attributes: attributes["factors"][0].update({key: value}))
    with pytest.raises(StoreError, match=words):
        Store(copied)


@pytest.mark.parametrize("key", ["name", "kind", "role", "unit"])
def test_store__with_a_factor_that_lacks_a_part(copied: Path, key: str) -> None:
    _attributes(copied, lambda attributes: attributes["factors"][0].pop(key))
    with pytest.raises(StoreError, match=f"a factor .* {key}"):
        Store(copied)


@pytest.mark.parametrize(
    ("name", "kind"), [("target", "number"), ("lab", "date"), ("age", "multi_category"), ("age", "category")]
)
def test_factors__of_a_kind_that_is_not_stored_so(copied: Path, name: str, kind: str) -> None:
    def change(attributes: dict[str, Any]) -> None:
        (entry,) = (entry for entry in attributes["factors"] if entry["name"] == name)
        entry["kind"] = kind

    _attributes(copied, change)
    with pytest.raises(StoreError, match=f"factor {name} of kind {kind} stored as"):
        _ = Store(copied).factors


def test_windows__on_a_chromosome_that_has_no_name(copied: Path) -> None:
    def shorten(attributes: dict[str, Any]) -> None:
        del attributes["chroms"][1:], attributes["chrom_sizes"][1:]

    _attributes(copied, shorten)
    with pytest.raises(StoreError, match=r"array chrom that is not \d+ codes from 0 to 0"):
        _ = Store(copied).windows


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "other zarr", "no json", "binary", "version 2"])
def test_store__that_is_none(tmp_path: Path, kind: str) -> None:
    import zarr

    path = tmp_path / "x.zarr"
    if kind == "file":
        path.write_text("hello")
    elif kind == "other zarr":
        zarr.create_group(str(path), zarr_format=3)
    elif kind == "version 2":
        zarr.create_group(str(path), zarr_format=2)
    elif kind != "missing":
        path.mkdir()
        if kind != "empty":
            (path / "zarr.json").write_bytes(b"{" if kind == "no json" else bytes(range(256)))
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert caught.value.where == str(path)


def test_store__names_the_array_whose_description_is_gone_or_damaged(copied: Path) -> None:
    (copied / "start" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="no array start"):
        _ = Store(copied).windows
    (copied / "label_bits" / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match="label_bits"):
        Store(copied).label_bits()


def _flip(file: Path, at: int, bit: int = 0x01) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])


def test_store__a_flipped_byte_of_any_chunk_is_told_by_the_name_of_its_array(copied: Path) -> None:
    files = _chunk_files(copied)
    store = Store(copied)
    assert {str(file.relative_to(copied)).split("/c/")[0] for file in files} == set(store.array_digests)
    for file in files:
        name = str(file.relative_to(copied)).split("/c/")[0]
        size = file.stat().st_size
        for at in (0, size // 3, size // 2, size - 1):
            _flip(file, at)
            with pytest.raises(StoreError, match=f"array {name} with a damaged chunk"):
                store.read(name)
            _flip(file, at)
        store.read(name)


def test_verify__finds_every_chunk_with_a_flipped_byte(copied: Path) -> None:
    assert verify_store(copied).sound
    for file in _chunk_files(copied):
        _flip(file, file.stat().st_size // 2)
    report = verify_store(copied)
    assert not report.sound
    wrong = {finding.check for finding in report.findings if not finding.sound}
    assert wrong == {f"array {name}" for name in Store(copied).array_digests}


def test_store__every_third_byte_of_one_chunk_counts(copied: Path) -> None:
    (file,) = (path for path in _chunk_files(copied) if "label_bits/c/" in str(path))
    store = Store(copied)
    for at in range(0, file.stat().st_size, 3):
        _flip(file, at, 0x80)
        with pytest.raises(StoreError, match="array label_bits with a damaged chunk"):
            store.label_bits()
        _flip(file, at, 0x80)
    store.label_bits()


def test_store__a_chunk_cut_short_is_told(copied: Path) -> None:
    for file in _chunk_files(copied):
        name = str(file.relative_to(copied)).split("/c/")[0]
        content = file.read_bytes()
        for length in {0, 1, 3, 5, len(content) // 2, len(content) - 1}:
            file.write_bytes(content[:length])
            with pytest.raises(StoreError, match=f"array {name} with a damaged chunk"):
                Store(copied).read(name)
        file.write_bytes(content)


@pytest.mark.parametrize("emptied", [False, True])
def test_store__a_chunk_of_any_array_that_is_gone_is_told(copied: Path, emptied: bool) -> None:
    names = set()
    for file in _chunk_files(copied):
        name = str(file.relative_to(copied)).split("/c/")[0]
        content = file.read_bytes()
        if emptied:
            file.write_bytes(b"")
        else:
            file.unlink()
        with pytest.raises(StoreError, match=f"array {name} with a damaged chunk"):
            Store(copied).read(name)
        file.write_bytes(content)
        names.add(name)
    assert names == set(Store(copied).array_digests)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("split", "windows"),
        ("start", "windows"),
        ("chrom", "windows"),
        ("experiment", "experiments"),
        ("lab", "factors"),
        ("n_positive", "n_positive"),
    ],
)
def test_store__nothing_is_made_of_a_vector_that_is_gone(copied: Path, name: str, of: str) -> None:
    shutil.rmtree(copied / name / "c")
    with pytest.raises(StoreError, match=f"array {name} with a damaged chunk"):
        getattr(Store(copied), of)


def test_verify__finds_every_chunk_that_is_gone(copied: Path) -> None:
    for file in _chunk_files(copied):
        file.unlink()
    wrong = {finding.check for finding in verify_store(copied).findings if not finding.sound}
    assert wrong == {f"array {name}" for name in Store(copied).array_digests}


def test_a_store_that_is_swapped_during_a_reading_is_refused(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other = tmp_path / "x.zarr", tmp_path / "other.zarr"
    subset_store(little.path, other, Choice(splits=("train",)))
    read = Store._read

    def swapped_by(new: Path) -> Callable[..., Any]:
        def swap_then_read(store: Store, *arguments: Any) -> Any:
            if new.exists() and store.path == place:
                place.rename(tmp_path / "before.zarr")
                new.rename(place)
            return read(store, *arguments)

        return swap_then_read

    shutil.copytree(little.path, place)
    store = Store(place)
    monkeypatch.setattr(Store, "_read", swapped_by(other))
    with pytest.raises(StoreError, match="which has taken the name since"):
        store.codes("chr1")
    shutil.rmtree(place)
    (tmp_path / "before.zarr").rename(place)
    # the same content, put there anew: read again
    again = tmp_path / "again.zarr"
    shutil.copytree(little.path, again)
    store = Store(place)
    monkeypatch.setattr(Store, "_read", swapped_by(again))
    np.testing.assert_array_equal(store.codes("chr1"), little.store.codes("chr1"))


def test_damage_in_a_store_that_is_put_anew_again_and_again_is_told(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(little.path, tmp_path / "x.zarr")
    store = Store(tmp_path / "x.zarr")
    tries = []

    def damaged_anew(store: Store, *arguments: Any) -> Any:
        tries.append(arguments)
        os.utime(tmp_path / "x.zarr" / "zarr.json", ns=(0, len(tries)))
        raise StoreError(store.path, found="a damaged chunk", expected="a whole store", remedy="Wait.")

    monkeypatch.setattr(Store, "_read", damaged_anew)
    with pytest.raises(StoreError, match="a damaged chunk"):
        store.codes("chr1")
    assert len(tries) == 3
