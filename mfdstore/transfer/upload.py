"""A store to S3, so that nothing there is a store until it is whole, and no two stores ever mix.

Every object is put create-only, so none is ever overwritten; the root's ``zarr.json``, without which nothing opens, is
put last, when all others are there with the bytes that they should have. Whoever else writes to the same name is
stopped at the first object that differs. What a killed upload left is found, compared, and not sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from mfdstore.errors import RemoteError, StoreError
from mfdstore.genomes import some
from mfdstore.places.address import Address
from mfdstore.places.connection import explain
from mfdstore.places.files import RemoteFiles
from mfdstore.publish import ROOT_MARK
from mfdstore.transfer.listing import ROOT, Listing
from mfdstore.transfer.side import side_by_side

_FREE: Final = "a name that is free"


def open_target(address: Address) -> RemoteFiles:
    """Give the files of an address that may be written.

    Raises
    ------
    StoreError
        If it is one of plain HTTP.
    RemoteError
        If the environment holds no credentials.
    """
    if address.scheme != "s3":
        raise StoreError(
            address,
            found="an address of plain HTTP, which is read only",
            expected="a path or s3://bucket/folder/x.zarr to write to",
            remedy="Write to disk, or to S3.",
        )
    return RemoteFiles(address)


def check_free_for(target: RemoteFiles, *, begun: bool = True) -> Mapping[str, Mapping[str, Any]]:
    """Refuse a name that holds a store, or what another upload left.

    Parameters
    ----------
    target
        Where the store will lie.
    begun
        Whether this one may have left objects there before.

    Returns
    -------
    What is there already, by name.

    Raises
    ------
    RemoteError
        If there is a store, or something that cannot be of this one, or the server does not tell.
    """
    there = target.objects()
    if ROOT in there:
        raise _taken(target.place)
    _check_above(target.place)
    if there and not begun:
        raise _left(target.place, sorted(there))
    return there


def _check_above(place: Address) -> None:
    """Refuse a name within another store, which what is put there would spoil."""
    parts = place.key.split("/")
    for n_parts in range(1, len(parts)):
        above = Address(f"s3://{place.bucket}/{'/'.join(parts[:n_parts])}")
        try:
            if ROOT_MARK not in RemoteFiles(above).read(ROOT):
                continue
        except (FileNotFoundError, RemoteError):
            continue  # nothing there, or nothing that may be read with these credentials
        raise RemoteError(
            place,
            found=f"a name within the store {above}",
            expected=_FREE,
            remedy="Choose a name beside it.",
        )


def upload(source: Listing, target: RemoteFiles, on_progress: Callable[[int, int], None]) -> int:
    """Put all files of a store there.

    Parameters
    ----------
    source
        Of the store; each file is held against it before it is sent.
    target
        Where it will lie.
    on_progress
        Called with files done and their number.

    Returns
    -------
    How many objects were there already.

    Raises
    ------
    StoreError
        If a file of the source is damaged.
    RemoteError
        If there is a store of that name, or objects that are not of this store, or the server fails; then what was
        sent stays.
    """
    there = check_free_for(target)
    if foreign := sorted(set(there) - set(source.names)):
        raise _left(target.place, foreign)
    reused = []

    def send(name: str) -> None:
        if _put(target, name, source.read(name), there.get(name)):
            reused.append(name)

    *others, root = source.names
    total = len(source.names)
    side_by_side(send, others, lambda done: on_progress(done, total))
    if gone := sorted(set(others) - set(target.objects())):
        raise RemoteError(
            target.place,
            found=f"objects that were removed meanwhile: {some(gone)}",
            expected="all that was sent",
            remedy="Run it again; what is there is not sent twice.",
        )
    send(root)
    on_progress(total, total)
    return len(reused)


def _put(target: RemoteFiles, name: str, content: bytes, there: Mapping[str, Any] | None) -> bool:
    """Put an object, or make sure that it is there; says whether it was.

    Where the server tells no MD5 (encryption by keys of its own), the object is read back.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError

    if there is not None and there["size"] == len(content):
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if str(there["e_tag"]).strip('"') == digest:
            return True
    try:
        obstore.put(target.client, name, content, mode="create", use_multipart=False)
    except AlreadyExistsError:
        # also where the answer to our own first try was lost
        try:
            same = target.read(name) == content
        except FileNotFoundError:
            raise RemoteError(
                target.place,
                found=f"a server that neither has nor takes {name}",
                expected="one or the other",
                remedy="Run it again; what was sent is not sent twice.",
            ) from None
        if not same:
            raise (_taken(target.place) if name == ROOT else _left(target.place, [name])) from None
        return True
    except (BaseError, OSError) as error:
        raise explain(target.place, error, name) from None
    return False


def _taken(address: object) -> RemoteError:
    return RemoteError(
        address,
        found="something there already",
        expected=_FREE,
        remedy="Remove it, or choose another name for it.",
    )


def _left(address: object, names: list[str]) -> RemoteError:
    return RemoteError(
        address,
        found=f"objects of another upload, that goes on or was broken off: {some(names)}",
        expected=_FREE,
        remedy="Wait for it or finish it by its own command; or remove what lies there; or choose another name.",
    )
