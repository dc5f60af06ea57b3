"""A world small enough for two loops: sources as ordinary files, and what a store of them must hold."""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from mfdstore.build.settings import BuildSettings, Sources
from tests.oracles import naive_bins_touching, naive_codes, naive_label_bins

GENOME = "little"
BIN_SIZE = 128
MIN_OVERLAP = 64
SIZES = {"chr1": 40 * BIN_SIZE + 37, "chr8": 14 * BIN_SIZE, "chr9": 16 * BIN_SIZE + 1, "chrUn_1": 90}
"""The last one is shorter than a bin."""
Interval = tuple[int, int]

TARGETS = [
    "CTCF-human",
    "CTCF-human",
    "",
    "",
    "H3K27ac-human",
    "H3K27ac-human",
    "MAX",
    "MAX-human",
    "CTCF",
    "",
    "x[/b]y",
]
ASSAYS = ["TF ChIP-seq"] * 2 + ["DNase-seq", "ATAC-seq"] + ["Histone ChIP-seq"] * 2 + ["TF ChIP-seq"] * 5
ORGANS = [
    "liver, exocrine gland",
    "blood",
    "",
    "liver",
    ",",
    "blood,liver",
    "NA",
    "blood",
    "lung",
    "",
    "lung",
]
DATES = ["2011-10-29", "", "2020-02-29"] + ["2016-07-28"] * 8
READ_LENGTHS = ["36", "", "50.5", "unknown"] + ["101"] * 7
AGES = ["15 years", "53 years, 32 years", "", "3.5 month", "90 or above years"] + ["15 years"] * 6
LABS = ["Richard Myers, HAIB", "Michael Snyder, Stanford", ""] + ["Richard Myers, HAIB"] * 8
ACCESSIONS = [f"ENCFF{index:03d}AAA" for index in range(11)]

METADATA_COLUMNS = [
    "File accession",
    "File format",
    "File assembly",
    "Experiment accession",
    "Assay",
    "Biosample term name",
    "Biosample organ slims",
    "Experiment target",
    "Experiment date released",
    "Read length",
    "Lab",
    "Start",
    "md5sum",
]
REPORT_COLUMNS = ["ID", "Accession", "Lab", "Files", "Life stage", "Biosample age"]


