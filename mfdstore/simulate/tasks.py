"""Questions with known answers: variants that make or break planted sites, and enhancers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mfdstore.dinucleotides import BASES
from mfdstore.simulate.landscape import ELEMENT_SPAN, Landscape
from mfdstore.simulate.plan import Plan

Effect = Literal["break", "make", "technical", "neutral"]

_PER_MB: Final[dict[str, float]] = {"break": 40.0, "make": 15.0, "technical": 20.0}
_ENHANCERS_PER_MB: Final = 80.0
_ENHANCER_WIDTH: Final = (150, 300)
_N_ALLELES: Final = 2000
# mean of the alternative allele's frequency: what changes a site is selected against
_MEAN_FREQUENCY: Final[dict[str, float]] = {"break": 0.02, "make": 0.05, "technical": 0.15, "neutral": 0.15}


@dataclass(frozen=True)
class Variant:
    """A single-base variant and what it does.

    Parameters
    ----------
    flat
        Flat coordinate of the base.
    reference, alternative
        Indices of the bases.
    effect
        It breaks or makes a biological site, breaks a technical one, or does nothing.
    feature
        Index of the feature whose site it changes; -1 of a neutral variant.
    delta
        Alternative minus reference score of the site in bits; 0 of a neutral variant.
    count
        Alternative alleles among 2000.
    """

    flat: int
    reference: int
    alternative: int
    effect: Effect
    feature: int
    delta: float
    count: int


@dataclass(frozen=True)
class Enhancers:
    """Labelled intervals in flat coordinates, shape ``(enhancer,)``, sorted."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    label: NDArray[np.bool_]


def draw_variants(landscape: Landscape, plan: Plan, rng: np.random.Generator) -> list[Variant]:
    """Draw variants in core bases of planted sites, and a matched neutral one for each.

    ``break`` hits a functional site of a target in an element that some biosample opens, ``make`` mends a
    decoy there, ``technical`` hits a lab's sequence. The neutral partner lies within the same locus outside
    all sites and changes the same base to the same other one; where there is none, the variant is left out.

    Returns
    -------
    Sorted by coordinate, no two at one base.
    """
    has = landscape.site >= 0
    targets = plan.columns("target", "histone")
    opened = landscape.functional[:, plan.columns("biosample")].any(axis=1, keepdims=True)
    at_target = np.zeros_like(has)
    at_target[:, targets] = has[:, targets] & opened
    at_lab = np.zeros_like(has)
    at_lab[:, plan.columns("lab")] = has[:, plan.columns("lab")]
    places: dict[Effect, NDArray[np.bool_]] = {
        "break": at_target & landscape.functional,
        "make": at_target & ~landscape.functional,
        "technical": at_lab,
    }
    taken: set[int] = set()
    variants: list[Variant] = []
    for effect, where in places.items():
        sites = np.argwhere(where)
        n_wanted = round(_PER_MB[effect] * 1e-6 * len(landscape.bases))
        for locus, column in rng.permutation(sites)[:n_wanted].tolist():
            variant = _site_variant(landscape, plan, locus, column, effect, rng)
            flat = _neutral_place(landscape, plan, locus, variant, taken, rng)
            if flat is None:
                continue
            neutral = Variant(
                flat, variant.reference, variant.alternative, "neutral", -1, 0.0, _draw_count("neutral", rng)
            )
            taken |= {variant.flat, flat}
            variants += [variant, neutral]
    return sorted(variants, key=lambda variant: variant.flat)


def _site_variant(
    landscape: Landscape, plan: Plan, locus: int, column: int, effect: Effect, rng: np.random.Generator
) -> Variant:
    """Change a core base of one site: to another than the consensus, or back to it."""
    motif = plan.features[column].motif
    first = int(landscape.site[locus, column])
    reverse = bool(landscape.reverse[locus, column])
    letters = landscape.bases[first : first + len(motif)]
    along = (3 - letters[::-1]) if reverse else letters
    if effect == "make":
        place = int(np.flatnonzero(motif.core & (along != motif.consensus))[0])
        base = int(motif.consensus[place])
    else:
        place = int(rng.choice(np.flatnonzero(motif.core)))
        base = (int(along[place]) + int(rng.integers(1, 4))) % 4
    odds = motif.log_odds[place]
    delta = float(odds[base] - odds[int(along[place])])
    offset = len(motif) - 1 - place if reverse else place
    return Variant(
        flat=first + offset,
        reference=int(letters[offset]),
        alternative=3 - base if reverse else base,
        effect=effect,
        feature=column,
        delta=delta,
        count=_draw_count(effect, rng),
    )


def _neutral_place(
    landscape: Landscape,
    plan: Plan,
    locus: int,
    variant: Variant,
    taken: set[int],
    rng: np.random.Generator,
) -> int | None:
    """Find a base like the variant's in the same locus, outside all sites; `None` if there is none."""
    low = int(landscape.center[locus]) - ELEMENT_SPAN // 2
    free = landscape.bases[low : low + ELEMENT_SPAN] == variant.reference
    free &= ~landscape.unknown[low : low + ELEMENT_SPAN]
    for column, feature in enumerate(plan.features):
        first = int(landscape.site[locus, column]) - low
        if first + low >= 0:
            free[first : first + len(feature.motif)] = False
    choices = [low + int(offset) for offset in np.flatnonzero(free) if low + int(offset) not in taken]
    return int(rng.choice(choices)) if choices else None


