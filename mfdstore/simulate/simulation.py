"""Write a simulated world as the ordinary files that a build reads, with the truth beside them."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pysam

from mfdstore.publish import published
from mfdstore.simulate.landscape import Landscape, draw_landscape
from mfdstore.simulate.letters import draw_letters, format_record
from mfdstore.simulate.motifs import format_meme
from mfdstore.simulate.peaks import Peaks, call_peaks, format_narrow_peaks
from mfdstore.simulate.plan import Plan, draw_plan
from mfdstore.simulate.settings import LATER, SimulationSettings
from mfdstore.simulate.tables import FileFacts, format_metadata, format_report
from mfdstore.simulate.tasks import draw_enhancers, draw_variants, format_enhancers, format_vcf
from mfdstore.simulate.truth import (
    README,
    README_OF_ASSAYS,
    format_bins,
    format_experiments,
    format_factors,
    format_sites,
)

logger = logging.getLogger(__name__)

FASTA: Final = "genome.fa.gz"
CHROM_SIZES: Final = "genome.chrom.sizes"
PEAKS: Final = "peaks"
METADATA: Final = "metadata.tsv"
REPORT: Final = "experiment_report.tsv"
BLACKLIST: Final = "blacklist.bed.gz"
VARIANTS: Final = "variants.vcf.gz"
ENHANCERS: Final = "enhancers.tsv"
MOTIFS: Final = "motifs.meme"
TRUTH: Final = "truth"

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


@dataclass(frozen=True)
class Simulation:
    """Where the files of a simulation are, and how much there is in them.

    Parameters
    ----------
    path
        The folder of all.
    fasta, chrom_sizes, peaks, metadata, report, blacklist, variants, enhancers, motifs, truth
        Files and folders in it.
    chroms
        Names, in the order of the FASTA file.
    n_bases, n_experiments, n_peaks, n_sites, n_variants, n_enhancers
        Counts; sites include decoys, enhancers only those labelled 1.
    """

    path: Path
    fasta: Path
    chrom_sizes: Path
    peaks: Path
    metadata: Path
    report: Path
    blacklist: Path
    variants: Path
    enhancers: Path
    motifs: Path
    truth: Path
    chroms: tuple[str, ...]
    n_bases: int
    n_experiments: int
    n_peaks: int
    n_sites: int
    n_variants: int
    n_enhancers: int


def simulate_sources(
    out: Path, settings: SimulationSettings, *, on_progress: Progress | None = None
) -> Simulation:
    """Draw a world from planted factors and write it as files.

    All is written to a folder beside `out` that gets its name last, so that nothing under the name `out` is
    ever incomplete. The same settings give the same bytes.

    Parameters
    ----------
    out
        Folder to make, within one that exists.
    settings
        Size and strengths.
    on_progress
        Called after each step.

    Raises
    ------
    StoreError
        If `out` exists or cannot be written.
    """
    with published(out) as folder:
        plan = draw_plan(settings, _stream(settings, 0))
        steps = _Steps(len(plan.experiments) + 3, on_progress)
        landscape = draw_landscape(plan, settings, _stream(settings, 1))
        steps.advance()
        _write_genome(folder, landscape, _stream(settings, 2))
        steps.advance()
        called, facts = [], {}
        (folder / PEAKS).mkdir()
        for number, experiment in enumerate(plan.experiments):
            rng = _stream(settings, 3, number)
            peaks = call_peaks(landscape, plan, experiment, dropout=settings.dropout, rng=rng)
            text = format_narrow_peaks(peaks, landscape.chroms)
            facts[experiment.file] = _write_gzip(folder / PEAKS / f"{experiment.file}.bed.gz", text)
            called.append(peaks)
            steps.advance()
        (folder / METADATA).write_text(format_metadata(plan, facts))
        (folder / REPORT).write_text(format_report(plan))
        _write_gzip(folder / BLACKLIST, _format_blacklist(landscape))
        variants = draw_variants(landscape, plan, _stream(settings, 4))
        _write_bgzip(folder / VARIANTS, format_vcf(variants, landscape, plan).encode())
        enhancers = draw_enhancers(landscape, plan, _stream(settings, 5))
        (folder / ENHANCERS).write_text(format_enhancers(enhancers, landscape))
        (folder / MOTIFS).write_text(format_meme([feature.motif for feature in plan.features]))
        _write_truth(folder / TRUTH, landscape, plan, called, settings)
        steps.advance()
    logger.info("simulated %d experiments on %d bp in %s", len(plan.experiments), len(landscape.bases), out)
    return Simulation(
        path=out,
        fasta=out / FASTA,
        chrom_sizes=out / CHROM_SIZES,
        peaks=out / PEAKS,
        metadata=out / METADATA,
        report=out / REPORT,
        blacklist=out / BLACKLIST,
        variants=out / VARIANTS,
        enhancers=out / ENHANCERS,
        motifs=out / MOTIFS,
        truth=out / TRUTH,
        chroms=landscape.chroms,
        n_bases=len(landscape.bases),
        n_experiments=len(plan.experiments),
        n_peaks=sum(len(peaks) for peaks in called),
        n_sites=int((landscape.site >= 0).sum()),
        n_variants=len(variants),
        n_enhancers=int(enhancers.label.sum()),
    )


class _Steps:
    """Count steps for a progress callback: the genome drawn, written, each experiment, the rest."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._total = total
        self._done = 0
        self._on_progress = on_progress

    def advance(self) -> None:
        self._done += 1
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)


