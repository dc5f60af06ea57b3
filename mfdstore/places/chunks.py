"""Objects below an address as zarr reads them, except that a chunk that is not there is no stretch of fill values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from zarr.storage import ObjectStore, WrapperStore

from mfdstore.errors import StoreError
from mfdstore.places.address import Address
from mfdstore.places.connection import connect, explain, is_beyond

if TYPE_CHECKING:
    from obstore.store import HTTPStore, S3Store
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_CHUNK: Final = re.compile(r"(?P<array>.+)/c(?:/\d+)+")


class Chunks(WrapperStore["ObjectStore[S3Store | HTTPStore]"]):
    """A read-only store of zarr.

    mfdstore writes every chunk, so one that is missing was lost, and zarr would read fill values in its stead: bins
    without a peak. This holds for stores with a manifest and without, and needs no list of files.
    """

    def __init__(self, store: ObjectStore[S3Store | HTTPStore], address: Address | None = None) -> None:
        super().__init__(store)
        self._address = address

    @classmethod
    def of(cls, address: Address, client: S3Store | HTTPStore) -> Chunks:
        """Read by a client of the server."""
        return cls(ObjectStore(client, read_only=True), address)

    def _with_store(self, store: ObjectStore[S3Store | HTTPStore]) -> Chunks:
        return Chunks(store, self._address)

    def __reduce__(self) -> tuple[object, tuple[Address]]:
        """Connect again in another process, with the credentials of its environment."""
        assert self._address is not None
        return _reopen, (self._address,)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object, or a part of it; `None` for metadata that is not there.

        Raises
        ------
        StoreError
            If it is a chunk and missing, or cannot be had.
        """
        from obstore.exceptions import BaseError

        assert self._address is not None
        chunk = _CHUNK.fullmatch(key)
        try:
            found = await self._store.get(key, prototype, byte_range)
        except (BaseError, OSError) as error:
            if chunk is not None and is_beyond(error):
                raise self._lost(chunk["array"], f"{key} is too short") from None
            raise explain(self._address, error, key) from None
        if found is None and chunk is not None:
            raise self._lost(chunk["array"], f"no {key}")
        if found is not None and chunk is not None and len(found) == 0:
            # zarr would take a shard of nothing for one of fill values
            raise self._lost(chunk["array"], f"{key} is empty")
        return found

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


def _reopen(address: Address) -> Chunks:
    return Chunks.of(address, connect(address))
