"""Verification finds what is wrong, and only that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildReport
from mfdstore.errors import ConfigError, SourceError, StoreError
from mfdstore.layout import write_manifest
from mfdstore.provenance import combine_digests, digest_values
from mfdstore.store import Store
from mfdstore.verify import VerifyReport, verify_store
from tests.mfdstore.conftest import Little
from tests.worlds import ACCESSIONS, World, settings


def _verify(path: Path, little: Little, **changes: Any) -> VerifyReport:
    sources = little.sources
    given = {"peaks": sources.peaks, "fasta": sources.fasta, "blacklist": sources.blacklist}
    return verify_store(path, **(given | changes))


def _wrong(report: VerifyReport) -> set[str]:
    return {finding.check for finding in report.findings if not finding.sound}


def _rewrite(path: Path, changes: dict[str, Callable[[np.ndarray], np.ndarray]]) -> None:
    """Change values of arrays and mend all digests and the manifest, as a faulty writer would have left them."""
    group = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    file = path / "zarr.json"
    for name, change in changes.items():
        group[name][...] = change(np.asarray(group[name][...]))  # type: ignore[index]
    content = json.loads(file.read_text())
    attributes = content["attributes"][schema.ATTRIBUTES]
    for name in changes:
        attributes["array_digests"][name] = digest_values(np.asarray(group[name][...]))  # type: ignore[index]
    attributes["digest"] = combine_digests(attributes["array_digests"], attributes)
    file.write_text(json.dumps(content))
    write_manifest(path)


def _flip_bit(bits: np.ndarray) -> np.ndarray:
    bits[5, 0] ^= 0x20
    return bits


def _flip_turned(bits: np.ndarray) -> np.ndarray:
    bits[2, 0] ^= 0x04
    return bits


def test_verify__finds_nothing_wrong_with_what_was_built(little: Little) -> None:
    stages: list[tuple[str, int, int]] = []
    report = _verify(little.path, little, on_progress=lambda *stage: stages.append(stage))
    assert report.sound
    checks = {finding.check: finding.detail for finding in report.findings}
    assert {"arrays", "windows", "bins", "n_positive", "labels by experiment", "filters"} <= set(checks)
    assert f"{little.expected.labels.sum():,} positive pairs" in checks["labels from peaks"]
    assert f"{len(little.expected.bins)} of {little.expected.n_bins} bins pass" in checks["filters"]
    assert {stage for stage, _, _ in stages} == {"files", "arrays", "labels", "sequence", "experiments"}
    assert all(done <= total for _, done, total in stages)


@pytest.mark.parametrize(
    "changes", [{"min_experiments": 0}, {"allow_empty": True}, {"blocks": (0.5, 0.25, 0.25), "gap": 128}]
)
def test_verify__agrees_whatever_the_settings(tmp_path: Path, changes: dict[str, Any]) -> None:
    world = World()
    if "allow_empty" in changes:
        world.peaks[ACCESSIONS[3]] = {"chrUn_9": [(0, 10)]}
    sources = world.write(tmp_path)
    chosen = settings(**changes)
    build_store(sources, tmp_path / "x.zarr", chosen)
    report = verify_store(
        tmp_path / "x.zarr", peaks=sources.peaks, fasta=sources.fasta, blacklist=sources.blacklist
    )
    assert report.sound, report.findings


def test_verify__finds_a_label_that_the_peaks_do_not_give(copied: Path, little: Little) -> None:
    def count(counts: np.ndarray) -> np.ndarray:
        counts[5] = int(np.bitwise_count(_bits(copied)[5]).sum())
        return counts

    def _bits(path: Path) -> np.ndarray:
        return Store(path).label_bits()

    _rewrite(copied, {"label_bits": _flip_bit})
    _rewrite(copied, {"label_bits_by_experiment": _flip_turned, "n_positive": count})
    report = _verify(copied, little)
    assert _wrong(report) == {"labels from peaks"}
    (finding,) = (finding for finding in report.findings if not finding.sound)
    assert finding.detail == f"1 experiment(s) differ: {ACCESSIONS[2]} (1 windows)"


def test_verify__finds_layouts_that_differ(copied: Path, little: Little) -> None:
    _rewrite(copied, {"label_bits_by_experiment": _flip_turned})
    assert {"labels by experiment"} <= _wrong(verify_store(copied))
    _rewrite(copied, {"label_bits": _flip_bit})
    assert _wrong(verify_store(copied)) == {"n_positive"}


def test_verify__finds_a_wrong_base(copied: Path, little: Little) -> None:
    def change(codes: np.ndarray) -> np.ndarray:
        codes[1234] = (codes[1234] + 1) % 16
        return codes

    _rewrite(copied, {"sequence/chr8": change})
    report = _verify(copied, little)
    assert _wrong(report) == {"sequence of chr8"}
    assert any("1 differ, first at 1,234" in finding.detail for finding in report.findings)


def test_verify__finds_windows_out_of_order_or_place(copied: Path, little: Little) -> None:
    shifted = {name: (lambda values: values + np.int32(5120)) for name in ("start", "end")}
    _rewrite(copied, shifted)
    assert _wrong(verify_store(copied)) == {"bins"}
    _rewrite(copied, {name: (lambda values: values[::-1]) for name in ("start", "end")})
    assert "windows" in _wrong(verify_store(copied))
    _rewrite(copied, {"end": lambda values: values + np.int32(1)})
    assert _wrong(verify_store(copied)) == {"attributes"}


def test_verify__finds_a_digest_that_is_not_that_of_the_arrays(copied: Path) -> None:
    file = copied / "zarr.json"
    digest = Store(copied).digest
    file.write_text(file.read_text().replace(digest, digest[::-1]))
    write_manifest(copied)
    assert _wrong(verify_store(copied)) == {"arrays"}


@pytest.mark.parametrize(
    ("built", "claimed", "words"), [(2, 9, "should not be kept, 0 are"), (9, 2, "0 windows should not")]
)
def test_verify__finds_windows_too_many_and_too_few(
    little: Little, tmp_path: Path, built: int, claimed: int, words: str
) -> None:
    path = tmp_path / "x.zarr"
    build_store(little.sources, path, settings(min_experiments=built))
    content = json.loads((path / "zarr.json").read_text())
    attributes = content["attributes"][schema.ATTRIBUTES]
    attributes["min_experiments"] = claimed
    attributes["digest"] = combine_digests(attributes["array_digests"], attributes)
    (path / "zarr.json").write_text(json.dumps(content))
    write_manifest(path)
    report = _verify(path, little)
    assert _wrong(report) == {"filters"}
    assert any(words in finding.detail for finding in report.findings)


def test_verify__finds_sources_that_changed(little: Little, tmp_path: Path) -> None:
    world = World()
    world.peaks[ACCESSIONS[4]]["chr1"].append((1280, 1900))
    world.sequences["chr9"] = world.sequences["chr9"][:-1]
    world.blacklist["chr1"].append((3000, 3001))
    sources = world.write(tmp_path)
    report = verify_store(little.path, peaks=sources.peaks, fasta=sources.fasta, blacklist=sources.blacklist)
    assert {"peak files", "sequence of chr9", "filters"} <= _wrong(report)
    assert any(
        ACCESSIONS[4] in finding.detail for finding in report.findings if finding.check == "peak files"
    )


def test_verify__says_what_it_could_not_check(little: Little) -> None:
    report = _verify(little.path, little, blacklist=None)
    assert report.sound
    (finding,) = (finding for finding in report.findings if finding.sound is None)
    assert finding.check == "filters"
    assert "pass --blacklist" in finding.detail


def test_verify__refuses_a_blacklist_that_it_would_not_read(little: Little) -> None:
    with pytest.raises(ConfigError, match="Pass --peaks, or leave out --blacklist"):
        _verify(little.path, little, peaks=None)


def test_verify__finds_a_blacklist_that_the_build_did_not_have(little: Little, tmp_path: Path) -> None:
    sources = replace(little.sources, blacklist=None)
    build_store(sources, tmp_path / "x.zarr", settings())
    assert _verify(tmp_path / "x.zarr", little, blacklist=None).sound
    assert _wrong(_verify(tmp_path / "x.zarr", little)) == {"filters"}


def test_verify__says_nothing_beside_when_peaks_touch_no_bin(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    world = World()
    # chrUn_1 is shorter than a bin
    world.peaks[ACCESSIONS[3]] = {"chrUn_1": [(0, 90)]}
    sources = world.write(tmp_path)
    build_store(sources, tmp_path / "x.zarr", settings())
    report = verify_store(tmp_path / "x.zarr", peaks=sources.peaks, blacklist=sources.blacklist)
    assert report.sound, report.findings
    assert capfd.readouterr() == ("", "")


Change = Callable[[dict[str, Any]], None]


def _change_attributes(path: Path, change: Change, *, mend: bool) -> None:
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    attributes = content["attributes"][schema.ATTRIBUTES]
    change(attributes)
    if mend:
        attributes["digest"] = combine_digests(attributes["array_digests"], attributes)
    file.write_text(json.dumps(content))
    write_manifest(path)


def _set_factor(name: str, key: str, value: Any) -> Change:
    def change(attributes: dict[str, Any]) -> None:
        (entry,) = (entry for entry in attributes["factors"] if entry["name"] == name)
        entry[key] = value

    return change


MEANINGS: dict[str, Change] = {
    "genome": lambda attributes: attributes.update(genome="hg19"),
    "name of a chromosome": lambda attributes: attributes["chroms"].__setitem__(0, "chr2"),
    "size of a chromosome": lambda attributes: attributes["chrom_sizes"].__setitem__(0, 5158),
    "bin_size": lambda attributes: attributes.update(bin_size=127),
    "min_overlap": lambda attributes: attributes.update(min_overlap=65),
    "min_experiments": lambda attributes: attributes.update(min_experiments=1),
    "role": _set_factor("lab", "role", "biological"),
    "no role": _set_factor("lab", "role", None),
    "kind": _set_factor("organ", "kind", "category"),
    "unit": _set_factor("age", "unit", "days"),
    "order of the factors": lambda attributes: attributes["factors"].reverse(),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_digest__covers_what_gives_the_arrays_their_meaning(copied: Path, name: str) -> None:
    before = Store(copied).digest
    _change_attributes(copied, MEANINGS[name], mend=False)
    assert "arrays" in _wrong(verify_store(copied))
    _change_attributes(copied, lambda attributes: None, mend=True)
    assert Store(copied).digest != before


def test_digest__does_not_cover_where_a_store_came_from(copied: Path) -> None:
    before = Store(copied).digest
    _change_attributes(copied, lambda attributes: attributes.update(provenance={}), mend=True)
    assert Store(copied).digest == before


@pytest.mark.parametrize("name", ["role", "kind", "size of a chromosome", "bin_size"])
def test_verify__finds_attributes_that_the_arrays_do_not_bear_out(
    copied: Path, little: Little, name: str
) -> None:
    _change_attributes(copied, MEANINGS[name], mend=True)
    assert _wrong(_verify(copied, little)) == {"attributes"}


def test_verify__finds_an_attribute_at_odds_with_its_array_without_a_traceback(
    copied: Path, little: Little
) -> None:
    def shorten(attributes: dict[str, Any]) -> None:
        del attributes["chroms"][1:], attributes["chrom_sizes"][1:]

    _change_attributes(copied, shorten, mend=True)
    assert _wrong(_verify(copied, little)) == {"attributes"}


@pytest.mark.parametrize(
    "provenance", [{}, {"peaks": 3}, {"peaks": {ACCESSIONS[0]: {}}}, {"blacklist": "x", "peaks": []}]
)
def test_verify__of_a_store_that_does_not_note_its_sources(
    copied: Path, little: Little, provenance: dict[str, Any]
) -> None:
    _change_attributes(copied, lambda attributes: attributes.update(provenance=provenance), mend=True)
    assert _wrong(_verify(copied, little)) == {"peak files", "filters"}


@pytest.mark.parametrize("what", ["peaks", "fasta", "blacklist"])
def test_verify__wants_the_sources_it_is_given(little: Little, tmp_path: Path, what: str) -> None:
    with pytest.raises(SourceError, match=str(tmp_path / "nothing")):
        _verify(little.path, little, **{what: tmp_path / "nothing"})


def test_verify__wants_all_peak_files(little: Little, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(little.sources.peaks, tmp_path / "peaks"))
    (folder / f"{ACCESSIONS[0]}.bed.gz").unlink()
    with pytest.raises(SourceError, match=f"no peak file for {ACCESSIONS[0]}"):
        _verify(little.path, little, peaks=folder)


def test_verify__of_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        verify_store(tmp_path)


@pytest.mark.real
@pytest.mark.slow
def test_verify__agrees_with_the_real_store_in_every_bit(
    real_chr22: BuildReport, real_data: Path, real_fasta: Path
) -> None:
    peaks = real_data / "hg38-chr22" / "peaks"
    report = verify_store(real_chr22.path, peaks=peaks, fasta=real_fasta)
    assert report.sound, report.findings
    details = {finding.check: finding.detail for finding in report.findings}
    assert details["labels from peaks"] == "273,912 positive pairs recomputed by pyranges, every bit agrees"
    assert details["filters"].startswith("51,644 of 397,019 bins pass")
    assert details["sequence of chr22"] == "50,818,468 positions agree"
