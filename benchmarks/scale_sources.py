"""Makes sources of the published size, or a share of it: a genome, narrowPeak files, and the portal's tables.

    python benchmarks/scale_sources.py --out FOLDER --scale 0.1
    python benchmarks/scale_sources.py --out FOLDER --scale 0.1 --genome 1

At scale 1: 24 chromosomes of 3.09 Gb, 2106 experiments, about 170 million peaks, as the published data have;
a share s takes the square root of s of both the bases and the experiments, so that peaks and labels are the share s.
With --genome the bases are that share, and the experiments what is left of s.
Peaks lie where elements are, drawn once for all experiments, and some anywhere. The bytes are as compressible as real
ones (bases of four letters, ten columns, gzip level 6); there is nothing to learn from them, which `mfdstore simulate`
is for.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import math
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from mfdstore.genomes import find_assembly
from mfdstore.simulate.tables import METADATA_COLUMNS, REPORT_COLUMNS

N_EXPERIMENTS = 2106
N_PEAKS = 170_000_000
ELEMENT_BP = 2_000
"""One element in so many bp."""
ANYWHERE = 0.1
"""Share of peaks that lie at no element."""
SLICE = 1 << 25
LINE = 60
ASSEMBLY = "scaled"


def sizes(share: float) -> dict[str, int]:
    """Lengths of the chromosomes of that share of a genome, in bp."""
    assembly = find_assembly("hg38")
    assert assembly is not None
    return {chrom: int(size * share) for chrom, size in assembly.sizes.items()}


def write_genome(path: Path, share: float) -> None:
    """Write a plain gzip FASTA, as UCSC's is: 60 bases a line, a tenth of either end of a chromosome unknown."""
    letters = np.frombuffer(b"ACGTacgt", np.uint8)
    with path.open("wb") as raw:
        for index, (chrom, size) in enumerate(sizes(share).items()):
            raw.write(gzip.compress(f">{chrom}\n".encode(), 1, mtime=0))
            for start in range(0, size, SLICE // LINE * LINE):
                draw = np.random.default_rng([index, start])
                bases = letters[draw.integers(0, 8, min(SLICE // LINE * LINE, size - start), np.uint8)]
                unknown = size // 40
                bases[: max(0, unknown - start)] = ord("N")
                lines = np.full((-(-len(bases) // LINE), LINE + 1), ord("\n"), np.uint8)
                flat = np.resize(bases, lines.shape[0] * LINE)
                lines[:, :LINE] = flat.reshape(-1, LINE)
                text = lines.tobytes()
                spare = lines.shape[0] * LINE - len(bases)
                if spare:
                    text = text[: -(spare + 1)] + b"\n"
                raw.write(gzip.compress(text, 1, mtime=0))


def write_peaks(folder: Path, share: float, index: int) -> tuple[str, int, str, int]:
    """Write one narrowPeak file; gives its accession, size, md5 and number of peaks."""
    lengths = np.array(list(sizes(share).values()))
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    elements = np.random.default_rng(0).integers(0, bounds[-1], bounds[-1] // ELEMENT_BP)
    draw = np.random.default_rng([1, index])
    mean = N_PEAKS * share / N_EXPERIMENTS
    # experiments differ in their number of peaks as published ones do: some have a tenth, some ten times as many
    n = int(mean * math.exp(draw.normal(0, 0.7) - 0.245))
    n_anywhere = int(ANYWHERE * n)
    chosen = (len(elements) * draw.random(n - n_anywhere) ** 1.5).astype(np.int64)
    centres = np.concatenate(
        [elements[chosen] + draw.integers(-80, 80, len(chosen)), draw.integers(0, bounds[-1], n_anywhere)]
    )
    widths = np.maximum(80, draw.gamma(4, 80, n).astype(np.int64))
    chrom = np.clip(np.searchsorted(bounds, centres, "right") - 1, 0, len(lengths) - 1)
    start = np.clip(centres - bounds[chrom] - widths // 2, 0, lengths[chrom] - widths)
    order = np.argsort(-draw.random(n))
    names = np.array(list(sizes(share)))
    signal = draw.gamma(2, 10, n)
    table = pl.DataFrame(
        {
            "chrom": names[chrom[order]],
            "start": start[order],
            "end": (start + widths)[order],
            "name": pl.select(
                pl.concat_str([pl.lit("Peak_"), pl.int_range(1, n + 1).cast(pl.String)])
            ).to_series(),
            "score": draw.integers(0, 1000, n),
            "strand": np.full(n, "."),
            "signal": np.round(signal, 5),
            "p": np.round(signal * 1.7, 5),
            "q": np.round(signal * 1.3, 5),
            "peak": widths // 2,
        }
    )
    text = io.BytesIO()
    table.write_csv(text, separator="\t", include_header=False)
    content = gzip.compress(text.getvalue(), 6, mtime=0)
    accession = (
        f"ENCFF{index:03d}SCA"
        if index < 1000
        else f"ENCFF{index - 1000:03d}SCB"
        if index < 2000
        else f"ENCFF{index - 2000:03d}SCC"
    )
    (folder / f"{accession}.bed.gz").write_bytes(content)
    return accession, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest(), n


def write_tables(folder: Path, files: list[tuple[str, int, str, int]]) -> None:
    """Write metadata.tsv and experiment_report.tsv of experiments with many targets, biosamples and labs."""
    metadata, report = [METADATA_COLUMNS], [REPORT_COLUMNS]
    for index, (accession, size, md5, _) in enumerate(files):
        experiment = accession.replace("ENCFF", "ENCSR")
        target = f"TF{index % 151}"
        row = {
            "File accession": accession, "File format": "bed narrowPeak", "File type": "bed", "Output type": "peaks",
            "File assembly": ASSEMBLY, "Experiment accession": experiment, "Assay": "TF ChIP-seq",
            "Biosample term name": f"biosample {index % 97}", "Biosample type": "tissue",
            "Biosample organism": "Homo sapiens", "Experiment target": f"{target}-human",
            "Experiment date released": f"20{10 + index % 12}-0{1 + index % 9}-11", "Size": str(size), "md5sum": md5,
            "File Status": "released", "Lab": "ENCODE Processing Pipeline",
        }  # fmt: skip
        metadata.append(tuple(row.get(column, "") for column in METADATA_COLUMNS))
        row = {
            "ID": f"/experiments/{experiment}/", "Accession": experiment, "Assay title": "TF ChIP-seq",
            "Target of assay": target, "Lab": f"Lab {index % 23}", "Files": f"/files/{accession}/",
            "Biosample term name": f"biosample {index % 97}", "Life stage": ("adult", "embryonic", "child")[index % 3],
        }  # fmt: skip
        report.append(tuple(row.get(column, "") for column in REPORT_COLUMNS))
    (folder / "metadata.tsv").write_text("".join("\t".join(row) + "\n" for row in metadata))
    stamp = "2024-01-01 00:00:00.000000\tscaled sources\n"
    (folder / "experiment_report.tsv").write_text(stamp + "".join("\t".join(row) + "\n" for row in report))


def make_sources(folder: Path, scale: float, genome_share: float, jobs: int) -> None:
    """Make all of it under a folder that must not exist."""
    (folder / "peaks").mkdir(parents=True)
    n = max(8, round(N_EXPERIMENTS * scale / genome_share))
    started = time.perf_counter()
    with ProcessPoolExecutor(jobs) as pool:
        genome = pool.submit(write_genome, folder / "genome.fa.gz", genome_share)
        files = []
        for done, file in enumerate(
            pool.map(partial(write_peaks, folder / "peaks", genome_share), range(n)), start=1
        ):
            files.append(file)
            if done % 100 == 0:
                print(f"{done} of {n} files, {time.perf_counter() - started:.0f} s", flush=True)
        genome.result()
    write_tables(folder, files)
    peaks = sum(file[3] for file in files)
    print(f"{n} files, {peaks:,} peaks, {sum(file[1] for file in files) / 1e9:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument(
        "--genome", type=float, help="share of the genome; the square root of --scale if not given"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    make_sources(options.out, options.scale, options.genome or math.sqrt(options.scale), options.jobs)


if __name__ == "__main__":
    main()
