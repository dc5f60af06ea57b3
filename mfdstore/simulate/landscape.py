"""The genome and what is planted in it: isochores, loci with their motif sites, unknown bases, blacklist.

All chromosomes lie end to end in one array here; `Landscape.locate` turns a flat coordinate into a chromosome
and a position. Four kinds of locus are planted, none nearer to the next than `MIN_SPACING`:

element     the place of biology: targets' motifs, and the accessibility motifs of the biosamples that open it
artefact    a lab's, or an assay's, sequence alone
drift       the repeat that older experiments call, alone
background  nothing at all: a place where chance and GC preference may still call a peak
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.simulate.motifs import reverse_complement_bases
from mfdstore.simulate.plan import Plan
from mfdstore.simulate.settings import SimulationSettings

LOCUS_KINDS: Final = ("element", "artefact", "drift", "background")
MIN_SPACING: Final = 400
"""Between the centres of two loci, in bp."""
GC_SPAN: Final = 1024
"""Bases around a place that its local GC is measured over."""

_SLOT: Final = 20
_N_SLOTS: Final = 10
ELEMENT_SPAN: Final = _SLOT * _N_SLOTS
"""Width in bp of the part of an element that holds its motifs."""
_MARGIN: Final = 160
_CLEARANCE: Final = 1_000
_GC_KNOT: Final = 5_000
_GC_MEAN: Final = 0.42
_GC_SPREAD: Final = 0.07
_GC_MEMORY: Final = 0.8

# planted in a million bases, beside the elements
_ARTEFACTS_OF_A_LAB: Final = 32.0
_DRIFT: Final = 45.0
_BACKGROUND: Final = 150.0

# presence of motifs in an element
_TARGETS_OF_AN_ELEMENT: Final = 2.0
_P_OPEN: Final = 0.45
_P_LAB: Final = 0.03
_P_DRIFT: Final = 0.03
_P_DECOY: Final = 0.08


@dataclass(frozen=True)
class Spans:
    """Intervals in flat coordinates, 0-based half-open, shape ``(span,)``."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class Landscape:
    """A simulated genome with the truth of what was planted.

    Parameters
    ----------
    chroms
        Names.
    offsets
        Flat coordinate of each chromosome's first base, and the total, shape ``(chrom + 1,)``.
    bases
        Index of each base, A, C, G, T: 0 to 3, uint8, shape ``(base,)``.
    unknown
        True where the base is written as N, shape ``(base,)``.
    kind
        Index into `LOCUS_KINDS`, shape ``(locus,)``.
    center
        Flat coordinate, shape ``(locus,)``, ascending.
    gc_score
        Local GC of each locus in standard deviations from the mean of all loci, shape ``(locus,)``.
    site
        Flat coordinate of the first base of each locus's site of each feature, -1 where there is none,
        shape ``(locus, feature)``.
    reverse
        True where the site reads along the reverse strand, shape ``(locus, feature)``.
    functional
        False where there is no site or the site is a decoy with a spoilt core, shape ``(locus, feature)``.
    score
        Of each site in bits, NaN where there is none, shape ``(locus, feature)``.
    blacklist
        Regions where every experiment calls peaks at random.
    """

    chroms: tuple[str, ...]
    offsets: NDArray[np.int64]
    bases: NDArray[np.uint8]
    unknown: NDArray[np.bool_]
    kind: NDArray[np.int8]
    center: NDArray[np.int64]
    gc_score: NDArray[np.float64]
    site: NDArray[np.int64]
    reverse: NDArray[np.bool_]
    functional: NDArray[np.bool_]
    score: NDArray[np.float64]
    blacklist: Spans

    def locate(self, flat: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Turn flat coordinates into indices of chromosomes and 0-based positions."""
        chrom = np.searchsorted(self.offsets, flat, side="right") - 1
        return chrom, flat - self.offsets[chrom]

    def active(self, plan: Plan) -> NDArray[np.bool_]:
        """Say where each target binds in each biosample: a functional site in an open element.

        Returns
        -------
        Shape ``(locus, target, biosample)``.
        """
        bound = self.functional[:, plan.columns("target", "histone")]
        opened = self.functional[:, plan.columns("biosample")]
        return bound[:, :, np.newaxis] & opened[:, np.newaxis, :]


def draw_landscape(plan: Plan, settings: SimulationSettings, rng: np.random.Generator) -> Landscape:
    """Draw a genome and plant its loci."""
    offsets = np.concatenate([[0], np.cumsum(settings.chrom_sizes)]).astype(np.int64)
    bases = _draw_background(settings.chrom_sizes, rng)
    unknown_spans, blacklist = _draw_gaps(offsets, rng)
    unknown = np.zeros(len(bases), np.bool_)
    for start, end in zip(unknown_spans.start, unknown_spans.end, strict=True):
        unknown[start:end] = True

    kind, center = _draw_loci(offsets, plan, settings, rng)
    clear = _clear_of(center, unknown_spans) & _clear_of(center, blacklist)
    kind, center = kind[clear], center[clear]
    present = _draw_presence(kind, plan, rng)
    site, reverse = _lay_out(center, present, plan, rng)

    functional = site >= 0
    score = np.full(site.shape, np.nan)
    for column, feature in enumerate(plan.features):
        rows = np.flatnonzero(functional[:, column])
        instances = feature.motif.draw(len(rows), rng)
        if feature.factor == "target":
            decoy = rng.random(len(rows)) < _P_DECOY
            instances[decoy] = feature.motif.spoil(instances[decoy], rng)
            functional[rows[decoy], column] = False
        score[rows, column] = feature.motif.score(instances)
        written = np.where(
            reverse[rows, column, np.newaxis], reverse_complement_bases(instances), instances
        ).astype(np.uint8)
        bases[site[rows, column, np.newaxis] + np.arange(len(feature.motif))] = written

    gc = local_gc(bases, unknown, offsets, center, GC_SPAN)
    gc_score = (gc - gc.mean()) / gc.std()
    return Landscape(
        settings.chroms, offsets, bases, unknown, kind, center, gc_score, site, reverse, functional, score,
        blacklist,
    )  # fmt: skip


def local_gc(
    bases: NDArray[np.uint8],
    unknown: NDArray[np.bool_],
    offsets: NDArray[np.int64],
    center: NDArray[np.int64],
    span: int,
) -> NDArray[np.float64]:
    """Measure the share of G and C among the known bases around each place, within its chromosome.

    Parameters
    ----------
    bases, unknown, offsets
        As in `Landscape`.
    center
        Flat coordinates, shape ``(place,)``.
    span
        Bases to count, in bp.

    Returns
    -------
    Shape ``(place,)``; NaN where no base is known.
    """
    gc = np.concatenate([[0], np.cumsum(((bases == 1) | (bases == 2)) & ~unknown, dtype=np.int32)])
    known = np.concatenate([[0], np.cumsum(~unknown, dtype=np.int32)])
    chrom = np.searchsorted(offsets, center, side="right") - 1
    low = np.maximum(center - span // 2, offsets[chrom])
    high = np.minimum(center - span // 2 + span, offsets[chrom + 1])
    n_known = (known[high] - known[low]).astype(np.float64)
    share = np.full(len(center), np.nan)
    np.divide(gc[high] - gc[low], n_known, out=share, where=n_known > 0)
    return share


def _draw_background(sizes: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw bases whose GC wanders smoothly along each chromosome, as in isochores."""
    parts = []
    for size in sizes:
        n_knots = size // _GC_KNOT + 2
        level = np.empty(n_knots)
        level[0] = rng.normal()
        steps = rng.normal(0.0, np.sqrt(1.0 - _GC_MEMORY**2), n_knots)
        for knot in range(1, n_knots):
            level[knot] = _GC_MEMORY * level[knot - 1] + steps[knot]
        share = np.clip(_GC_MEAN + _GC_SPREAD * level, 0.25, 0.65)
        along = np.interp(np.arange(size), np.arange(n_knots) * _GC_KNOT, share).astype(np.float32)
        is_gc = rng.random(size, np.float32) < along
        second = rng.integers(0, 2, size, dtype=np.uint8)
        # of A, C, G, T the middle two are C and G
        parts.append(np.where(is_gc, 1 + second, 3 * second).astype(np.uint8))
    return np.concatenate(parts)


def _draw_gaps(offsets: NDArray[np.int64], rng: np.random.Generator) -> tuple[Spans, Spans]:
    """Draw the runs of N and the blacklisted regions, two of each a million bases and one at least."""
    runs: tuple[list[int], list[int]] = ([], [])
    listed: tuple[list[int], list[int]] = ([], [])
    for number in range(len(offsets) - 1):
        first, last = int(offsets[number]), int(offsets[number + 1])
        # the last chromosome begins and ends with known bases, so that windows reach over its ends
        if number < len(offsets) - 2:
            for start, end in ((first, first + 5_000), (last - 5_000, last)):
                runs[0].append(start)
                runs[1].append(end)
        n_more = max(1, round(2e-6 * (last - first)))
        # one in each stretch of equal length: runs in its first half, blacklisted regions in its second
        stretch = (last - first - 20_000) // (2 * n_more)
        for place in range(n_more):
            low = first + 10_000 + 2 * place * stretch
            for spans, begin, widths in ((runs, low, (300, 2_000)), (listed, low + stretch, (1_500, 5_000))):
                width = int(rng.integers(*widths))
                start = begin + int(rng.integers(max(1, stretch - width)))
                spans[0].append(start)
                spans[1].append(start + width)
    return _spans(runs), _spans(listed)


def _spans(bounds: tuple[list[int], list[int]]) -> Spans:
    start, end = (np.array(part, np.int64) for part in bounds)
    order = np.argsort(start)
    return Spans(start[order], end[order])


def _clear_of(center: NDArray[np.int64], spans: Spans) -> NDArray[np.bool_]:
    """Find the places that keep their distance from every span, shape ``(place,)``."""
    opened = np.searchsorted(spans.start - _CLEARANCE, center, side="right")
    closed = np.searchsorted(spans.end + _CLEARANCE, center, side="right")
    return np.asarray(opened == closed, np.bool_)


def _draw_loci(
    offsets: NDArray[np.int64], plan: Plan, settings: SimulationSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Scatter the loci over each chromosome, at random but for the least spacing."""
    per_mb = np.array(
        [
            settings.elements_per_mb,
            _ARTEFACTS_OF_A_LAB * len(plan.columns("lab", "assay")),
            _DRIFT,
            _BACKGROUND,
        ],
        np.float64,
    )
    kinds, centers = [], []
    for first, last in pairwise(offsets.tolist()):
        room = last - first - 2 * _MARGIN
        counts = np.rint(per_mb * 1e-6 * (last - first)).astype(np.int64)
        # with more loci than fit loosely, all kinds are thinned alike
        counts = np.floor(counts * min(1.0, 0.8 * room / MIN_SPACING / counts.sum())).astype(np.int64)
        n_loci = int(counts.sum())
        free = np.sort(rng.integers(0, room - n_loci * MIN_SPACING, n_loci))
        centers.append(first + _MARGIN + free + np.arange(n_loci) * MIN_SPACING)
        kinds.append(rng.permutation(np.repeat(np.arange(len(per_mb), dtype=np.int8), counts)))
    return np.concatenate(kinds), np.concatenate(centers).astype(np.int64)


def _draw_presence(kind: NDArray[np.int8], plan: Plan, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw which motifs each locus holds, shape ``(locus, feature)``."""
    targets = plan.columns("target", "histone")
    probability = np.zeros((len(LOCUS_KINDS), len(plan.features)))
    element = LOCUS_KINDS.index("element")
    probability[element, targets] = min(0.6, _TARGETS_OF_AN_ELEMENT / len(targets))
    probability[element, plan.columns("biosample")] = _P_OPEN
    probability[element, plan.columns("lab", "assay")] = _P_LAB
    probability[element, plan.columns("drift")] = _P_DRIFT
    probability[LOCUS_KINDS.index("drift"), plan.columns("drift")] = 1.0
    present = rng.random((len(kind), len(plan.features))) < probability[kind]
    artefacts = np.flatnonzero(kind == LOCUS_KINDS.index("artefact"))
    present[artefacts, rng.choice(np.array(plan.columns("lab", "assay")), len(artefacts))] = True
    return present


def _lay_out(
    center: NDArray[np.int64], present: NDArray[np.bool_], plan: Plan, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give each motif of a locus a slot of its own, and a strand; what finds no slot is not planted.

    A motif that is alone stands in the middle.
    """
    slots = rng.permuted(np.tile(np.arange(_N_SLOTS), (len(center), 1)), axis=1)
    rank = np.cumsum(present, axis=1) - 1
    fits = present & (rank < _N_SLOTS)
    slot = np.take_along_axis(slots, np.clip(rank, 0, _N_SLOTS - 1), axis=1)
    alone = present.sum(axis=1, keepdims=True) == 1
    slot = np.where(alone, _N_SLOTS // 2, slot)
    slack = np.array([_SLOT - len(feature.motif) for feature in plan.features])
    jitter = rng.integers(0, slack + 1, present.shape)
    site = center[:, np.newaxis] - ELEMENT_SPAN // 2 + slot * _SLOT + jitter
    return np.where(fits, site, -1), rng.random(present.shape) < 0.5
