"""Whether the files of a release belong together, and to the genome that is given beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError, SourceError
from mfdstore.genomes import Genome, same_assembly
from mfdstore.provenance import digest_values
from mfdstore.sources.mfd_release.layout import CarriedStore
from mfdstore.sources.mfd_release.overlaps import Overlaps
from mfdstore.sources.mfd_release.regions import Regions


def check_regions(path: Path, regions: Regions, overlaps_path: Path, overlaps: Overlaps) -> None:
    """Hold the digest of the region file, packed or not, against the one that the overlaps note.

    Raises
    ------
    SourceError
        If neither is it, or an export's bins are of another width.
    """
    noted = overlaps.experiments.regions_md5
    if noted is not None and noted not in (regions.unpacked_md5, regions.file.md5):
        raise SourceError(
            path,
            found=f"a region file with md5 {regions.unpacked_md5}",
            expected=f"{noted}, which {overlaps_path.name} notes of its regions",
            remedy="Give the regions and overlaps of one release.",
        )
    carried = overlaps.carried
    if carried is not None and carried.bin_size != regions.bin_size:
        raise SourceError(
            path,
            found=f"regions of {regions.bin_size:,} bp",
            expected=f"{carried.bin_size:,} bp, as the store had that {overlaps_path.name} was exported from",
            remedy="Give the files of one export.",
        )


def check_carried(carried: CarriedStore, genome: Genome, fasta: Path, min_overlap: int | None) -> None:
    """Hold what an export says of its store against genome and options.

    Raises
    ------
    ConfigError
        If the genome is another, or another minimum of overlap is claimed.
    SourceError
        If a chromosome of the FASTA has another length.
    """
    if not same_assembly(carried.genome, genome.name):
        raise ConfigError(
            "--genome",
            found=genome.name,
            expected=f"{carried.genome}, the genome of the store that was exported",
            remedy="Correct the option.",
        )
    if min_overlap is not None and min_overlap != carried.min_overlap:
        raise ConfigError(
            "--min-overlap",
            found=f"{min_overlap} bp",
            expected=f"{carried.min_overlap} bp, by which the labels of the exported store were made",
            remedy="Leave out the option.",
        )
    for chrom, size in carried.chrom_sizes.items():
        if chrom in genome.sizes and genome.sizes[chrom] != size:
            raise SourceError(
                fasta,
                found=f"{chrom} of {genome.sizes[chrom]:,} bp",
                expected=f"{size:,} bp, as in the store that was exported",
                remedy="Give the FASTA of its assembly.",
            )


def check_sequence(carried: CarriedStore, chrom: str, codes: NDArray[np.uint8], fasta: Path) -> None:
    """Hold a chromosome's codes, shape ``(position,)``, against those of the store that was exported.

    Raises
    ------
    SourceError
        If they differ.
    """
    expected = carried.sequence_digests.get(chrom)
    if expected is not None and digest_values(codes) != expected:
        raise SourceError(
            fasta,
            found=f"another sequence of {chrom}",
            expected="the bases of the store that was exported",
            remedy="Give the FASTA that it was built from.",
        )


def state_thresholds(
    min_overlap: int | None, min_experiments: int | None, carried: CarriedStore | None, bin_size: int
) -> tuple[int, int]:
    """Say by which minima the labels were made: as asked, else as an export says, else as in the paper.

    Returns
    -------
    The minimum of overlap in bp, and of experiments.

    Raises
    ------
    ConfigError
        If one cannot be.
    """
    default = (
        (schema.DEFAULT_MIN_OVERLAP, schema.DEFAULT_MIN_EXPERIMENTS)
        if carried is None
        else (carried.min_overlap, carried.min_experiments)
    )
    overlap = default[0] if min_overlap is None else min_overlap
    experiments = default[1] if min_experiments is None else min_experiments
    if not 1 <= overlap <= bin_size:
        raise ConfigError(
            "--min-overlap",
            found=f"{overlap} bp",
            expected=f"1 bp to the width of the regions, {bin_size} bp",
            remedy="Say by how many bp a peak overlapped a bin to label it.",
        )
    if experiments < 0:
        raise ConfigError(
            "--min-experiments", found=str(experiments), expected="0 or more", remedy="Correct the option."
        )
    return overlap, experiments
