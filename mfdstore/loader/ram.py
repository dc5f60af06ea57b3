"""A store held in RAM: codes of both strands and packed labels, shared by any number of loaders."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.dinucleotides import BLANK, REVERSE_COMPLEMENT
from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.kernels import complement_backwards
from mfdstore.places.address import Place
from mfdstore.sampler import Augmentation
from mfdstore.schema import ROWS_PER_SHARD, n_bytes
from mfdstore.windows import WindowTable

if TYPE_CHECKING:
    from mfdstore.store import Store

log = logging.getLogger(__name__)

DEFAULT_FLANK: Final = 8192
"""Blanks around each chromosome, in bp: windows of up to 16 kb may reach over its ends."""


class RamData:
    """The content of one store in RAM, laid out so that every window of either strand is one plain copy.

    The chromosomes that have windows stand one after another with a flank of blanks before, between and
    behind them; the reverse complement of all that stands behind it. So a window that reaches over a
    chromosome's end is like any other, and position p of the forward strand is position ``length - 1 - p``
    of the reverse strand. This takes 2 bytes a base and the labels as packed on disk: 6.2 GB for a human
    genome, and 0.26 GB for a million windows of 2106 experiments.

    Parameters
    ----------
    store
        To be read, once.
    flank
        Blanks around each chromosome, in bp; it limits how far a window may reach over a chromosome's end.

    Attributes
    ----------
    strands
        Codes of the forward strand, then of the reverse strand, shape ``(2 * length,)``.
    label_bits
        Shape ``(window, label_byte)``.
    windows
        Of the store, all of them.
    flank
        As given, in bp.
    digest
        Of the store's content.

    Raises
    ------
    StoreError
        If the store needs more memory than there is, or holds a window that is not on its chromosome.
    """

    strands: NDArray[np.uint8]
    label_bits: NDArray[np.uint8]
    windows: WindowTable
    flank: int
    digest: str

    def __init__(self, store: Store, *, flank: int = DEFAULT_FLANK) -> None:
        started = time.perf_counter()
        self.windows = store.windows
        self.flank = flank
        self.digest = store.digest
        sizes = dict(zip(store.chroms, store.chrom_sizes, strict=True))
        used = [self.windows.chroms[code] for code in np.unique(self.windows.chrom)]
        _check_windows(store, sizes)
        self._length = flank + sum(sizes[chrom] + flank for chrom in used)
        label_bytes = n_bytes(store.n_experiments)
        # the codes of one chromosome are held twice while they are put in their place
        needed = (
            2 * self._length
            + len(self.windows) * label_bytes
            + max((sizes[chrom] for chrom in used), default=0)
        )
        _check_memory(store.path, needed)

        self.strands = np.full(2 * self._length, BLANK, np.uint8)
        self._origin = np.zeros(len(self.windows.chroms), np.int64)
        place = flank
        for chrom in used:
            self.strands[place : place + sizes[chrom]] = store.codes(chrom)
            self._origin[self.windows.chroms.index(chrom)] = place
            place += sizes[chrom] + flank
        complement_backwards(self.strands[: self._length], REVERSE_COMPLEMENT, self.strands[self._length :])
        self.label_bits = np.empty((len(self.windows), label_bytes), np.uint8)
        for first in range(0, len(self.windows), ROWS_PER_SHARD):
            stop = min(first + ROWS_PER_SHARD, len(self.windows))
            self.label_bits[first:stop] = store.label_bits(first, stop)
        log.info(
            "read %s into %.2f GB of memory in %.1f s",
            store.path,
            self.nbytes / 1e9,
            time.perf_counter() - started,
        )

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes; the table of the windows belongs to the store."""
        return self.strands.nbytes + self.label_bits.nbytes

    def offsets(
        self, rows: NDArray[np.int64], *, positions: int, augmentation: Augmentation
    ) -> NDArray[np.int64]:
        """Find where in `strands` each window begins.

        A window shifted by d reads the positions [f + d, f + d + positions), f its first position
        unshifted; read from the other strand it is the reverse complement of those same positions.

        Parameters
        ----------
        rows
            Of the windows, shape ``(window,)``.
        positions
            Of a window; with the shifts they must not reach beyond the flank (`check_reach`).
        augmentation
            Strand and shift of each window.

        Returns
        -------
        Index of the first of `positions` codes, shape ``(window,)``.
        """
        table = self.windows
        chrom = table.chrom[rows]
        these = WindowTable(table.chroms, chrom, table.start[rows], table.split[rows], table.bin_size)
        forward = these.first_position(positions)
        forward += self._origin[chrom]
        forward += augmentation.shift
        return np.where(augmentation.reverse, 2 * self._length - positions - forward, forward)

    def check_reach(self, *, positions: int, max_shift: int) -> None:
        """Refuse windows that could reach beyond the flank of a chromosome.

        Raises
        ------
        ConfigError
            If the flank is too narrow for so many positions and such a shift.
        """
        needed = reach(positions, max_shift)
        if needed > self.flank:
            raise ConfigError(
                "positions",
                found=f"{positions} positions and shifts of up to {max_shift} bp",
                expected=f"windows that reach at most {self.flank} bp from the centre of their bin",
                remedy=f"Hold the store with a flank of at least {needed} bp, or read shorter windows.",
            )


def reach(positions: int, max_shift: int) -> int:
    """How far a window can reach from the centre of its bin to either side, in bp."""
    return (positions + 1) // 2 + max_shift


def available_memory() -> int | None:
    """Measure how much memory can be taken without swapping, in bytes; `None` where unknown."""
    if not sys.platform.startswith("linux"):
        return None
    found = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
    except OSError:
        log.debug("/proc/meminfo cannot be read", exc_info=True)
    try:
        # a container's limit; what it uses for cached files it gives back when asked
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        found.append(limit - used + int(stat["inactive_file"]) + int(stat["active_file"]))
    except (OSError, ValueError, KeyError):
        log.debug("no memory limit of a control group", exc_info=True)
    return min(found, default=None)


def _check_memory(path: Place, needed: int) -> None:
    available = available_memory()
    if available is not None and needed > available:
        raise StoreError(
            path,
            found=f"content that takes {needed:,} bytes in RAM",
            expected=f"no more than the {available:,} bytes that are available",
            remedy="Build a store of fewer chromosomes or experiments, or use a machine with more memory.",
        )


def _check_windows(store: Store, sizes: dict[str, int]) -> None:
    """Refuse bins outside their chromosome: the copies are not checked one by one."""
    table = store.windows
    size = np.array([sizes.get(chrom, -1) for chrom in table.chroms], np.int64)
    outside = (table.start < 0) | (table.end > size[table.chrom])
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        chrom = table.chroms[table.chrom[row]]
        raise StoreError(
            store.path,
            found=f"window {row} on {chrom} at {table.start[row]}",
            expected=f"a bin inside {chrom}, which has {sizes.get(chrom, 'no')} bp",
            remedy="Run `mfdstore verify` on it, with --repair if it is damaged.",
        )
