"""A build from files to a store: against loops, whatever the spelling and packing, killed or repeated."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildReport, BuildSettings
from mfdstore.errors import ConfigError, MfdError, SourceError, StoreError
from mfdstore.store import Store
from tests.mfdstore.conftest import Little
from tests.oracles import naive_bases_read, naive_codes
from tests.worlds import ACCESSIONS, GENOME, World, expect, settings


def _files(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()
    }


def _chunks(path: Path) -> dict[str, bytes]:
    return {name: content for name, content in _files(path).items() if not name.endswith("zarr.json")}


def _labels(store: Store) -> np.ndarray:
    return np.unpackbits(store.label_bits(), axis=1, count=store.n_experiments).astype(np.bool_)


def test_build__holds_what_the_definitions_say(little: Little) -> None:
    store, expected = little.store, little.expected
    windows = store.windows
    found = [
        (store.chroms[chrom], int(start)) for chrom, start in zip(windows.chrom, windows.start, strict=True)
    ]
    assert found == expected.bins
    np.testing.assert_array_equal(_labels(store), expected.labels)
    np.testing.assert_array_equal(store.n_positive, expected.labels.sum(axis=1))
    for index in range(store.n_experiments):
        np.testing.assert_array_equal(store.labels_of(index), expected.labels[:, index])
    for chrom, bases in little.world.sequences.items():
        assert store.codes(chrom).tolist() == naive_codes(bases + "N")
    splits = {"chr1": "train", "chr8": "valid", "chr9": "test"}
    assert [schema.SPLITS[code] for code in windows.split] == [splits[chrom] for chrom, _ in expected.bins]


def test_build__counts_what_each_filter_took(little: Little) -> None:
    counts, expected = little.report.counts, little.expected
    assert counts.bins == expected.n_bins
    assert counts.bins_below_min_experiments == expected.n_few > 0
    assert counts.bins_with_blank == expected.n_blank > 0
    assert counts.bins_blacklisted == expected.n_blacklisted > 0
    assert (
        counts.windows
        == len(expected.bins)
        == counts.bins - expected.n_few - expected.n_blank - expected.n_blacklisted
    )
    assert counts.positive_pairs == expected.labels.sum()
    assert counts.peaks == sum(
        len(found) for peaks in little.world.peaks.values() for found in peaks.values()
    )
    assert counts.experiments == len(ACCESSIONS)


@pytest.mark.parametrize("min_experiments", [0, 1, 5])
def test_build__keeps_bins_of_enough_experiments(tmp_path: Path, min_experiments: int) -> None:
    world = World()
    sources = world.write(tmp_path)
    build_store(sources, tmp_path / "x.zarr", settings(min_experiments=min_experiments))
    expected = expect(world, min_experiments=min_experiments)
    assert Store(tmp_path / "x.zarr").windows.start.tolist() == [start for _, start in expected.bins]
    np.testing.assert_array_equal(_labels(Store(tmp_path / "x.zarr")), expected.labels)


@pytest.mark.parametrize("packing", ["gzip", "bgzf"])
def test_build__packing_of_the_sources_makes_no_difference(
    little: Little, tmp_path: Path, packing: str
) -> None:
    sources = World(fasta_packing=packing).write(tmp_path)
    report = build_store(sources, tmp_path / "x.zarr", settings())
    assert report.digest == little.report.digest


@pytest.mark.parametrize("ending", [".bed", ".narrowPeak", ".broadPeak.gz"])
def test_build__endings_of_the_peaks_make_no_difference_but_to_their_digest(
    little: Little, tmp_path: Path, ending: str
) -> None:
    build_store(World(peak_ending=ending).write(tmp_path), tmp_path / "x.zarr", settings())
    store = Store(tmp_path / "x.zarr")
    different = {
        name for name, digest in store.array_digests.items() if digest != little.store.array_digests[name]
    }
    assert different == (set() if ending.endswith(".gz") else {"md5sum"})


@pytest.mark.parametrize("fasta_names", [{}, {"chr1": "1", "chr8": "8", "chr9": "9"}])
@pytest.mark.parametrize("peak_names", [{}, {"chr1": "1", "chr8": "8", "chr9": "9"}])
def test_build__spelling_of_chromosomes_makes_no_difference(
    little: Little, tmp_path: Path, fasta_names: dict[str, str], peak_names: dict[str, str]
) -> None:
    build_store(
        World(fasta_names=fasta_names, peak_names=peak_names).write(tmp_path), tmp_path / "x.zarr", settings()
    )
    store = Store(tmp_path / "x.zarr")
    assert store.chroms == little.store.chroms
    different = {
        name for name, digest in store.array_digests.items() if digest != little.store.array_digests[name]
    }
    assert different <= {"md5sum"}


@pytest.mark.parametrize("fasta_name", ["chrM", "MT", "NC_012920.1"])
@pytest.mark.parametrize("peak_name", ["M", "NC_012920.1"])
def test_build__knows_accessions_of_a_published_assembly(
    tmp_path: Path, fasta_name: str, peak_name: str
) -> None:
    # the mitochondrion is the one chromosome that may have any length
    sequences = {"chrM": "ACGT" * 640, "chr8x": "ACGT" * 640, "chr9x": "ACGT" * 640}
    peaks = {name: {chrom: [(128, 900)] for chrom in sequences} for name in ACCESSIONS}
    world = World(
        sequences,
        peaks,
        {"chrM": [(300, 301)]},
        fasta_names={"chrM": fasta_name},
        peak_names={"chrM": peak_name},
    )
    sources = world.write(tmp_path)
    text = sources.metadata.read_text()
    sources.metadata.write_text(text.replace(f"\t{GENOME}\t", "\tGRCh38\t"))
    given = settings(genome="hg38", valid_chroms=("chr8x",), test_chroms=("chr9x",))
    build_store(sources, tmp_path / "x.zarr", given)
    store = Store(tmp_path / "x.zarr")
    assert store.chroms == ("chrM", "chr8x", "chr9x")
    assert store.windows.start[store.windows.chrom == 0].tolist() == [128, 384, 512, 640, 768]


def test_build__same_sources_give_the_same_bytes(little: Little, tmp_path: Path) -> None:
    again = build_store(little.sources, tmp_path / "again.zarr", settings())
    assert again.digest == little.report.digest
    assert _files(again.path) == _files(little.path)


def test_build__another_label_gives_another_digest(little: Little, tmp_path: Path) -> None:
    world = World()
    world.peaks[ACCESSIONS[0]]["chr1"].pop()
    report = build_store(world.write(tmp_path), tmp_path / "x.zarr", settings())
    assert report.digest != little.report.digest


def test_build__chooses_chromosomes_by_any_name(tmp_path: Path) -> None:
    world = World()
    sources = world.write(tmp_path)
    report = build_store(
        sources, tmp_path / "x.zarr", settings(chroms=("9", "chr1"), blocks=(0.5, 0.25, 0.25), gap=128)
    )
    store = Store(report.path)
    expected = expect(world, chroms=["chr1", "chr9"])
    assert store.chroms == ("chr1", "chr9")
    np.testing.assert_array_equal(_labels(store), expected.labels)
    assert report.counts.peaks_on_other_sequences == sum(len(peaks["chr8"]) for peaks in world.peaks.values())


def test_build__blocks_with_a_gap_share_no_base(tmp_path: Path) -> None:
    sequences = {"chr1": "ACGT" * (32 * 100)}
    peaks = {name: {"chr1": [(0, 12_800)]} for name in ACCESSIONS}
    sources = World(sequences, peaks, {"chr1": [(0, 1)]}).write(tmp_path)
    report = build_store(sources, tmp_path / "x.zarr", settings(blocks=(0.6, 0.2, 0.2)))
    windows = Store(report.path).windows
    read = {
        split: {
            base
            for row in windows.rows(split)
            for base in naive_bases_read(int(windows.start[row]), 128, 1152, max_shift=3)
        }
        for split in ("train", "valid", "test")
    }
    assert all(read.values())
    assert not read["train"] & read["valid"]
    assert not read["train"] & read["test"]
    assert not read["valid"] & read["test"]
    assert report.counts.windows_by_split["gap"] == len(windows.rows("gap")) == 18


def test_build__leaves_out_experiments_without_a_file_if_allowed(tmp_path: Path) -> None:
    world = World()
    sources = world.write(tmp_path)
    for accession in (ACCESSIONS[3], ACCESSIONS[7]):
        (sources.peaks / f"{accession}.bed.gz").unlink()
        del world.peaks[accession]
    with pytest.raises(
        SourceError, match=f"no peak file for 2 experiment.s. .*{ACCESSIONS[3]}, {ACCESSIONS[7]}"
    ):
        build_store(sources, tmp_path / "x.zarr", settings())
    report = build_store(sources, tmp_path / "x.zarr", settings(allow_missing=True))
    store = Store(report.path)
    assert store.experiments == tuple(name for name in ACCESSIONS if name in world.peaks)
    assert store.factors.experiments == store.experiments
    np.testing.assert_array_equal(_labels(store), expect(world).labels)
    assert report.counts.metadata["rows_without_peak_file"] == 2


def test_build__keeps_experiments_without_a_peak_here_if_allowed(tmp_path: Path) -> None:
    world = World()
    world.peaks[ACCESSIONS[3]] = {"chrUn_9": [(0, 10)]}  # of a sequence that the FASTA does not have
    world.peaks[ACCESSIONS[4]] = {"chrUn_1": [(0, 10)]}  # too short to hold a bin
    sources = world.write(tmp_path)
    with pytest.raises(SourceError, match="chrUn_9"):
        build_store(sources, tmp_path / "x.zarr", settings())
    chroms = ("chr1", "chr8", "chr9")
    world.peaks[ACCESSIONS[3]] = world.peaks[ACCESSIONS[5]]
    others = world.write(tmp_path / "b")
    with pytest.raises(SourceError, match="without a peak on chr1, chr8, chr9"):
        build_store(others, tmp_path / "x.zarr", settings(chroms=chroms))
    report = build_store(sources, tmp_path / "x.zarr", settings(allow_empty=True))
    assert not Store(report.path).labels_of(3).any()
    assert not Store(report.path).labels_of(4).any()


def test_build__provenance_names_no_folder_and_digests_every_source(little: Little) -> None:
    provenance = little.store.provenance
    assert provenance["fasta"]["name"] == "genome.fa"
    assert [entry["name"] for entry in provenance["tables"]] == ["metadata.tsv", "report.tsv"]
    assert provenance["blacklist"]["name"] == "blacklist.bed"
    assert {name: entry["md5"] for name, entry in provenance["peaks"].items()} == {
        row["File accession"]: row["md5sum"] for row in little.world.metadata_rows()
    }
    assert provenance["counts"]["windows"] == little.store.n_windows
    assert "md5sum" not in provenance["empty_columns"]
    folder = str(little.sources.fasta.parent)
    assert not any(folder.encode() in content for content in _files(little.path).values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bin_size": 1}, "--bin-size: found 1; expected 2 bp"),
        ({"bin_size": 10**11}, "--bin-size: found 100000000000"),
        ({"min_overlap": 129}, "--min-overlap: found 129; expected 1 bp to the bin size, 128 bp"),
        ({"min_overlap": 0}, "--min-overlap: found 0"),
        ({"min_experiments": -1}, "--min-experiments: found -1"),
        ({"gap": -1}, "--gap: found -1"),
        (
            {"blocks": (0.5, 0.2, 0.2)},
            "--block-fractions: found 0.5,0.2,0.2; expected three fractions that sum to 1",
        ),
        ({"blocks": (1.5, -0.5, 0.0)}, "--block-fractions"),
        ({"blocks": (float("nan"), 0.5, 0.5)}, "--block-fractions"),
    ],
)
def test_settings__refuse_nonsense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chroms": ("chr2",)}, "chromosome 'chr2': found no such sequence"),
        ({"valid_chroms": ("chr7",)}, "--split-valid: found chromosome 'chr7'"),
        ({"test_chroms": ("chr7",)}, "--split-test: found chromosome 'chr7'"),
        ({"valid_chroms": ("chr8", "chr9")}, "found chr9 in both"),
        ({"valid_chroms": ("9",), "test_chroms": ("chr9",)}, "found chr9 in both"),
        ({"valid_chroms": ("chrUn_1",)}, "no window for valid"),
        ({"chroms": ("chr1", "chr8")}, "no window for test"),
        ({"valid_chroms": ()}, "no window for valid"),
        ({"blocks": (0.0, 0.5, 0.5)}, "no window for train"),
        ({"blocks": (0.8, 0.1, 0.1), "gap": 10**15}, "no window for valid and test"),
        ({"bin_size": 6000, "min_overlap": 1}, "longer than any of the chromosomes"),
        ({"min_experiments": 12}, "no bin left of 70"),
        ({"min_experiments": 10**15}, "no bin left of 70"),
        ({"genome": "hg38"}, "expected 248,956,422 bp, the length of chr1 in hg38"),
        ({"genome": "other"}, "11 not of other"),
    ],
)
def test_build__settings_that_leave_nothing_are_explained(
    little: Little, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(MfdError, match=words):
        build_store(little.sources, tmp_path / "x.zarr", settings(**changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "../x", ".", "..", "zarr.json", "__x"])
def test_build__refuses_a_sequence_name_that_names_no_array(tmp_path: Path, name: str) -> None:
    world = World(fasta_names={"chrUn_1": name})
    sources = world.write(tmp_path)
    with pytest.raises(SourceError, match="found sequence name"):
        build_store(sources, tmp_path / "x.zarr", settings())
    build_store(sources, tmp_path / "x.zarr", settings(chroms=("chr1", "chr8", "chr9")))


def test_build__usual_splits_hold_nothing_out_where_the_fasta_lacks_them(tmp_path: Path) -> None:
    sequences = {"chrM": "ACGT" * 640}
    peaks = {name: {"chrM": [(128, 900)]} for name in ACCESSIONS}
    sources = World(sequences, peaks, {"chrM": [(300, 301)]}).write(tmp_path)
    sources.metadata.write_text(sources.metadata.read_text().replace(f"\t{GENOME}\t", "\tGRCh38\t"))
    with pytest.raises(ConfigError, match="no window for valid and test on chrM"):
        build_store(sources, tmp_path / "x.zarr", BuildSettings("hg38"))
    with pytest.raises(ConfigError, match="--split-valid: found chromosome 'chr80'"):
        build_store(sources, tmp_path / "x.zarr", BuildSettings("hg38", valid_chroms=("chr80",)))


_DRIVER = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from mfdstore.build.run import build_store
    from mfdstore.build.settings import Sources
    from tests.worlds import settings

    folder, out, stage, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

    def die(found, done, total):
        if found == stage and done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sources = Sources(
        folder / "genome.fa", folder / "peaks", folder / "metadata.tsv", folder / "report.tsv", folder / "blacklist.bed"
    )
    build_store(sources, out, settings(), die)
    """
)


