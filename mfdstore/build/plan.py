"""Reads what is small of the sources, checks it, and fixes everything that decides a store's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfdstore import schema
from mfdstore.build.settings import BuildSettings, Sources
from mfdstore.genomes import Genome
from mfdstore.metadata import FactorTable
from mfdstore.provenance import SourceFile
from mfdstore.sources.bed import Intervals, read_intervals
from mfdstore.sources.encode import ExperimentTable, read_experiments
from mfdstore.sources.fasta import Fasta, check_chrom_names
from mfdstore.sources.peak_folder import match_peak_files
from mfdstore.splitting import Splitter
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
    splitter
        Which windows are held out.
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
    splitter: Splitter

    @property
    def n_label_bytes(self) -> int:
        """Bytes of a row of labels."""
        return schema.n_bytes(len(self.factors))


def make_plan(sources: Sources, settings: BuildSettings, fasta: Fasta, fasta_file: SourceFile) -> Plan:
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
    check_chrom_names(sources.fasta, chroms)
    splitter = Splitter(settings.splits, genome)
    table = read_experiments(sources.metadata, sources.report, settings.genome)
    files = match_peak_files(sources.peaks, table.factors.experiments, settings.allow_missing)
    blacklist = read_intervals(sources.blacklist, genome) if sources.blacklist else None
    return Plan(
        sources=sources,
        settings=settings,
        fasta=fasta,
        fasta_file=fasta_file,
        genome=genome,
        tiling=Tiling(chroms, tuple(genome.sizes[chrom] for chrom in chroms), settings.bin_size),
        table=table,
        factors=table.factors.take(np.array([table.factors.experiments.index(name) for name in files])),
        files=files,
        blacklist=blacklist,
        splitter=splitter,
    )
