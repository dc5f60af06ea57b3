"""What was planted, as tables: sites, factors, experiments, and bins with one column a truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.schema import DEFAULT_BIN_SIZE, DEFAULT_POSITIONS
from mfdstore.simulate.landscape import LOCUS_KINDS, Landscape, local_gc
from mfdstore.simulate.peaks import Peaks
from mfdstore.simulate.plan import Plan
from mfdstore.windows import tile

GC_EXTREME: Final = 1.0
"""Standard deviations from the mean over bins from which the GC around a bin counts as high or low."""
GC_VALUES: Final = ("gc_high", "gc_low")
"""Truths of the assays that no site plants."""

README: Final = """\
What was planted in the simulated sources beside this folder. Coordinates are 0-based and half-open, in bp.
settings.tsv holds the settings that it was drawn with.

sites.tsv        every planted motif site, decoys included
    chrom start end strand
    role factor name   biological target or biosample, technical lab or year (its drift), and the value
    motif              name in motifs.meme
    score              log2 odds in bits against equal base frequencies
    functional         0: a decoy, one core base is wrong, it does nothing
    active             1: it acts. A target's site must be functional and stand in an element that at least
                       one biosample opens; all others act wherever they are functional
    biosamples         of a target's site: the biosamples it binds in, separated by semicolons
    locus locus_kind   number and kind of the place: element, artefact, drift
    gc_score           GC of the 1024 bp around it, in standard deviations from the mean of all loci

factors.tsv      every factor's value that acts, with its role
    role factor name
    motif threshold    by which sequence it acts, and from which score in bits a site is functional
    strength           of technical values, in logits: of an assay per standard deviation of GC; of a lab where
                       its sequence stands; of the year where the repeat stands, for the oldest experiments

experiments.tsv  every experiment with its true factors, also those left out of the metadata on purpose
    file experiment assay target biosample lab released replicate
    gc_strength kmer_strength drift_strength quality   logits, see factors.tsv; quality adds to its biology
    lacks_date lacks_report                            1: left out of metadata.tsv; of experiment_report.tsv
    n_peaks n_biological n_technical n_random          peaks in all; where its biology is active; at other
                                                       loci, that is by technique alone; at random places

bins.tsv.gz      one row a 128 bp bin, tiled from each chromosome's first base, and 0/1 columns
    chrom start
    biological:target:NAME     the middle of an active site of this target lies in the bin
    biological:biosample:NAME  the middle of an accessibility site of this biosample lies in the bin
    technical:lab:NAME         the middle of a site of this lab's sequence lies in the bin
    technical:year:older       the middle of a site of the repeat that older experiments call lies in the bin
    technical:assay:gc_high    GC of the 1152 bp around the bin's middle is a standard deviation or more above
    technical:assay:gc_low     the mean over bins; or below it
"""

README_OF_ASSAYS: Final = """
DNase-seq and ATAC-seq prefer a sequence of their own here, beside their GC: sites.tsv and factors.tsv list its sites
and strengths under the factor assay, and bins.tsv.gz has the columns
    technical:assay:NAME       the middle of a site of this assay's sequence lies in the bin
"""
"""What is added where assays have sequences."""


def format_sites(landscape: Landscape, plan: Plan) -> str:
    """Write the planted sites as a table, sorted by coordinate."""
    rows, columns = np.nonzero(landscape.site >= 0)
    order = np.argsort(landscape.site[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    chroms, starts = landscape.locate(landscape.site[rows, columns])
    binds = landscape.active(plan)
    targets = plan.columns("target", "histone")
    header = "chrom start end strand role factor name motif score functional active biosamples locus"
    lines = ["\t".join([*header.split(), "locus_kind", "gc_score"])]
    for row, column, chrom, start in zip(
        rows.tolist(), columns.tolist(), chroms.tolist(), starts.tolist(), strict=True
    ):
        feature = plan.features[column]
        functional = bool(landscape.functional[row, column])
        where, active = "", functional
        if column in targets:
            bound = binds[row, targets.index(column)]
            where = ";".join(plan.biosamples[sample].name for sample in np.flatnonzero(bound))
            active = bool(bound.any())
        lines.append(
            f"{landscape.chroms[chrom]}\t{start}\t{start + len(feature.motif)}\t"
            f"{'-' if landscape.reverse[row, column] else '+'}\t{feature.role}\t{feature.factor}\t"
            f"{feature.name}\t{feature.motif.name}\t{landscape.score[row, column]:.4f}\t{functional:d}\t"
            f"{active:d}\t{where}\t{row}\t{LOCUS_KINDS[landscape.kind[row]]}\t{landscape.gc_score[row]:.4f}"
        )
    return "\n".join(lines) + "\n"


def format_factors(plan: Plan) -> str:
    """Write the factors' values that act, with their motifs and strengths."""
    lines = ["role\tfactor\tname\tmotif\tthreshold\tstrength"]
    for feature in plan.features:
        strength = ""
        if feature.kind == "lab":
            strength = f"{max(experiment.kmer_strength for experiment in plan.experiments):.4f}"
        elif feature.kind == "assay":
            strength = f"{max(experiment.assay_kmer_strength for experiment in plan.experiments):.4f}"
        elif feature.kind == "drift":
            strength = f"{max(experiment.drift_strength for experiment in plan.experiments):.4f}"
        lines.append(
            f"{feature.role}\t{feature.factor}\t{feature.name}\t{feature.motif.name}\t"
            f"{feature.motif.threshold:.4f}\t{strength}"
        )
    by_assay = {experiment.assay: experiment.gc_strength for experiment in plan.experiments}
    lines += [f"technical\tassay\t{assay}\t\t\t{strength:.4f}" for assay, strength in by_assay.items()]
    return "\n".join(lines) + "\n"


