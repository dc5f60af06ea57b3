"""Bases to stride-1 dinucleotide codes, and their reverse complement.

A position is the pair of bases (i, i + 1). Codes 0 to 15 are AA, AC, AG, AT, CA, ... TT; code 16 is blank, a
pair that touches anything but A, C, G or T. So n positions need n + 1 bases (paper, section 2; method.md 1).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.compiled import compiled

BASES: Final = "ACGT"
DINUCLEOTIDES: Final = tuple(first + second for first in BASES for second in BASES)
N_CODES: Final = len(DINUCLEOTIDES)
BLANK: Final = 16

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
    codes = np.empty(max(0, len(bases) - 1), np.uint8)
    _encode(_as_array(bases), codes)
    return codes


@compiled
def _encode(letters: NDArray[np.uint8], codes: NDArray[np.uint8]) -> None:  # pragma: no cover - compiled
    """Fill in the code of each pair; without tables and branches, so that many are encoded at once."""
    for position in range(len(codes)):
        first, second = letters[position], letters[position + 1]
        # bit 5 tells lower case from upper
        one, two = first & 0xDF, second & 0xDF
        known = (one == 65) | (one == 67) | (one == 71) | (one == 84)  # A, C, G, T
        known &= (two == 65) | (two == 67) | (two == 71) | (two == 84)
        # bits 1 and 2 of the four letters give 0 to 3 in their order
        index = (((first >> 1) ^ (first >> 2)) & 3) << 2 | (((second >> 1) ^ (second >> 2)) & 3)
        codes[position] = index if known else 16


def encode_chromosome(bases: bytes | bytearray | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode a whole chromosome: one code a base, the last one blank for want of a next base.

    Returns
    -------
    Codes, shape ``(position,)``, as long as the chromosome in bp.
    """
    codes = np.empty(len(bases), np.uint8)
    _encode(_as_array(bases), codes[:-1])
    codes[-1:] = BLANK
    return codes


def _as_array(bases: bytes | bytearray | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(bases, np.uint8) if isinstance(bases, bytes | bytearray) else bases


def find_blank(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find the runs of blank positions: their first positions and those behind them, shape ``(2, run)``."""
    runs = np.empty((2, _count_blank_runs(codes)), np.int64)
    _fill_blank_runs(codes, runs)
    return runs


@compiled
def _count_blank_runs(codes: NDArray[np.uint8]) -> int:  # pragma: no cover - compiled
    n_runs = 1 if len(codes) and codes[0] == 16 else 0
    for position in range(1, len(codes)):
        n_runs += (codes[position] == 16) & (codes[position - 1] != 16)
    return n_runs


@compiled
def _fill_blank_runs(
    codes: NDArray[np.uint8], runs: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    run, position = 0, 0
    while run < runs.shape[1]:
        while codes[position] != 16:
            position += 1
        runs[0, run] = position
        while position < len(codes) and codes[position] == 16:
            position += 1
        runs[1, run] = position
        run += 1


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
