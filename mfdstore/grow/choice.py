"""What of a store is wanted, in a user's words: experiments by metadata or name, windows by region and split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import Genome, some
from mfdstore.metadata import Factor
from mfdstore.sources.bed import read_intervals
from mfdstore.store import Store
from mfdstore.windows import bins_touching, check_split

_REGION: Final = re.compile(r"(?P<chrom>[^:]+)(?::(?P<start>[0-9][0-9,_]*)-(?P<end>[0-9][0-9,_]*))?")
_SHOWN: Final = 20
"""Known names and values that a message lists."""


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
    """Find the experiments wanted.

    Returns
    -------
    Their places in the store, ascending, shape ``(experiment,)``.

    Raises
    ------
    ConfigError
        If a name or value is none of the store's, or no experiment is left.
    """
    keep = np.ones(store.n_experiments, np.bool_)
    if choice.experiments:
        place = {name: index for index, name in enumerate(store.experiments)}
        unknown = [name for name in choice.experiments if name not in place]
        if unknown:
            raise ConfigError(
                "--experiments",
                found=f"{len(unknown)} that the store does not have: {some(map(repr, unknown))}",
                expected=f"accessions such as {some(store.experiments, 3)}",
                remedy=_suggest(unknown[0], store.experiments),
            )
        keep[:] = False
        keep[[place[name] for name in choice.experiments]] = True
    # values of one factor add up, factors narrow
    for name in dict.fromkeys(factor for factor, _ in choice.where):
        factor = _find_factor(store, name)
        held = [_hold(factor, text) for wanted, text in choice.where if wanted == name]
        keep &= np.logical_or.reduce(held)
    if not keep.any():
        wanted = [f"{name}={text}" for name, text in choice.where]
        raise ConfigError(
            "--where and --experiments" if choice.experiments else "--where",
            found=f"no experiment that has all of {some(wanted)}",
            expected="at least one experiment",
            remedy="Ask for less; values of one factor add up, but all factors must hold.",
        )
    return np.flatnonzero(keep)


def _find_factor(store: Store, name: str) -> Factor:
    if name not in store.factors:
        raise ConfigError(
            "--where",
            found=f"factor {name!r}, which the store does not have",
            expected=f"one of {some(store.factors.names, _SHOWN)}",
            remedy=_suggest(name, store.factors.names),
        )
    return store.factors[name]


def _hold(factor: Factor, text: str) -> NDArray[np.bool_]:
    """Find the experiments that have a value: the text as a whole, or else one of its parts between commas."""
    whole = _equal(factor, text.strip())
    if whole.any():
        return whole
    held = np.zeros(len(whole), np.bool_)
    for part in text.split(","):
        found = _equal(factor, part.strip())
        if not found.any():
            known = _spell(factor)
            remedy = _suggest(part.strip(), known)
            if any("," in value for value in known):
                remedy += (
                    " Values that hold a comma are asked for one by one, each with a --where of its own."
                )
            raise ConfigError(
                "--where",
                found=f"no experiment with {factor.name} {part.strip()!r}",
                expected=some(known, _SHOWN) if known else "a value that is known, but it is missing for all",
                remedy=remedy,
            )
        held |= found
    return held


def _equal(factor: Factor, text: str) -> NDArray[np.bool_]:
    """Find the experiments that have this value; a missing value equals nothing."""
    if not text:
        return np.zeros(len(factor.values), np.bool_)
    if factor.kind == "multi_category":
        return np.array([value is not None and text in value for value in factor.values], np.bool_)
    if factor.kind == "category":
        return np.array([value == text for value in factor.values], np.bool_)
    try:
        one = float(text) if factor.kind == "number" else np.datetime64(text, "D")
    except ValueError:
        return np.zeros(len(factor.values), np.bool_)
    return np.asarray(factor.values == one) & ~factor.missing


def _spell(factor: Factor) -> list[str]:
    """Spell the values that occur, in order."""
    if factor.kind in ("category", "multi_category"):
        return list(factor.categories())
    known = np.unique(factor.values[~factor.missing])
    return [f"{value:g}" if factor.kind == "number" else str(value) for value in known]


def _suggest(text: str, known: Sequence[str]) -> str:
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(text.casefold(), folded, n=3, cutoff=0.7)
    return f"Did you mean {' or '.join(folded[name] for name in close)}?" if close else "Correct the name."


def choose_windows(store: Store, choice: Choice) -> ChosenWindows:
    """Find the windows within the regions and splits wanted.

    Raises
    ------
    ConfigError
        If a region, chromosome or split is none, or no window is left.
    SourceError
        If the BED file cannot be used.
    """
    genome = Genome(store.genome, dict(zip(store.chroms, store.chrom_sizes, strict=True)), {})
    windows = store.windows
    keep = np.ones(len(windows), np.bool_)
    counts: dict[str, int] = {}
    asked: dict[str, Any] = {}

    def narrow(reason: str, held: NDArray[np.bool_]) -> None:
        counts[reason] = int((keep & ~held).sum())
        np.logical_and(keep, held, out=keep)

    if choice.chroms:
        chroms = [_resolve("--chroms", name, genome) for name in choice.chroms]
        asked["chroms"] = sorted(set(chroms), key=store.chroms.index)
        narrow(
            "windows_on_other_chroms",
            np.isin(windows.chrom, [store.chroms.index(chrom) for chrom in chroms]),
        )
    if choice.regions or choice.bed is not None:
        intervals = [(chrom, start, end) for chrom, start, end in _parse(choice.regions, genome)]
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


def _resolve(option: str, name: str, genome: Genome) -> str:
    chrom = genome.resolve(name)
    if chrom is None:
        raise ConfigError(
            option,
            found=f"chromosome {name!r}, which the store does not have",
            expected=f"one of {some(genome.sizes)}",
            remedy=_suggest(name, list(genome.sizes)),
        )
    return chrom


def _parse(regions: Iterable[str], genome: Genome) -> list[tuple[str, int, int]]:
    parsed = []
    for region in regions:
        match = _REGION.fullmatch(region.strip())
        bounds = (
            [int(re.sub("[,_]", "", match[side])) for side in ("start", "end")]
            if match and match["start"]
            else []
        )
        if match is None or (bounds and bounds[0] >= bounds[1]):
            raise ConfigError(
                "--region",
                found=repr(region),
                expected="chr22 or chr22:20,000,000-21,000,000, with start before end",
                remedy="Correct the region.",
            )
        chrom = _resolve("--region", match["chrom"], genome)
        start, end = bounds or (0, genome.sizes[chrom])
        if start >= genome.sizes[chrom]:
            raise ConfigError(
                "--region",
                found=repr(region),
                expected=f"a start before the end of {chrom}, {genome.sizes[chrom]:,} bp",
                remedy="Correct the region, or use a store of its assembly.",
            )
        parsed.append((chrom, start, min(end, genome.sizes[chrom])))
    return parsed


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