def format_experiments(plan: Plan, peaks: Sequence[Peaks]) -> str:
    """Write each experiment's true factors, the strength of its biases and what its peaks come from.

    Parameters
    ----------
    plan
        With the experiments.
    peaks
        Of each experiment, in the plan's order.
    """
    header = (
        "file experiment assay target biosample lab released replicate gc_strength kmer_strength "
        "drift_strength quality lacks_date lacks_report n_peaks n_biological n_technical n_random"
    )
    lines = ["\t".join(header.split())]
    for experiment, called in zip(plan.experiments, peaks, strict=True):
        lines.append(
            f"{experiment.file}\t{experiment.accession}\t{experiment.assay}\t{experiment.target}\t"
            f"{experiment.biosample}\t{experiment.lab}\t{experiment.released.isoformat()}\t"
            f"{experiment.replicate}\t{experiment.gc_strength:.4f}\t{experiment.kmer_strength:.4f}\t"
            f"{experiment.drift_strength:.4f}\t{experiment.quality:.4f}\t{experiment.lacks_date:d}\t"
            f"{experiment.lacks_report:d}\t{len(called)}\t{called.n_biological}\t{called.n_technical}\t"
            f"{called.n_random}"
        )
    return "\n".join(lines) + "\n"


def bin_columns(plan: Plan) -> list[str]:
    """Name the truths that a bin has: ``role:factor:value``."""
    names = [f"{feature.role}:{feature.factor}:{feature.name}" for feature in plan.features]
    return [*names, *(f"technical:assay:{value}" for value in GC_VALUES)]


def bin_truth(
    landscape: Landscape, plan: Plan, chrom: int, gc_score: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say what is planted in each bin of one chromosome.

    Parameters
    ----------
    landscape, plan
        What was planted.
    chrom
        Index of the chromosome.
    gc_score
        Of this chromosome's bins, shape ``(bin,)``; NaN where no base is known.

    Returns
    -------
    Shape ``(bin, truth)``, columns as `bin_columns` names them.
    """
    first, last = landscape.offsets[chrom], landscape.offsets[chrom + 1]
    acts = landscape.functional.copy()
    acts[:, plan.columns("target", "histone")] = landscape.active(plan).any(axis=2)
    truth = np.zeros((len(gc_score), len(plan.features) + 2), np.bool_)
    for column, feature in enumerate(plan.features):
        middle = landscape.site[acts[:, column], column] + len(feature.motif) // 2
        here = (middle[(middle >= first) & (middle < last)] - first) // DEFAULT_BIN_SIZE
        # what lies in the incomplete bin at the chromosome's end belongs to no bin
        truth[here[here < len(truth)], column] = True
    truth[:, -2] = gc_score >= GC_EXTREME
    truth[:, -1] = gc_score <= -GC_EXTREME
    return truth


def format_bins(landscape: Landscape, plan: Plan) -> str:
    """Write the truth of every bin as a table."""
    tiles = [tile(int(size), DEFAULT_BIN_SIZE) for size in np.diff(landscape.offsets)]
    middles = [
        offset + starts.astype(np.int64) + DEFAULT_BIN_SIZE // 2
        for offset, starts in zip(landscape.offsets[:-1], tiles, strict=True)
    ]
    gc = local_gc(
        landscape.bases, landscape.unknown, landscape.offsets, np.concatenate(middles), DEFAULT_POSITIONS
    )
    score = np.split((gc - np.nanmean(gc)) / np.nanstd(gc), np.cumsum([len(part) for part in tiles])[:-1])
    parts = ["\t".join(["chrom", "start", *bin_columns(plan)]) + "\n"]
    for chrom, (name, starts) in enumerate(zip(landscape.chroms, tiles, strict=True)):
        truth = bin_truth(landscape, plan, chrom, score[chrom])
        cells = np.full((len(truth), 2 * truth.shape[1]), ord("\t"), np.uint8)
        cells[:, 1::2] = truth + np.uint8(ord("0"))
        text = cells.tobytes().decode()
        width = cells.shape[1]
        parts += [
            f"{name}\t{start}{text[width * row : width * (row + 1)]}\n"
            for row, start in enumerate(starts.tolist())
        ]
    return "".join(parts)
