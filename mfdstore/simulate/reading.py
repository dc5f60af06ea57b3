"""The truth of simulated sources read back: bin by bin, or site by site, for windows of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mfdstore.errors import SourceError
from mfdstore.schema import ROLES
from mfdstore.windows import WindowTable


@dataclass(frozen=True)
class BinTruth:
    """What is planted in bins.

    Parameters
    ----------
    names
        ``ROLE:FACTOR:VALUE`` of each truth, as the columns of ``bins.tsv.gz``.
    present
        Shape ``(window, truth)``.
    """

    names: tuple[str, ...]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class PlantedSites:
    """The planted sites that act, in one order; decoys and targets' sites that nothing opens are left out.

    Parameters
    ----------
    chrom
        Name of the chromosome, shape ``(site,)``.
    start, end
        0-based half-open, in bp, shape ``(site,)``.
    role, factor, name
        What each belongs to: ``biological``, ``target``, ``SIMTF1``; shape ``(site,)``.
    biosamples
        Those that a target's site is bound in; empty of other sites.
    """

    chrom: NDArray[np.object_]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    role: NDArray[np.object_]
    factor: NDArray[np.object_]
    name: NDArray[np.object_]
    biosamples: tuple[frozenset[str], ...]

    def __len__(self) -> int:
        return len(self.start)


def read_sites(truth: Path) -> PlantedSites:
    """Read the planted sites that act.

    Parameters
    ----------
    truth
        Folder ``truth`` of simulated sources, or the folder of the sources.

    Raises
    ------
    SourceError
        If there is no table of sites, or it cannot be read.
    """
    path = _find(truth, "sites.tsv")
    try:
        table = pl.read_csv(path, separator="\t", infer_schema=False)
        table = table.filter(table["active"] == "1")
        text = {
            name: table[name].fill_null("").to_numpy().astype(object)
            for name in ("chrom", "role", "factor", "name", "biosamples")
        }
        start, end = (table[name].cast(pl.Int64).to_numpy() for name in ("start", "end"))
        if (start < 0).any() or (end <= start).any():
            raise ValueError("a site that ends before it starts")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, error, "a table of sites, as `mfdstore simulate` writes it") from error
    biosamples = tuple(frozenset(filter(None, names.split(";"))) for names in text.pop("biosamples"))
    return PlantedSites(start=start, end=end, biosamples=biosamples, **text)


def read_bin_truth(truth: Path, windows: WindowTable) -> BinTruth:
    """Look up what is planted in the bin of each window.

    Parameters
    ----------
    truth
        Folder ``truth`` of simulated sources, or the folder of the sources.
    windows
        Of a store that was built from them.

    Raises
    ------
    SourceError
        If there is no table of bins, it cannot be read, or it lacks a bin of the windows.
    """
    path = _find(truth, "bins.tsv.gz")
    try:
        table = pl.read_csv(path, separator="\t")
        names = tuple(name for name in table.columns if name.split(":")[0] in ROLES)
        if not names:
            raise ValueError("no column of a biological or technical truth")
        chroms = table["chrom"].to_numpy()
        starts = table["start"].to_numpy()
        columns = np.stack([table[name].to_numpy() == 1 for name in names], axis=1)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        expected = "a table of bins with the columns chrom, start and one a planted truth"
        raise _unreadable(path, error, expected) from error
    present = np.zeros((len(windows), len(names)), np.bool_)
    for code, chrom in enumerate(windows.chroms):
        wanted = np.flatnonzero(windows.chrom == code)
        if not len(wanted):
            continue
        rows = np.flatnonzero(chroms == chrom)
        rows = rows[np.argsort(starts[rows], kind="stable")]
        found = np.searchsorted(starts[rows], windows.start[wanted])
        there = found < len(rows)
        there[there] = starts[rows[found[there]]] == windows.start[wanted][there]
        if not there.all():
            start = int(windows.start[wanted][~there][0])
            raise SourceError(
                path,
                found=f"no bin {chrom}:{start}",
                expected=f"the bins of all {len(windows)} windows of the store",
                remedy="Give the truth of the sources that the store was built from.",
            )
        present[wanted] = columns[rows[found]]
    return BinTruth(names, present)


def _find(truth: Path, name: str) -> Path:
    """Find a file of the truth in its folder, or in that of the sources."""
    folders = (truth, truth / "truth")
    return next((folder / name for folder in folders if (folder / name).is_file()), truth / name)


def _unreadable(path: Path, error: Exception, expected: str) -> SourceError:
    return SourceError(
        path,
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        expected=expected,
        remedy="Give the folder that `mfdstore simulate` wrote.",
    )
