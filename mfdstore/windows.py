"""Where the windows are: tiled bins, which of them are kept, the span a window reads, and the splits.

A window is centred on a bin. With B the bin size and P the number of positions, a bin [s, s + B) has its
centre at c = s + B // 2 and its window the positions [c - P // 2, c - P // 2 + P), which need one base more.
All coordinates are 0-based and half-open. A window may reach over the chromosome's ends: what lies outside
is blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import ConfigError
from mfdstore.schema import SPLITS, Split


@dataclass(frozen=True)
class WindowTable:
    """The windows of a store, one row each, sorted by chromosome and start.

    Parameters
    ----------
    chroms
        Names of the chromosomes, in the order of the codes below.
    chrom
        Index into `chroms`, int16, shape ``(window,)``.
    start
        First base of the bin, 0-based, int32, shape ``(window,)``.
    split
        Index into `schema.SPLITS`, int8, shape ``(window,)``.
    bin_size
        Width of a bin in bp; the end of a bin is ``start + bin_size``.
    """

    chroms: tuple[str, ...]
    chrom: NDArray[np.int16]
    start: NDArray[np.int32]
    split: NDArray[np.int8]
    bin_size: int

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> NDArray[np.int32]:
        """First base behind the bin, shape ``(window,)``."""
        return self.start + np.int32(self.bin_size)

    def first_position(self, n_positions: int) -> NDArray[np.int64]:
        """Compute each window's first position, unshifted; negative where it begins before the chromosome."""
        return self.start.astype(np.int64) + self.bin_size // 2 - n_positions // 2

    def rows(self, split: Split) -> NDArray[np.int64]:
        """List the windows of one split, ascending."""
        return np.flatnonzero(self.split == SPLITS.index(split))


@dataclass(frozen=True)
class Tiling:
    """Tiled bins of several chromosomes, counted through from the first bin of the first.

    Parameters
    ----------
    chroms, sizes
        Names, and lengths in bp, in the store's order.
    bin_size
        In bp; an incomplete last bin of a chromosome is left out.
    """

    chroms: tuple[str, ...]
    sizes: tuple[int, ...]
    bin_size: int

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First bin of each chromosome and, last, the number of all bins, shape ``(chrom + 1,)``."""
        return np.concatenate([[0], np.cumsum([size // self.bin_size for size in self.sizes])])

    @property
    def n_bins(self) -> int:
        """How many bins there are."""
        return int(self.offsets[-1])

    def span(self, index: int) -> tuple[int, int]:
        """Give the first bin of a chromosome and the first bin behind it."""
        return int(self.offsets[index]), int(self.offsets[index + 1])


def tile(chrom_size: int, bin_size: int) -> NDArray[np.int32]:
    """Tile a chromosome with bins from its first base; an incomplete last bin is left out.

    Returns
    -------
    Starts of the bins in bp, shape ``(bin,)``.
    """
    return np.arange(chrom_size // bin_size, dtype=np.int32) * np.int32(bin_size)


def bins_touching(
    n_bins: int, bin_size: int, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Find the tiled bins that share at least one base with any interval (of a blacklist, of what is blank).

    Parameters
    ----------
    n_bins, bin_size
        Of the tiling; sizes in bp.
    starts, ends
        Of the intervals, 0-based half-open, shape ``(interval,)``.

    Returns
    -------
    Shape ``(bin,)``.
    """
    steps = np.zeros(n_bins + 1, np.int64)
    np.add.at(steps, np.minimum(starts // bin_size, n_bins), 1)
    np.add.at(steps, np.minimum((ends - 1) // bin_size + 1, n_bins), -1)
    return np.asarray(np.cumsum(steps[:-1]) > 0)


def check_split(split: str) -> None:
    """Refuse the name of a split that no store has.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if split not in SPLITS:
        raise ConfigError(
            "split", found=repr(split), expected=f"one of {', '.join(SPLITS)}", remedy="Correct the name."
        )


def split_by_chrom(chrom: str, valid: Sequence[str], test: Sequence[str]) -> Split:
    """Say which split all windows of one chromosome belong to."""
    if chrom in test:
        return "test"
    return "valid" if chrom in valid else "train"


def split_by_blocks(
    starts: NDArray[np.int32],
    *,
    bin_size: int,
    fractions: tuple[float, float, float],
    gap: int,
) -> NDArray[np.int8]:
    """Cut one chromosome's windows in three contiguous blocks: train, valid, test, in this order.

    Blocks are cut by number of windows. Bins less than `gap` bp behind a cut go to the split ``gap``, so
    that with a gap as wide as a window no base is read by windows of two splits.

    Parameters
    ----------
    starts
        Of the bins kept, ascending, in bp, shape ``(window,)``.
    bin_size
        In bp.
    fractions
        Of train, valid and test; they sum to 1.
    gap
        Bases between the last bin of one block and the first bin of the next, in bp.

    Returns
    -------
    Codes of `schema.SPLITS`, shape ``(window,)``.
    """
    n = len(starts)
    cuts = np.rint(np.cumsum(fractions)[:2] * n).astype(np.int64)
    split = np.zeros(n, np.int8)
    for code, cut in zip((1, 2), cuts, strict=True):
        if not 0 < cut < n:
            split[cut:] = code
            continue
        split[cut:] = code
        last_end = int(starts[cut - 1]) + bin_size
        too_near = np.arange(n) >= cut
        too_near &= starts < last_end + gap
        split[too_near] = SPLITS.index("gap")
    return split
