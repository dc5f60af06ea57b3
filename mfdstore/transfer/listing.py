"""Which files a store has, and whether bytes are those that were written as one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from mfdstore import schema
from mfdstore.errors import StoreError
from mfdstore.manifest import DIGESTS_FILE, NAMES_FILE, OWN_FILES, check_names, has_manifest, read_manifest
from mfdstore.places.files import Files
from mfdstore.shards import Grid, find_bad_chunks

ROOT: Final = "zarr.json"
_ONE_CHUNK: Final = Grid((1,), (1,), (1,))


class Listing:
    """The files that a store should have.

    Those of a store with a manifest are what it lists, each with its digest. Those of an older store are what the
    consolidated metadata describes, each chunk with its checksum. What else lies there is not of the store.

    Parameters
    ----------
    files
        Of the store.
    damaged
        Take a store whose manifest is damaged too, by what else tells of its files.

    Attributes
    ----------
    names
        Of all files, the root's ``zarr.json`` last.

    Raises
    ------
    StoreError
        If that cannot be told.
    """

    def __init__(self, files: Files, *, damaged: bool = False) -> None:
        self.files = files
        self._digests: Mapping[str, bytes] = {}
        self._grids: dict[str, tuple[Grid, tuple[int, ...]]] = {}
        names: set[str]
        manifest = read_manifest(files) if has_manifest(files) else None
        if manifest is not None and not manifest.faults:
            self._digests = manifest.digests
            names = {*manifest.digests, NAMES_FILE, DIGESTS_FILE}
            self._grids = {name: (_ONE_CHUNK, (0,)) for name in (NAMES_FILE, DIGESTS_FILE)}
        elif manifest is not None and not damaged:
            fault = manifest.faults[0]
            raise self._unknown(f"{fault.file} {fault.kind}: {fault.detail}")
        else:
            found = files.names() if damaged else None
            names = set(check_names(found)) if found is not None else self._described()
            if manifest is not None:
                names |= set(OWN_FILES)
        self.names = (*sorted(names - {ROOT}), ROOT)

    def knows(self, name: str) -> bool:
        """Say whether `find_fault` can tell anything of a file."""
        return name in self._digests or name in self._grids

    def find_fault(self, name: str, content: bytes) -> str | None:
        """Say what is wrong with the bytes of a file; `None` if they are those that were written."""
        digest = self._digests.get(name)
        if digest is not None:
            return None if hashlib.sha256(content).digest() == digest else "its SHA-256 is another"
        if name in self._grids and find_bad_chunks(content, *self._grids[name]):
            return "a checksum does not hold"
        return None

    def read(self, name: str) -> bytes:
        """Read a file and hold it against what is known of it.

        Raises
        ------
        StoreError
            If it is missing or not what was written.
        RemoteError
            If it cannot be had.
        """
        content, fault = self.take(name)
        if content is None or fault is not None:
            raise self._damaged(name, fault or "it is missing")
        return content

    def take(self, name: str) -> tuple[bytes | None, str | None]:
        """Read a file as it is; gives its bytes, `None` if it is missing, and what is wrong with it."""
        try:
            content = self.files.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return None, "it is missing"
        return content, self.find_fault(name, content)

    def _described(self) -> set[str]:
        """List the files that the consolidated metadata describes."""
        try:
            nodes: Mapping[str, Any] = json.loads(self.files.read(ROOT))["consolidated_metadata"]["metadata"]
            names = {ROOT, *(f"{node}/zarr.json" for node in nodes)}
            for node, described in nodes.items():
                if described["node_type"] != "array" or node.startswith(f"{schema.MANIFEST}/"):
                    continue
                grid = Grid.from_metadata(described)
                for place in np.ndindex(*grid.n_files):
                    file = tuple(map(int, place))
                    name = "/".join([node, "c", *map(str, file)])
                    names.add(name)
                    self._grids[name] = (grid, file)
            return set(check_names(names))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unknown(f"no consolidated metadata ({error})") from error

    def _unknown(self, found: str) -> StoreError:
        return StoreError(
            self.files.place,
            found=found,
            expected="a store that says which files it has",
            remedy="`mfdstore verify` says what is damaged, `mfdstore verify --repair` mends it on disk.",
        )

    def _damaged(self, name: str, fault: str) -> StoreError:
        return StoreError(
            self.files.place,
            found=f"file {name} damaged: {fault}",
            expected="a whole store",
            remedy="`mfdstore verify` says what is lost with it; `mfdstore copy --damaged` fetches it as it is, to be "
            "mended by `mfdstore verify --repair`.",
        )
