"""The little world in the format of the authors' release, written by loops: no writer of the project's own."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mfdstore.import_mfd import ReleaseSources
from tests.worlds import ACCESSIONS, ASSAYS, BIN_SIZE, ORGANS, World, expect

HEADERS = [
    *("File.accession", "Biosample.term.name", "Biosample.organ.slims", "Biosample.system.slims"),
    *("Biosample.developmental.slims", "Biosample.organism", "proc_Assay_lvl1", "proc_target"),
    *("Experiment.date.released", "Library.lab", "spot2_score", "five_percent_narrowpeaks_count", "frip"),
    *("reproducible_peaks", "proc_age_bin", "proc_age_bin_units", "proc_Biosample_life_stage"),
]


def draw_rows() -> list[dict[str, str]]:
    """List the rows of the metadata, as the authors write them."""
    return [
        dict.fromkeys(HEADERS, "NA")
        | {
            "File.accession": accession,
            "Biosample.term.name": "HepG2" if index % 2 else "K562",
            "Biosample.organ.slims": ORGANS[index] or "NA",
            "Biosample.organism": "Homo sapiens",
            "proc_Assay_lvl1": ASSAYS[index].split()[-1],
            "proc_target": ["CTCF", "H3K27ac", "Accessible DNA"][index % 3],
            "Experiment.date.released": "2016-07-28" if index else "NA",
            "Library.lab": ["michael-snyder", "ENCODE Processing Pipeline", "NA"][index % 3],
            "frip": "0.25" if index == 2 else "NA",
            "proc_age_bin": "50.0" if index == 1 else "unknown",
            "proc_age_bin_units": "years" if index == 1 else "NA",
            "proc_Biosample_life_stage": "adult" if index % 2 else "unknown",
        }
        for index, accession in enumerate(ACCESSIONS)
    ]


@dataclass
class Release:
    """Content of a release; change a part of it, then write it."""

    world: World = field(default_factory=World)
    regions: list[tuple[str, int, int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    accessions: list[str] = field(default_factory=lambda: list(ACCESSIONS))
    rows: list[dict[str, str]] = field(default_factory=draw_rows)
    counts: list[int] | None = None
    packed: bool = True
    md5_of: str = "text"

    def __post_init__(self) -> None:
        expected = expect(self.world)
        bins = sorted(
            zip(expected.bins, expected.labels, strict=True),
            key=lambda one: (one[0][0].removeprefix("chr"), one[0][1]),
        )
        for row, ((chrom, start), labels) in enumerate(bins):
            self.regions.append((chrom.removeprefix("chr"), start, start + BIN_SIZE))
            self.pairs += [(row, experiment) for experiment, label in enumerate(labels) if label]

    def region_text(self) -> str:
        """Spell the regions."""
        return "".join(
            f"{chrom}\t{start}\t{end}\tc{row}\t0\n"
            for row, (chrom, start, end) in enumerate(self.regions, start=1)
        )

    def write(self, folder: Path) -> ReleaseSources:
        """Write all files."""
        folder.mkdir(parents=True, exist_ok=True)
        sources = ReleaseSources(
            folder / ("regions.bed.gz" if self.packed else "regions.bed"),
            folder / "overlaps.h5",
            folder / "metadata.tsv",
            folder / "genome.fa",
        )
        sources.fasta.write_bytes(self.world.fasta_bytes())
        text = self.region_text().encode()
        content = gzip.compress(text, mtime=0) if self.packed else text
        sources.regions.write_bytes(content)
        digest = hashlib.md5(text if self.md5_of == "text" else content).hexdigest()
        with h5py.File(sources.overlaps, "w", libver="latest") as file:
            self.write_pairs(file, digest)
        headers = list(self.rows[0])
        lines = ["\t".join(headers)] + ["\t".join(row[header] for header in headers) for row in self.rows]
        sources.metadata.write_text("\n".join(lines) + "\n")
        return sources

    def write_pairs(self, file: Any, md5: str) -> None:
        """Fill the HDF5 file."""
        pairs = np.array(self.pairs).reshape(-1, 2)
        query = file.create_dataset("query", data=pairs[:, 0].astype("<i4"), compression="gzip")
        target = file.create_dataset("target", data=pairs[:, 1:].astype("<i2"), compression="gzip")
        query.attrs["md5"] = md5
        target.attrs["labels"] = np.array(self.accessions, object)
        counts = [sum(one == index for _, one in self.pairs) for index in range(len(self.accessions))]
        target.attrs["N"] = np.array(self.counts or counts, np.int64)
