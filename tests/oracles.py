"""Slow answers from the definitions: loops over bases, bins and peaks, without numpy's help."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[int, int]

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
DINUCLEOTIDES = [first + second for first in "ACGT" for second in "ACGT"]


def naive_codes(bases: str) -> list[int]:
    """Look each pair of neighbouring bases up by its letters; 16 where it is no pair of A, C, G and T."""
    pairs = [bases[index : index + 2].upper() for index in range(len(bases) - 1)]
    return [DINUCLEOTIDES.index(pair) if pair in DINUCLEOTIDES else 16 for pair in pairs]


def naive_reverse_complement(bases: str) -> str:
    """Spell the other strand; a letter that has no complement becomes N."""
    return "".join(COMPLEMENT.get(base.upper(), "N") for base in reversed(bases))


def naive_overlap(first: Interval, second: Interval) -> int:
    """Count the bases that two half-open intervals share, one by one."""
    return sum(1 for base in range(*first) if second[0] <= base < second[1])


def naive_label_bins(
    peaks: Sequence[Interval], *, n_bins: int, bin_size: int, min_overlap: int
) -> NDArray[np.bool_]:
    """Label a bin if one single peak shares at least `min_overlap` bases with it: two loops."""
    labels = np.zeros(n_bins, np.bool_)
    for index in range(n_bins):
        for peak in peaks:
            if naive_overlap(peak, (index * bin_size, (index + 1) * bin_size)) >= min_overlap:
                labels[index] = True
    return labels


def naive_bins_touching(intervals: Sequence[Interval], *, n_bins: int, bin_size: int) -> NDArray[np.bool_]:
    """Find the bins that share any base with any interval: two loops."""
    return naive_label_bins(intervals, n_bins=n_bins, bin_size=bin_size, min_overlap=1)


def naive_pack(labels: Sequence[Sequence[bool]]) -> list[list[int]]:
    """Pack rows of labels by place value: the first of eight counts 128, the last 1."""
    return [
        [
            sum(2 ** (7 - place) for place, bit in enumerate(row[begin : begin + 8]) if bit)
            for begin in range(0, len(row), 8)
        ]
        for row in labels
    ]


def naive_window(bases: str, start: int, bin_size: int, n_positions: int) -> list[int]:
    """Cut the window of a bin out of a chromosome's letters, with N beyond its ends."""
    first = start + bin_size // 2 - n_positions // 2
    letters = [
        bases[index] if 0 <= index < len(bases) else "N" for index in range(first, first + n_positions + 1)
    ]
    return naive_codes("".join(letters))


def naive_bases_read(start: int, bin_size: int, n_positions: int, max_shift: int = 0) -> set[int]:
    """List every base that the window of a bin may read under shifts of up to `max_shift` bp either way."""
    first = start + bin_size // 2 - n_positions // 2
    return set(range(first - max_shift, first + n_positions + 1 + max_shift))
