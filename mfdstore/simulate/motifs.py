"""Motifs: probability matrices with a core, instances drawn from them, and their scores.

A motif has core positions, where nearly always the consensus base stands, and others that are looser. Scores
are log2 odds against equal base frequencies, summed over positions (bits). A site is functional if its score
lies at most `SLACK` bits below the best possible: one loose base may differ, none of the core may. That makes
"one base decides" a plain rule, which the variants rely on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.dinucleotides import BASES

CORE_PROBABILITY: Final = 0.99
LOOSE_PROBABILITY: Final = 0.90
SLACK: Final = 6.0
"""Bits that a functional site may lack: more than a loose mismatch costs (4.75), less than a core one (8.21)."""
_MAX_SIMILARITY: Final = 0.7
_MIN_OVERLAP: Final = 7


@dataclass(frozen=True)
class Motif:
    """A probability matrix with a name.

    Parameters
    ----------
    name
        As written to the motif file.
    consensus
        Index of the likeliest base (A, C, G, T: 0 to 3), uint8, shape ``(motif_position,)``.
    core
        True where only the consensus base is functional, shape ``(motif_position,)``.
    """

    name: str
    consensus: NDArray[np.uint8]
    core: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.consensus)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probability of each base, shape ``(motif_position, base)``."""
        top = np.where(self.core, CORE_PROBABILITY, LOOSE_PROBABILITY)[:, np.newaxis]
        matrix = np.repeat((1.0 - top) / 3.0, 4, axis=1)
        np.put_along_axis(matrix, self.consensus[:, np.newaxis].astype(np.int64), top, axis=1)
        return matrix

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """Score of each base in bits, shape ``(motif_position, base)``."""
        return np.log2(self.probabilities / 0.25)

    @property
    def threshold(self) -> float:
        """Score in bits from which a site is functional."""
        return float(self.log_odds.max(axis=1).sum()) - SLACK

    def score(self, instances: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Score instances that read along the motif.

        Parameters
        ----------
        instances
            Base indices, shape ``(site, motif_position)``.

        Returns
        -------
        Log2 odds in bits, shape ``(site,)``.
        """
        by_position = self.log_odds[np.arange(len(self)), instances]
        return np.asarray(by_position.sum(axis=1), np.float64)

    def draw(self, n_sites: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw functional instances from the matrix.

        Returns
        -------
        Base indices, shape ``(site, motif_position)``; every score reaches `threshold`.
        """
        cumulative = np.cumsum(self.probabilities, axis=1)
        cumulative[:, -1] = 1.0
        instances = np.empty((n_sites, len(self)), np.uint8)
        wanted = np.arange(n_sites)
        while wanted.size:
            draws = rng.random((wanted.size, len(self), 1))
            instances[wanted] = (draws > cumulative[np.newaxis]).sum(axis=2)
            wanted = wanted[self.score(instances[wanted]) < self.threshold]
        return instances

    def spoil(self, instances: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Change one core base of each instance, so that none is functional.

        Returns
        -------
        Base indices, shape ``(site, motif_position)``, a copy.
        """
        spoilt = instances.copy()
        rows = np.arange(len(instances))
        places = rng.choice(np.flatnonzero(self.core), len(instances))
        shift = rng.integers(1, 4, len(instances), dtype=np.uint8)
        spoilt[rows, places] = (spoilt[rows, places] + shift) % 4
        return spoilt


def reverse_complement_bases(instances: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read base indices from the other strand, shape ``(..., motif_position)``."""
    return (3 - instances[..., ::-1]).astype(np.uint8)


def draw_motif(
    name: str,
    width: int,
    others: Sequence[Motif],
    *,
    rng: np.random.Generator,
    only_at: bool = False,
) -> Motif:
    """Draw a motif that resembles none of the others, on either strand, at any shift.

    Parameters
    ----------
    name
        Of the motif.
    width
        Positions; every second one belongs to the core.
    others
        Motifs to keep away from.
    rng
        Source of the draws.
    only_at
        Draw a consensus of A and T only (a repeat); else G and C make up 40 to 60 %.
    """
    core = np.arange(width) % 2 == 0
    while True:
        if only_at:
            consensus = rng.choice(np.array([0, 3], np.uint8), width)
            balanced = 0.25 <= float((consensus == 0).mean()) <= 0.75
        else:
            consensus = rng.integers(0, 4, width, dtype=np.uint8)
            balanced = 0.4 <= float(np.isin(consensus, (1, 2)).mean()) <= 0.6
        alone = similarity(consensus, reverse_complement_bases(consensus)) <= _MAX_SIMILARITY
        if balanced and alone and all(_distinct(consensus, other.consensus) for other in others):
            return Motif(name, consensus, core)


def _distinct(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    return all(
        similarity(first, strand) <= _MAX_SIMILARITY for strand in (second, reverse_complement_bases(second))
    )


def similarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Measure the largest share of equal bases over all shifts that overlap by at least 7 positions."""
    best = 0.0
    for shift in range(_MIN_OVERLAP - len(second), len(first) - _MIN_OVERLAP + 1):
        low, high = max(0, shift), min(len(first), shift + len(second))
        best = max(best, float((first[low:high] == second[low - shift : high - shift]).mean()))
    return best


def format_meme(motifs: Sequence[Motif]) -> str:
    """Write motifs in the MEME suite's minimal text format, version 4."""
    lines = [
        "MEME version 4",
        "",
        "ALPHABET= ACGT",
        "",
        "strands: + -",
        "",
        "Background letter frequencies",
        " ".join(f"{base} 0.25" for base in BASES),
        "",
    ]
    for motif in motifs:
        lines += [
            f"MOTIF {motif.name}",
            f"letter-probability matrix: alength= 4 w= {len(motif)} nsites= 1000",
        ]
        lines += [" ".join(f"{value:.6f}" for value in row) for row in motif.probabilities]
        lines += [""]
    return "\n".join(lines)