def draw_sequences(seed: int = 1) -> dict[str, str]:
    """Draw chromosomes with soft-masked stretches, runs of N and a few IUPAC letters."""
    draw = random.Random(seed)
    sequences = {}
    for chrom, size in SIZES.items():
        letters = [draw.choice("ACGT") for _ in range(size)]
        letters[size // 3 : size // 3 + 20] = [
            letter.lower() for letter in letters[size // 3 : size // 3 + 20]
        ]
        letters[:3] = "NNN"
        if size > 1000:
            letters[700:705] = "NNNNN"
            letters[BIN_SIZE * 9 - 1] = "N"  # the last base of a bin
            letters[BIN_SIZE * 11] = "R"  # the first base of a bin
        sequences[chrom] = "".join(letters)
    return sequences


def draw_peaks(seed: int = 2) -> dict[str, dict[str, list[Interval]]]:
    """Draw peaks by experiment and chromosome; many lie on the same places, so that bins are shared."""
    draw = random.Random(seed)
    places = {
        chrom: [draw.randrange(size) for _ in range(size // 150)]
        for chrom, size in SIZES.items()
        if size > 1000
    }
    peaks: dict[str, dict[str, list[Interval]]] = {}
    for accession in ACCESSIONS:
        peaks[accession] = {}
        for chrom, centres in places.items():
            found = []
            for centre in draw.sample(centres, len(centres) * 2 // 3):
                start = max(0, centre - draw.randrange(10, 200))
                found.append((start, min(SIZES[chrom], start + draw.randrange(20, 500))))
            peaks[accession][chrom] = found
    return peaks


@dataclass
class World:
    """Content of the sources; change a part of it, then write it.

    `write` puts the files under a folder and gives the `Sources`.
    """

    sequences: dict[str, str] = field(default_factory=draw_sequences)
    peaks: dict[str, dict[str, list[Interval]]] = field(default_factory=draw_peaks)
    blacklist: dict[str, list[Interval]] = field(
        default_factory=lambda: {"chr1": [(1000, 1025), (1279, 1281), (5000, 5157)], "chr9": [(0, 1)]}
    )
    fasta_packing: str = "plain"
    peak_ending: str = ".bed.gz"
    fasta_names: dict[str, str] = field(default_factory=dict)
    peak_names: dict[str, str] = field(default_factory=dict)

    def fasta_bytes(self) -> bytes:
        """Spell the FASTA, 60 bases a line."""
        lines = []
        for chrom, bases in self.sequences.items():
            lines.append(f">{self.fasta_names.get(chrom, chrom)} drawn")
            lines += [bases[begin : begin + 60] for begin in range(0, len(bases), 60)]
        return "".join(f"{line}\n" for line in lines).encode()

    def peak_bytes(self, accession: str) -> bytes:
        """Spell one peak file, packed as its ending says; the same bytes every time."""
        lines = [
            f"{self.peak_names.get(chrom, chrom)}\t{start}\t{end}\tpeak\t0\t.\n"
            for chrom, found in self.peaks[accession].items()
            for start, end in found
        ]
        content = "".join(lines).encode()
        return gzip.compress(content, mtime=0) if self.peak_ending.endswith(".gz") else content

    def metadata_rows(self) -> list[dict[str, str]]:
        """List the rows of the metadata table, one a peak file."""
        return [
            {
                "File accession": accession,
                "File format": "bed narrowPeak",
                "File assembly": GENOME,
                "Experiment accession": f"ENCSR{index:03d}AAA",
                "Assay": ASSAYS[index],
                "Biosample term name": "HepG2" if index % 2 else "K562",
                "Biosample organ slims": ORGANS[index],
                "Experiment target": TARGETS[index],
                "Experiment date released": DATES[index],
                "Read length": READ_LENGTHS[index],
                "Lab": "ENCODE Processing Pipeline",
                "Start": f"as portal {index}",
                "md5sum": hashlib.md5(self.peak_bytes(accession)).hexdigest(),
            }
            for index, accession in enumerate(ACCESSIONS)
        ]

    def report_rows(self) -> list[dict[str, str]]:
        """List the rows of the experiment report, one an experiment."""
        return [
            {
                "ID": f"/experiments/ENCSR{index:03d}AAA/",
                "Accession": f"ENCSR{index:03d}AAA",
                "Lab": LABS[index],
                "Files": f"/files/ENCFF999ZZZ/,/files/{accession}/",
                "Life stage": "adult" if index % 3 else "",
                "Biosample age": AGES[index],
            }
            for index, accession in enumerate(ACCESSIONS)
        ]

    def write(self, folder: Path) -> Sources:
        """Write all files."""
        peaks = folder / "peaks"
        peaks.mkdir(parents=True)
        for accession in self.peaks:
            (peaks / f"{accession}{self.peak_ending}").write_bytes(self.peak_bytes(accession))
        write_fasta(folder / "genome.fa", self.fasta_bytes(), self.fasta_packing)
        write_table(folder / "metadata.tsv", METADATA_COLUMNS, self.metadata_rows())
        write_table(folder / "report.tsv", REPORT_COLUMNS, self.report_rows(), stamp="2023-09-08\thttps://x")
        blacklist = "".join(
            f"{chrom}\t{start}\t{end}\tHigh Signal Region\n"
            for chrom, found in self.blacklist.items()
            for start, end in found
        )
        (folder / "blacklist.bed").write_text(blacklist)
        return Sources(
            folder / "genome.fa",
            peaks,
            folder / "metadata.tsv",
            folder / "report.tsv",
            folder / "blacklist.bed",
        )


def write_fasta(path: Path, content: bytes, packing: str) -> None:
    """Write a FASTA plain, as one gzip stream, or in BGZF blocks."""
    if packing == "bgzf":
        with pysam.BGZFile(str(path), "wb") as handle:
            handle.write(content)
    else:
        path.write_bytes(gzip.compress(content, mtime=0) if packing == "gzip" else content)


def write_table(path: Path, columns: list[str], rows: list[dict[str, str]], stamp: str = "") -> None:
    """Write a tab-separated table, with a line before its header if `stamp` says so."""
    lines = [stamp] if stamp else []
    lines += ["\t".join(columns)] + ["\t".join(row[column] for column in columns) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))


def settings(**changes: object) -> BuildSettings:
    """Give settings that fit the world."""
    chosen: dict[str, object] = {"genome": GENOME, "valid_chroms": ("chr8",), "test_chroms": ("chr9",)}
    return BuildSettings(**(chosen | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Expected:
    """What the definitions say a store of the world holds."""

    bins: list[tuple[str, int]]
    labels: NDArray[np.bool_]
    n_bins: int
    n_few: int
    n_blank: int
    n_blacklisted: int


def expect(
    world: World, *, min_experiments: int = 2, blacklist: bool = True, chroms: list[str] | None = None
) -> Expected:
    """Filter and label every tiled bin by loops."""
    bins, rows = [], []
    n_bins = n_few = n_blank = n_blacklisted = 0
    for chrom in chroms or list(world.sequences):
        bases = world.sequences[chrom]
        n = len(bases) // BIN_SIZE
        labels = np.array(
            [
                naive_label_bins(
                    world.peaks[accession].get(chrom, []),
                    n_bins=n,
                    bin_size=BIN_SIZE,
                    min_overlap=MIN_OVERLAP,
                )
                for accession in ACCESSIONS
                if accession in world.peaks
            ]
        ).T
        listed = naive_bins_touching(
            world.blacklist.get(chrom, []) if blacklist else [], n_bins=n, bin_size=BIN_SIZE
        )
        for index in range(n):
            n_bins += 1
            codes = naive_codes(bases[index * BIN_SIZE : (index + 1) * BIN_SIZE + 1] + "N" * (index == n - 1))
            if sum(labels[index]) < min_experiments:
                n_few += 1
            elif 16 in codes[:BIN_SIZE]:
                n_blank += 1
            elif listed[index]:
                n_blacklisted += 1
            else:
                bins.append((chrom, index * BIN_SIZE))
                rows.append(labels[index])
    return Expected(bins, np.array(rows), n_bins, n_few, n_blank, n_blacklisted)
