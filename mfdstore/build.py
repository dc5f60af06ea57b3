"""Sources to a store: reads, filters, labels, writes, and publishes the whole at once.

A store is published under its name only when it is whole (see `publish`): a build that is killed leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.dinucleotides import encode_chromosome
from mfdstore.errors import ConfigError, SourceError
from mfdstore.genomes import Genome
from mfdstore.labels import count_positive, label_bins, set_experiment
from mfdstore.provenance import describe_file, versions
from mfdstore.publish import published
from mfdstore.sources.bed import Intervals, read_intervals
from mfdstore.sources.encode import ExperimentTable, read_experiments
from mfdstore.sources.fasta import check_chrom_names, open_fasta
from mfdstore.sources.peak_folder import check_not_empty, match_peak_files, read_peak_files
from mfdstore.splitting import SplitOptions, Splitter, count_splits
from mfdstore.windows import bins_touching, bins_with_blank, tile
from mfdstore.writer import StoreWriter

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Sources:
    """The files a store is built from.

    Parameters
    ----------
    fasta
        Reference genome.
    peaks
        Folder with one peak file an experiment, named by its accession.
    metadata
        The ENCODE portal's `metadata.tsv`.
    report
        Its experiment report, where the lab is.
    blacklist
        BED of regions to leave out.
    """

    fasta: Path
    peaks: Path
    metadata: Path
    report: Path | None = None
    blacklist: Path | None = None


@dataclass(frozen=True)
class BuildSettings:
    """What decides the content of a store, besides its sources; sizes in bp.

    Parameters
    ----------
    genome
        Name of the assembly.
    chroms
        Chromosomes to build, by any of their names; empty means all of the FASTA.
    bin_size
        Width of the bin that carries the labels.
    min_overlap
        A single peak must overlap a bin by so much to label it.
    min_experiments
        So many experiments must label a bin for it to be kept.
    valid_chroms, test_chroms
        Chromosomes held out whole.
    blocks
        Fractions of train, valid and test to cut each chromosome by instead, in this order along it.
    gap
        Width of what is left unused between two blocks: as wide as a window.
    allow_missing
        Leave out experiments of the metadata that have no peak file, instead of stopping.
    allow_empty
        Keep experiments without a peak on the chosen chromosomes, instead of stopping.
    """

    genome: str
    chroms: tuple[str, ...] = ()
    bin_size: int = schema.DEFAULT_BIN_SIZE
    min_overlap: int = schema.DEFAULT_MIN_OVERLAP
    min_experiments: int = schema.DEFAULT_MIN_EXPERIMENTS
    valid_chroms: tuple[str, ...] = ("chr8",)
    test_chroms: tuple[str, ...] = ("chr9", "chr10")
    blocks: tuple[float, float, float] | None = None
    gap: int = schema.DEFAULT_POSITIONS
    allow_missing: bool = False
    allow_empty: bool = False

    def __post_init__(self) -> None:
        def check(sound: bool, option: str, found: object, expected: str) -> None:
            if not sound:
                raise ConfigError(option, found=str(found), expected=expected, remedy="Correct the option.")

        largest = int(np.iinfo(np.int32).max)
        check(2 <= self.bin_size <= largest, "--bin-size", self.bin_size, f"2 bp to {largest:,} bp")
        check(
            1 <= self.min_overlap <= self.bin_size,
            "--min-overlap",
            self.min_overlap,
            f"1 bp to the bin size, {self.bin_size} bp",
        )
        check(self.min_experiments >= 0, "--min-experiments", self.min_experiments, "0 or more")
        self.splits  # noqa: B018  (its own checks)

    @property
    def splits(self) -> SplitOptions:
        """The part of the settings that says which windows are held out."""
        return SplitOptions(self.valid_chroms, self.test_chroms, self.blocks, self.gap)


@dataclass
class BuildCounts:
    """How much came in, and how much each filter took."""

    experiments: int = 0
    peaks: int = 0
    peaks_on_other_sequences: int = 0
    bins: int = 0
    bins_with_blank: int = 0
    bins_blacklisted: int = 0
    bins_below_min_experiments: int = 0
    windows: int = 0
    positive_pairs: int = 0
    windows_by_split: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildReport:
    """What a build made: where, its digest, its counts."""

    path: Path
    digest: str
    counts: BuildCounts


def build_store(
    sources: Sources,
    out: Path,
    settings: BuildSettings,
    on_progress: Progress = lambda stage, done, total: None,
) -> BuildReport:
    """Build a store from files and publish it under `out`.

    Raises
    ------
    SourceError
        If a source is not what it should be; see the readers.
    ConfigError
        If the settings leave nothing to build or a split without windows.
    StoreError
        If `out` exists.
    """
    with published(out) as directory, open_fasta(sources.fasta) as fasta:
        genome = Genome.from_fasta(settings.genome, fasta.sizes, str(sources.fasta))
        chroms = genome.restrict(settings.chroms) if settings.chroms else tuple(genome.sizes)
        check_chrom_names(sources.fasta, chroms)
        splitter = Splitter(settings.splits, genome)
        table = read_experiments(sources.metadata, sources.report, settings.genome)
        files = match_peak_files(sources.peaks, table.factors.experiments, settings.allow_missing)
        factors = table.factors.take(np.array([table.factors.experiments.index(name) for name in files]))
        counts = BuildCounts(experiments=len(files), metadata=dict(table.counts))
        counts.metadata["rows_without_peak_file"] = len(table.factors) - len(files)
        peaks = read_peak_files(
            files,
            genome,
            md5=table.md5,
            may_be_elsewhere=settings.allow_empty,
            on_progress=lambda done, total: on_progress("peak files", done, total),
        )
        if not settings.allow_empty:
            check_not_empty(sources.peaks, peaks, chroms)
        blacklist = read_intervals(sources.blacklist, genome) if sources.blacklist else None
        counts.peaks = sum(file.n_intervals for file in peaks.values())
        counts.peaks_on_other_sequences = sum(
            file.n_intervals - sum(len(file.by_chrom[chrom][0]) for chrom in chroms if chrom in file.by_chrom)
            for file in peaks.values()
        )
        writer = StoreWriter(directory, factors, chroms, [genome.sizes[chrom] for chrom in chroms])
        for index, chrom in enumerate(chroms):
            on_progress("chromosomes", index, len(chroms))
            codes = encode_chromosome(fasta.bases(genome.fasta_names[chrom]))
            writer.write_codes(chrom, codes)
            starts, bits = _label_chromosome(chrom, codes, list(peaks.values()), blacklist, settings, counts)
            split = splitter.split(chrom, starts, settings.bin_size)
            writer.append_windows(chrom, starts, split, bits)
            for name, count in count_splits(split).items():
                counts.windows_by_split[name] = counts.windows_by_split.get(name, 0) + count
        on_progress("chromosomes", len(chroms), len(chroms))
        _check_counts(sources, settings, counts)
        splitter.check_counts(counts.windows_by_split, chroms)
        attributes = _attributes(sources, settings, table, peaks, blacklist, counts)
        digest = writer.close(attributes, lambda done, total: on_progress("experiments", done, total))
    return BuildReport(out, digest, counts)


def _label_chromosome(
    chrom: str,
    codes: NDArray[np.uint8],
    peaks: Sequence[Intervals],
    blacklist: Intervals | None,
    settings: BuildSettings,
    counts: BuildCounts,
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Give the starts and packed labels of the bins of one chromosome that pass all filters."""
    starts = tile(len(codes), settings.bin_size)
    bits = np.zeros((len(starts), schema.n_bytes(len(peaks))), np.uint8)
    for index, file in enumerate(peaks):
        if chrom in file.by_chrom:
            labels = label_bins(
                *file.by_chrom[chrom],
                n_bins=len(starts),
                bin_size=settings.bin_size,
                min_overlap=settings.min_overlap,
            )
            set_experiment(bits, index, labels)
    keep = count_positive(bits) >= settings.min_experiments
    counts.bins += len(starts)
    counts.bins_below_min_experiments += int((~keep).sum())
    blank = bins_with_blank(codes, settings.bin_size)
    counts.bins_with_blank += int((keep & blank).sum())
    keep &= ~blank
    if blacklist is not None and chrom in blacklist.by_chrom:
        listed = bins_touching(len(starts), settings.bin_size, *blacklist.by_chrom[chrom])
        counts.bins_blacklisted += int((keep & listed).sum())
        keep &= ~listed
    kept = bits[keep]
    counts.windows += len(kept)
    counts.positive_pairs += int(count_positive(kept).sum())
    return starts[keep], kept


