"""Stores of parts of the little world, and what two stores have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfdstore.build.run import build_store
from mfdstore.build.settings import Sources
from mfdstore.labels import unpack_labels
from mfdstore.store import Store
from mfdstore.verify import verify_store
from tests.worlds import METADATA_COLUMNS, REPORT_COLUMNS, World, settings, write_table


def write_part(world: World, folder: Path, accessions: Sequence[str]) -> Sources:
    """Write the sources of some experiments, in this order."""
    sources = world.write(folder)
    for path in sources.peaks.iterdir():
        if path.name.split(".")[0] not in accessions:
            path.unlink()
    rows = {row["File accession"]: row for row in world.metadata_rows()}
    write_table(sources.metadata, METADATA_COLUMNS, [rows[name] for name in accessions])
    assert sources.report is not None
    write_table(sources.report, REPORT_COLUMNS, world.report_rows(), stamp="2023-09-08\thttps://x")
    return sources


def build_part(
    world: World, folder: Path, accessions: Sequence[str], *, blacklist: bool = True, **changes: object
) -> tuple[Path, Sources]:
    """Build a store of some experiments."""
    sources = write_part(world, folder, accessions)
    if not blacklist:
        sources = Sources(sources.fasta, sources.peaks, sources.metadata, sources.report)
    out = folder / "store.zarr"
    build_store(sources, out, settings(**changes))
    return out, sources


def labels_of(path: Path) -> NDArray[np.bool_]:
    """Read all labels, shape ``(window, experiment)``."""
    store = Store(path)
    return unpack_labels(store.label_bits(), store.n_experiments)


def bins_of(path: Path) -> list[tuple[str, int]]:
    """List the bins of the windows."""
    windows = Store(path).windows
    return [
        (windows.chroms[code], int(start)) for code, start in zip(windows.chrom, windows.start, strict=True)
    ]


def files_of(path: Path) -> dict[str, bytes]:
    """Read all files."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def check_sound(path: Path, sources: Sources) -> None:
    """Hold a store against itself and all of its sources."""
    noted = Store(path).provenance["blacklist"] is not None
    report = verify_store(
        path, peaks=sources.peaks, fasta=sources.fasta, blacklist=sources.blacklist if noted else None
    )
    assert all(finding.sound for finding in report.findings), [
        finding for finding in report.findings if not finding.sound
    ]


def differing_arrays(path: Path, other: Path) -> list[str]:
    """Name the arrays that are not the same in both."""
    mine, theirs = Store(path).array_digests, Store(other).array_digests
    return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