def _draw_count(effect: Effect, rng: np.random.Generator) -> int:
    mean = _MEAN_FREQUENCY[effect]
    return max(1, int(rng.binomial(_N_ALLELES, rng.beta(0.5, 0.5 * (1.0 - mean) / mean))))


def format_vcf(variants: Sequence[Variant], landscape: Landscape, plan: Plan) -> str:
    """Write variants as VCF 4.2 with their truth in INFO."""
    lines = [
        "##fileformat=VCFv4.2",
        "##reference=simulated",
        *(
            f"##contig=<ID={chrom},length={size}>"
            for chrom, size in zip(landscape.chroms, np.diff(landscape.offsets).tolist(), strict=True)
        ),
        '##INFO=<ID=AC,Number=A,Type=Integer,Description="Allele count">',
        '##INFO=<ID=AN,Number=1,Type=Integer,Description="Allele number">',
        '##INFO=<ID=AF,Number=A,Type=Float,Description="Allele frequency">',
        '##INFO=<ID=EFFECT,Number=1,Type=String,Description="break or make of a biological site, technical '
        "(break of a lab's sequence), or neutral\">",
        '##INFO=<ID=MOTIF,Number=1,Type=String,Description="Motif whose site is changed">',
        '##INFO=<ID=DELTA,Number=1,Type=Float,Description="Alternative minus reference motif score, bits">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
    ]
    chroms, positions = landscape.locate(np.array([variant.flat for variant in variants], np.int64))
    for number, (variant, chrom, position) in enumerate(
        zip(variants, chroms.tolist(), positions.tolist(), strict=True), start=1
    ):
        info = (
            f"AC={variant.count};AN={_N_ALLELES};AF={variant.count / _N_ALLELES:.6f};EFFECT={variant.effect}"
        )
        if variant.feature >= 0:
            info += f";MOTIF={plan.features[variant.feature].motif.name};DELTA={variant.delta:.4f}"
        lines.append(
            f"{landscape.chroms[chrom]}\t{position + 1}\tsim{number}\t{BASES[variant.reference]}\t"
            f"{BASES[variant.alternative]}\t.\tPASS\t{info}"
        )
    return "\n".join(lines) + "\n"


def draw_enhancers(landscape: Landscape, plan: Plan, rng: np.random.Generator) -> Enhancers:
    """Draw elements where some target binds, and as many places between loci of like GC and equal widths.

    Where a stretch of the genome has no gap wide enough to match, an enhancer goes without a counterpart.
    """
    binding = np.flatnonzero(landscape.active(plan).any(axis=(1, 2)))
    n_wanted = round(_ENHANCERS_PER_MB * 1e-6 * len(landscape.bases))
    positives = rng.permutation(binding)[:n_wanted]
    width = rng.integers(*_ENHANCER_WIDTH, len(positives))

    center = landscape.center
    between = (center[:-1] + center[1:]) // 2
    clear = np.diff(center) >= ELEMENT_SPAN + 2 * _ENHANCER_WIDTH[1]
    clear &= landscape.locate(center[:-1])[0] == landscape.locate(center[1:])[0]
    half = _ENHANCER_WIDTH[1] // 2
    clear &= np.array([not landscape.unknown[place - half : place + half].any() for place in between])
    # the GC of a gap is that of the loci on its two sides
    gaps, gap_gc = between[clear], (landscape.gc_score[:-1] + landscape.gc_score[1:])[clear] / 2.0
    order = np.argsort(gap_gc, kind="stable")
    gaps, gap_gc = gaps[order], gap_gc[order]
    free = np.ones(len(gaps), np.bool_)
    negatives, negative_width = [], []
    for locus, wide in zip(positives.tolist(), width.tolist(), strict=True):
        if not free.any():
            break
        left = np.flatnonzero(free)
        nearest = left[np.argmin(np.abs(gap_gc[left] - landscape.gc_score[locus]))]
        free[nearest] = False
        negatives.append(int(gaps[nearest]))
        negative_width.append(wide)

    middle = np.concatenate([center[positives], np.array(negatives, np.int64)])
    widths = np.concatenate([width, np.array(negative_width, np.int64)])
    label = np.arange(len(middle)) < len(positives)
    start = middle - widths // 2
    by_start = np.argsort(start, kind="stable")
    return Enhancers(start[by_start], (start + widths)[by_start], label[by_start])


def format_enhancers(enhancers: Enhancers, landscape: Landscape) -> str:
    """Write enhancers as a table: chrom, start, end, label."""
    chroms, starts = landscape.locate(enhancers.start)
    lines = ["chrom\tstart\tend\tlabel"]
    for chrom, start, width, label in zip(
        chroms.tolist(),
        starts.tolist(),
        (enhancers.end - enhancers.start).tolist(),
        enhancers.label.tolist(),
        strict=True,
    ):
        lines.append(f"{landscape.chroms[chrom]}\t{start}\t{start + width}\t{int(label)}")
    return "\n".join(lines) + "\n"