def _check_counts(sources: Sources, settings: BuildSettings, counts: BuildCounts) -> None:
    if counts.windows == 0:
        raise SourceError(
            sources.peaks,
            found=f"no bin left of {counts.bins:,} bins of {settings.bin_size:,} bp: "
            f"{counts.bins_below_min_experiments:,} are labelled by fewer than {settings.min_experiments} experiments, "
            f"{counts.bins_with_blank:,} hold an unknown base, {counts.bins_blacklisted:,} are blacklisted",
            expected="at least one window",
            remedy="Lower --min-experiments or --bin-size, or check that peaks and FASTA are of one assembly.",
        )


def _attributes(
    sources: Sources,
    settings: BuildSettings,
    table: ExperimentTable,
    peaks: Mapping[str, Intervals],
    blacklist: Intervals | None,
    counts: BuildCounts,
) -> dict[str, Any]:
    return {
        "genome": settings.genome,
        "bin_size": settings.bin_size,
        "min_overlap": settings.min_overlap,
        "min_experiments": settings.min_experiments,
        "provenance": {
            "settings": asdict(settings),
            "fasta": asdict(describe_file(sources.fasta)),
            "tables": [asdict(file) for file in table.files],
            "blacklist": asdict(blacklist.file) if blacklist else None,
            "peaks": {
                name: asdict(file.file) | {"n_intervals": file.n_intervals, "n_elsewhere": file.n_elsewhere}
                for name, file in peaks.items()
            },
            "empty_columns": list(table.empty_columns),
            "counts": asdict(counts),
            "versions": versions(),
        },
    }
