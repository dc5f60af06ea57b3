"""What `overlaps.h5` says of its experiments, and what is said of an `overlaps.h5` that is at fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import SourceError
from mfdstore.sources.encode import ACCESSION
from mfdstore.sources.mfd_release import layout

FAULTS: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on a file that is damaged or of another kind."""


@dataclass(frozen=True)
class Experiments:
    """What the file says of its experiments and of the regions it belongs to.

    Parameters
    ----------
    accessions
        In the order of the pairs' indices.
    n_pairs
        Of each experiment, shape ``(experiment,)``; `None` where the file does not say.
    regions_md5
        Digest of the region file; `None` where the file does not say.
    """

    accessions: tuple[str, ...]
    n_pairs: NDArray[np.int64] | None
    regions_md5: str | None


def read_experiments(path: Path, query: h5py.Dataset, target: h5py.Dataset) -> Experiments:
    """Read the attributes of both datasets.

    Raises
    ------
    SourceError
        If there are no accessions, one is no name of a file, or stands there twice; or if they cannot be read.
    """
    try:
        labels, counts = (target.attrs.get(key) for key in (layout.LABELS, layout.N_POSITIVE))
        md5 = query.attrs.get(layout.MD5)
        accessions = tuple(map(text_of, np.ravel(labels))) if labels is not None else ()
    except FAULTS as error:
        raise damaged(path, error) from error
    if not accessions:
        raise fault(
            path, f"no attribute {layout.LABELS!r} of {layout.TARGET!r}", "the accessions of the experiments"
        )
    for name in accessions:
        if not ACCESSION.fullmatch(name) or ".." in name:
            raise fault(
                path, f"experiment {name[:60]!r}", "accessions of letters, digits, '_', '-' and '.' only"
            )
    if len(set(accessions)) < len(accessions):
        twice = next(name for name in accessions if accessions.count(name) > 1)
        raise fault(path, f"experiment {twice} twice", "each accession once")
    n_pairs = None
    if counts is not None:
        n_pairs = np.ravel(np.asarray(counts))
        if n_pairs.dtype.kind not in "iu" or len(n_pairs) != len(accessions):
            raise fault(
                path,
                f"attribute {layout.N_POSITIVE!r} with {n_pairs.size} counts for {len(accessions)} experiments",
                "one whole number an experiment",
            )
        n_pairs = n_pairs.astype(np.int64)
    return Experiments(accessions, n_pairs, None if md5 is None else text_of(md5).strip().lower())


def text_of(value: Any) -> str:
    """Read text that HDF5 gives as bytes or as text."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def fault(
    path: Path,
    found: str,
    expected: str,
    remedy: str = "Check that this is the release's overlaps.h5, and whole.",
) -> SourceError:
    """Describe a file that is not laid out as the release is."""
    return SourceError(path, found=found, expected=expected, remedy=remedy)


def damaged(path: Path, error: Exception) -> SourceError:
    """Describe a file that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return SourceError(
        path,
        found=f"no HDF5 file, or one that breaks off or is damaged ({reason})",
        expected="the release's overlaps.h5, whole",
        remedy="Download it again.",
    )
