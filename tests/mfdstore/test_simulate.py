"""The simulated files, judged as a stranger would: parsed plainly, held against each other and their truth."""

from __future__ import annotations

import csv
import gzip
import hashlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mfdstore.errors import ConfigError, StoreError
from mfdstore.simulate.settings import SimulationSettings
from mfdstore.simulate.simulation import Simulation, simulate_sources

SMALL = SimulationSettings(seed=5, n_chroms=3, chrom_size=500_000)
TINY = SimulationSettings(seed=1, n_chroms=2, chrom_size=60_000)
Row = dict[str, str]
Interval = tuple[str, int, int]


@dataclass(frozen=True)
class Sources:
    """The files of a simulation, parsed."""

    simulation: Simulation
    genome: dict[str, str]
    metadata: list[Row]
    report: list[Row]
    peaks: dict[str, list[list[str]]]
    sites: list[Row]
    factors: list[Row]
    experiments: list[Row]
    motifs: dict[str, np.ndarray]

    def score(self, motif: str, sequence: str) -> float:
        matrix = self.motifs[motif]
        return float(sum(np.log2(matrix[i]["ACGT".index(base)] / 0.25) for i, base in enumerate(sequence)))

    def read(self, chrom: str, start: int, end: int, strand: str = "+") -> str:
        sequence = self.genome[chrom][start:end].upper()
        return sequence if strand == "+" else sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def read_lines(path: Path) -> list[str]:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()


def read_tsv(path: Path, skip: int = 0) -> list[Row]:
    lines = read_lines(path)[skip:]
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_fasta(path: Path) -> dict[str, str]:
    records = gzip.decompress(path.read_bytes()).decode().split(">")[1:]
    return {record.split("\n", 1)[0]: record.split("\n", 1)[1].replace("\n", "") for record in records}


def read_meme(path: Path) -> dict[str, np.ndarray]:
    motifs = {}
    for block in path.read_text().split("MOTIF ")[1:]:
        name, _, *rows = block.strip().split("\n")
        motifs[name] = np.array([[float(value) for value in row.split()] for row in rows])
    return motifs


def read_peaks(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in read_lines(path)]


