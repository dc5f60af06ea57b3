"""What of a store is wanted, in a user's words: experiments by metadata or name, windows by region and split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.selecting import locate_regions, resolve_chrom, select_experiments
from mfdstore.sources.bed import read_intervals
from mfdstore.store import Store
from mfdstore.windows import bins_touching, check_split


@dataclass(frozen=True)
class Choice:
    """What of a store is wanted; what is left empty chooses everything.

    Parameters
    ----------
    where
        Pairs of a factor and a value of it, or several values joined by commas. An experiment must have one of the
        values of each factor that is named; a missing value is none.
    experiments
        Accessions.
    regions
        ``chr1`` or ``chr1:0-1,000,000``, 0-based half-open bp: windows whose bin shares a base with any.
    bed
        A BED file of such regions.
    chroms
        Chromosomes, by any of their names.
    splits
        Names of splits.
    min_experiments
        So many of the experiments wanted must label a window.
    keep_chroms
        Keep the sequence of chromosomes that have no window left.
    """

    where: tuple[tuple[str, str], ...] = ()
    experiments: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    bed: Path | None = None
    chroms: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    min_experiments: int | None = None
    keep_chroms: bool = False

    def __bool__(self) -> bool:
        """Say whether anything is chosen at all."""
        chosen = (self.where, self.experiments, self.regions, self.bed, self.chroms, self.splits)
        return any(chosen) or self.min_experiments is not None


@dataclass(frozen=True)
class ChosenWindows:
    """The windows that regions and splits leave, before labels are looked at.

    Parameters
    ----------
    keep
        Shape ``(window,)``.
    counts
        Windows that each criterion took.
    asked
        What was asked for, as provenance keeps it.
    """

    keep: NDArray[np.bool_]
    counts: dict[str, int]
    asked: dict[str, Any]


def choose_experiments(store: Store, choice: Choice) -> NDArray[np.int64]:
    """Find the experiments wanted: `selecting.select_experiments`."""
    return select_experiments(store, choice.where, choice.experiments)


def choose_windows(store: Store, choice: Choice) -> ChosenWindows:
    """Find the windows within the regions and splits wanted.

    Raises
    ------
    ConfigError
        If a region, chromosome or split is none, or no window is left.
    SourceError
        If the BED file cannot be used.
    """
    genome = store.reference
    windows = store.windows
    keep = np.ones(len(windows), np.bool_)
    counts: dict[str, int] = {}
    asked: dict[str, Any] = {}

    def narrow(reason: str, held: NDArray[np.bool_]) -> None:
        counts[reason] = int((keep & ~held).sum())
        np.logical_and(keep, held, out=keep)

    if choice.chroms:
        chroms = [resolve_chrom("--chroms", name, genome) for name in choice.chroms]
        asked["chroms"] = sorted(set(chroms), key=store.chroms.index)
        narrow(
            "windows_on_other_chroms",
            np.isin(windows.chrom, [store.chroms.index(chrom) for chrom in chroms]),
        )
    if choice.regions or choice.bed is not None:
        intervals = locate_regions("--region", choice.regions, genome)
        asked["regions"] = [f"{chrom}:{start}-{end}" for chrom, start, end in intervals]
        by_chrom: dict[str, list[NDArray[np.int64]]] = {}
        for chrom, start, end in intervals:
            by_chrom.setdefault(chrom, []).append(np.array([[start], [end]]))
        if choice.bed is not None:
            listed = read_intervals(choice.bed, genome)
            asked["bed"] = asdict(listed.file)
            counts["regions_on_other_sequences"] = listed.n_elsewhere
            for chrom, pair in listed.by_chrom.items():
                by_chrom.setdefault(chrom, []).append(np.stack(pair))
        narrow("windows_outside_regions", _within(store, by_chrom))
    if choice.splits:
        for split in choice.splits:
            check_split(split)
        codes = [code for code, split in enumerate(schema.SPLITS) if split in choice.splits]
        asked["splits"] = [schema.SPLITS[code] for code in codes]
        narrow("windows_of_other_splits", np.isin(windows.split, codes))
    if not keep.any():
        taken = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in counts.items() if n)
        raise ConfigError(
            "the selection",
            found=f"no window left of {len(windows):,}: {taken}",
            expected="at least one window",
            remedy="Ask for less; `mfdstore info` lists chromosomes and counts windows by split.",
        )
    return ChosenWindows(keep, counts, asked)


def _within(store: Store, by_chrom: dict[str, list[NDArray[np.int64]]]) -> NDArray[np.bool_]:
    """Find the windows whose bin shares a base with any interval, shape ``(window,)``."""
    windows = store.windows
    held = np.zeros(len(windows), np.bool_)
    for code, (chrom, size) in enumerate(zip(store.chroms, store.chrom_sizes, strict=True)):
        if chrom not in by_chrom:
            continue
        touched = bins_touching(
            size // store.bin_size, store.bin_size, *np.concatenate(by_chrom[chrom], axis=1)
        )
        mine = windows.chrom == code
        held[mine] = touched[windows.start[mine] // store.bin_size]
    return held
