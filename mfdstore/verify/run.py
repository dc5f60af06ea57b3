"""One check of a store after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.manifest import FileFault, find_faults, has_manifest, read_manifest
from mfdstore.places.address import AnyPlace, find_place
from mfdstore.places.files import Files, open_files
from mfdstore.store import Store
from mfdstore.verify.arrays import OnProgress, check_arrays, check_consistency
from mfdstore.verify.labels import check_labels
from mfdstore.verify.places import Places, find_added, find_faults_by_checksum, find_metadata_faults
from mfdstore.verify.report import Damage, Finding, VerifyReport
from mfdstore.verify.sequence import check_sequence


def verify_store(
    path: AnyPlace,
    *,
    peaks: Path | None = None,
    fasta: Path | None = None,
    blacklist: Path | None = None,
    n_jobs: int = 1,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> VerifyReport:
    """Check a store, as far as the sources given allow.

    Files are held against the manifest first. Only if those of the store are as they were written, arrays are read and
    held against their digests and each other; only if these agree, sources are.

    Parameters
    ----------
    path
        Of the store, or its address on S3 or HTTP.
    peaks
        Folder of the peak files: recomputes every label, and which bins are kept.
    fasta
        The genome: compares every base.
    blacklist
        The BED file of the build, if it had one: needed with `peaks` to recompute which bins are kept.
    n_jobs
        Files digested and experiments joined at a time; more than one starts processes for many experiments.
    on_progress
        Told of each stage: files, arrays, labels, sequence, experiments.

    Raises
    ------
    ConfigError
        If there is a blacklist without peaks, which would not be read.
    StoreError
        If there is no store, or one of a newer format; damage within is a finding, not an error.
    RemoteError
        If a server does not answer: then nothing is known of what it holds.
    SourceError
        If a source cannot be read.
    """
    if blacklist is not None and peaks is None:
        raise ConfigError(
            "--blacklist",
            found="no --peaks beside it",
            expected="the peaks too: which bins should be kept is known from both",
            remedy="Pass --peaks, or leave out --blacklist.",
        )
    findings: list[Finding] = []
    place = find_place(path)
    files = open_files(place)
    faults = _find_faults(files, findings, n_jobs, on_progress)
    damage = describe(files, faults)
    findings += _sum_up(damage)
    if any(fault.kind != "added" and not fault.file.startswith(f"{schema.MANIFEST}/") for fault in faults):
        return VerifyReport(place, tuple(findings), damage)
    store = Store(place)
    arrays = list(check_arrays(store, n_jobs, on_progress))
    if all(finding.sound for finding in arrays):
        arrays += check_consistency(store, on_progress)
    # sources are read only for what the attributes describe as it is
    if any(finding.check == "attributes" and finding.sound for finding in arrays):
        if fasta is not None:
            arrays += check_sequence(store, fasta, on_progress)
        if peaks is not None:
            arrays += check_labels(store, peaks, blacklist, n_jobs, on_progress)
    return VerifyReport(place, (*findings, *arrays), damage)


def _find_faults(
    files: Files, findings: list[Finding], n_jobs: int, on_progress: OnProgress
) -> list[FileFault]:
    """Find the files that are not as they were written: by the manifest, or by what else there is."""
    if not has_manifest(files):
        store = Store(files.place)
        without = "the store has no manifest, for an earlier mfd built it; checksums of the chunks tell less"
        findings.append(Finding("files", None, without))
        return find_metadata_faults(files) + find_faults_by_checksum(store)
    manifest = read_manifest(files)
    if manifest.faults:
        store = Store(files.place)
        return [
            *manifest.faults,
            *find_metadata_faults(files),
            *find_faults_by_checksum(store),
            *find_added(store),
        ]
    faults = find_faults(files, manifest, n_jobs, lambda done, total: on_progress("files", done, total))
    if all(fault.file != "zarr.json" for fault in faults):
        Store(files.place)  # one of a newer format is to be told as such
    if not faults:
        findings.append(Finding("files", True, f"{len(manifest.digests)} files, as the manifest lists them"))
    return faults


def describe(files: Files, faults: Sequence[FileFault]) -> tuple[Damage, ...]:
    """Say what of a store is lost with files at fault."""
    places = Places(files, {fault.file for fault in faults})
    return tuple(places.damage(fault) for fault in faults)


def _sum_up(damage: Iterable[Damage]) -> Iterator[Finding]:
    """Give a finding an array, or a file that belongs to none."""
    parts: dict[str, list[Damage]] = {}
    for one in damage:
        parts.setdefault(f"array {one.array}" if one.array else f"file {one.file}", []).append(one)
    for check, found in parts.items():
        more = f", and {len(found) - 1} more files" if len(found) > 1 else ""
        yield Finding(check, False, f"{found[0].file} {found[0].fault}: {found[0].detail}{more}")
