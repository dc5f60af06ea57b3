"""What a fetch from the ENCODE portal would do: its tables, the files that they mean, and which of them are at hand."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mfdstore.errors import ConfigError, SourceError
from mfdstore.fetch.manifest import Change, Manifest, PinnedFile, compare
from mfdstore.genomes import some
from mfdstore.sources.bed import peak_stem
from mfdstore.sources.downloads import Wanted, is_whole
from mfdstore.sources.encode import read_experiments
from mfdstore.sources.portal import Portal
from mfdstore.sources.portal_queries import (
    Selection,
    download_address,
    read_files_list,
    select,
    write_queries,
)
from mfdstore.sources.releases import find_release
from mfdstore.sources.tables import Row, Table

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is."""

METADATA: Final = "metadata.tsv"
REPORT: Final = "experiment_report.tsv"
PEAKS: Final = "peaks"
WITHDRAWN: Final = "withdrawn"


@dataclass(frozen=True)
class Request:
    """What is to be fetched: one of a selection, a list of the portal's, or its metadata.

    Parameters
    ----------
    genome
        Name of the assembly; files of others are left out.
    selection
        What to ask the portal for.
    files_list
        A ``files.txt`` of the portal instead.
    metadata
        A ``metadata.tsv`` of the portal instead.
    report
        An experiment report that is at hand; asked for if not given.
    """

    genome: str
    selection: Selection = field(default_factory=Selection)
    files_list: Path | None = None
    metadata: Path | None = None
    report: Path | None = None

    def __post_init__(self) -> None:
        if self.files_list is not None and self.metadata is not None:
            raise ConfigError(
                "--files and --metadata",
                found="both",
                expected="one of them",
                remedy="Leave out one: a files.txt names its metadata itself.",
            )


@dataclass(frozen=True)
class EncodePlan:
    """What a fetch would do.

    Parameters
    ----------
    folder
        Where to.
    request
        What for.
    source
        The same for the manifest.
    metadata, report
        The tables; `report` is `None` if the portal knows none of the experiments.
    files
        All that shall be there.
    lacking
        Those of them that are not there yet, or not as they should be.
    departed
        Names of peak files of an earlier fetch that are not among `files`.
    changes
        What is worth knowing of single files.
    """

    folder: Path
    request: Request
    source: Mapping[str, Any]
    metadata: bytes
    report: bytes | None
    files: tuple[PinnedFile, ...]
    lacking: tuple[PinnedFile, ...]
    departed: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def n_lacking_bytes(self) -> int:
        """Bytes to download, of the files whose size is known."""
        return sum(file.size or 0 for file in self.lacking)


def plan_encode(
    folder: Path,
    request: Request,
    portal: Portal,
    *,
    on_progress: Progress = lambda what, done, total: None,
) -> EncodePlan:
    """Get the tables and find out what is to be fetched; writes nothing.

    Raises
    ------
    DownloadError, SourceError
        As `fetch_encode`.
    """
    earlier = Manifest.read(folder)
    on_progress("tables of the portal", 0, 2)
    metadata, source, unlisted = _metadata(request, portal)
    on_progress("tables of the portal", 1, 2)
    with tempfile.TemporaryDirectory(prefix="mfdstore-") as scratch:
        path = request.metadata or Path(scratch) / METADATA
        if request.metadata is None:
            path.write_bytes(metadata)
        try:
            rows = Table.read(path, required=("File accession",)).rows
            experiments = read_experiments(path, None, request.genome).factors.experiments
            wanted = {row["File accession"]: row for row in rows if row["File accession"] in set(experiments)}
            files = tuple(_describe(wanted[name], portal.address) for name in experiments)
            report = _report(request, portal, files)
            if report is not None:  # now rather than at the end of the download
                report_path = request.report or Path(scratch) / REPORT
                if request.report is None:
                    report_path.write_bytes(report)
                read_experiments(path, report_path, request.genome)
        except SourceError as error:
            raise _told_by_origin(error, Path(scratch), portal) from error
    on_progress("tables of the portal", 2, 2)
    before = {file.accession: file for file in earlier.files} if earlier else {}
    now = {file.accession for file in files}
    departed = [file for name, file in before.items() if name not in now]
    changes = (*compare(earlier, files), *_departures(departed, portal), *unlisted)
    lacking = _lacking(files, before, folder, on_progress)
    gone = tuple(file.name for file in departed)
    return EncodePlan(folder, request, source, metadata, report, files, lacking, gone, changes)


def _metadata(request: Request, portal: Portal) -> tuple[bytes, dict[str, Any], list[Change]]:
    """Get the metadata, what the manifest says of its origin, and which files of a list it lacks."""
    if request.metadata is not None:
        try:
            content = request.metadata.read_bytes()
        except OSError as error:
            raise SourceError(
                request.metadata,
                found=f"no readable file ({error.strerror})",
                expected="a metadata.tsv of the ENCODE portal",
                remedy="Check the path.",
            ) from error
        return content, {"kind": "metadata"}, []
    if request.files_list is not None:
        listed = read_files_list(request.files_list, portal.address)
        content = portal.metadata(listed.queries)
        lacking: frozenset[str] = frozenset()
        if listed.accessions is not None:
            content, lacking = _restrict(content, listed.accessions)
        unlisted = [
            Change(name, "unlisted", "is in the list, but the portal's metadata has it no more")
            for name in sorted(lacking)
        ]
        return content, {"kind": "files", "queries": list(listed.queries)}, unlisted
    queries = selection_queries(request)
    return portal.metadata(queries), {"kind": "selection", "queries": list(queries)}, []


