"""What users write today: pandas reads, pyranges joins, scipy holds the labels, two processes share the files.

    python benchmarks/usual_build.py --sources FOLDER --out labels.h5

Bins of 128 bp, a peak labels a bin that it overlaps by 64 bp, bins of two experiments and more without an unknown base
are kept: the rule of `mfdstore build`. Labels are written dense, the sequence as one array of bases a chromosome, to
HDF5.
"""

from __future__ import annotations

import argparse
import gzip
import warnings
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse

BIN, OVERLAP, LEAST = 128, 64, 2


def read_fasta(path: Path) -> dict[str, bytes]:
    """Read all sequences."""
    sequences: dict[str, list[bytes]] = {}
    with gzip.open(path, "rb") as file:
        for line in file:
            if line.startswith(b">"):
                current = sequences.setdefault(line[1:].split()[0].decode(), [])
            else:
                current.append(line.rstrip())
    return {name: b"".join(parts) for name, parts in sequences.items()}


def tile(sizes: dict[str, int]) -> pd.DataFrame:
    """Tile all chromosomes with bins."""
    parts = []
    for chrom, size in sizes.items():
        start = np.arange(size // BIN) * BIN
        parts.append(pd.DataFrame({"Chromosome": chrom, "Start": start, "End": start + BIN}))
    bins = pd.concat(parts, ignore_index=True)
    bins["bin"] = np.arange(len(bins))
    return bins


def labelled(bins: object, path: Path) -> np.ndarray:
    """Find the bins that a peak of one file labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyranges

        peaks = pd.read_csv(
            path, sep="\t", header=None, usecols=[0, 1, 2], names=["Chromosome", "Start", "End"]
        )
        joined = bins.join(pyranges.PyRanges(peaks), report_overlap=True).df
    return np.unique(joined.loc[joined["Overlap"] >= OVERLAP, "bin"].to_numpy())


_BINS: object = None


def _start(sizes: dict[str, int]) -> None:
    global _BINS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyranges

        _BINS = pyranges.PyRanges(tile(sizes))


def _work(path: Path) -> np.ndarray:
    return labelled(_BINS, path)


def build(sources: Path, out: Path, jobs: int) -> None:
    """Build labels and sequence."""
    sequences = read_fasta(sources / "genome.fa.gz")
    sizes = {name: len(bases) for name, bases in sequences.items()}
    metadata = pd.read_csv(sources / "metadata.tsv", sep="\t", dtype=str)
    paths = [sources / "peaks" / f"{name}.bed.gz" for name in metadata["File accession"]]
    bins = tile(sizes)
    with Pool(jobs, partial(_start, sizes)) as pool:
        columns = pool.map(_work, paths, chunksize=1)
    indptr = np.concatenate([[0], np.cumsum([len(column) for column in columns])])
    matrix = scipy.sparse.csc_array(
        (np.ones(indptr[-1], np.uint8), np.concatenate(columns), indptr), shape=(len(bins), len(paths))
    ).tocsr()
    keep = matrix.sum(axis=1) >= LEAST
    first = 0
    for bases in sequences.values():
        letters = np.frombuffer(bases, np.uint8)
        n = len(letters) // BIN
        unknown = ~np.isin(letters, np.frombuffer(b"ACGTacgt", np.uint8))
        # a position is a pair of bases, so the base behind a bin counts too
        pairs = unknown[: n * BIN] | np.append(unknown[1:], True)[: n * BIN]
        keep[first : first + n] &= ~pairs.reshape(n, BIN).any(axis=1)
        first += n
    kept = matrix[np.flatnonzero(keep)]
    with h5py.File(out, "w") as file:
        labels = file.create_dataset(
            "labels",
            kept.shape,
            np.uint8,
            chunks=(512, kept.shape[1]),
            compression="gzip",
            compression_opts=1,
        )
        for begin in range(0, kept.shape[0], 65_536):
            labels[begin : begin + 65_536] = kept[begin : begin + 65_536].toarray()
        file["chrom"] = bins["Chromosome"][keep].astype("S").to_numpy()
        file["start"] = bins["Start"][keep].to_numpy()
        for name, bases in sequences.items():
            file.create_dataset(
                f"sequence/{name}",
                data=np.frombuffer(bases, np.uint8),
                compression="gzip",
                compression_opts=1,
                chunks=(1 << 20,),
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    build(options.sources, options.out, options.jobs)


if __name__ == "__main__":
    main()
