"""Codes of the sequence against the FASTA, by strings: independent of `dinucleotides.encode_bases`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.dinucleotides import BLANK
from mfdstore.genomes import Genome
from mfdstore.sources.fasta import Fasta, open_fasta
from mfdstore.store import Store
from mfdstore.verify.arrays import OnProgress
from mfdstore.verify.report import Finding


def check_sequence(store: Store, path: Path, on_progress: OnProgress) -> Iterator[Finding]:
    """Compare the codes of every chromosome with its bases.

    Raises
    ------
    SourceError
        If the FASTA cannot be read.
    """
    table = _code_of_pair()
    with open_fasta(path) as fasta:
        genome = Genome.from_fasta(store.genome, fasta.sizes, str(path))
        for done, (chrom, size) in enumerate(zip(store.chroms, store.chrom_sizes, strict=True), start=1):
            check = f"sequence of {chrom}"
            if genome.sizes.get(chrom) != size:
                yield Finding(check, False, f"{genome.sizes.get(chrom)} bp in the FASTA, not {size}")
                continue
            wrong, first = _compare(store, fasta, chrom, genome.fasta_names[chrom], table)
            detail = f"{wrong:,} differ, first at {first:,}" if wrong else f"{size:,} positions agree"
            yield Finding(check, not wrong, detail)
            on_progress("sequence", done, len(store.chroms))


def _code_of_pair() -> NDArray[np.uint8]:
    """Code of two letters, the first in the high byte."""
    table = np.full(1 << 16, BLANK, np.uint8)
    for code, (first, second) in enumerate((first, second) for first in "ACGT" for second in "ACGT"):
        table[ord(first) << 8 | ord(second)] = code
    return table


def _compare(store: Store, fasta: Fasta, chrom: str, name: str, table: NDArray[np.uint8]) -> tuple[int, int]:
    """Count positions that differ, and give the first; a stretch at a time."""
    size = fasta.sizes[name]
    n_wrong, first = 0, -1
    for begin in range(0, size, schema.CODES_PER_SHARD):
        end = min(begin + schema.CODES_PER_SHARD, size)
        text = np.frombuffer(fasta.bases(name, begin, min(end + 1, size)).upper(), np.uint8)
        expected = np.full(end - begin, BLANK, np.uint8)
        expected[: len(text) - 1] = table[text[:-1].astype(np.uint16) << 8 | text[1:]]
        wrong = np.flatnonzero(store.read(f"{schema.SEQUENCE}/{chrom}", slice(begin, end)) != expected)
        if len(wrong) and not n_wrong:
            first = begin + int(wrong[0])
        n_wrong += len(wrong)
    return n_wrong, first
