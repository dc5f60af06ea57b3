"""What is at fault in a store, where files are prepared, and how one takes its place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zarr

from mfdstore import layout
from mfdstore.errors import SourceError
from mfdstore.manifest import FileFault
from mfdstore.publish import write_whole


@dataclass(frozen=True)
class RepairSources:
    """Files a store was built from, as far as they are at hand; see `build.settings.Sources`."""

    peaks: Path | None = None
    fasta: Path | None = None
    metadata: Path | None = None
    report: Path | None = None
    blacklist: Path | None = None


@dataclass(frozen=True)
class Repaired:
    """A file that has its bytes back, and what they were made from."""

    file: str
    source: str


@dataclass(frozen=True)
class Lost:
    """A file that could not be repaired, and why."""

    file: str
    reason: str


@dataclass
class Bench:
    """A store under repair.

    Parameters
    ----------
    path
        Of the store.
    folder
        Where files are prepared: below ``store`` under the names that they have in the store.
    digests
        SHA-256 of each file, from the manifest.
    faulty
        What is still at fault, by file.
    """

    path: Path
    folder: Path
    digests: Mapping[str, bytes]
    faulty: dict[str, FileFault]
    repaired: list[Repaired] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)

    def faults_of(self, array: str) -> list[str]:
        """List the chunks of an array that are still at fault."""
        # what was added beside them is no chunk
        return [file for file in self.faulty if file.startswith(f"{array}/c/") and file in self.digests]

    def is_whole(self, array: str) -> bool:
        """Say whether an array can be relied on."""
        return f"{array}/zarr.json" not in self.faulty and not self.faults_of(array)

    def give_up(self, array: str, reason: str) -> None:
        """Note why the chunks of an array are lost."""
        for file in self.faults_of(array):
            self.reasons[file] = reason

    def put(self, file: str, content: bytes, source: str) -> bool:
        """Give a file its place, if its bytes are those that the manifest has a digest of."""
        if hashlib.sha256(content).digest() != self.digests[file]:
            self.reasons[file] = (
                f"what is made from {source} has other bytes: other versions of zarr or zstd, or another source"
            )
            return False
        with suppress(OSError):
            (self.path / file).rmdir()  # an empty folder in its place
        write_whole(self.path / file, content)
        del self.faulty[file]
        self.reasons.pop(file, None)
        self.repaired.append(Repaired(file, source))
        return True

    def put_prepared(self, array: str, source: str) -> bool:
        """Give all chunks of an array that are at fault their places, from where they were prepared."""
        done = True
        for file in self.faults_of(array):
            prepared = self.folder / "store" / file
            done &= prepared.is_file() and self.put(file, prepared.read_bytes(), source)
        return done

    def prepare(self, array: str) -> zarr.Array[Any]:
        """Open an array to prepare chunks of, empty but for its description."""
        described = self.folder / "store" / array / "zarr.json"
        if not described.exists():
            write_whole(described, (self.path / array / "zarr.json").read_bytes())
        return layout.open_to_fill(self.folder / "store", array)


def check_source(md5: str, expected: object, where: str) -> None:
    """Refuse a file that is not the one that a store notes.

    Raises
    ------
    SourceError
        If its digest is another.
    """
    if md5 != expected:
        raise SourceError(
            where,
            found=f"md5 {md5}",
            expected=f"{expected}, as the store notes of the file that it was built from",
            remedy="Repair from the files of the build; to use others, build the store again.",
        )
