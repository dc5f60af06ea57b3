"""The plan of a simulated world: its factors, their motifs, and which experiments were done where and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import Final, Literal

import numpy as np

from mfdstore.schema import Role
from mfdstore.simulate.motifs import Motif, draw_motif
from mfdstore.simulate.settings import SimulationSettings

FeatureKind = Literal["target", "histone", "biosample", "lab", "drift", "assay"]

TF_ASSAY: Final = "TF ChIP-seq"
HISTONE_ASSAY: Final = "Histone ChIP-seq"
ACCESSIBLE_ASSAYS: Final = ("DNase-seq", "ATAC-seq")

# preference for GC in logits per standard deviation of GC; the two accessibility assays pull opposite ways
_GC_STRENGTH: Final = {TF_ASSAY: 0.6, HISTONE_ASSAY: -0.6, "DNase-seq": 1.6, "ATAC-seq": -1.6}
_KMER_STRENGTH: Final = 5.5
_DRIFT_STRENGTH: Final = 5.5
_QUALITY_SPREAD: Final = 0.3
_FIRST_YEAR: Final = 2012
_LAST_YEAR: Final = 2020
_MOTIF_WIDTH: Final[dict[FeatureKind, int]] = {
    "target": 18,
    "histone": 18,
    "biosample": 16,
    "lab": 16,
    "drift": 18,
    "assay": 12,
}
_TISSUES: Final = (
    ("liver", "tissue", "adult", "53 years"),
    ("heart", "tissue", "embryonic", "15 weeks"),
    ("lymphoblast", "cell line", "adult", "31 years"),
    ("lung", "tissue", "child", "4 years"),
    ("keratinocyte", "primary cell", "newborn", ""),
    ("spleen", "tissue", "adult", "37 years"),
    ("myoblast", "cell line", "adult", "22 years"),
    ("stomach", "tissue", "embryonic", "98 days"),
    ("monocyte", "primary cell", "adult", "40 years"),
    ("kidney", "tissue", "child", "15 years"),
)
_LABS: Final = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper")


@dataclass(frozen=True)
class Biosample:
    """A biosample as the portal describes it; an empty age is not known."""

    name: str
    term_id: str
    type: str
    life_stage: str
    age: str


@dataclass(frozen=True)
class Feature:
    """Something that is planted in the sequence: the motif by which one factor's value acts.

    Parameters
    ----------
    kind
        Which factor it belongs to.
    name
        Value of the factor: a target, a biosample, a lab, an assay, or ``older`` of the drift.
    motif
        By which it is recognised.
    """

    kind: FeatureKind
    name: str
    motif: Motif

    @property
    def role(self) -> Role:
        """Whether it is biology or technique."""
        return "technical" if self.kind in ("lab", "drift", "assay") else "biological"

    @property
    def factor(self) -> str:
        """Metadata factor that it belongs to, in the house's words."""
        return {"histone": "target", "drift": "year"}.get(self.kind, self.kind)


@dataclass(frozen=True)
class Experiment:
    """One peak file to be: who measured what, and how strongly each bias acts on it.

    Parameters
    ----------
    file, accession
        Accessions of the peak file and of its experiment.
    assay, target, biosample, lab
        Values of its factors; the target is empty for accessibility assays.
    replicate
        Number of this measurement among those of the same assay, target and biosample, from 1.
    released
        Date of release.
    gc_strength
        Logits per standard deviation of local GC.
    kmer_strength, drift_strength, assay_kmer_strength
        Logits added where the lab's sequence, that of the drift, or the assay's stands.
    quality
        Logits added where its biology is active.
    lacks_date, lacks_report
        Left out of the metadata on purpose: the date; the row of the report, and with it lab and life stage.
    """

    file: str
    accession: str
    assay: str
    target: str
    biosample: str
    lab: str
    replicate: int
    released: date
    gc_strength: float
    kmer_strength: float
    drift_strength: float
    quality: float
    lacks_date: bool
    lacks_report: bool
    assay_kmer_strength: float = 0.0


