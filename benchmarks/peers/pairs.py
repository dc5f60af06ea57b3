"""One-hot of 16 pairs from bases, by numpy, for peers that give bases: the same output as ours, in few operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_INDEX = np.full(256, 4, np.uint8)
_INDEX[np.frombuffer(b"ACGT", np.uint8)] = np.arange(4)
_CHANNELS = np.zeros((25, 16), np.float32)
for _first in range(4):
    for _second in range(4):
        _CHANNELS[5 * _first + _second, 4 * _first + _second] = 1


def expand_pairs(bases: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Fill `out`, shape ``(window, position, dinucleotide)``, from letters, shape ``(window, position + 1)``."""
    index = _INDEX[bases]
    np.take(_CHANNELS, 5 * index[:, :-1] + index[:, 1:], axis=0, out=out, mode="clip")
