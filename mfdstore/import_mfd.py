"""The authors' release to a store: labels are taken as they are, the sequence comes from the FASTA.

The store is that of a build from the same peaks. Memory is bounded by a chromosome's sequence and a block of labels,
whatever the number of regions and experiments: 4 bytes a region are held besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore.dinucleotides import encode_chromosome, find_blank
from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, some
from mfdstore.labels import count_positive, pack_labels, unpack_labels
from mfdstore.provenance import describe_file, versions
from mfdstore.publish import published
from mfdstore.schema import n_bytes
from mfdstore.sources.fasta import Fasta, check_chrom_names, open_fasta
from mfdstore.sources.mfd_release.belonging import (
    check_carried,
    check_regions,
    check_sequence,
    state_thresholds,
)
from mfdstore.sources.mfd_release.metadata import read_metadata
from mfdstore.sources.mfd_release.overlaps import Overlaps, open_overlaps
from mfdstore.sources.mfd_release.regions import RegionRun, read_regions
from mfdstore.splitting import SplitOptions, Splitter, count_splits
from mfdstore.windows import bins_touching
from mfdstore.writer import StoreWriter

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class ReleaseSources:
    """The files of a release, and the genome.

    Parameters
    ----------
    regions
        BED of the bins, plain or gzip.
    overlaps
        Pairs of region and experiment in HDF5.
    metadata
        The authors' table of the experiments, or the ENCODE portal's.
    fasta
        Reference genome.
    report
        The portal's experiment report, beside the portal's table only.
    """

    regions: Path
    overlaps: Path
    metadata: Path
    fasta: Path
    report: Path | None = None


@dataclass(frozen=True)
class ImportSettings:
    """What the release does not say itself.

    Parameters
    ----------
    genome
        Name of the assembly.
    chroms
        Chromosomes to import, by any of their names; empty means all of the FASTA, or those of the exported store.
    min_overlap
        By how many bp a peak overlapped a bin to label it; `None` is what an export says, else the paper's 64.
    min_experiments
        How many experiments label each bin at the least; `None` is what an export says, else the paper's 2.
    splits
        Which windows are held out; `None` is what an export says, else the paper's chromosomes.
    allow_missing
        Leave out rows of the metadata whose experiments have no labels, instead of stopping.
    allow_empty
        Keep experiments without a positive bin, instead of stopping.
    """

    genome: str
    chroms: tuple[str, ...] = ()
    min_overlap: int | None = None
    min_experiments: int | None = None
    splits: SplitOptions | None = None
    allow_missing: bool = False
    allow_empty: bool = False


@dataclass
class ImportCounts:
    """How much came in, and what was left out."""

    experiments: int = 0
    regions: int = 0
    regions_on_other_sequences: int = 0
    regions_with_blank: int = 0
    pairs: int = 0
    pairs_on_other_sequences: int = 0
    pairs_repeated: int = 0
    windows: int = 0
    positive_pairs: int = 0
    windows_by_split: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportReport:
    """What an import made: where, its digest, its counts."""

    path: Path
    digest: str
    counts: ImportCounts


def import_release(
    sources: ReleaseSources,
    out: Path,
    settings: ImportSettings,
    on_progress: Progress = lambda stage, done, total: None,
) -> ImportReport:
    """Turn a release into a store and publish it under `out`.

    Regions that hold an unknown base are left out and counted, as a build does; regions on sequences that are not
    imported likewise.

    Raises
    ------
    SourceError
        If a file is not what it should be, or the files do not belong together; see the readers.
    ConfigError
        If the settings contradict the files, or leave a split without windows.
    StoreError
        If `out` exists.
    """
    with (
        published(out) as directory,
        open_fasta(sources.fasta) as fasta,
        open_overlaps(sources.overlaps) as overlaps,
    ):
        release = _Release(sources, settings, fasta, overlaps, on_progress)
        writer = StoreWriter(
            directory,
            release.table.factors,
            release.chroms,
            [release.genome.sizes[chrom] for chrom in release.chroms],
        )
        for index, chrom in enumerate(release.chroms):
            on_progress("chromosomes", index, len(release.chroms))
            release.write_chromosome(writer, chrom)
        release.finish()
        on_progress("chromosomes", len(release.chroms), len(release.chroms))
        digest = writer.close(
            release.attributes(), lambda done, total: on_progress("experiments", done, total)
        )
    return ImportReport(out, digest, release.counts)


class _Release:
    """The files of a release, held against each other and the genome, on their way to a store."""

    def __init__(
        self,
        sources: ReleaseSources,
        settings: ImportSettings,
        fasta: Fasta,
        overlaps: Overlaps,
        on_progress: Progress,
    ) -> None:
        self._sources, self._settings, self._fasta, self._overlaps = sources, settings, fasta, overlaps
        carried = overlaps.carried
        self.genome = Genome.from_fasta(settings.genome, fasta.sizes, str(sources.fasta))
        if carried is not None:
            check_carried(carried, self.genome, sources.fasta, settings.min_overlap)
        wanted: Sequence[str] = settings.chroms or (tuple(carried.chrom_sizes) if carried is not None else ())
        self.chroms = self.genome.restrict(wanted) if wanted else tuple(self.genome.sizes)
        check_chrom_names(sources.fasta, self.chroms)
        self._splitter: Splitter | None = None
        if carried is None or settings.splits is not None:
            self._splitter = Splitter(settings.splits or SplitOptions(), self.genome)
        accessions = overlaps.experiments.accessions
        self.table = read_metadata(
            sources.metadata,
            accessions,
            carried=carried,
            report=sources.report,
            genome=settings.genome,
            allow_missing=settings.allow_missing,
        )
        self._regions = read_regions(
            sources.regions, self.genome, lambda done, total: on_progress("regions", done, total)
        )
        check_regions(sources.regions, self._regions, sources.overlaps, overlaps)
        self._min_overlap, self._min_experiments = state_thresholds(
            settings.min_overlap, settings.min_experiments, carried, self._regions.bin_size
        )
        self._runs = {run.chrom: run for run in self._regions.runs if run.chrom is not None}
        first = [run.first for run in self._regions.runs]
        bounds = overlaps.bounds(first, self._regions.n_regions)
        self._pairs = {row: (bounds[index], bounds[index + 1]) for index, row in enumerate(first)}
        self._labelled = np.zeros(n_bytes(len(accessions)), np.uint8)
        self.counts = ImportCounts(
            experiments=len(accessions),
            regions=self._regions.n_regions,
            pairs=overlaps.n_pairs,
            metadata=dict(self.table.counts),
        )

    def write_chromosome(self, writer: StoreWriter, chrom: str) -> None:
        """Give one chromosome's codes and windows to the writer."""
        codes = encode_chromosome(self._fasta.bases(self.genome.fasta_names[chrom]))
        if self._overlaps.carried is not None:
            check_sequence(self._overlaps.carried, chrom, codes, self._sources.fasta)
        writer.write_codes(chrom, codes)
        run = self._runs.get(chrom)
        if run is None:
            return
        bin_size = self._regions.bin_size
        blank = bins_touching(len(codes) // bin_size, bin_size, *find_blank(codes))
        keep = ~blank[run.starts // bin_size]
        split = (
            self._overlaps.read_split(run.first, run.last)[keep]
            if self._splitter is None
            else self._splitter.split(chrom, run.starts[keep], bin_size)
        )
        n_windows = 0
        for begin, bits in self._label_blocks(run):
            here = slice(begin, begin + len(bits))
            kept = bits[keep[here]]
            parts = split[n_windows : n_windows + len(kept)]
            writer.append_windows(chrom, run.starts[here][keep[here]], parts, kept)
            self._labelled |= np.bitwise_or.reduce(kept, axis=0)
            self.counts.positive_pairs += int(count_positive(kept).sum())
            n_windows += len(kept)
        self.counts.regions_with_blank += len(keep) - n_windows
        self.counts.windows += n_windows
        for name, count in count_splits(split).items():
            self.counts.windows_by_split[name] = self.counts.windows_by_split.get(name, 0) + count

    def finish(self) -> None:
        """Check what no chromosome's window asked for, and whether enough is left."""
        for run in self._regions.runs:
            if run.chrom not in self.chroms:
                self.counts.regions_on_other_sequences += run.last - run.first
                self.counts.pairs_on_other_sequences += self._overlaps.skip(
                    run.first, run.last, *self._pairs[run.first]
                )
        self._overlaps.check_counts()
        self.counts.pairs_repeated = self._overlaps.n_repeated
        if self.counts.windows == 0:
            raise SourceError(
                self._sources.regions,
                found=f"no window left of {self.counts.regions:,} regions: "
                f"{self.counts.regions_on_other_sequences:,} are on other sequences than {some(self.chroms)}, "
                f"{self.counts.regions_with_blank:,} hold an unknown base",
                expected="at least one window",
                remedy="Choose other --chroms, or check that release and FASTA are of one assembly.",
            )
        labelled = unpack_labels(self._labelled, self.counts.experiments)
        empty = [self.table.factors.experiments[index] for index in np.flatnonzero(~labelled)]
        if empty and not self._settings.allow_empty:
            raise SourceError(
                self._sources.overlaps,
                found=f"{len(empty)} experiment(s) without a pair on {some(self.chroms)}: {some(empty)}",
                expected="a positive region of each experiment",
                remedy="Import more chromosomes, or pass --allow-empty to keep them.",
            )
        if self._splitter is not None:
            self._splitter.check_counts(self.counts.windows_by_split, self.chroms)

    def attributes(self) -> dict[str, Any]:
        """Give what the format's attributes hold beyond what the writer knows itself."""
        sources, carried = self._sources, self._overlaps.carried
        return {
            "genome": self._settings.genome,
            "bin_size": self._regions.bin_size,
            "min_overlap": self._min_overlap,
            "min_experiments": self._min_experiments,
            "provenance": {
                "settings": asdict(self._settings),
                "fasta": asdict(describe_file(sources.fasta)),
                "regions": asdict(self._regions.file),
                "overlaps": asdict(describe_file(sources.overlaps)),
                "exported_from": carried.digest if carried is not None else None,
                "tables": [asdict(file) for file in self.table.files],
                "empty_columns": list(self.table.empty_columns),
                "counts": asdict(self.counts),
                "versions": versions(),
            },
        }

    def _label_blocks(self, run: RegionRun) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Read a run's packed labels with the place of each block; refuse bins that too few experiments label."""
        begin = 0
        for labels in self._overlaps.label_blocks(run.first, run.last, *self._pairs[run.first]):
            bits = pack_labels(labels)
            n_positive = count_positive(bits)
            few = np.flatnonzero(n_positive < self._min_experiments)
            if len(few):
                # pairs that stand in another order are missed here: that is to be told first
                self._overlaps.skip(0, self._regions.n_regions, 0, self._overlaps.n_pairs)
                least = int(n_positive[few[0]])
                raise SourceError(
                    self._sources.regions,
                    found=f"{least} experiment(s) in region {run.name}:{run.starts[begin + few[0]]:,}",
                    expected=f"{self._min_experiments} or more in each",
                    remedy=f"If the release keeps such bins, pass --min-experiments {least}.",
                )
            yield begin, bits
            begin += len(bits)
