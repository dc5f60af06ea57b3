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

_UNKNOWN: Final = 4
_BASE_INDEX: Final = np.full(256, _UNKNOWN, np.uint8)
for _index, _base in enumerate(BASES):
    _BASE_INDEX[ord(_base)] = _BASE_INDEX[ord(_base.lower())] = _index

# pair (i, j) of base indices, at 5 * i + j, to its code
_PAIR_CODE: Final = np.full(25, BLANK, np.uint8)
for _first in range(4):
    for _second in range(4):
        _PAIR_CODE[5 * _first + _second] = 4 * _first + _second

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
    letters = bases if isinstance(bases, np.ndarray) else np.frombuffer(bases, np.uint8)
    index = _BASE_INDEX[letters]
    if index.size < 2:
        return np.empty(0, np.uint8)
    pair = index[:-1] * np.uint8(5)
    pair += index[1:]
    return np.asarray(_PAIR_CODE[pair])


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