def parse(simulation: Simulation) -> Sources:
    return Sources(
        simulation,
        read_fasta(simulation.fasta),
        read_tsv(simulation.metadata),
        read_tsv(simulation.report, skip=1),
        {path.name.removesuffix(".bed.gz"): read_peaks(path) for path in simulation.peaks.iterdir()},
        read_tsv(simulation.truth / "sites.tsv"),
        read_tsv(simulation.truth / "factors.tsv"),
        read_tsv(simulation.truth / "experiments.tsv"),
        read_meme(simulation.motifs),
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return parse(simulate_sources(tmp_path_factory.mktemp("simulated") / "sources", SMALL))


def overlaps(interval: Interval, peaks: dict[str, np.ndarray]) -> bool:
    """Whether any peak of (start, end) rows holds the middle of the interval."""
    chrom, start, end = interval
    spans = peaks.get(chrom)
    middle = (start + end) // 2
    return spans is not None and bool(((spans[:, 0] <= middle) & (middle < spans[:, 1])).any())


def spans_of(peaks: list[list[str]]) -> dict[str, np.ndarray]:
    by_chrom = groupby(peaks, key=lambda row: row[0])
    return {chrom: np.array([[int(row[1]), int(row[2])] for row in rows]) for chrom, rows in by_chrom}


def share_called(sources: Sources, file: str, sites: list[Row]) -> float:
    spans = spans_of(sources.peaks[file])
    return float(np.mean([overlaps((s["chrom"], int(s["start"]), int(s["end"])), spans) for s in sites]))


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ---- the files are what they claim to be


def test_genome__has_the_settings_chromosomes_and_every_kind_of_letter(sources: Sources) -> None:
    assert {chrom: len(bases) for chrom, bases in sources.genome.items()} == {
        "chr1": 500_000,
        "chr2": 480_000,
        "chr3": 460_800,
    }
    sizes = dict(line.split("\t") for line in sources.simulation.chrom_sizes.read_text().splitlines())
    assert {chrom: int(size) for chrom, size in sizes.items()} == {
        chrom: len(bases) for chrom, bases in sources.genome.items()
    }
    letters = "".join(sources.genome.values())
    counts = {letter: letters.count(letter) for letter in set(letters)}
    assert set("ACGTacgtN") < set(counts)
    assert set(counts) - set("ACGTacgtN") <= set("RYSKrysk")
    assert 1 <= sum(counts.get(letter, 0) for letter in "RYSKrysk") < 100
    assert 0.1 < sum(counts[letter] for letter in "acgt") / len(letters) < 0.6
    assert sources.genome["chr1"].startswith("N" * 5000)
    assert "N" not in sources.genome["chr3"][:5000]


def test_genome__is_bgzf(sources: Sources) -> None:
    # RFC 1952 header with the extra field BC that BGZF defines
    for path in (sources.simulation.fasta, sources.simulation.variants):
        header = path.read_bytes()[:16]
        assert header[:4] == b"\x1f\x8b\x08\x04"
        assert header[12:14] == b"BC"


def test_genome__gc_wanders_along_the_chromosome(sources: Sources) -> None:
    bases = np.frombuffer(sources.genome["chr3"].upper().encode(), np.uint8)
    is_gc = np.isin(bases, np.frombuffer(b"GC", np.uint8))[: len(bases) // 5000 * 5000]
    shares = is_gc.reshape(-1, 5000).mean(1)
    # 5 kb of independent bases would spread by 0.007
    assert shares.std() > 0.03


def test_metadata__has_the_portals_columns_and_the_files_bytes(sources: Sources) -> None:
    with sources.simulation.metadata.open() as lines:
        header = next(lines).rstrip("\n").split("\t")
    assert len(header) == 58
    assert (header[0], header[22], header[29], header[43], header[44], header[45], header[57]) == (
        "File accession",
        "Experiment target",
        "Experiment date released",
        "Size",
        "Lab",
        "md5sum",
        "Audit ERROR",
    )
    assert {row["File accession"] for row in sources.metadata} == set(sources.peaks)
    assert len(sources.metadata) == len(sources.peaks) == sources.simulation.n_experiments
    for row in sources.metadata:
        packed = (sources.simulation.peaks / f"{row['File accession']}.bed.gz").read_bytes()
        assert row["md5sum"] == hashlib.md5(packed).hexdigest()
        assert int(row["Size"]) == len(packed)
        assert row["Lab"] == "ENCODE Processing Pipeline"
        assert (row["Experiment target"] == "") == (row["Assay"] in ("DNase-seq", "ATAC-seq"))


@pytest.mark.real
def test_tables__have_the_genuine_headers(sources: Sources, real_data: Path) -> None:
    genuine = real_data / "hg38-chr22"
    for name, line in (("metadata.tsv", 0), ("experiment_report.tsv", 1)):
        ours = (sources.simulation.path / name).read_text().splitlines()[line]
        assert ours == (genuine / name).read_text().splitlines()[line]


def test_report__joins_with_the_metadata_and_lacks_what_was_left_out(sources: Sources) -> None:
    first = sources.simulation.report.read_text().split("\n", 1)[0]
    assert first.startswith("2024-01-01 00:00:00")
    by_file = {
        entry.removeprefix("/files/").rstrip("/"): row
        for row in sources.report
        for entry in row["Files"].split(",")
    }
    truth = {row["file"]: row for row in sources.experiments}
    n_lacking = int(np.ceil(SMALL.missing * len(truth)))
    assert sum(row["lacks_report"] == "1" for row in truth.values()) == n_lacking > 0
    assert sum(row["lacks_date"] == "1" for row in truth.values()) == n_lacking
    for row in sources.metadata:
        known = truth[row["File accession"]]
        assert row["Assay"] == known["assay"]
        assert row["Biosample term name"] == known["biosample"]
        assert row["Experiment target"] == (f"{known['target']}-human" if known["target"] else "")
        assert row["Experiment date released"] == ("" if known["lacks_date"] == "1" else known["released"])
        if known["lacks_report"] == "1":
            assert row["File accession"] not in by_file
            continue
        reported = by_file[row["File accession"]]
        assert reported["Accession"] == row["Experiment accession"]
        assert reported["Lab"] == known["lab"]
        assert reported["Assay title"] == row["Assay"]
        assert reported["Target of assay"] == known["target"]
        assert reported["Life stage"]


def test_peaks__are_sane_narrow_peaks_in_order(sources: Sources) -> None:
    order = list(sources.genome)
    assert sum(len(peaks) for peaks in sources.peaks.values()) == sources.simulation.n_peaks
    for peaks in sources.peaks.values():
        assert len(peaks) > 50
        assert {len(row) for row in peaks} == {10}
        for row in peaks:
            start, end, summit = int(row[1]), int(row[2]), int(row[9])
            assert 0 <= start < end <= len(sources.genome[row[0]])
            assert 0 <= summit < end - start
            assert 0 <= int(row[4]) <= 1000
            assert min(float(value) for value in row[6:9]) > 0
        places = [(order.index(row[0]), int(row[1]), int(row[2])) for row in peaks]
        assert places == sorted(places)


def test_peaks__of_histone_marks_are_broader(sources: Sources) -> None:
    widths: dict[str, list[int]] = {}
    for row in sources.experiments:
        widths.setdefault(row["assay"], []).extend(
            int(peak[2]) - int(peak[1]) for peak in sources.peaks[row["file"]]
        )
    median = {assay: np.median(values) for assay, values in widths.items()}
    assert median["Histone ChIP-seq"] > 1.5 * max(median["TF ChIP-seq"], median["DNase-seq"])
    assert np.quantile(widths["TF ChIP-seq"], [0.05, 0.95]).tolist() == pytest.approx([160, 365], abs=15)


def test_blacklist__draws_peaks_of_all_experiments(sources: Sources) -> None:
    rows = read_peaks(sources.simulation.blacklist)
    assert {len(row) for row in rows} == {4}
    assert {row[0] for row in rows} == set(sources.genome)
    hits = 0
    for chrom, start, end, _ in rows:
        assert 0 <= int(start) < int(end) <= len(sources.genome[chrom])
        for peaks in sources.peaks.values():
            spans = spans_of(peaks)[chrom]
            hits += bool(((spans[:, 0] < int(end)) & (int(start) < spans[:, 1])).any())
    assert hits / (len(rows) * len(sources.peaks)) > 0.4


# ---- what was planted is there, and shows


def test_sites__score_as_told_and_decoys_fall_short(sources: Sources) -> None:
    thresholds = {row["motif"]: float(row["threshold"]) for row in sources.factors if row["motif"]}
    assert set(thresholds) == set(sources.motifs)
    assert len(sources.sites) == sources.simulation.n_sites > 1000
    for site in sources.sites:
        sequence = sources.read(site["chrom"], int(site["start"]), int(site["end"]), site["strand"])
        score = sources.score(site["motif"], sequence)
        assert score == pytest.approx(float(site["score"]), abs=0.01)
        assert (score >= thresholds[site["motif"]]) == (site["functional"] == "1")
        if site["active"] == "1":
            assert site["functional"] == "1"
    decoys = [site for site in sources.sites if site["functional"] == "0"]
    assert 0 < len(decoys) < 0.1 * len(sources.sites)
    assert {site["factor"] for site in decoys} == {"target"}


def test_sites__do_not_overlap(sources: Sources) -> None:
    for chrom in sources.genome:
        spans = [(int(s["start"]), int(s["end"])) for s in sources.sites if s["chrom"] == chrom]
        assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_motifs__are_rare_where_they_were_not_planted(sources: Sources) -> None:
    motif = next(row for row in sources.factors if row["factor"] == "target")
    matrix = np.log2(sources.motifs[motif["motif"]] / 0.25)
    planted = {(s["chrom"], int(s["start"])) for s in sources.sites if s["motif"] == motif["motif"]}
    n_found = 0
    for chrom, bases in sources.genome.items():
        index = np.array(["ACGT".find(base) for base in bases.upper()])
        padded = np.concatenate([matrix, np.full((len(matrix), 1), -99.0)], axis=1)
        score = sum(padded[i][index[i : len(index) - len(matrix) + 1 + i]] for i in range(len(matrix)))
        found = np.flatnonzero(score >= float(motif["threshold"]))
        n_found += sum((chrom, int(start)) not in planted for start in found)
    assert n_found < 0.15 * len(planted)


def test_active__agrees_with_the_sites_of_its_locus(sources: Sources) -> None:
    by_locus: dict[str, list[Row]] = {}
    for site in sources.sites:
        by_locus.setdefault(site["locus"], []).append(site)
    n_silent = 0
    for sites in by_locus.values():
        opened = {site["name"] for site in sites if site["factor"] == "biosample"}
        for site in sites:
            if site["factor"] != "target":
                assert site["biosamples"] == ""
                continue
            bound = opened if site["functional"] == "1" else set()
            assert set(filter(None, site["biosamples"].split(";"))) == bound
            assert site["active"] == str(int(bool(bound)))
            n_silent += site["functional"] == "1" and not opened
    assert n_silent > 20


def test_peaks__of_a_target_sit_on_its_sites_in_its_biosample(sources: Sources) -> None:
    targets = [site for site in sources.sites if site["factor"] == "target"]
    rng = np.random.default_rng(0)
    for row in sources.experiments:
        if not row["target"]:
            continue
        mine = [site for site in targets if site["name"] == row["target"]]
        bound = [site for site in mine if row["biosample"] in site["biosamples"].split(";")]
        unbound = [site for site in mine if site["active"] == "0"]
        spans = spans_of(sources.peaks[row["file"]])
        hits = [overlaps((s["chrom"], int(s["start"]), int(s["end"])), spans) for s in bound]
        shuffled = [
            overlaps((s["chrom"], start, start + 12), spans)
            for s in bound
            for start in rng.integers(0, len(sources.genome[s["chrom"]]) - 12, 3).tolist()
        ]
        table = [[sum(hits), len(hits) - sum(hits)], [sum(shuffled), len(shuffled) - sum(shuffled)]]
        odds, p = stats.fisher_exact(table, alternative="greater")
        assert odds > 20
        assert p < 1e-10
        assert np.mean(hits) > 0.7
        assert share_called(sources, row["file"], unbound) < 0.4


def test_peaks__of_accessibility_follow_the_biosample(sources: Sources) -> None:
    opened = {
        row["biosample"]: [s for s in sources.sites if s["name"] == row["biosample"]]
        for row in sources.experiments
    }
    loci = {name: {site["locus"] for site in sites} for name, sites in opened.items()}
    for row in sources.experiments:
        if row["target"]:
            continue
        for name, sites in opened.items():
            if name == row["biosample"]:
                assert share_called(sources, row["file"], sites) > 0.6
            else:
                only_other = [site for site in sites if site["locus"] not in loci[row["biosample"]]]
                assert share_called(sources, row["file"], only_other) < 0.3


def test_lab_sequence__is_called_by_its_lab_alone(sources: Sources) -> None:
    artefacts = [site for site in sources.sites if site["locus_kind"] == "artefact"]
    assert {site["factor"] for site in artefacts} == {"lab"}
    mine, others = [], []
    for row in sources.experiments:
        by_lab = {row["lab"] == lab: [] for lab in {site["name"] for site in artefacts}}
        for site in artefacts:
            by_lab[site["name"] == row["lab"]].append(site)
        mine.append(share_called(sources, row["file"], by_lab[True]))
        others.append(share_called(sources, row["file"], by_lab[False]))
        # preferences for GC move single experiments up and down, together with the place of a lab's sequence
        assert mine[-1] > 0.4
        assert mine[-1] > others[-1] + 0.3
    assert np.mean(mine) > 0.65
    assert np.mean(others) < 0.06


def test_drift__is_called_the_more_the_older_the_experiment(tmp_path: Path) -> None:
    settings = SimulationSettings(seed=3, n_chroms=1, chrom_size=500_000, n_campaigns=3)
    drawn = parse(simulate_sources(tmp_path / "out", settings))
    repeats = [site for site in drawn.sites if site["locus_kind"] == "drift"]
    by_year: dict[str, list[float]] = {}
    for row in drawn.experiments:
        by_year.setdefault(row["released"][:4], []).append(share_called(drawn, row["file"], repeats))
    assert sorted(by_year) == ["2012", "2016", "2020"]
    means = [np.mean(by_year[year]) for year in sorted(by_year)]
    assert means[0] > means[1] + 0.2
    assert means[1] > means[2] + 0.05


def peak_gc(sources: Sources, assay: str) -> float:
    shares = []
    for row in sources.experiments:
        if row["assay"] != assay:
            continue
        for peak in sources.peaks[row["file"]]:
            middle = (int(peak[1]) + int(peak[2])) // 2
            around = sources.read(peak[0], max(0, middle - 500), middle + 500)
            shares.append((around.count("G") + around.count("C")) / max(1, sum(map(around.count, "ACGT"))))
    return float(np.mean(shares))


def test_gc_bias__pulls_the_assays_apart_and_can_be_switched_off(sources: Sources, tmp_path: Path) -> None:
    assert peak_gc(sources, "DNase-seq") > peak_gc(sources, "ATAC-seq") + 0.015
    settings = SimulationSettings(seed=5, n_chroms=3, chrom_size=500_000, gc_bias=0.0)
    unbiased = parse(simulate_sources(tmp_path / "unbiased", settings))
    assert peak_gc(unbiased, "DNase-seq") == pytest.approx(peak_gc(unbiased, "ATAC-seq"), abs=0.008)


def test_biases__switched_off_leave_the_sequences_uncalled(tmp_path: Path) -> None:
    settings = SimulationSettings(
        seed=5, n_chroms=1, chrom_size=500_000, gc_bias=0, kmer_bias=0, drift_bias=0, n_replicates=1
    )
    plain = parse(simulate_sources(tmp_path / "plain", settings))
    alone = [site for site in plain.sites if site["locus_kind"] in ("artefact", "drift")]
    assert np.mean([share_called(plain, file, alone) for file in plain.peaks]) < 0.06


def test_dropout__thins_the_biological_peaks(tmp_path: Path) -> None:
    counts = {}
    for dropout in (0.0, 0.5):
        settings = SimulationSettings(seed=2, n_chroms=1, chrom_size=300_000, dropout=dropout, n_replicates=1)
        truth = parse(simulate_sources(tmp_path / str(dropout), settings)).experiments
        counts[dropout] = sum(int(row["n_biological"]) for row in truth)
    assert counts[0.5] / counts[0.0] == pytest.approx(0.5, abs=0.06)


def test_confounding__ties_labs_to_biosamples(tmp_path: Path) -> None:
    def dependence(confounding: float) -> float:
        settings = SimulationSettings(
            n_chroms=1, chrom_size=50_000, n_targets=8, n_replicates=1, confounding=confounding
        )
        rows = parse(simulate_sources(tmp_path / str(confounding), settings)).experiments
        labs, biosamples = ([row[name] for row in rows] for name in ("lab", "biosample"))
        return float(stats.contingency.association(stats.contingency.crosstab(labs, biosamples).count))

    none, half, full = map(dependence, (0.0, 0.5, 1.0))
    assert none < 0.25
    assert none < half < full == pytest.approx(1.0)


def test_labs_repeat__lets_confounding_move_every_replicate(tmp_path: Path) -> None:
    def lab_counts(confounding: float) -> Counter[tuple[str, str]]:
        settings = SimulationSettings(
            n_chroms=1,
            chrom_size=50_000,
            n_targets=8,
            n_replicates=2,
            confounding=confounding,
            labs_repeat=True,
        )
        rows = parse(simulate_sources(tmp_path / str(confounding), settings)).experiments
        return Counter((row["biosample"], row["lab"]) for row in rows)

    none, half, full = map(lab_counts, (0.0, 0.5, 1.0))
    # 8 targets, a histone mark and two assays, twice in each of 3 biosamples
    assert none.total() == half.total() == full.total() == 11 * 3 * 2
    assert sorted(full.values()) == [22, 22, 22]
    assert len(none) == len(half) == 9
    assert max(none.values()) < max(half.values()) < 22


def test_year_confounding__ties_years_to_biosamples_by_degrees(tmp_path: Path) -> None:
    def dependence(confounding: float) -> float:
        settings = SimulationSettings(
            n_chroms=1, chrom_size=50_000, n_targets=8, n_replicates=1, year_confounding=confounding
        )
        rows = parse(simulate_sources(tmp_path / str(confounding), settings)).experiments
        years, biosamples = [row["released"][:4] for row in rows], [row["biosample"] for row in rows]
        return float(stats.contingency.association(stats.contingency.crosstab(years, biosamples).count))

    none, half, full = map(dependence, (0.0, 0.5, 1.0))
    assert none < 0.25
    assert none < half < full == pytest.approx(1.0)


def test_guest_labs__measure_everything_once_whatever_is_tied(tmp_path: Path) -> None:
    settings = SimulationSettings(
        n_chroms=1,
        chrom_size=50_000,
        n_replicates=1,
        confounding=1.0,
        year_confounding=1.0,
        n_guest_labs=1,
        missing=0.0,
    )
    result = parse(simulate_sources(tmp_path / "out", settings))
    guest = [row for row in result.experiments if row["lab"].startswith("Dogwood")]
    others = [row for row in result.experiments if row not in guest]
    assert len(guest) == len(others) == len(result.peaks) / 2 == (4 + 1 + 2) * 3
    measured = [{(row["assay"], row["target"], row["biosample"]) for row in rows} for rows in (guest, others)]
    assert measured[0] == measured[1]
    # of the others a biosample says the lab and the year, of the guests it says nothing
    assert len({(row["biosample"], row["lab"], row["released"][:4]) for row in others}) == 3
    assert len({(row["biosample"], row["released"][:4]) for row in guest}) == 6
    assert ("technical", "lab") in {
        (row["role"], row["factor"]) for row in result.factors if row["name"].startswith("Dogwood")
    }
    settings_told = dict(line.split("\t") for line in read_lines(result.simulation.truth / "settings.tsv"))
    assert settings_told["year_confounding"] == "1.0"
    assert settings_told["n_guest_labs"] == "1"


def test_assay_kmers__are_called_by_their_assay_alone(tmp_path: Path) -> None:
    settings = SimulationSettings(seed=4, n_chroms=2, chrom_size=400_000, assay_kmer_bias=1.0)
    sources = parse(simulate_sources(tmp_path / "out", settings))
    kmers = {row["name"]: row for row in sources.factors if row["factor"] == "assay" and row["motif"]}
    assert set(kmers) == {"DNase-seq", "ATAC-seq"}
    columns = set(read_tsv(sources.simulation.truth / "bins.tsv.gz")[0])
    assert {"technical:assay:DNase-seq", "technical:assay:ATAC-seq", "technical:assay:gc_high"} <= columns
    for name in kmers:
        sites = [s for s in sources.sites if s["factor"] == "assay" and s["name"] == name]
        alone = [s for s in sites if s["locus_kind"] == "artefact"]
        assert len(alone) > 10
        assert {s["role"] for s in sites} == {"technical"}
        shares = {
            row["file"]: (row["assay"], share_called(sources, row["file"], alone))
            for row in sources.experiments
        }
        assert min(share for assay, share in shares.values() if assay == name) > 0.5
        assert np.mean([share for assay, share in shares.values() if assay != name]) < 0.2


def test_settings__that_came_later_leave_worlds_without_them_as_they_were(tmp_path: Path) -> None:
    path = simulate_sources(tmp_path / "out", TINY).path
    digest = hashlib.sha256()
    for name, found in content(path).items():
        digest.update(f"{name}\0".encode() + bytes.fromhex(found))
    # of the first version that wrote simulations
    assert digest.hexdigest() == "728c3c9484da7e14f56467b4b884331b56dc38c72dbe948dbfbf8c6b9e0295f3"


def test_experiments__repeat_each_measurement_in_different_labs(sources: Sources) -> None:
    by_measurement: dict[tuple[str, str, str], list[str]] = {}
    for row in sources.experiments:
        by_measurement.setdefault((row["assay"], row["target"], row["biosample"]), []).append(row["lab"])
    assert len(by_measurement) == (4 + 1 + 2) * 3
    assert all(len(labs) == len(set(labs)) == 2 for labs in by_measurement.values())


def test_experiments__technique_tells_nothing_of_the_target_without_confounding(tmp_path: Path) -> None:
    settings = SimulationSettings(n_chroms=1, chrom_size=50_000, confounding=0.0)
    rows = parse(simulate_sources(tmp_path / "out", settings)).experiments
    seen: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows:
        seen.setdefault((row["assay"], row["target"]), []).append((row["lab"], row["released"][:4]))
    # three labs and two years: each target once in each
    assert all(len(places) == len(set(places)) == 6 for places in seen.values())


def test_experiments__count_their_peaks_by_cause(sources: Sources) -> None:
    for row in sources.experiments:
        counts = [int(row[name]) for name in ("n_biological", "n_technical", "n_random")]
        assert sum(counts) == int(row["n_peaks"]) == len(sources.peaks[row["file"]])
        assert min(counts) > 0


def test_bins__agree_with_the_sites_and_the_genome(sources: Sources) -> None:
    rows = read_tsv(sources.simulation.truth / "bins.tsv.gz")
    expected = [(chrom, 128 * i) for chrom, bases in sources.genome.items() for i in range(len(bases) // 128)]
    assert [(row["chrom"], int(row["start"])) for row in rows] == expected
    planted: set[tuple[str, str, int]] = set()
    for site in sources.sites:
        if site["active"] == "1":
            middle = (int(site["start"]) + int(site["end"])) // 2
            name = f"{site['role']}:{site['factor']}:{site['name']}"
            planted.add((name, site["chrom"], middle // 128 * 128))
    names = {name for name, _, _ in planted}
    columns = set(rows[0]) - {"chrom", "start"}
    assert columns == names | {"technical:assay:gc_high", "technical:assay:gc_low"}
    found = {(name, row["chrom"], int(row["start"])) for row in rows for name in names if row[name] == "1"}
    ends = {chrom: len(bases) // 128 * 128 for chrom, bases in sources.genome.items()}
    assert found == {entry for entry in planted if entry[2] < ends[entry[1]]}

    gc = []
    for row in rows:
        middle = int(row["start"]) + 64
        around = sources.genome[row["chrom"]][max(0, middle - 576) : middle + 576].upper()
        known = sum(map(around.count, "ACGTRYSK"))
        gc.append((around.count("G") + around.count("C")) / known if known else np.nan)
    for name, sign in (("gc_high", 1), ("gc_low", -1)):
        told = np.array([row[f"technical:assay:{name}"] == "1" for row in rows])
        z = sign * (np.array(gc) - np.nanmean(gc)) / np.nanstd(gc)
        # ambiguous letters hide what they stand for, so bins within a hair of the limit are not judged
        sure = np.abs(z - 1.0) > 0.05
        np.testing.assert_array_equal(told[sure], z[sure] >= 1.0)
        assert told.any()


# ---- the tasks


def read_variants(path: Path) -> list[Row]:
    rows = [line.split("\t") for line in read_lines(path) if not line.startswith("##")]
    variants = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return [
        variant | dict(entry.split("=", 1) for entry in variant["INFO"].split(";")) for variant in variants
    ]


def test_variants__match_the_genome_and_do_what_they_say(sources: Sources) -> None:
    variants = read_variants(sources.simulation.variants)
    assert len(variants) == sources.simulation.n_variants
    thresholds = {row["motif"]: float(row["threshold"]) for row in sources.factors if row["motif"]}
    by_effect: dict[str, list[Row]] = {}
    for variant in variants:
        by_effect.setdefault(variant["EFFECT"], []).append(variant)
        chrom, position = variant["#CHROM"], int(variant["POS"]) - 1
        assert sources.genome[chrom][position].upper() == variant["REF"]
        assert variant["ALT"] in set("ACGT") - {variant["REF"]}
        assert float(variant["AF"]) == pytest.approx(int(variant["AC"]) / int(variant["AN"]), abs=1e-6)
        hit = [
            site
            for site in sources.sites
            if site["chrom"] == chrom and int(site["start"]) <= position < int(site["end"])
        ]
        if variant["EFFECT"] == "neutral":
            assert hit == []
            continue
        (site,) = hit
        assert site["motif"] == variant["MOTIF"]
        start, end = int(site["start"]), int(site["end"])
        bases = sources.read(chrom, start, end)
        changed = bases[: position - start] + variant["ALT"] + bases[position - start + 1 :]
        if site["strand"] == "-":
            changed = changed[::-1].translate(str.maketrans("ACGT", "TGCA"))
        score = sources.score(site["motif"], changed)
        assert score - float(site["score"]) == pytest.approx(float(variant["DELTA"]), abs=0.01)
        threshold = thresholds[site["motif"]]
        if variant["EFFECT"] == "make":
            assert float(site["score"]) < threshold <= score
        else:
            assert score < threshold <= float(site["score"])
            assert site["role"] == ("biological" if variant["EFFECT"] == "break" else "technical")
    assert set(by_effect) == {"break", "make", "technical", "neutral"}
    assert min(map(len, by_effect.values())) > 10
    assert len(by_effect["neutral"]) == len(variants) / 2


def test_variants__neutral_ones_change_the_same_bases(sources: Sources) -> None:
    variants = read_variants(sources.simulation.variants)
    changes = [
        sorted((v["REF"], v["ALT"]) for v in variants if (v["EFFECT"] == "neutral") == neutral)
        for neutral in (True, False)
    ]
    assert changes[0] == changes[1]
    places = [(v["#CHROM"], v["POS"]) for v in variants]
    assert len(set(places)) == len(places)
    assert places == sorted(places, key=lambda place: (place[0], int(place[1])))


def test_variants__that_break_biology_are_rarer(sources: Sources) -> None:
    frequency: dict[str, list[float]] = {}
    for variant in read_variants(sources.simulation.variants):
        frequency.setdefault(variant["EFFECT"], []).append(float(variant["AF"]))
    assert stats.mannwhitneyu(frequency["break"], frequency["neutral"], alternative="less").pvalue < 0.01


def test_enhancers__hold_active_sites_and_their_matches_do_not(sources: Sources) -> None:
    rows = read_tsv(sources.simulation.enhancers)
    labels = [row["label"] for row in rows]
    assert labels.count("1") == sources.simulation.n_enhancers > 50
    assert labels.count("0") > 0.7 * labels.count("1")
    active = [s for s in sources.sites if s["active"] == "1" and s["factor"] == "target"]
    gc: dict[str, list[float]] = {"0": [], "1": []}
    for row in rows:
        chrom, start, end = row["chrom"], int(row["start"]), int(row["end"])
        assert 0 <= start < end <= len(sources.genome[chrom])
        # sites reach out by at most half the width of an element, 100 bp, from where an enhancer is centred
        near = [
            site
            for site in active
            if site["chrom"] == chrom and int(site["start"]) < end + 100 and start - 100 < int(site["end"])
        ]
        if row["label"] == "1":
            assert near
        else:
            inside = [site for site in near if int(site["start"]) < end and start < int(site["end"])]
            assert inside == []
        around = sources.read(chrom, max(0, start - 400), end + 400)
        gc[row["label"]].append((around.count("G") + around.count("C")) / len(around))
    assert np.mean(gc["1"]) == pytest.approx(np.mean(gc["0"]), abs=0.02)


# ---- one call, one world


def test_simulate__same_settings_same_bytes_other_seed_other_world(tmp_path: Path) -> None:
    first = content(simulate_sources(tmp_path / "first", TINY).path)
    (tmp_path / "deeper").mkdir()
    assert content(simulate_sources(tmp_path / "deeper" / "again", TINY).path) == first
    other = SimulationSettings(seed=2, n_chroms=2, chrom_size=60_000)
    second = content(simulate_sources(tmp_path / "other", other).path)
    assert {"genome.fa.gz", "metadata.tsv", "experiment_report.tsv", "blacklist.bed.gz"} < set(first)
    assert {"variants.vcf.gz", "enhancers.tsv", "motifs.meme", "truth/bins.tsv.gz"} < set(first)
    shared = {name for name in first if second.get(name) == first[name]}
    # only texts that hold nothing drawn agree
    assert shared == {"truth/README.txt", "truth/factors.tsv", "genome.chrom.sizes"}


def test_simulate__reports_progress_to_the_end(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    simulation = simulate_sources(
        tmp_path / "out", TINY, on_progress=lambda done, total: calls.append((done, total))
    )
    total = simulation.n_experiments + 3
    assert calls == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_simulate__refuses_a_name_that_is_taken(tmp_path: Path, make: Callable[[Path], None]) -> None:
    out = tmp_path / "taken"
    make(out)
    with pytest.raises(
        StoreError, match=r"taken: found something there already; expected a name that is free"
    ):
        simulate_sources(out, TINY)
    assert list(tmp_path.iterdir()) == [out]


def test_simulate__leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    def give_up(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_sources(tmp_path / "out", TINY, on_progress=give_up)
    assert list(tmp_path.iterdir()) == []


def test_simulate__killed_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from mfdstore.simulate.settings import SimulationSettings
from mfdstore.simulate.simulation import simulate_sources
def kill(done, total):
    if done == total:
        os.kill(os.getpid(), signal.SIGKILL)
settings = SimulationSettings(n_chroms=1, chrom_size=50_000, n_replicates=1)
simulate_sources(Path(sys.argv[1]), settings, on_progress=kill)
"""
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", program, str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    # what it had written lies beside, hidden
    assert [path.name.startswith(".out.writing-") for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize(
    "settings",
    [
        SimulationSettings(n_chroms=1, chrom_size=50_000, n_targets=1, n_histone_targets=0, n_biosamples=1),
        SimulationSettings(n_chroms=2, chrom_size=60_000, n_targets=10, n_biosamples=5, elements_per_mb=900),
        SimulationSettings(n_chroms=11, chrom_size=80_000, n_replicates=1, missing=0.0, elements_per_mb=50),
    ],
    ids=["one of each", "crowded", "many chromosomes"],
)
def test_simulate__works_at_other_sizes(tmp_path: Path, settings: SimulationSettings) -> None:
    result = parse(simulate_sources(tmp_path / "out", settings))
    n_measured = settings.n_targets + settings.n_histone_targets + 2
    assert len(result.peaks) == n_measured * settings.n_biosamples * settings.n_replicates
    assert tuple(result.genome) == settings.chroms
    in_bounds = [
        0 <= int(row[1]) < int(row[2]) <= len(result.genome[row[0]])
        for peaks in result.peaks.values()
        for row in peaks
    ]
    assert all(in_bounds)
    assert len(in_bounds) > 0
    if settings.missing == 0:
        assert len(result.report) == len(result.metadata)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("n_labs", 0), ("chrom_size", 10_000), ("confounding", 1.5), ("dropout", float("nan"))],
)
def test_settings__refuse_what_cannot_be(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"simulation setting {name}: found {value}"):
        SimulationSettings(**{name: value})  # type: ignore[arg-type]


def test_settings__refuse_more_replicates_than_labs_and_chromosomes_too_short() -> None:
    with pytest.raises(ConfigError, match="n_replicates: found 3 with 2 labs"):
        SimulationSettings(n_labs=2, n_replicates=3)
    with pytest.raises(ConfigError, match="a last chromosome of 2"):
        SimulationSettings(n_chroms=20, chrom_size=60_000)
