"""Windows by where they are: in a region, or overlapping the intervals of a file, a table or a PyRanges object."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import REGION_WORDS, Genome, find_assembly, parse_region, some, usual_name
from mfdstore.overlaps import table_of
from mfdstore.query.origin import find_stores, window_coordinate
from mfdstore.sources.bed import read_intervals

logger = logging.getLogger(__name__)

ByChrom = Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Starts and ends of intervals by chromosome, shape ``(interval,)`` each."""

_COLUMNS: Final = (("Chromosome", "Start", "End"), ("chrom", "start", "end"))
_ANY_LENGTH: Final = int(np.iinfo(np.int64).max)


def in_region(dataset: xr.Dataset, region: str) -> NDArray[np.intp]:
    """Find the windows whose bin shares a base with a region.

    Parameters
    ----------
    dataset
        With the coordinates of windows.
    region
        ``chr22`` or ``chr22:20,000,000-21,000,000``, 0-based half-open bp.

    Returns
    -------
    Indices, ascending.

    Raises
    ------
    ConfigError
        If the text is no region, or begins behind the chromosome's end, or no window is on that chromosome.
    """
    asked = parse_region(region) if isinstance(region, str) else None
    if asked is None:
        raise ConfigError("region", found=repr(region), expected=REGION_WORDS, remedy="Correct the region.")
    column = window_coordinate(dataset, schema.CHROM)
    chroms = list(dict.fromkeys(column))
    if column.dtype.kind in "iu":
        raise ConfigError(
            f"coordinate {schema.CHROM!r}",
            found="codes, as the store keeps them",
            expected="names of chromosomes",
            remedy='Open the store with xr.open_dataset(path, engine="mfdstore").',
        )
    wanted = usual_name(asked.chrom, find_assembly(str(dataset.attrs.get("genome", ""))))
    names = [name for name in (wanted, asked.chrom) if name in chroms]
    if not names:
        raise ConfigError(
            "region",
            found=repr(asked.chrom),
            expected=some(chroms) if chroms else "windows to choose from, but the selection holds none",
            remedy="Use one of the store's names.",
        )
    keep = column == names[0]
    size = _genome(dataset).sizes.get(names[0], _ANY_LENGTH)
    if asked.bounds is not None and asked.bounds[0] >= size:
        raise ConfigError(
            "region",
            found=repr(region),
            expected=f"a start before the end of {names[0]}, {size:,} bp",
            remedy="Correct the region, or use a store of its assembly.",
        )
    if asked.bounds is not None:
        keep &= window_coordinate(dataset, schema.START) < asked.bounds[1]
        keep &= window_coordinate(dataset, schema.END) > asked.bounds[0]
    return np.flatnonzero(keep)


def overlapping(dataset: xr.Dataset, intervals: Any) -> NDArray[np.intp]:
    """Find the windows whose bin shares a base with any of the intervals.

    Parameters
    ----------
    dataset
        With the coordinates of windows.
    intervals
        A region's text, the path of a BED-like file, a PyRanges object, or a table with columns Chromosome,
        Start, End or chrom, start, end.

    Returns
    -------
    Indices, ascending; each window once.

    Raises
    ------
    ConfigError
        If this is none of them, or none of its chromosomes is the store's; for a table also if a row is at fault.
    SourceError
        If a file or a line of it is at fault.
    """
    genome = _genome(dataset)
    if isinstance(intervals, str):
        asked = parse_region(intervals)
        if asked is not None and (asked.bounds or genome.resolve(asked.chrom) is not None):
            return in_region(dataset, intervals)
        if not Path(intervals).expanduser().is_file():
            raise ConfigError(
                "intervals",
                found=f"{intervals!r}, which is no file and no region",
                expected=f"a BED file, or a region on {some(genome.sizes)}",
                remedy="Check the path, or use one of the store's names: chr22:20,000,000-21,000,000.",
            )
    if isinstance(intervals, (str, Path)):
        by_chrom = _read_file(Path(intervals).expanduser(), genome)
    else:
        by_chrom = _read_table(table_of(intervals), genome)
    return _find_overlaps(dataset, by_chrom)


def _genome(dataset: xr.Dataset) -> Genome:
    """Name the chromosomes and their lengths in bp; without a store behind the dataset, any length goes."""
    name = str(dataset.attrs.get("genome", ""))
    stores = find_stores(dataset)
    if stores:
        return stores[0].reference
    chroms = dict.fromkeys(window_coordinate(dataset, schema.CHROM), _ANY_LENGTH)
    return Genome(name, {str(chrom): size for chrom, size in chroms.items()}, {})


def _read_file(path: Path, genome: Genome) -> ByChrom:
    found = read_intervals(path, genome, may_be_elsewhere=True)
    _tell_elsewhere(str(path), found.elsewhere, genome, n=found.n_elsewhere, n_all=found.n_intervals)
    return found.by_chrom


