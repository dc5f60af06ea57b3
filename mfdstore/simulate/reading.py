"""The truth of simulated sources read back, bin by bin, for windows of a store."""

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
    path = next(
        (folder / "bins.tsv.gz" for folder in (truth, truth / "truth") if (folder / "bins.tsv.gz").is_file()),
        truth / "bins.tsv.gz",
    )
    try:
        table = pl.read_csv(path, separator="\t")
        names = tuple(name for name in table.columns if name.split(":")[0] in ROLES)
        if not names:
            raise ValueError("no column of a biological or technical truth")
        chroms = table["chrom"].to_numpy()
        starts = table["start"].to_numpy()
        columns = np.stack([table[name].to_numpy() == 1 for name in names], axis=1)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise SourceError(
            path,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="a table of bins with the columns chrom, start and one a planted truth",
            remedy="Give the folder that `mfdstore simulate` wrote.",
        ) from error
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
