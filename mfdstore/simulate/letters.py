"""A simulated genome as the letters of a FASTA file: any case, runs of N, a few IUPAC codes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.simulate.landscape import ELEMENT_SPAN, Landscape

LINE_WIDTH: Final = 60
_AMBIGUOUS_PER_MB: Final = 6.0
_MASKED_SHARE: Final = 0.35
_MASKED_WIDTH: Final = 300.0
_LOWER: Final = 32
# each stands for a set of bases that holds the base it replaces: A, C, G, T
_AMBIGUOUS: Final = np.frombuffer(b"RYSK", np.uint8)


def draw_letters(landscape: Landscape, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Spell the genome out: soft-masked stretches in lower case, N where unknown, rare ambiguous codes.

    Ambiguous codes keep away from all loci, so that no planted site is spoilt.

    Returns
    -------
    ASCII, shape ``(base,)``, chromosomes end to end.
    """
    n_bases = len(landscape.bases)
    letters = np.frombuffer(b"ACGT", np.uint8)[landscape.bases]

    places = rng.integers(0, n_bases, max(3, round(_AMBIGUOUS_PER_MB * 1e-6 * n_bases)))
    after = np.clip(np.searchsorted(landscape.center, places), 1, len(landscape.center) - 1)
    distance = np.minimum(
        np.abs(places - landscape.center[after - 1]), np.abs(places - landscape.center[after])
    )
    places = places[distance > ELEMENT_SPAN]
    letters[places] = _AMBIGUOUS[landscape.bases[places]]
    letters[landscape.unknown] = ord("N")

    n_masked = round(_MASKED_SHARE * n_bases / _MASKED_WIDTH)
    start = rng.integers(0, n_bases, n_masked)
    end = np.minimum(start + rng.geometric(1.0 / _MASKED_WIDTH, n_masked), n_bases)
    depth = np.zeros(n_bases + 1, np.int32)
    np.add.at(depth, start, 1)
    np.add.at(depth, end, -1)
    masked = (np.cumsum(depth[:-1]) > 0) & ~landscape.unknown
    letters[masked] += _LOWER
    return letters


def format_record(chrom: str, letters: NDArray[np.uint8]) -> bytes:
    """Write one chromosome as a FASTA record of lines of 60 letters."""
    n_full = len(letters) // LINE_WIDTH
    lines = np.full((n_full, LINE_WIDTH + 1), ord("\n"), np.uint8)
    lines[:, :LINE_WIDTH] = letters[: n_full * LINE_WIDTH].reshape(n_full, LINE_WIDTH)
    rest = letters[n_full * LINE_WIDTH :].tobytes()
    return f">{chrom}\n".encode() + lines.tobytes() + (rest + b"\n" if rest else b"")