@pytest.mark.parametrize(
    ("stage", "at"),
    [
        ("peak files", 1),
        ("sequence", 2),
        ("bins", 2),
        ("labels by window", 1),
        ("labels by experiment", 1),
        ("digests", 1),
    ],
)
def test_build__killed_leaves_no_store_and_the_same_call_goes_on(
    little: Little, tmp_path: Path, stage: str, at: int
) -> None:
    out = tmp_path / "x.zarr"
    ended = subprocess.run(
        [sys.executable, "-c", _DRIVER, str(little.sources.fasta.parent), str(out), stage, str(at)],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".x.zarr.building"]
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("records/*/*.json")}
    assert records
    with pytest.raises(StoreError):
        Store(tmp_path / ".x.zarr.building" / "store")  # is no store that could be taken for a whole one

    seen: dict[Path, int] = {}

    def look(stage: str, done: int, total: int) -> None:
        seen.update({path: path.stat().st_mtime_ns for path in tmp_path.rglob("records/*/*.json")})

    build_store(little.sources, out, settings(), look)
    assert {path: seen[path] for path in records} == records  # not done again
    # few tasks may all be done in the moment before the kill
    assert len(seen) > len(records) or stage in ("labels by experiment", "digests")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]
    assert _files(out) == _files(little.path)


@pytest.mark.real
@pytest.mark.slow
def test_build__of_real_data_has_the_windows_counted_independently(real_chr22: BuildReport) -> None:
    counts = real_chr22.counts
    assert (counts.windows, counts.positive_pairs) == (51_644, 273_912)
    assert counts.experiments == 148
    assert counts.windows + counts.bins_below_min_experiments + counts.bins_with_blank == 50_818_468 // 128
