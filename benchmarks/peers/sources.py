"""Writes the exchange folder: windows of a store, drawn once, with sequence and labels as other projects read them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pysam
from numpy.typing import NDArray

from mfdstore.schema import DEFAULT_POSITIONS
from mfdstore.store import Store
from peers.exchange import Exchange

LINE = 60
ROWS_AT_ONCE = 1 << 16


def read_genome(fasta: Path, store: Store) -> dict[str, bytes]:
    """Read the store's chromosomes in upper case; what is not A, C, G or T becomes N."""
    keep = bytes(letter if letter in b"ACGT" else ord("N") for letter in range(256))
    with pysam.FastxFile(str(fasta)) as file:
        found = {
            record.name: record.sequence.upper().encode().translate(keep)
            for record in file
            if record.name in store.chroms
        }
    for chrom, size in zip(store.chroms, store.chrom_sizes, strict=True):
        if len(found.get(chrom, b"")) != size:
            raise SystemExit(
                f"{fasta} has {len(found.get(chrom, b''))} bp of {chrom}, {store.path} {size}: "
                "give the FASTA that the store was built from, with the store's names"
            )
    return found


def write_exchange(
    folder: Path, store: Store, genome: dict[str, bytes], *, n_windows: int, n_each: dict[str, int]
) -> Exchange:
    """Draw windows that lie inside their chromosome, and write all that a contestant may want of them.

    Parameters
    ----------
    folder
        To be filled.
    store, genome
        The same genome, the store's windows and labels.
    n_windows
        To be drawn; all of the store if it has fewer.
    n_each
        See `Exchange`; no more than there are windows.
    """
    positions = DEFAULT_POSITIONS
    table, draw = store.windows, np.random.default_rng(0)
    first = table.first_position(positions)
    sizes = np.array(store.chrom_sizes)[table.chrom]
    inside = np.flatnonzero((first >= 0) & (first + positions + 1 <= sizes))
    rows = np.sort(draw.permutation(inside)[:n_windows])
    exchange = Exchange(
        folder,
        Path(store.full_path),
        positions,
        store.n_experiments,
        {speed: min(n, len(rows)) for speed, n in n_each.items()},
    )
    write_fasta(exchange.fasta, genome)
    with exchange.bed.open("w") as bed:
        for chrom, start in zip(table.chrom[rows].tolist(), first[rows].tolist(), strict=True):
            bed.write(f"{table.chroms[chrom]}\t{start}\t{start + exchange.n_bases}\n")
    label_bits = read_labels(store, rows)
    exchange.save(draw.permutation(len(rows)), rows, label_bits)
    write_overlaps(exchange)
    return exchange


def read_labels(store: Store, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read the packed labels of ascending rows."""
    parts = []
    for first in range(0, store.n_windows, ROWS_AT_ONCE):
        these = rows[(rows >= first) & (rows < first + ROWS_AT_ONCE)]
        parts.append(store.label_bits(first, min(first + ROWS_AT_ONCE, store.n_windows))[these - first])
    return np.concatenate(parts)


def write_fasta(path: Path, genome: dict[str, bytes]) -> None:
    with path.open("wb") as file:
        for chrom, bases in genome.items():
            file.write(f">{chrom}\n".encode())
            file.writelines(bases[at : at + LINE] + b"\n" for at in range(0, len(bases), LINE))
    pysam.faidx(str(path))
    sizes = "".join(f"{chrom}\t{len(bases)}\n" for chrom, bases in genome.items())
    path.with_name(f"{path.name}.sizes").write_text(sizes)


def write_overlaps(exchange: Exchange) -> None:
    """Write every pair of a window and an experiment that labels it, as MFD's authors release theirs."""
    query, target = [], []
    for first in range(0, len(exchange.rows), ROWS_AT_ONCE):
        windows = np.arange(first, min(first + ROWS_AT_ONCE, len(exchange.rows)))
        window, experiment = np.nonzero(exchange.labels(windows))
        query.append((window + first).astype(np.int32))
        target.append(experiment.astype(np.int16))
    with h5py.File(exchange.overlaps, "w") as file:
        file["query"] = np.concatenate(query)
        file["target"] = np.concatenate(target)[:, None]
