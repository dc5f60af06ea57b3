"""One store on disk, opened for reading; docs/format.md describes what lies there.

The same arrays open with plain `xarray.open_zarr`; `Store` is the thin, checked way to them that the loader,
`verify` and the xarray engine share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.display import html_box, html_table, plain
from mfdstore.errors import RemoteError, StoreError
from mfdstore.genomes import Genome, some
from mfdstore.labels import unpack_labels
from mfdstore.metadata import Factor, FactorTable, decode_values
from mfdstore.opening import damaged, open_group, read_attributes
from mfdstore.places.address import AnyPlace, Place, find_place
from mfdstore.places.chunks import Chunks
from mfdstore.places.files import LocalFiles, RemoteFiles, Stamp, open_files
from mfdstore.windows import Tiling, WindowTable

T = TypeVar("T")

_AT_ONCE: Final = 16
"""Small arrays that are asked for side by side where each is an answer of a server."""
_TRIES: Final = 3
"""Readings of what is put anew meanwhile, with the same content."""


class Store:
    """A read-only view of a store.

    Opening reads the attributes only; each array is read when it is asked for. Arrays that are small beside the
    labels (windows, factors) are kept once read.

    Parameters
    ----------
    path
        Of the store's directory, or an address: ``s3://bucket/x.zarr``, ``https://host/x.zarr`` (docs/remote.md).
    since
        When it was opened first, if that was before: what was put under an address later is not read.

    Raises
    ------
    StoreError
        If there is no store, it is not one of ours, of a newer format version, or its attributes are damaged.
    RemoteError
        If its server cannot be reached or does not let us read.
    """

    def __init__(self, path: AnyPlace, *, since: datetime | None = None) -> None:
        self.path: Place = find_place(path)
        self.files: LocalFiles | RemoteFiles = open_files(self.path, since)
        before = self._stamp_now() if isinstance(self.path, Path) else None
        self._group = open_group(self.files)
        root = self._group.store
        self._stamp: Stamp | None = root.stamp if isinstance(root, Chunks) else before
        self._whole: set[str] = set()
        self.attributes = read_attributes(self.path, self._group)
        self.genome: str = self.attributes["genome"]
        self.bin_size: int = self.attributes["bin_size"]
        self.min_overlap: int = self.attributes["min_overlap"]
        self.min_experiments: int = self.attributes["min_experiments"]
        self.chroms: tuple[str, ...] = tuple(self.attributes["chroms"])
        self.chrom_sizes: tuple[int, ...] = tuple(self.attributes["chrom_sizes"])
        self.n_windows: int = self.attributes["n_windows"]
        self.n_experiments: int = self.attributes["n_experiments"]
        self.digest: str = self.attributes["digest"]
        self.array_digests: Mapping[str, str] = self.attributes["array_digests"]
        self.provenance: Mapping[str, Any] = self.attributes["provenance"]
        self._factors: list[Mapping[str, Any]] = self.attributes["factors"]

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Place, str, datetime | None]]:
        """Open again in another process, rather than send along what was read, or credentials."""
        return _open_same, (self.path, self.digest, self._since)

    @property
    def _since(self) -> datetime | None:
        return self.files.since if isinstance(self.files, RemoteFiles) else None

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Tell dask the store by its content: another one under the same name has other answers."""
        return str(self.path), self.digest

    def __repr__(self) -> str:
        """Say what the attributes hold; nothing else is read."""
        said = [f"{name:<12}{plain(value, 100)}" for name, value in self._describe()]
        return "\n".join([f"Store {plain(str(self.path), 200)}", *said])

    def _repr_html_(self) -> str:
        return html_box(f"Store {self.path}", html_table((), self._describe()))

    def _describe(self) -> list[tuple[str, str]]:
        roles = {
            role: [entry["name"] for entry in self._factors if entry["role"] == role] for role in schema.ROLES
        }
        return [
            ("genome", f"{self.genome}: {some(self.chroms)}; {sum(self.chrom_sizes):,} bp"),
            ("windows", f"{self.n_windows:,}, with bins of {self.bin_size} bp"),
            ("labels", f"of peaks that overlap a bin by {self.min_overlap} bp or more"),
            ("experiments", f"{self.n_experiments:,}"),
            *((role, some(names) if names else "no factors") for role, names in roles.items()),
            ("digest", self.digest),
        ]

    @cached_property
    def reference(self) -> Genome:
        """Names and lengths of the store's chromosomes, to read intervals and regions by."""
        return Genome(self.genome, dict(zip(self.chroms, self.chrom_sizes, strict=True)), {})

    @cached_property
    def tiling(self) -> Tiling:
        """Bins of its chromosomes, kept or not."""
        return Tiling(self.chroms, self.chrom_sizes, self.bin_size)

    @property
    def full_path(self) -> str:
        """Path or address that opens the store from any folder."""
        return str(self.path.resolve() if isinstance(self.path, Path) else self.path)

    @property
    def name(self) -> str:
        """Name of the directory, or last part of the address."""
        return self.path.absolute().name if isinstance(self.path, Path) else self.path.name

    @cached_property
    def experiments(self) -> tuple[str, ...]:
        """Accessions, in the order of the labels' bits."""
        return tuple(str(name) for name in self.read(schema.EXPERIMENT))

    @cached_property
    def columns(self) -> Mapping[str, int]:
        """Place of each experiment among the labels, by accession."""
        return {name: index for index, name in enumerate(self.experiments)}

    @cached_property
    def windows(self) -> WindowTable:
        """Where the windows are, and the split of each.

        Raises
        ------
        StoreError
            If an array is damaged, or a code stands for nothing.
        """
        codes = self._read_together((schema.START, schema.CHROM, schema.SPLIT))
        start = codes[schema.START]
        for name, n_codes in ((schema.CHROM, len(self.chroms)), (schema.SPLIT, len(schema.SPLITS))):
            if codes[name].shape != start.shape or ((codes[name] < 0) | (codes[name] >= n_codes)).any():
                raise damaged(
                    self.path, f"array {name} that is not {len(start)} codes from 0 to {n_codes - 1}"
                )
        return WindowTable(self.chroms, codes[schema.CHROM], start, codes[schema.SPLIT], self.bin_size)

    @cached_property
    def factors(self) -> FactorTable:
        """What is known of the experiments.

        Raises
        ------
        StoreError
            If an array is damaged, or is not what the attributes say of it.
        """
        factors = []
        read = self._read_together([entry["name"] for entry in self._factors])
        for entry in self._factors:
            name, kind = entry["name"], entry["kind"]
            stored = read[name]
            if (stored.dtype.kind == "f") != (kind in ("number", "date")):
                raise damaged(self.path, f"factor {name} of kind {kind} stored as {stored.dtype}")
            factors.append(Factor(name, kind, entry["role"], decode_values(kind, stored), entry["unit"]))
        try:
            return FactorTable(self.experiments, tuple(factors))
        except ValueError as error:
            raise damaged(self.path, f"factors that do not fit the experiments ({error})") from error

    @cached_property
    def n_positive(self) -> NDArray[np.int32]:
        """Count of experiments that label each window, shape ``(window,)``."""
        return self.read(schema.N_POSITIVE)

    def codes(self, chrom: str) -> NDArray[np.uint8]:
        """Read the dinucleotide codes of one chromosome, shape ``(position,)``; the last one is blank.

        Raises
        ------
        StoreError
            If the store has no such chromosome, or the array is damaged.
        """
        if chrom not in self.chroms:
            raise StoreError(
                self.path,
                found=f"no chromosome {chrom!r}",
                expected=f"one of {', '.join(self.chroms)}",
                remedy="Use the store's names; `mfdstore info` lists them.",
            )
        return self.read(f"{schema.SEQUENCE}/{chrom}")

    def label_bits(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Read packed labels of consecutive windows.

        Returns
        -------
        Shape ``(window, label_byte)``; 8 experiments a byte, the first in the high bit.
        """
        return self.read(schema.LABEL_BITS, slice(start, stop))

    def labels_of(self, experiment: int) -> NDArray[np.bool_]:
        """Read one experiment's labels over all windows, in one read, shape ``(window,)``."""
        bits = self.read(schema.LABEL_BITS_BY_EXPERIMENT, experiment)
        return unpack_labels(bits, self.n_windows)

    def array(self, name: str) -> zarr.Array[Any]:
        """Give the zarr array behind a name of the format.

        Raises
        ------
        StoreError
            If it is missing, or another store has taken the name since this one was opened.
        """
        if isinstance(self.path, Path):
            self.check_same()
        try:
            node = self._group[name]
        except KeyError as error:
            raise damaged(self.path, f"no array {name}") from error
        except (ValueError, TypeError, OSError) as error:
            raise damaged(self.path, f"array {name} with damaged metadata ({error})") from error
        if not isinstance(node, zarr.Array):
            raise damaged(self.path, f"{name} that is no array")
        return node

    def part(self, name: str, start: int, length: int) -> bytes:
        """Read a part of a file, as it lies there; a checksum in it is for the caller to test, as is `check_same`.

        Parameters
        ----------
        name
            Of the file, relative to the store, parts joined by ``/``.
        start
            First byte; counted from the file's end where it is negative.
        length
            In bytes; less is given where the file ends.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        OSError
            If it cannot be read, on a disk.
        StoreError
            If it was put there after the store was opened, elsewhere.
        RemoteError
            If it cannot be had, elsewhere.
        """
        root = self._group.store
        if isinstance(root, Chunks):
            return root.part(name, start, length)
        assert isinstance(self.files, LocalFiles)
        return self.files.part(name, start, length)

    def _stamp_now(self) -> Stamp | None:
        return self.files.stamp("zarr.json")

    def check_same(self) -> None:
        """Refuse another store of the name; one of the same content, copied or mended, is as good."""
        stamp = self._stamp_now()
        if stamp is None:
            _open_same(self.path, self.digest)
        elif stamp != self._stamp:
            now = _open_same(self.path, self.digest)
            self._group, self._whole, self._stamp = now._group, set(), stamp

    def read(self, name: str, selection: Any = slice(None)) -> NDArray[Any]:
        """Read (part of) an array; every chunk's checksum is tested on the way.

        Raises
        ------
        StoreError
            If a chunk is damaged or missing; the message names the array. Or if another store has taken the name.
        """
        return self._settled(lambda: self._read(name, selection))

    def _settled(self, read: Callable[[], T]) -> T:
        """Read, and refuse what may be of another store: looked for behind the reading, as it may have come meanwhile.

        What was read while the same content was put there anew is read again.
        """
        for left in reversed(range(_TRIES)):
            before = self._stamp
            try:
                found = read()
            except RemoteError:
                raise
            except StoreError:
                self.check_same()  # a chunk may be lost because another store is being put there
                if before == self._stamp or not left:
                    raise
            else:
                self.check_same()
                if before == self._stamp:
                    return found
        # put anew at each try, and each time what was opened
        return found

    def _read(self, name: str, selection: Any = slice(None)) -> NDArray[Any]:
        array = self.array(name)
        if isinstance(self.path, Path) and name not in self._whole:
            self._check_files(self.path, name, array)
        try:
            return np.asarray(array[selection])
        except (ValueError, RuntimeError, OSError, OverflowError) as error:
            raise damaged(self.path, f"array {name} with a damaged chunk ({error})") from error

    def _read_together(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Read small arrays; side by side where each would be waited for."""
        if isinstance(self.path, Path):
            return {name: self.read(name) for name in names}
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="read") as pool:
            return self._settled(lambda: dict(zip(names, pool.map(self._read, names), strict=True)))

    def _check_files(self, path: Path, name: str, array: zarr.Array[Any]) -> None:
        """Miss the files that were lost: zarr reads them as fill values, such as bins without a peak."""
        spans = zip(array.shape, array.shards or array.chunks, strict=True)
        n_expected = math.prod(-(-size // span) for size, span in spans)
        n_found = sum(
            entry.is_file() and entry.stat().st_size > 0 for entry in (path / name / "c").rglob("*")
        )
        if n_found < n_expected:
            found = f"array {name} with a damaged chunk ({n_found} of its {n_expected} files hold anything)"
            raise damaged(self.path, found)
        self._whole.add(name)


def _open_same(path: Place, digest: str, since: datetime | None = None) -> Store:
    """Open a store again, as it was then if that is told; refuse another that has taken its name."""
    store = Store(path, since=since)
    if store.digest != digest:
        raise StoreError(
            path,
            found=f"a store of digest {store.digest[:12]}, which has taken the name since",
            expected=f"digest {digest[:12]}, that of the store which was opened",
            remedy="Open the store again.",
        )
    return store
