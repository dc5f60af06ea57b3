"""What can be asked of a simulation, and the check that it can be done."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from mfdstore.errors import ConfigError

MIN_CHROM_SIZE: Final = 50_000
"""Below this a chromosome has no room for its blacklist, its unknown bases and enough sites, in bp."""

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "seed": (0, 2**63 - 1),
    "n_chroms": (1, 22),
    "chrom_size": (MIN_CHROM_SIZE, 250_000_000),
    "n_targets": (1, 20),
    "n_histone_targets": (0, 10),
    "n_biosamples": (1, 10),
    "n_labs": (1, 10),
    "n_campaigns": (1, 9),
    "n_replicates": (1, 10),
    "confounding": (0.0, 1.0),
    "year_confounding": (0.0, 1.0),
    "n_guest_labs": (0, 9),
    "labs_repeat": (False, True),
    "gc_bias": (0.0, 5.0),
    "kmer_bias": (0.0, 5.0),
    "drift_bias": (0.0, 5.0),
    "assay_kmer_bias": (0.0, 5.0),
    "dropout": (0.0, 0.9),
    "missing": (0.0, 0.5),
    "elements_per_mb": (10, 900),
}


LATER: Final = ("year_confounding", "n_guest_labs", "labs_repeat", "assay_kmer_bias")
"""Settings that came later: left out of the truth where they are 0, so that worlds without them keep their bytes."""

_MOST_LABS: Final = 10


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """How large a simulated world is and how strong its factors are; the defaults are sized for the demo.

    Parameters
    ----------
    seed
        All randomness comes from it: the same settings give the same bytes.
    n_chroms
        Chromosomes, named chr1, chr2, ...
    chrom_size
        Length of chr1 in bp; each further chromosome is 4 % shorter than the one before.
    n_targets
        Transcription factors, each with a motif and a ChIP-seq assay.
    n_histone_targets
        Histone marks: as transcription factors, but with broader peaks.
    n_biosamples
        Biosamples; each has an accessibility motif that opens the elements that hold it.
    n_labs
        Labs; each has a sequence that it calls peaks at for no biological reason.
    n_campaigns
        Years of release, from 2012 to 2020; the earlier, the more an experiment calls a certain repeat.
    n_replicates
        Labs that measure the same assay, target and biosample; not more than `n_labs`.
    confounding
        Probability that a measurement that could go to the biosample's home lab goes there.
    labs_repeat
        A lab may measure the same thing again: every replicate then goes to the home lab with that probability, and
        at 1 lab and biosample are one. Without, a lab measures it once, and at most one replicate can move.
    year_confounding
        Probability that an experiment is released in the year of its biosample rather than in any: biosamples
        then differ in age, and with it in the drift.
    n_guest_labs
        Labs beside the others, each with a sequence of its own, that measure everything once whatever the
        confounding: to be held out of a training, and predicted.
    gc_bias, kmer_bias, drift_bias
        Factors on the strengths of the technical biases: GC preference of the assays, sequence preference of
        the labs, and what older experiments call too much. 0 switches a bias off.
    assay_kmer_bias
        Factor on the strength of a sequence preference of DNase-seq and of ATAC-seq, as their enzymes have; 0 plants
        no such sequence.
    dropout
        Probability that a peak that should be called is not.
    missing
        Share of the experiments whose date, and whose lab, is left out of the metadata on purpose.
    elements_per_mb
        Regulatory elements planted in a million bases.

    Raises
    ------
    ConfigError
        If a value lies outside its range, or there are more replicates than labs, or more than ten labs in all.
    """

    seed: int = 0
    n_chroms: int = 6
    chrom_size: int = 1_700_000
    n_targets: int = 4
    n_histone_targets: int = 1
    n_biosamples: int = 3
    n_labs: int = 3
    n_campaigns: int = 2
    n_replicates: int = 2
    confounding: float = 0.25
    labs_repeat: bool = False
    year_confounding: float = 0.0
    n_guest_labs: int = 0
    gc_bias: float = 1.0
    kmer_bias: float = 1.0
    drift_bias: float = 1.0
    assay_kmer_bias: float = 0.0
    dropout: float = 0.08
    missing: float = 0.05
    elements_per_mb: float = 600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), _RANGES[field.name]
            if not low <= value <= high:
                raise ConfigError(
                    f"simulation setting {field.name}",
                    found=str(value),
                    expected=f"a number from {low} to {high}",
                    remedy="Choose a value in this range.",
                )
        if self.n_replicates > self.n_labs:
            raise ConfigError(
                "simulation setting n_replicates",
                found=f"{self.n_replicates} with {self.n_labs} labs",
                expected="at most one replicate a lab",
                remedy="Raise n_labs or lower n_replicates.",
            )
        if self.n_labs + self.n_guest_labs > _MOST_LABS:
            raise ConfigError(
                "simulation setting n_guest_labs",
                found=f"{self.n_guest_labs} beside {self.n_labs} labs",
                expected=f"at most {_MOST_LABS} labs in all",
                remedy="Lower n_guest_labs or n_labs.",
            )
        if self.chrom_sizes[-1] < MIN_CHROM_SIZE:
            raise ConfigError(
                "simulation setting chrom_size",
                found=f"a last chromosome of {self.chrom_sizes[-1]} bp",
                expected=f"at least {MIN_CHROM_SIZE} bp in every chromosome",
                remedy="Raise chrom_size or lower n_chroms.",
            )

    @property
    def chroms(self) -> tuple[str, ...]:
        """Names of the chromosomes, in the order of the FASTA file."""
        return tuple(f"chr{number}" for number in range(1, self.n_chroms + 1))

    @property
    def chrom_sizes(self) -> tuple[int, ...]:
        """Lengths of the chromosomes in bp, decreasing, so that a mix-up of two of them shows."""
        return tuple(int(self.chrom_size * 0.96**number) for number in range(self.n_chroms))