@dataclass(frozen=True)
class Plan:
    """All factors and all experiments of a simulated world."""

    biosamples: tuple[Biosample, ...]
    labs: tuple[str, ...]
    features: tuple[Feature, ...]
    experiments: tuple[Experiment, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets: transcription factors, then histone marks."""
        return tuple(feature.name for feature in self.features if feature.factor == "target")

    def columns(self, *kinds: FeatureKind) -> list[int]:
        """List the indices of the features of these kinds."""
        return [index for index, feature in enumerate(self.features) if feature.kind in kinds]

    def column(self, factor: str, name: str) -> int:
        """Find the index of the feature of one factor's value."""
        for index, feature in enumerate(self.features):
            if (feature.factor, feature.name) == (factor, name):
                return index
        raise KeyError((factor, name))


def draw_plan(settings: SimulationSettings, rng: np.random.Generator) -> Plan:
    """Draw the motifs and lay out the experiments.

    Every assay, target and biosample is measured by `n_replicates` different labs, which rotate; the years of
    release are spread over each target's labs as evenly as can be. So lab and year together say next to
    nothing of target and biosample, until `confounding` moves measurements to the biosample's home lab, and
    `year_confounding` to its year. Guest labs measure everything beside them.
    """
    biosamples = tuple(
        Biosample(f"simulated {name}", f"SIM:{number:07d}", kind, life_stage, age)
        for number, (name, kind, life_stage, age) in enumerate(_TISSUES[: settings.n_biosamples], start=1)
    )
    labs = tuple(f"{name}, Simulated University" for name in _LABS[: settings.n_labs + settings.n_guest_labs])
    features = _draw_features(settings, biosamples, labs, rng)
    measured = [(TF_ASSAY, feature.name) for feature in features if feature.kind == "target"]
    measured += [(HISTONE_ASSAY, feature.name) for feature in features if feature.kind == "histone"]
    measured += [(assay, "") for assay in ACCESSIBLE_ASSAYS]

    n_experiments = len(measured) * settings.n_biosamples * (settings.n_replicates + settings.n_guest_labs)
    lacking = rng.permutation(n_experiments)
    n_lacking = int(np.ceil(settings.missing * n_experiments))
    experiments = []
    rows = list(_rotate_labs(len(measured), settings, rng))
    years = _spread_years(rows, settings, rng)
    for row, ((measurement, sample, replicate, lab), year) in enumerate(zip(rows, years, strict=True)):
        assay, target = measured[measurement]
        age = (_LAST_YEAR - year) / (_LAST_YEAR - _FIRST_YEAR)
        experiments.append(
            Experiment(
                file=f"SIMFF{row:03d}{_letters(row)}",
                accession=f"SIMSR{row:03d}{_letters(row + 7)}",
                assay=assay,
                target=target,
                biosample=biosamples[sample].name,
                lab=labs[lab],
                replicate=replicate + 1,
                released=date(year, 1, 1) + timedelta(days=int(rng.integers(365))),
                gc_strength=settings.gc_bias * _GC_STRENGTH[assay],
                kmer_strength=settings.kmer_bias * _KMER_STRENGTH,
                drift_strength=settings.drift_bias * _DRIFT_STRENGTH * age,
                quality=float(rng.normal(0.0, _QUALITY_SPREAD)),
                lacks_date=row in lacking[:n_lacking],
                lacks_report=row in lacking[n_lacking : 2 * n_lacking],
                assay_kmer_strength=settings.assay_kmer_bias * _KMER_STRENGTH * (assay in ACCESSIBLE_ASSAYS),
            )
        )
    return Plan(biosamples, labs, features, tuple(experiments))


def _draw_features(
    settings: SimulationSettings,
    biosamples: tuple[Biosample, ...],
    labs: tuple[str, ...],
    rng: np.random.Generator,
) -> tuple[Feature, ...]:
    named: list[tuple[FeatureKind, str]] = [
        *(("target", f"SIMTF{number}") for number in range(1, settings.n_targets + 1)),
        *(("histone", f"H3SIM{number}") for number in range(1, settings.n_histone_targets + 1)),
        *(("biosample", biosample.name) for biosample in biosamples),
        *(("lab", lab) for lab in labs),
        ("drift", "older"),
        *(("assay", assay) for assay in ACCESSIBLE_ASSAYS if settings.assay_kmer_bias),
    ]
    motifs: list[Motif] = []
    for kind, name in named:
        label = name.split(",")[0].replace(" ", "_")
        label = label if kind in ("target", "histone") else f"{kind}.{label}"
        motifs.append(draw_motif(label, _MOTIF_WIDTH[kind], motifs, rng=rng, only_at=kind == "drift"))
    return tuple(Feature(kind, name, motif) for (kind, name), motif in zip(named, motifs, strict=True))


def _rotate_labs(
    n_measured: int, settings: SimulationSettings, rng: np.random.Generator
) -> Iterator[tuple[int, int, int, int]]:
    """Yield measurement, biosample, replicate and lab of every experiment."""
    for measurement, sample in product(range(n_measured), range(settings.n_biosamples)):
        first = measurement + sample + measurement // settings.n_labs
        labs = [(first + replicate) % settings.n_labs for replicate in range(settings.n_replicates)]
        home = sample % settings.n_labs
        if settings.labs_repeat:
            labs = [home if rng.random() < settings.confounding else lab for lab in labs]
        # else a lab does not measure the same thing twice, so there is at most one place to give away
        elif home not in labs and rng.random() < settings.confounding:
            labs[int(rng.integers(len(labs)))] = home
        labs += range(settings.n_labs, settings.n_labs + settings.n_guest_labs)
        for replicate, lab in enumerate(labs):
            yield measurement, sample, replicate, lab


def _spread_years(
    rows: list[tuple[int, int, int, int]], settings: SimulationSettings, rng: np.random.Generator
) -> list[int]:
    """Give each experiment the year that its measurement's, then its biosample's, lab has had the least of."""
    choices = np.rint(np.linspace(_LAST_YEAR, _FIRST_YEAR, settings.n_campaigns)).astype(int).tolist()
    uses: Counter[tuple[str, int, int, int]] = Counter()
    years = []
    for measurement, sample, _, lab in rows:
        # guests are to be predicted: their years are spread as without confounding
        if settings.year_confounding and lab < settings.n_labs and rng.random() < settings.year_confounding:
            years.append(choices[sample % len(choices)])
            continue
        shuffled: list[int] = rng.permutation(choices).tolist()
        year = min(
            shuffled,
            key=lambda choice: (
                uses["measurement", measurement, lab, choice],
                uses["biosample", sample, lab, choice],
            ),
        )
        uses["measurement", measurement, lab, year] += 1
        uses["biosample", sample, lab, year] += 1
        years.append(year)
    return years


def _letters(number: int) -> str:
    """Write a number as three letters, as accessions have them."""
    scattered = (number * 7919 + 4242) % 26**3
    return "".join(chr(ord("A") + scattered // 26**power % 26) for power in (2, 1, 0))
