"""A repair from what is damaged to a store that verifies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mfdstore import schema
from mfdstore.build.gathering import gather_crew
from mfdstore.errors import StoreError
from mfdstore.manifest import FileFault, find_faults, has_manifest, read_manifest
from mfdstore.places.address import Address, AnyPlace, find_place
from mfdstore.places.files import LocalFiles
from mfdstore.publish import beside
from mfdstore.repair.bench import Bench, Lost, Repaired, RepairSources
from mfdstore.repair.experiments import mend_experiments
from mfdstore.repair.labels import mend_labels
from mfdstore.repair.metadata import mend_manifest, mend_metadata
from mfdstore.repair.sequence import mend_sequence
from mfdstore.repair.windows import mend_counts, mend_windows
from mfdstore.store import Store
from mfdstore.verify import verify_store
from mfdstore.verify.arrays import OnProgress
from mfdstore.verify.places import Places
from mfdstore.verify.report import VerifyReport


@dataclass(frozen=True)
class RepairReport:
    """What a repair did.

    Parameters
    ----------
    path
        Of the store.
    repaired
        Files that have their bytes back, and what they were made from.
    lost
        Files that could not be repaired, and why.
    """

    path: Path
    repaired: tuple[Repaired, ...]
    lost: tuple[Lost, ...]


def repair_store(
    path: AnyPlace,
    sources: RepairSources,
    *,
    n_jobs: int = 1,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> RepairReport:
    """Give damaged files of a store the bytes that the manifest has digests of.

    What the store itself still holds is used before any source. `verify_store` says afterwards whether it is sound.

    Parameters
    ----------
    path
        Of the store.
    sources
        Files that it was built from, as far as they are at hand.
    n_jobs
        Files digested, and peak files read, at a time.
    on_progress
        Told of each stage.

    Raises
    ------
    SourceError
        If a source that is needed is not the one that the store was built from.
    StoreError
        If there is no store, one that is not on this disk, or one without a manifest, which is damaged.
    """
    place = find_place(path)
    if isinstance(place, Address):
        raise StoreError(
            place,
            found="a store that is not on this disk",
            expected="a store on disk: files elsewhere are not changed",
            remedy=f"Fetch it (mfdstore copy {place} PATH --damaged), repair PATH, and copy that to another address.",
        )
    path, files = place, LocalFiles(place)
    if not has_manifest(files):
        if verify_store(path, n_jobs=n_jobs, on_progress=on_progress).sound:
            return RepairReport(path, (), ())
        raise StoreError(
            path,
            found="damage, and no manifest: an earlier mfd built it",
            expected="a manifest that says what the bytes of each file should be",
            remedy="Build the store again.",
        )
    with beside(path) as folder:
        manifest = read_manifest(files)
        repaired: list[Repaired] = []
        if manifest.faults:
            report = verify_store(path, n_jobs=n_jobs, on_progress=on_progress)
            repaired = _renew_manifest(path, report, folder)
            manifest = read_manifest(files)
            if manifest.faults:
                return RepairReport(path, (), tuple(_give_up_all(report)))
        faults = find_faults(files, manifest, n_jobs, lambda done, total: on_progress("files", done, total))
        bench = Bench(path, folder, manifest.digests, {fault.file: fault for fault in faults}, repaired)
        _put_back(bench)
        _remove_added(bench)
        mend_metadata(bench)
        if not any(file.endswith("zarr.json") and file in bench.digests for file in bench.faulty):
            _mend_arrays(bench, sources, n_jobs)
        lost = tuple(Lost(file, bench.reasons.get(file, "the metadata is lost too")) for file in bench.faulty)
        return RepairReport(path, tuple(bench.repaired), lost)


def _renew_manifest(path: Path, report: VerifyReport, folder: Path) -> list[Repaired]:
    """Write the manifest anew if nothing but the manifest is damaged; what was added is dealt with by that."""
    added = {damage.file for damage in report.damage if damage.fault == "added"}
    alone = all(_is_of_manifest(damage.file) for damage in report.damage if damage.file not in added)
    told = {f"file {file}" for file in added}
    checks = [
        finding
        for finding in report.findings
        if finding.check not in told and not finding.check.startswith(f"array {schema.MANIFEST}/")
    ]
    if alone and checks and all(finding.sound for finding in checks):
        return mend_manifest(path, folder / "manifest", added)
    return []


def _give_up_all(report: VerifyReport) -> Iterator[Lost]:
    """Say of all that is at fault why it stays so without a manifest."""
    for damage in report.damage:
        if not _is_of_manifest(damage.file):
            yield Lost(damage.file, "only the manifest could tell what it should be, and that is damaged too")
        elif damage.fault != "added":
            yield Lost(damage.file, "it can be made again only of a store that is otherwise whole")


def _is_of_manifest(file: str) -> bool:
    return file.startswith(f"{schema.MANIFEST}/")


def _put_back(bench: Bench) -> None:
    """Give files their places again that lie under the name of another, or under one that is no file of the store."""
    held: dict[bytes, str] = {}
    for fault in list(bench.faulty.values()):
        if fault.kind != "missing" and (bench.path / fault.file).is_file():
            with suppress(OSError):
                held.setdefault(LocalFiles(bench.path).digest(fault.file), fault.file)
    wanted = {
        name: held[bench.digests[name]]
        for name in bench.faulty
        if name in bench.digests and bench.digests[name] in held
    }
    # aside first: two files may have each other's names
    for name in dict.fromkeys(wanted.values()):
        aside = bench.folder / "misnamed" / name
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bench.path / name, aside)
    for name, found in wanted.items():
        bench.put(name, (bench.folder / "misnamed" / found).read_bytes(), f"{found}, which holds its bytes")
        if found in bench.faulty and bench.faulty[found].kind == "added":
            (bench.path / found).unlink()
            del bench.faulty[found]
            bench.repaired.append(Repaired(found, f"renamed to {name}"))


def _remove_added(bench: Bench) -> None:
    """Remove what zarr would take for chunks, or left behind; anything else is somebody's."""
    arrays = {file.removesuffix("/zarr.json") for file in bench.digests if file.endswith("/zarr.json")}
    for fault in _of_kind(bench.faulty, "added"):
        array, _, place = fault.file.rpartition("/c/")
        is_chunk = array in arrays and all(part.isdecimal() for part in place.split("/"))
        if is_chunk or fault.file.endswith(".partial"):
            (bench.path / fault.file).unlink()
            del bench.faulty[fault.file]
            bench.repaired.append(Repaired(fault.file, "removed: no file of the store"))
        else:
            bench.reasons[fault.file] = "it is no file of the store; move it away"


def _of_kind(faulty: Mapping[str, FileFault], kind: str) -> list[FileFault]:
    return [fault for fault in faulty.values() if fault.kind == kind]


def _mend_arrays(bench: Bench, sources: RepairSources, n_jobs: int) -> None:
    """Repair chunks, those first that others are made from."""
    store = Store(bench.path)
    faulty = {file: fault for file, fault in bench.faulty.items() if fault.kind != "added"}
    places = Places(LocalFiles(bench.path), faulty)
    damage = {file: places.damage(fault) for file, fault in faulty.items()}
    with gather_crew("threads", n_jobs) as crew:
        mend_experiments(bench, store, sources)
        mend_sequence(bench, store, sources.fasta)
        mend_windows(bench, store, sources, crew)
        mend_labels(bench, store, damage, sources.peaks, crew)
    mend_counts(bench, store)
