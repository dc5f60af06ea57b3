"""Objects below an address as zarr reads them, except that a chunk that is not there is no stretch of fill values.

Nor is a chunk read that was put there after the store was opened: it is of another store, whose root may come later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import ObjectStore, WrapperStore

from mfdstore.errors import StoreError
from mfdstore.places.address import Address
from mfdstore.places.connection import check_asking, connect, explain, is_beyond

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import HTTPStore, S3Store
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_ROOT: Final = "zarr.json"
_CHUNK: Final = re.compile(r"(?P<array>.+)/c(?:/\d+)+")


class Chunks(WrapperStore["ObjectStore[S3Store | HTTPStore]"]):
    """A read-only store of zarr.

    mfdstore writes every chunk, so one that is missing was lost, and zarr would read fill values in its stead: bins
    without a peak. This holds for stores with a manifest and without, and needs no list of files.
    """

    def __init__(
        self,
        store: ObjectStore[S3Store | HTTPStore],
        address: Address | None = None,
        since: datetime | None = None,
    ) -> None:
        super().__init__(store)
        self._address = address
        self._since = since
        self.stamp: tuple[object, ...] | None = None
        """What came with the root, as `RemoteFiles.stamp` gives it."""

    @classmethod
    def of(cls, address: Address, client: S3Store | HTTPStore, since: datetime) -> Chunks:
        """Read by a client of the server, for a store that was opened then."""
        return cls(ObjectStore(client, read_only=True), address, since)

    def _with_store(self, store: ObjectStore[S3Store | HTTPStore]) -> Chunks:
        return Chunks(store, self._address, self._since)

    def __reduce__(self) -> tuple[object, tuple[Address, datetime]]:
        """Connect again in another process, with the credentials of its environment."""
        assert self._address is not None
        assert self._since is not None
        return _reopen, (self._address, self._since)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object, or a part of it; `None` for metadata that is not there.

        Raises
        ------
        StoreError
            If it is a chunk and missing, cannot be had, or was put there after the store was opened.
        """
        import obstore
        from obstore.exceptions import BaseError

        assert self._address is not None
        assert self._since is not None
        check_asking(self._address)
        chunk = _CHUNK.fullmatch(key)
        try:
            answer = await obstore.get_async(self._store.store, key, options=_options(byte_range))
            changed = answer.meta["last_modified"]
            found: Buffer | None = prototype.buffer.from_bytes(await answer.bytes_async())  # type: ignore[arg-type]
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise explain(self._address, error, key) from None
            found = None
        except (BaseError, OSError) as error:
            if chunk is not None and is_beyond(error):
                raise self._lost(chunk["array"], f"{key} is too short") from None
            raise explain(self._address, error, key) from None
        if found is None:
            if chunk is not None:
                raise self._lost(chunk["array"], f"no {key}")
            return None
        if key == _ROOT:
            self.stamp = (answer.meta["e_tag"], changed, answer.meta["size"])
            # by the server's clock, where that of this machine is behind
            self._since = max(self._since, changed)
        else:
            self._check_time(key, changed)
        if chunk is not None and len(found) == 0:
            # zarr would take a shard of nothing for one of fill values
            raise self._lost(chunk["array"], f"{key} is empty")
        return found

    def part(self, key: str, start: int, length: int) -> bytes:
        """Read a part of a chunk's object, without an event loop; from its end where `start` is negative.

        Raises
        ------
        StoreError
            If it is missing, is too short, or was put there after the store was opened.
        RemoteError
            If it cannot be had.
        """
        import obstore
        from obstore.exceptions import BaseError

        assert self._address is not None
        check_asking(self._address)
        chunk = _CHUNK.fullmatch(key)
        array = chunk["array"] if chunk is not None else key
        options: GetOptions = {"range": {"suffix": length} if start < 0 else (start, start + length)}
        try:
            answer = obstore.get(self._store.store, key, options=options)
            self._check_time(key, answer.meta["last_modified"])
            return bytes(answer.bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise explain(self._address, error, key) from None
            raise self._lost(array, f"no {key}") from None
        except (BaseError, OSError) as error:
            if is_beyond(error):
                raise self._lost(array, f"{key} is too short") from None
            raise explain(self._address, error, key) from None

    def _check_time(self, key: str, changed: datetime) -> None:
        """Refuse what is not of the store that was opened."""
        assert self._since is not None
        if changed > self._since:
            raise StoreError(
                self._address,
                found=f"{key}, put there after the store was opened",
                expected="the store that was opened",
                remedy="Open it again, when whoever replaces it is done.",
            )

    def _lost(self, array: str, why: str) -> StoreError:
        return StoreError(
            self._address,
            found=f"array {array} with a damaged chunk ({why})",
            expected="a whole store",
            remedy=f"`mfdstore verify {self._address}` says what else is damaged; copy the store there anew.",
        )

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects one by one, so that none is missing unseen."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]


def _options(part: ByteRequest | None) -> GetOptions:
    """Ask for a part in the client's words."""
    if isinstance(part, RangeByteRequest):
        return {"range": (part.start, part.end)}
    if isinstance(part, OffsetByteRequest):
        return {"range": {"offset": part.offset}}
    if isinstance(part, SuffixByteRequest):
        return {"range": {"suffix": part.suffix}}
    return {}


def _reopen(address: Address, since: datetime) -> Chunks:
    return Chunks.of(address, connect(address), since)
