"""Which peaks each experiment calls: biology, technique, chance, and what is lost.

The logit of a call of experiment e at locus i is a sum over causes::

    BASE + active * (BIOLOGY + quality + affinity)       its target binds in its biosample (or it is open)
         + gc_strength * gc_score                        preference of its assay
         + kmer_strength * [its lab's sequence is here]  preference of its lab
         + assay_kmer_strength * [its assay's sequence]  where the simulation plants any
         + drift_strength * [the repeat is here]         what older experiments call too much

and of what is called a share `dropout` is lost. Peaks at random places and in blacklisted regions come on
top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.simulate.landscape import Landscape
from mfdstore.simulate.plan import HISTONE_ASSAY, TF_ASSAY, Experiment, Plan

BASE: Final = -4.0
BIOLOGY: Final = 6.5
_AFFINITY: Final = 0.15
"""Logits per bit that a site lacks to the best score."""
_RANDOM_SHARE: Final = 0.02
_P_BLACKLISTED: Final = 0.6

# width of a peak in bp: median, spread of its logarithm, least and most
_WIDTHS: Final = {TF_ASSAY: (240, 0.25, 150, 400), HISTONE_ASSAY: (520, 0.25, 300, 900)}
_ACCESSIBLE_WIDTH: Final = (200, 0.2, 150, 350)
_CENTER_SPREAD: Final = 12.0
_SUMMIT_SPREAD: Final = 5.0


@dataclass(frozen=True)
class Peaks:
    """The peaks of one experiment, sorted by chromosome and start.

    Parameters
    ----------
    chrom
        Index of the chromosome, shape ``(peak,)``.
    start, end
        Position on it, 0-based half-open, shape ``(peak,)``.
    summit
        Offset of the highest point from the start, shape ``(peak,)``.
    signal
        Strength, above 0, shape ``(peak,)``.
    n_biological, n_technical, n_random
        How many are at loci where the experiment's biology is active, at other loci, and at neither.
    """

    chrom: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    summit: NDArray[np.int64]
    signal: NDArray[np.float64]
    n_biological: int
    n_technical: int
    n_random: int

    def __len__(self) -> int:
        return len(self.start)


def biology_of(landscape: Landscape, plan: Plan, experiment: Experiment) -> NDArray[np.bool_]:
    """Say at which loci an experiment's biology is active, shape ``(locus,)``."""
    opened = landscape.functional[:, plan.column("biosample", experiment.biosample)]
    if not experiment.target:
        return opened
    return opened & landscape.functional[:, plan.column("target", experiment.target)]


def call_logits(landscape: Landscape, plan: Plan, experiment: Experiment) -> NDArray[np.float64]:
    """Sum the causes of a call at each locus, shape ``(locus,)``, in logits."""
    main = _main_column(plan, experiment)
    motif = plan.features[main].motif
    lacking = np.nan_to_num(motif.score(motif.consensus[np.newaxis])[0] - landscape.score[:, main])
    active = biology_of(landscape, plan, experiment)
    has = landscape.site >= 0
    logits = BASE + active * (BIOLOGY + experiment.quality - _AFFINITY * lacking)
    logits += experiment.gc_strength * landscape.gc_score
    logits += experiment.kmer_strength * has[:, plan.column("lab", experiment.lab)]
    logits += experiment.drift_strength * has[:, plan.columns("drift")[0]]
    if experiment.assay_kmer_strength:
        logits += experiment.assay_kmer_strength * has[:, plan.column("assay", experiment.assay)]
    return np.asarray(logits, np.float64)


