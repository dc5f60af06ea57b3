"""A store's root: found, opened, its attributes read; and the words for what is wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zarr

from mfdstore import schema
from mfdstore.attributes import find_fault
from mfdstore.errors import StoreError
from mfdstore.places.address import Address, Place
from mfdstore.places.files import LocalFiles, RemoteFiles


def open_group(files: LocalFiles | RemoteFiles) -> zarr.Group:
    """Open the group, to read; elsewhere with one request.

    Raises
    ------
    StoreError
        If there is none, or it is no Zarr group.
    """
    here = isinstance(files, LocalFiles)
    try:
        if isinstance(files, LocalFiles) and not files.place.is_dir():
            raise FileNotFoundError
        # elsewhere the root's one answer describes all arrays; here each is read, so that damage is told by name
        return zarr.open_group(
            files.zarr_store(), mode="r", zarr_format=3, use_consolidated=False if here else None
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise _no_store(files) from error


def _no_store(files: LocalFiles | RemoteFiles) -> StoreError:
    """Say why nothing could be opened; of a server this asks once more, for zarr does not tell."""
    expected = "a store made by `mfdstore build`"
    if isinstance(files, LocalFiles):
        if not files.place.is_dir():
            return StoreError(files.place, found="no directory", expected=expected, remedy="Check the path.")
        found = "a directory that is no Zarr version 3 group"
        remedy = "Check the path; build the store again if its zarr.json was lost."
        return StoreError(files.place, found=found, expected=expected, remedy=remedy)
    found = "a zarr.json that is that of no Zarr version 3 group"
    try:
        files.read("zarr.json")
    except FileNotFoundError:
        found = "no store (no zarr.json)"
    remedy = "Check the address; finish a build or copy that was broken off by the same command."
    return StoreError(files.place, found=found, expected=f"{expected}, whole", remedy=remedy)


def read_attributes(path: Place, group: zarr.Group) -> Mapping[str, Any]:
    """Read what the root says of the store.

    Raises
    ------
    StoreError
        If it is a group of another kind, of a newer format version, or lacks something.
    """
    attributes = group.attrs.asdict().get(schema.ATTRIBUTES)
    if not isinstance(attributes, dict) or attributes.get("format") != schema.FORMAT_NAME:
        raise StoreError(
            path,
            found="a Zarr group of another kind",
            expected="a store made by `mfdstore build`",
            remedy="Check the path.",
        )
    version = attributes.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise damaged(path, f"format version {version!r}")
    if version > schema.FORMAT_VERSION:
        raise StoreError(
            path,
            found=f"format version {version}",
            expected=f"at most {schema.FORMAT_VERSION}, which this mfd reads",
            remedy="Install a newer mfd (pip install --upgrade mfd).",
        )
    fault = find_fault(attributes)
    if fault is not None:
        raise damaged(path, fault)
    return attributes


def damaged(path: Place, found: str) -> StoreError:
    """Make the error for a store that is not as it was written, with what mends it there."""
    if isinstance(path, Address):
        remedy = (
            f"`mfdstore verify {path}` lists what is damaged; mend a copy on disk, then copy it there anew."
        )
    else:
        remedy = "`mfdstore verify` lists what is damaged, `mfdstore verify --repair` mends it."
    return StoreError(path, found=found, expected="a whole store", remedy=remedy)
