"""FASTA to codes, one task a shard; each notes where its codes are blank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.build.once import Done, Task, key_of, save_array
from mfdstore.build.plan import Plan
from mfdstore.dinucleotides import encode_bases, encode_chromosome, find_blank
from mfdstore.shard_files import write_shard
from mfdstore.sources.fasta import Fasta


@dataclass(frozen=True)
class Stretch:
    """Positions [start, stop) of a chromosome: those of one shard."""

    chrom: str
    fasta_name: str
    start: int
    stop: int
    size: int

    @property
    def blank_file(self) -> str:
        """Where the task notes what is blank."""
        return f"scratch/blank/{self.chrom}.{self.start}.npy"


def sequence_tasks(plan: Plan) -> list[Task]:
    """List the tasks of all shards of the sequence."""
    return [
        Task(
            name=f"sequence/{stretch.chrom}.{stretch.start}",
            key=key_of(fasta=plan.fasta_file.md5, stretch=vars(stretch)),
            work=encode_stretch,
            arguments=(plan.fasta, stretch),
        )
        for chrom in plan.tiling.chroms
        for stretch in stretches(chrom, plan.genome.fasta_names[chrom], plan.genome.sizes[chrom])
    ]


def stretches(chrom: str, fasta_name: str, size: int) -> list[Stretch]:
    """Cut a chromosome into the stretches of its shards."""
    step = schema.CODES_PER_SHARD
    return [
        Stretch(chrom, fasta_name, start, min(start + step, size), size) for start in range(0, size, step)
    ]


def encode_stretch(folder: Path, fasta: Fasta, stretch: Stretch) -> Done:
    """Encode one stretch, write its shard, and note the runs of blank positions."""
    # a position needs the next base too; behind the last base of a chromosome there is none
    last = stretch.stop == stretch.size
    bases = fasta.bases(stretch.fasta_name, stretch.start, stretch.stop if last else stretch.stop + 1)
    codes = encode_chromosome(bases) if last else encode_bases(bases)
    shard = write_shard(folder / "store", f"{schema.SEQUENCE}/{stretch.chrom}", stretch.start, codes)
    save_array(folder / stretch.blank_file, find_blank(codes) + stretch.start)
    return Done(outputs=(f"store/{shard}", stretch.blank_file))


def read_blank(folder: Path, chrom: str, size: int) -> NDArray[np.int64]:
    """Read the runs of blank positions of a whole chromosome, shape ``(2, run)``."""
    parts = [np.load(folder / stretch.blank_file) for stretch in stretches(chrom, "", size)]
    return np.concatenate(parts, axis=1)
