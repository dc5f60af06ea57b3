"""What contestants hand over, turned into the same two arrays: dinucleotide codes and packed labels.

By numpy alone, and from the letters of the FASTA: nothing here is of the packages that are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.exchange import Exchange

BLANK = 16
_INDEX = np.full(256, 4, np.uint8)
_INDEX[np.frombuffer(b"ACGT", np.uint8)] = np.arange(4)


def pair(index: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make codes of pairs from indices of bases (4 is unknown), shape ``(window, position)``."""
    first, second = index[:, :-1], index[:, 1:]
    return np.where((first < 4) & (second < 4), 4 * first + second, BLANK).astype(np.uint8)


def codes_of_bases(letters: NDArray[np.generic]) -> NDArray[np.uint8]:
    return pair(_INDEX[np.ascontiguousarray(letters).view(np.uint8)])


def index_of_channels(one_hot: NDArray[np.generic], axis: int) -> NDArray[np.uint8]:
    """Find the channel that is 1; the number of channels where all are 0."""
    if not np.isin(one_hot, (0, 1)).all() or (one_hot.sum(axis) > 1).any():
        raise ValueError("channels that are not one-hot")
    known = one_hot.any(axis)
    return np.where(known, one_hot.argmax(axis), one_hot.shape[axis]).astype(np.uint8)


FORMS: dict[str, Callable[[NDArray[np.generic]], NDArray[np.uint8]]] = {
    "codes": np.asarray,
    "bases": codes_of_bases,
    "bases, channels first": lambda one_hot: pair(index_of_channels(one_hot, 1)),
    "bases, channels last": lambda one_hot: pair(index_of_channels(one_hot, 2)),
    "pairs, channels first": lambda one_hot: index_of_channels(one_hot, 1),
    "pairs, channels last": lambda one_hot: index_of_channels(one_hot, 2),
}
"""Encodings of the sequence, each with the way to codes of shape ``(window, position)``."""


def pack(labels: NDArray[np.generic], n_experiments: int) -> NDArray[np.uint8]:
    """Pack labels that are a number an experiment; packed ones stay as they are."""
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] != n_experiments:
        return np.asarray(flat, np.uint8)
    if not np.isin(flat, (0, 1)).all():
        raise ValueError("labels that are neither 0 nor 1")
    return np.packbits(flat.astype(np.uint8), axis=1)


class Truth:
    """Codes and labels of the first windows, straight from the letters of the genome."""

    def __init__(self, exchange: Exchange, genome: dict[str, bytes], n_windows: int, batch_size: int) -> None:
        self.n_windows, self.batch_size = n_windows, batch_size
        self.n_experiments = exchange.n_experiments
        self.windows = exchange.order[:n_windows]
        chroms, starts = exchange.intervals
        stretches = [
            genome[chroms[window]][starts[window] : starts[window] + exchange.n_bases]
            for window in self.windows
        ]
        letters = np.frombuffer(b"".join(stretches), np.uint8)
        self.codes = codes_of_bases(letters.reshape(n_windows, exchange.n_bases))
        self.label_bits = exchange.label_bits[self.windows]

    def find_difference(
        self, form: str, sequence: Path, labels: Path | None, *, n_windows: int, sorted_in_batch: bool
    ) -> tuple[str | None, int]:
        """Compare what was handed over of the first `n_windows`.

        Returns
        -------
        The difference in words, `None` if there is none; bytes of a window with its labels.
        """
        order = np.arange(n_windows)
        if sorted_in_batch:
            for first in range(0, n_windows, self.batch_size):
                these = slice(first, min(first + self.batch_size, n_windows))
                order[these] = first + np.argsort(self.windows[these])
        given = np.load(sequence)
        n_bytes = given.nbytes // len(given)
        codes = FORMS[form](given)
        expected = n_windows, self.codes.shape[1]
        if codes.shape != expected:
            return f"sequence of shape {codes.shape}, not {expected}", n_bytes
        if not np.array_equal(codes, self.codes[order]):
            n_wrong = int((codes != self.codes[order]).any(1).sum())
            return f"another sequence in {n_wrong} of {n_windows} windows", n_bytes
        if labels is not None:
            given = np.load(labels)
            n_bytes += given.nbytes // len(given)
            if not np.array_equal(pack(given, self.n_experiments), self.label_bits[order]):
                return "other labels", n_bytes
        return None, n_bytes
