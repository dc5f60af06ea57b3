"""Bases to stride-1 dinucleotide codes, and their reverse complement.

A position is the pair of bases (i, i + 1). Codes 0 to 15 are AA, AC, AG, AT, CA, ... TT; code 16 is blank, a
pair that touches anything but A, C, G or T. So n positions need n + 1 bases (paper, section 2; method.md 1).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BASES: Final = "ACGT"
DINUCLEOTIDES: Final = tuple(first + second for first in BASES for second in BASES)
N_CODES: Final = len(DINUCLEOTIDES)
BLANK: Final = 16

# index of each base for `bytes.translate`; with 16 for an unknown one, 4 i + j is below 16 just where both are known
_UNKNOWN: Final = 16
_BASE_INDEX: Final = bytes(
    BASES.index(chr(letter).upper()) if chr(letter).upper() in BASES and chr(letter).isascii() else _UNKNOWN
    for letter in range(256)
)

REVERSE_COMPLEMENT: Final = np.array(
    [4 * (3 - code % 4) + (3 - code // 4) for code in range(N_CODES)] + [BLANK], np.uint8
)
"""Code of the reverse complement of each code: AC (1) becomes GT (11); blank stays blank."""


def encode_bases(bases: bytes | bytearray | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode bases as dinucleotide codes; any case, every letter but ACGT is unknown.

    Parameters
    ----------
    bases
        ASCII letters of one stretch of sequence, n + 1 of them.

    Returns
    -------
    Codes, shape ``(position,)`` with n positions; empty where there are fewer than two bases.

    Examples
    --------
    >>> encode_bases(b"ACgTN").tolist()
    [1, 6, 11, 16]
    """
    letters = bases.tobytes() if isinstance(bases, np.ndarray) else bases
    index = np.frombuffer(letters.translate(_BASE_INDEX), np.uint8)
    if index.size < 2:
        return np.empty(0, np.uint8)
    codes = index[:-1] << np.uint8(2)
    codes += index[1:]
    np.minimum(codes, np.uint8(BLANK), out=codes)
    return codes


def encode_chromosome(bases: bytes | bytearray | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode a whole chromosome: one code a base, the last one blank for want of a next base.

    Returns
    -------
    Codes, shape ``(position,)``, as long as the chromosome in bp.
    """
    codes = np.full(len(bases), BLANK, np.uint8)
    if len(bases) > 1:
        codes[:-1] = encode_bases(bases)
    return codes


def find_blank(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find the runs of blank positions: their first positions and those behind them, shape ``(2, run)``."""
    blank = codes == BLANK
    if np.count_nonzero(blank) < len(codes) >> 6:  # few, as nearly everywhere in a genome
        places = np.flatnonzero(blank)
        ends = np.flatnonzero(np.diff(places) > 1)
        return np.stack([places[[0, *(ends + 1)]], places[[*ends, -1]] + 1]) if len(places) else _NO_RUNS
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    begin = [0] if blank[:1].any() else []
    end = [len(blank)] if blank[-1:].any() else []
    return np.concatenate([begin, edges, end]).astype(np.int64).reshape(-1, 2).T


_NO_RUNS: Final = np.empty((2, 0), np.int64)


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read codes from the other strand: positions reversed, each code that of its reverse complement.

    Parameters
    ----------
    codes
        Shape ``(..., position)``.

    Returns
    -------
    A new array of the same shape.
    """
    return np.asarray(REVERSE_COMPLEMENT[codes[..., ::-1]])


def one_hot(codes: NDArray[np.uint8], dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
    """Expand codes to channels; a blank is all zero.

    Parameters
    ----------
    codes
        Shape ``(..., position)``.
    dtype
        Of the result.

    Returns
    -------
    Shape ``(..., dinucleotide, position)``, 16 channels in the order of `DINUCLEOTIDES`.
    """
    table = np.zeros((N_CODES + 1, N_CODES), dtype)
    table[:N_CODES] = np.eye(N_CODES, dtype=dtype)
    return np.moveaxis(table[codes], -1, -2)
