"""The files of a store by their names, wherever it lies."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from mfdstore.places.address import Address, Place
from mfdstore.places.chunks import Chunks
from mfdstore.places.connection import check_asking, connect, explain

if TYPE_CHECKING:
    from obstore.store import HTTPStore, S3Store
    from zarr.abc.store import Store


Stamp: TypeAlias = tuple[object, ...]


class Files(Protocol):
    """Reads the files of one store; names are relative to it, parts joined by ``/``."""

    @property
    def place(self) -> Place:
        """Where the store is, or would be."""
        ...

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        OSError
            If it cannot be read, on a disk.
        RemoteError
            If it cannot be read, elsewhere.
        """
        ...

    def digest(self, name: str) -> bytes:
        """Digest a file's bytes (SHA-256); raises as `read`."""
        ...

    def names(self) -> list[str] | None:
        """List all files, sorted, whatever they are; `None` where the server does not tell."""
        ...

    def zarr_store(self) -> str | Store:
        """Give what zarr opens to read them."""
        ...

    def stamp(self, name: str) -> Stamp | None:
        """Tell a file from a later one of its name, by what changes with it; `None` where that is not to be had."""
        ...


class LocalFiles:
    """The files of a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        return (self.place / name).read_bytes()

    def part(self, name: str, start: int, length: int) -> bytes:
        """Read a part of a file; from its end where `start` is negative."""
        # by the system's calls: a loader reads some thousand parts a second
        descriptor = os.open(f"{self.place}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if start < 0:
                start += os.fstat(descriptor).st_size
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)

    def digest(self, name: str) -> bytes:
        """Digest a file's bytes (SHA-256), some at a time."""
        with (self.place / name).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    def names(self) -> list[str]:
        """List all files, sorted."""
        return sorted(
            Path(folder, name).relative_to(self.place).as_posix()
            for folder, _, names in os.walk(self.place)
            for name in names
        )

    def zarr_store(self) -> str:
        """Give the path."""
        return str(self.place)

    def stamp(self, name: str) -> Stamp | None:
        """Tell a file from a later one of its name."""
        with suppress(OSError):
            found = (self.place / name).stat()
            return found.st_ino, found.st_mtime_ns, found.st_size
        return None


class RemoteFiles:
    """The objects below an address.

    Raises
    ------
    RemoteError
        If the environment holds no credentials for it.
    """

    def __init__(self, place: Address, since: datetime | None = None) -> None:
        self.place = place
        self.since = since or datetime.now(UTC)
        """What is put there later is not of the store."""
        self.client: S3Store | HTTPStore = connect(place)
        self._has_stamps = True

    @cached_property
    def _hasty(self) -> S3Store | HTTPStore:
        """A client for stamps: it keeps its connection from one to the next."""
        return connect(self.place, hasty=True)

    def read(self, name: str) -> bytes:
        """Read a whole object: none of a store is larger than a shard, some MB."""
        import obstore

        check_asking(self.place)
        try:
            return bytes(obstore.get(self.client, name).bytes())
        except (obstore.exceptions.BaseError, OSError) as error:
            raise missing_or_explained(self.place, error, name) from None

    def digest(self, name: str) -> bytes:
        """Digest an object's bytes (SHA-256)."""
        return hashlib.sha256(self.read(name)).digest()

    def names(self) -> list[str] | None:
        """List all objects, sorted; a server of plain HTTP has no list."""
        if self.place.scheme != "s3":
            return None
        return sorted(self.objects())

    def objects(self) -> dict[str, dict[str, Any]]:
        """List all objects of an address on S3, with what the server tells of each: ``size``, ``e_tag``."""
        import obstore

        check_asking(self.place)
        try:
            found = [entry for block in obstore.list(self.client) for entry in block]
        except (obstore.exceptions.BaseError, OSError) as error:
            raise explain(self.place, error) from None
        return {str(entry["path"]): dict(entry) for entry in found}

    def zarr_store(self) -> Chunks:
        """Give a store of zarr that misses what was lost."""
        return Chunks.of(self.place, self.client, self.since)

    def stamp(self, name: str) -> Stamp | None:
        """Tell an object from a later one of its name, by one request that brings nothing else.

        A server that does not answer such requests is not asked again.
        """
        import obstore

        check_asking(self.place)
        if not self._has_stamps:
            return None
        try:
            found = obstore.head(self._hasty, name)
        except FileNotFoundError:
            return None
        except (obstore.exceptions.BaseError, OSError):
            self._has_stamps = False
            return None
        return found["e_tag"], found["last_modified"], found["size"]


def missing_or_explained(address: Address, error: Exception, name: str) -> Exception:
    """Tell a file that is not there from one that cannot be had."""
    if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
        return FileNotFoundError(f"no {name} at {address}")
    return explain(address, error, name)


def open_files(place: Place, since: datetime | None = None) -> LocalFiles | RemoteFiles:
    """Give the files of a store that lies there, or is to lie there; elsewhere as they were then, if it is told."""
    return RemoteFiles(place, since) if isinstance(place, Address) else LocalFiles(place)