def call_peaks(
    landscape: Landscape,
    plan: Plan,
    experiment: Experiment,
    *,
    dropout: float,
    rng: np.random.Generator,
) -> Peaks:
    """Draw the peaks of one experiment."""
    logits = call_logits(landscape, plan, experiment)
    active = biology_of(landscape, plan, experiment)
    called = rng.random(len(logits)) < (1.0 - dropout) / (1.0 + np.exp(-logits))
    rows = np.flatnonzero(called)
    elsewhere = _random_places(landscape, len(rows), rng)
    center = np.concatenate([_centers(landscape, plan, experiment)[rows], elsewhere])
    center = np.rint(center + rng.normal(0.0, _CENTER_SPREAD, len(center))).astype(np.int64)

    median, spread, least, most = _WIDTHS.get(experiment.assay, _ACCESSIBLE_WIDTH)
    width = np.clip(np.rint(median * np.exp(rng.normal(0.0, spread, len(center)))), least, most)
    width = width.astype(np.int64)
    chrom, _ = landscape.locate(np.clip(center, 0, landscape.offsets[-1] - 1))
    start = np.maximum(center - width // 2, landscape.offsets[chrom])
    end = np.minimum(center - width // 2 + width, landscape.offsets[chrom + 1])
    summit = np.rint(center - start + rng.normal(0.0, _SUMMIT_SPREAD, len(center))).astype(np.int64)
    summit = np.clip(summit, 0, end - start - 1)
    strength = np.concatenate([logits[rows], np.full(len(elsewhere), BASE)])
    signal = 8.0 * np.exp(0.3 * strength + rng.normal(0.0, 0.4, len(center)))

    order = np.lexsort((end, start))
    start = start - landscape.offsets[chrom]
    end = end - landscape.offsets[chrom]
    n_biological = int(active[rows].sum())
    return Peaks(
        chrom[order],
        start[order],
        end[order],
        summit[order],
        signal[order],
        n_biological,
        len(rows) - n_biological,
        len(elsewhere),
    )


def format_narrow_peaks(peaks: Peaks, chroms: tuple[str, ...]) -> str:
    """Write peaks as narrowPeak, ten columns; p and q grow with the signal."""
    score = np.minimum(1000, np.rint(40.0 * peaks.signal)).astype(np.int64)
    p_value = 2.0 + 0.9 * peaks.signal
    q_value = 0.8 * p_value
    columns = (peaks.chrom, peaks.start, peaks.end, score, peaks.signal, p_value, q_value, peaks.summit)
    return "".join(
        f"{chroms[chrom]}\t{start}\t{end}\t.\t{points}\t.\t{signal:.5f}\t{p:.5f}\t{q:.5f}\t{summit}\n"
        for chrom, start, end, points, signal, p, q, summit in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )


def _main_column(plan: Plan, experiment: Experiment) -> int:
    """Find the feature whose site the experiment sits on: its target's, or what opens the element."""
    if experiment.target:
        return plan.column("target", experiment.target)
    return plan.column("biosample", experiment.biosample)


def _centers(landscape: Landscape, plan: Plan, experiment: Experiment) -> NDArray[np.int64]:
    """Find what a peak at each locus is centred on: the site of its strongest cause, shape ``(locus,)``."""
    center = landscape.center.copy()
    everywhere = np.ones(len(center), np.bool_)
    causes = [(plan.columns("drift")[0], everywhere)]
    if experiment.assay_kmer_strength:
        causes.append((plan.column("assay", experiment.assay), everywhere))
    causes.append((plan.column("lab", experiment.lab), everywhere))
    causes.append((_main_column(plan, experiment), biology_of(landscape, plan, experiment)))
    # later causes are stronger and replace earlier ones
    for column, acts in causes:
        here = (landscape.site[:, column] >= 0) & acts
        middle = len(plan.features[column].motif) // 2
        center[here] = landscape.site[here, column] + middle
    return center


def _random_places(landscape: Landscape, n_called: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw places of peaks that nothing explains: anywhere, and in blacklisted regions, flat coordinates."""
    anywhere = rng.integers(0, len(landscape.bases), round(_RANDOM_SHARE * n_called))
    anywhere = anywhere[~landscape.unknown[anywhere]]
    spans = landscape.blacklist
    hit = np.flatnonzero(rng.random(len(spans.start)) < _P_BLACKLISTED)
    hit = np.repeat(hit, rng.integers(1, 4, len(hit)))
    listed = rng.integers(spans.start[hit], spans.end[hit])
    return np.concatenate([anywhere, listed]).astype(np.int64)
