"""Peak files of the ENCODE portal and its tables of them, as a folder that a store is built from.

::

    FOLDER/metadata.tsv            one row a file
           experiment_report.tsv   one row an experiment: the lab, life stage and age are only here
           peaks/ENCFF000AAA.bed.gz
           withdrawn/              files of an earlier fetch that the portal no longer lists
           manifest.json           accession, md5, size, status and address of each file, written last
"""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mfdstore.errors import ConfigError, DownloadError
from mfdstore.fetch.manifest import Change, Manifest, PinnedFile
from mfdstore.fetch.plan import (
    METADATA,
    PEAKS,
    REPORT,
    WITHDRAWN,
    EncodePlan,
    Progress,
    Request,
    plan_encode,
    selection_queries,
    wanted_file,
)
from mfdstore.genomes import some
from mfdstore.sources.cache import LOCK, held
from mfdstore.sources.downloads import Wanted, digest_file, download_all, is_whole
from mfdstore.sources.portal import Portal
from mfdstore.sources.portal_queries import read_files_list

TABLES: Final = (METADATA, REPORT)


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did.

    Parameters
    ----------
    folder
        Where the files are.
    n_files, n_fetched, n_bytes
        Peak files there now, of which downloaded just now; bytes of all.
    changes
        What is worth knowing of single files.
    """

    folder: Path
    n_files: int
    n_fetched: int
    n_bytes: int
    changes: tuple[Change, ...]


def fetch_encode(
    folder: Path,
    request: Request,
    portal: Portal,
    *,
    jobs: int = 8,
    on_progress: Progress = lambda what, done, total: None,
) -> FetchReport:
    """Fetch peak files and tables; run again, it keeps what is whole and says what has become another.

    Parameters
    ----------
    folder
        Created if it does not exist.
    request
        What to fetch.
    portal
        Whom to ask.
    jobs
        Downloads at a time.
    on_progress
        Called as `Progress` says.

    Raises
    ------
    DownloadError
        If the portal does not answer, or some files cannot be had: the others are there.
    SourceError
        If a table is not what it should be.
    ConfigError
        If the disk has no room for it, or the folder holds tables of somebody else.
    """
    _check_own(folder)
    if request.files_list is not None:
        read_files_list(request.files_list, portal.address)  # before there is a folder
    with held(folder):
        plan = plan_encode(folder, request, portal, on_progress=on_progress)
        _check_room(plan)
        peaks = folder / PEAKS
        peaks.mkdir(exist_ok=True)
        _withdraw(plan)
        _write(folder / METADATA, plan.metadata)
        if plan.report is None:
            (folder / REPORT).unlink(missing_ok=True)
        else:
            _write(folder / REPORT, plan.report)
        wanted = [wanted_file(file, folder) for file in plan.lacking]
        faults = download_all(
            portal.web,
            wanted,
            jobs=jobs,
            on_progress=lambda done, total: on_progress("peak files", done, total),
        )
        if faults:
            raise DownloadError(
                folder,
                found=f"{len(faults)} of {len(plan.files):,} peak files that could not be had; the first: {faults[0]}",
                expected="all of them",
                remedy=f"They are {some([fault.where for fault in faults], 3)}. The others are whole and are kept.",
            )
        lacking = {file.accession for file in plan.lacking}
        files = tuple(
            _pin(file, folder) if not file.md5 or file.size is None else file for file in plan.files
        )
        tables = {name: folder / name for name in TABLES}
        digests = {
            name: digest_file(path, "md5").partition(":")[2] for name, path in tables.items() if path.exists()
        }
        Manifest(request.genome, plan.source, digests, files).write(folder)
        n_bytes = sum(file.size or 0 for file in files)
        return FetchReport(folder, len(files), len(lacking), n_bytes, plan.changes)


def find_pinned(folder: Path, request: Request) -> Manifest | None:
    """Give the manifest of a folder that holds what a selection fetched before, all of it and unchanged.

    So that what is built from the folder does not change under it: the portal writes some cells in another order each
    time.

    Raises
    ------
    SourceError
        If the manifest is damaged.
    """
    manifest = Manifest.read(folder)
    if manifest is None or manifest.source.get("queries") != list(selection_queries(request)):
        return None
    tables = [
        Wanted("", folder / name, f"md5:{md5}") for name, md5 in manifest.tables.items() if name in TABLES
    ]
    wanted = [*tables, *(wanted_file(file, folder) for file in manifest.files)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return manifest if all(pool.map(is_whole, wanted)) else None


def _pin(file: PinnedFile, folder: Path) -> PinnedFile:
    """Complete what the metadata does not say by what came."""
    path = folder / PEAKS / file.name
    return replace(file, md5=digest_file(path, "md5").partition(":")[2], size=path.stat().st_size)


def _check_room(plan: EncodePlan) -> None:
    free = shutil.disk_usage(plan.folder).free
    if plan.n_lacking_bytes > free:
        raise ConfigError(
            f"--out {plan.folder}",
            found=f"{free:,} bytes free",
            expected=f"{plan.n_lacking_bytes:,} bytes for the peak files",
            remedy="Make room, or choose another disk.",
        )


def _check_own(folder: Path) -> None:
    """Refuse to replace tables that no fetch wrote: the first thing that one writes is its lock."""
    theirs = [name for name in TABLES if (folder / name).exists()]
    if theirs and not (folder / LOCK).exists():
        raise ConfigError(
            f"--out {folder}",
            found=f"{theirs[0]} that no fetch wrote",
            expected="a folder of an earlier fetch, or one without tables",
            remedy="Choose another folder, or move the table away.",
        )


def _withdraw(plan: EncodePlan) -> None:
    """Move the files away that no row speaks of any more: a build would refuse them."""
    for name in plan.departed:
        path = plan.folder / PEAKS / Path(name).name
        if path.is_file():
            (plan.folder / WITHDRAWN).mkdir(exist_ok=True)
            path.replace(plan.folder / WITHDRAWN / path.name)


def _write(path: Path, content: bytes) -> None:
    """Replace a table all at once, unless it is there as it should be."""
    if path.is_file() and hashlib.md5(path.read_bytes()).digest() == hashlib.md5(content).digest():
        return
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