def _stream(settings: SimulationSettings, *key: int) -> np.random.Generator:
    """Open a stream of random numbers of its own for one part, so that parts do not shift one another."""
    return np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))


def _write_genome(folder: Path, landscape: Landscape, rng: np.random.Generator) -> None:
    letters = draw_letters(landscape, rng)
    records, sizes = [], []
    for chrom, first, last in zip(
        landscape.chroms, landscape.offsets[:-1].tolist(), landscape.offsets[1:].tolist(), strict=True
    ):
        records.append(format_record(chrom, letters[first:last]))
        sizes.append(f"{chrom}\t{last - first}\n")
    _write_bgzip(folder / FASTA, b"".join(records))
    (folder / CHROM_SIZES).write_text("".join(sizes))


def _format_blacklist(landscape: Landscape) -> str:
    spans = landscape.blacklist
    chroms, starts = landscape.locate(spans.start)
    widths = spans.end - spans.start
    return "".join(
        f"{landscape.chroms[chrom]}\t{start}\t{start + width}\tHigh Signal Region\n"
        for chrom, start, width in zip(chroms.tolist(), starts.tolist(), widths.tolist(), strict=True)
    )


def _write_truth(
    folder: Path, landscape: Landscape, plan: Plan, called: list[Peaks], settings: SimulationSettings
) -> None:
    folder.mkdir()
    (folder / "README.txt").write_text(README + README_OF_ASSAYS * bool(settings.assay_kmer_bias))
    (folder / "settings.tsv").write_text(
        "".join(
            f"{name}\t{value}\n" for name, value in asdict(settings).items() if value or name not in LATER
        )
    )
    (folder / "sites.tsv").write_text(format_sites(landscape, plan))
    (folder / "factors.tsv").write_text(format_factors(plan))
    (folder / "experiments.tsv").write_text(format_experiments(plan, called))
    _write_gzip(folder / "bins.tsv.gz", format_bins(landscape, plan))


def _write_gzip(path: Path, text: str) -> FileFacts:
    """Write a gzip file whose bytes do not depend on when and under which name it was written."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream:
        stream.write(text.encode())
    content = packed.getvalue()
    path.write_bytes(content)
    return FileFacts(len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())


def _write_bgzip(path: Path, content: bytes) -> None:
    with pysam.BGZFile(os.fspath(path), "wb", None) as stream:
        stream.write(content)