def selection_queries(request: Request) -> tuple[str, ...]:
    """Write the selection of a request as the portal's queries; a genome of the user's own goes by its name."""
    if find_release(request.genome) is not None:
        return select(request.selection, request.genome)
    return write_queries(request.selection, request.genome, None)


def _restrict(metadata: bytes, accessions: frozenset[str]) -> tuple[bytes, frozenset[str]]:
    """Keep the rows of some files; also give those that have no row."""
    lines = metadata.splitlines(keepends=True)
    header = lines[0].decode(errors="replace").rstrip("\r\n").split("\t")
    column = header.index("File accession") if "File accession" in header else 0
    kept, found = [lines[0]], set()
    for line in lines[1:]:
        cells = line.decode(errors="replace").rstrip("\r\n").split("\t")
        if len(cells) > column and cells[column] in accessions:
            kept.append(line)
            found.add(cells[column])
    return b"".join(kept), accessions - found


def _describe(row: Row, portal: str) -> PinnedFile:
    address = download_address(row, portal)
    remedy = "Correct the cell, or get the table from the portal anew."
    if address is None:
        expected = f"the address of {row['File accession']} at {portal}"
        raise row.fault("File download URL", expected, f"Name its portal by MFD_ENCODE. {remedy}")
    name = address.rpartition("/")[2]
    if peak_stem(Path(name)) != row["File accession"]:
        raise row.fault("File download URL", "the address of a BED file", remedy)
    md5, size = row["md5sum"].lower(), row["Size"]
    if md5 and not re.fullmatch("[0-9a-f]{32}", md5):
        raise row.fault("md5sum", "32 hexadecimal digits, or an empty cell", remedy)
    if size and not re.fullmatch("[0-9]{1,15}", size):
        raise row.fault("Size", "a number of bytes, or an empty cell", remedy)
    return PinnedFile(
        accession=row["File accession"],
        experiment=row["Experiment accession"],
        name=name,
        md5=md5,
        size=int(size) if size else None,
        status=row["File Status"],
        address=address,
    )


def _report(request: Request, portal: Portal, files: Sequence[PinnedFile]) -> bytes | None:
    if request.report is not None:
        return request.report.read_bytes()
    return portal.report(file.experiment for file in files if file.experiment)


def _told_by_origin(error: SourceError, scratch: Path, portal: Portal) -> SourceError:
    """Name the portal instead of the passing file that its table was read from."""
    if not error.where.startswith(str(scratch)):
        return error
    return SourceError(
        f"{portal.address}, {Path(error.where).name}",
        line=error.line,
        found=error.found,
        expected=error.expected,
        remedy=error.remedy,
    )


def _departures(departed: Sequence[PinnedFile], portal: Portal) -> list[Change]:
    """Ask the portal what became of files that it no longer lists."""
    states = portal.states(file.accession for file in departed)
    changes = []
    for file in departed:
        state = states.get(file.accession)
        if state is None:
            what, detail = "unlisted", "is not to be found on the portal any more"
        elif state.status == (file.status or "released"):
            what, detail = "unlisted", f"is not in the selection any more ({state.status})"
        else:
            what, detail = state.status, f"is {state.status} now, was {file.status or 'listed'}"
        if state is not None and state.superseded_by:
            detail += f", and is replaced by {some(state.superseded_by)}"
        changes.append(Change(file.accession, what, f"{detail}; moved to {WITHDRAWN}/"))
    return changes


def _lacking(
    files: Sequence[PinnedFile], before: Mapping[str, PinnedFile], folder: Path, on_progress: Progress
) -> tuple[PinnedFile, ...]:
    """Find the files that are not there as they should be, by size and md5."""

    def lacks(file: PinnedFile) -> bool:
        known = file
        if not file.md5:  # then only the manifest says what was fetched
            earlier = before.get(file.accession)
            if earlier is None:
                return True
            known = replace(file, md5=earlier.md5)
        return not is_whole(wanted_file(known, folder))

    lacking = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (file, is_lacking) in enumerate(zip(files, pool.map(lacks, files), strict=True), start=1):
            if is_lacking:
                lacking.append(file)
            on_progress("files at hand", done, len(files))
    return tuple(lacking)


def wanted_file(file: PinnedFile, folder: Path) -> Wanted:
    """Say of a peak file where it is, where it shall be and what it must be."""
    digest = f"md5:{file.md5}" if file.md5 else None
    return Wanted(file.address, folder / PEAKS / file.name, digest, file.size, "the metadata")
