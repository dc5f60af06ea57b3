"""Reads what is small of the sources, checks it, and fixes everything that decides a store's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfdstore import schema
from mfdstore.build.settings import BuildSettings, Sources
from mfdstore.errors import ConfigError, SourceError
from mfdstore.genomes import Genome, find_assembly, some, usual_name
from mfdstore.metadata import FactorTable
from mfdstore.provenance import SourceFile, describe_file
from mfdstore.sources.bed import Intervals, read_intervals
from mfdstore.sources.encode import ExperimentTable, read_experiments
from mfdstore.sources.fasta import Fasta
from mfdstore.sources.peak_folder import match_peak_files
from mfdstore.windows import Tiling


@dataclass(frozen=True)
class Plan:
    """Everything that a build is made of, before anything large is read.

    Parameters
    ----------
    sources, settings
        As the user gave them.
    fasta
        Open for reading.
    fasta_file
        Its name, size and digest.
    genome
        Names and lengths of the FASTA's sequences.
    tiling
        Of the chromosomes that are built.
    table
        All rows of the metadata.
    factors
        Experiments that are built, in the store's order.
    files
        Peak file by experiment.
    blacklist
        Regions to leave out.
    held_out
        Chromosomes of valid and of test.
    """

    sources: Sources
    settings: BuildSettings
    fasta: Fasta
    fasta_file: SourceFile
    genome: Genome
    tiling: Tiling
    table: ExperimentTable
    factors: FactorTable
    files: Mapping[str, Path]
    blacklist: Intervals | None
    held_out: tuple[list[str], list[str]]

    @property
    def n_label_bytes(self) -> int:
        """Bytes of a row of labels."""
        return schema.n_bytes(len(self.factors))


def make_plan(sources: Sources, settings: BuildSettings, fasta: Fasta) -> Plan:
    """Read the tables, match the peak files, name the chromosomes.

    Raises
    ------
    SourceError
        If a source is not what it should be; see the readers.
    ConfigError
        If the settings name what the FASTA does not have.
    """
    genome = Genome.from_fasta(settings.genome, fasta.sizes, str(sources.fasta))
    chroms = genome.restrict(settings.chroms) if settings.chroms else tuple(genome.sizes)
    _check_chroms(sources.fasta, chroms)
    held_out = _held_out(settings, genome)
    table = read_experiments(sources.metadata, sources.report, settings.genome)
    files = match_peak_files(sources.peaks, table.factors.experiments, settings.allow_missing)
    blacklist = read_intervals(sources.blacklist, genome) if sources.blacklist else None
    return Plan(
        sources=sources,
        settings=settings,
        fasta=fasta,
        fasta_file=describe_file(sources.fasta),
        genome=genome,
        tiling=Tiling(chroms, tuple(genome.sizes[chrom] for chrom in chroms), settings.bin_size),
        table=table,
        factors=table.factors.take(np.array([table.factors.experiments.index(name) for name in files])),
        files=files,
        blacklist=blacklist,
        held_out=held_out,
    )


def _check_chroms(fasta: Path, chroms: Sequence[str]) -> None:
    """Refuse names that cannot name an array of a store."""
    for chrom in chroms:
        unfit = "/" in chrom or chrom in (".", "..", "zarr.json") or chrom.startswith("__")
        if unfit or len(chrom.encode()) > schema.NAME_BYTES:
            raise SourceError(
                fasta,
                found=f"sequence name {chrom[:60]!r}, {len(chrom.encode())} bytes long",
                expected=f"a name for an array of the store: without '/', at most {schema.NAME_BYTES} bytes",
                remedy="Rename the sequence, or choose others by --chroms.",
            )


def _held_out(settings: BuildSettings, genome: Genome) -> tuple[list[str], list[str]]:
    """Resolve the chromosomes of valid and test; none where each chromosome is cut in blocks."""
    if settings.blocks is not None:
        return [], []
    valid = _resolve_split("--split-valid", settings.valid_chroms, genome)
    test = _resolve_split("--split-test", settings.test_chroms, genome)
    both = sorted(set(valid) & set(test))
    if both:
        raise ConfigError(
            "--split-valid and --split-test",
            found=f"{some(both)} in both",
            expected="each chromosome in one split",
            remedy="Remove it from one of the two.",
        )
    return valid, test


def _resolve_split(option: str, names: Sequence[str], genome: Genome) -> list[str]:
    """Resolve the chromosomes of a split; one that the assembly has but this FASTA lacks holds nothing out."""
    assembly = find_assembly(genome.name)
    resolved = []
    for name in names:
        chrom = genome.resolve(name)
        if chrom is not None:
            resolved.append(chrom)
        elif assembly is None or usual_name(name, assembly) not in assembly.sizes:
            raise ConfigError(
                option,
                found=f"chromosome {name!r}, which the FASTA does not have",
                expected=f"one of {some(genome.sizes)}",
                remedy="Name chromosomes by --split-valid and --split-test, or pass --split-blocks.",
            )
    return resolved