def _read_table(table: Any, genome: Genome) -> ByChrom:
    """Take chromosome, start and end from anything with named columns; check every row."""
    if isinstance(table, pd.DataFrame) and table.empty:
        raise _no_intervals()
    columns = [str(name) for name in getattr(table, "columns", ())]
    names = next((names for names in _COLUMNS if set(names) <= set(columns)), None)
    if names is None:
        found = f"a {type(table).__name__}" + (f" with columns {some(columns, 12)}" if columns else "")
        raise ConfigError(
            "intervals",
            found=found,
            expected="a region, a BED file, a PyRanges object, or a table with columns "
            + " or ".join(", ".join(listed) for listed in _COLUMNS),
            remedy="Rename the columns, or pass one of these.",
        )
    codes, spelt = pd.factorize(np.asarray(table[names[0]], object))
    starts, ends = (_whole_numbers(table, name) for name in names[1:])
    if not len(codes):
        raise _no_intervals()
    chroms = [genome.resolve(str(name)) for name in spelt]
    limits = np.array([genome.sizes[name] if name else _ANY_LENGTH for name in chroms] + [0])
    bad = (codes < 0) | (starts < 0) | (starts >= ends) | (ends > limits[codes])
    if bad.any():
        row = int(np.argmax(bad))
        chrom = "no chromosome" if codes[row] < 0 else str(spelt[codes[row]])
        most = f" <= {limits[codes[row]]:,}" if codes[row] >= 0 and limits[codes[row]] < _ANY_LENGTH else ""
        raise ConfigError(
            f"intervals, row {row} of {len(codes)}",
            found=f"{chrom}, start {starts[row]} and end {ends[row]}",
            expected=f"a chromosome with 0 <= start < end{most} (0-based, half-open)",
            remedy="Correct or remove the row; check that the intervals are of the same assembly.",
        )
    lacking = [code for code, name in enumerate(chroms) if name is None]
    n = int(np.isin(codes, lacking).sum())
    _tell_elsewhere("intervals", [str(spelt[code]) for code in lacking], genome, n=n, n_all=len(codes))
    by_chrom: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for name in dict.fromkeys(name for name in chroms if name is not None):
        mine = np.isin(codes, [code for code, other in enumerate(chroms) if other == name])
        by_chrom[name] = (starts[mine], ends[mine])
    return by_chrom


def _no_intervals() -> ConfigError:
    return ConfigError(
        "intervals", found="none", expected="at least one", remedy="Check what was filtered before."
    )


def _whole_numbers(table: Any, name: str) -> NDArray[np.int64]:
    """Take a column of bp; numbers with a fraction, texts and gaps are refused."""
    values = np.asarray(table[name])
    try:
        with np.errstate(invalid="ignore"):  # of a gap, which is refused below
            whole = values.astype(np.int64)
        is_number = values.dtype.kind in "iuf" or all(isinstance(value, (int, float)) for value in values)
        good = is_number and values.ndim == 1 and bool((whole == values).all())
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise ConfigError(
            f"column {name} of the intervals",
            found=f"values of type {values.dtype} that are not all whole numbers",
            expected="bases, 0-based",
            remedy=f"Convert it, for example with: table[{name!r}].astype(int)",
        )
    return whole


def _tell_elsewhere(where: str, elsewhere: Any, genome: Genome, *, n: int, n_all: int) -> None:
    """Say how many intervals lie on sequences that the store lacks; refuse if all do."""
    if n == n_all:
        raise ConfigError(
            where,
            found=f"only chromosomes {some(elsewhere)}",
            expected=f"any of the store's: {some(genome.sizes)}",
            remedy="Use intervals of the same assembly, or rename the chromosomes.",
        )
    if n:
        text = "%s: %d of %d intervals lie on sequences that the store lacks and match nothing: %s"
        logger.warning(text, where, n, n_all, some(elsewhere))


def _find_overlaps(dataset: xr.Dataset, by_chrom: ByChrom) -> NDArray[np.intp]:
    """Find windows by searching each bin's end among the sorted starts of the intervals.

    Of the intervals that begin before the bin ends, one reaches into it if the furthest end among them does.
    """
    codes, names = pd.factorize(window_coordinate(dataset, schema.CHROM))
    bin_starts = window_coordinate(dataset, schema.START)
    bin_ends = window_coordinate(dataset, schema.END)
    keep = np.zeros(len(codes), np.bool_)
    for code, name in enumerate(names):
        if name not in by_chrom:
            continue
        starts, ends = by_chrom[name]
        order = np.argsort(starts, kind="stable")
        furthest = np.concatenate([[-1], np.maximum.accumulate(ends[order])])
        mine = np.flatnonzero(codes == code)
        n_before = np.searchsorted(starts[order], bin_ends[mine].astype(np.int64))
        keep[mine] = furthest[n_before] > bin_starts[mine]
    return np.flatnonzero(keep)
