"""What a damaged file holds: from its name, its chunks' checksums and what is left of the store."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.attributes import find_fault
from mfdstore.errors import StoreError
from mfdstore.genomes import some
from mfdstore.manifest import DIGESTS_FILE, METADATA_FILE, NAMES_FILE, FileFault, read_copy
from mfdstore.places.files import Files
from mfdstore.shards import Grid, find_bad_chunks
from mfdstore.store import Store
from mfdstore.verify.report import Damage

_DESCRIPTION: Final = "zarr.json"
Span = tuple[int, int]


class Places:
    """Says what the files of a store hold, as far as that can be told.

    Parameters
    ----------
    files
        Of the store.
    faulty
        Files that are not to be relied on.
    """

    def __init__(self, files: Files, faulty: Collection[str]) -> None:
        self._files = files
        self._faulty = faulty

    def damage(self, fault: FileFault) -> Damage:
        """Say what is lost with a file."""
        if fault.kind == "added":
            return Damage(fault.file, fault.kind, fault.detail, "nothing of the store")
        if fault.file == _DESCRIPTION:
            holds = "attributes of the store and the consolidated metadata"
            return Damage(fault.file, fault.kind, fault.detail, holds)
        if fault.file.endswith(f"/{_DESCRIPTION}"):
            array = fault.file.removesuffix(f"/{_DESCRIPTION}")
            return Damage(fault.file, fault.kind, fault.detail, f"description of {array}", array)
        array, file = self._split(fault.file)
        if array.startswith(f"{schema.MANIFEST}/"):
            what = {schema.FILE_NAMES: "names of all files", schema.FILE_DIGESTS: "digests of all files"}
            holds = what.get(array.split("/")[1], "copy of the metadata")
            return Damage(fault.file, fault.kind, fault.detail, holds, array)
        grid = self.grid(array)
        if grid is None or len(file) != len(grid.shape):
            holds = f"a part of {array}, whose description is damaged too"
            return Damage(fault.file, fault.kind, fault.detail, holds, array)
        return self._measure(fault, array, grid, file)

    def grid(self, array: str) -> Grid | None:
        """Give how an array is cut; `None` where nothing says it."""
        for described in self._described(f"{array}/{_DESCRIPTION}"):
            try:
                return Grid.from_metadata(described)
            except ValueError:
                continue
        return None

    @cached_property
    def attributes(self) -> Mapping[str, Any] | None:
        """What the format's attributes say; `None` where nothing says it."""
        for described in self._described(_DESCRIPTION):
            try:
                attributes = described["attributes"][schema.ATTRIBUTES]
            except (KeyError, TypeError):
                continue
            if isinstance(attributes, dict) and find_fault(attributes) is None:
                return attributes
        return None

    def _described(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Give what a metadata file says, and what its copy says."""
        texts = [self._copy.get(name, "")]
        if name not in self._faulty:
            with suppress(OSError, ValueError):
                texts.insert(0, self._files.read(name).decode())
        for text in texts:
            with suppress(ValueError):
                described = json.loads(text)
                if isinstance(described, dict):
                    yield described

    @cached_property
    def _copy(self) -> dict[str, str]:
        return read_copy(self._files)

    @cached_property
    def experiments(self) -> tuple[str, ...]:
        """Accessions in the order of the bits; none where they are lost."""
        values = self._vector(schema.EXPERIMENT)
        if values is not None:
            return tuple(map(str, values))
        peaks = ((self.attributes or {}).get("provenance") or {}).get("peaks")
        return tuple(peaks) if isinstance(peaks, dict) else ()

    @cached_property
    def _windows(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Chromosome codes and starts of all windows."""
        chrom, start = self._vector(schema.CHROM), self._vector(schema.START)
        if chrom is None or start is None or len(chrom) != len(start) or self.attributes is None:
            return None
        n_chroms = len(self.attributes["chroms"])
        return None if ((chrom < 0) | (chrom >= n_chroms)).any() else (chrom, start)

    def _vector(self, name: str) -> NDArray[Any] | None:
        """Read an array none of whose files is at fault."""
        if any(file == name or file.startswith(f"{name}/") for file in self._faulty):
            return None
        try:
            array = zarr.open_array(self._files.zarr_store(), path=name, mode="r", zarr_format=3)
            return np.asarray(array[...])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, StoreError):
            return None

    def _split(self, file: str) -> tuple[str, tuple[int, ...]]:
        """Part a chunk's file name into array and place: an array or chromosome may be called ``c``."""
        parts = file.split("/")
        behind = len(parts)
        while behind and parts[behind - 1].isdigit():
            behind -= 1
        if behind < 2 or parts[behind - 1] != "c":
            return file, ()
        return "/".join(parts[: behind - 1]), tuple(map(int, parts[behind:]))

    def _measure(self, fault: FileFault, array: str, grid: Grid, file: tuple[int, ...]) -> Damage:
        places = grid.chunks(file)
        bad = places
        detail = fault.detail
        if fault.kind == "damaged":
            with suppress(OSError):
                bad = find_bad_chunks(self._files.read(fault.file), grid, file)
            if not bad:
                # the bytes of another file, or written anew: nothing in it can be relied on
                bad, detail = places, f"{detail}, though its checksums hold"
        spans = [grid.span(file, place) for place in bad]
        windows, regions, experiments = self._locate(array, spans)
        holds = [f"{array}, {len(bad)} of {len(places)} chunks" if grid.sharded else array]
        if windows:
            holds.append("windows " + some(f"{low:,}-{high - 1:,}" for low, high in windows))
        if regions:
            holds.append(some(regions))
        if experiments:
            holds.append(some(experiments))
        elif not windows and not regions:
            holds.append("all experiments")
        return Damage(
            fault.file,
            fault.kind,
            detail,
            ": ".join([holds[0], ", ".join(holds[1:])]) if holds[1:] else holds[0],
            array,
            len(places),
            len(bad),
            tuple(bad),
            tuple(windows),
            tuple(regions),
            tuple(experiments),
        )

    def _locate(
        self, array: str, spans: Sequence[tuple[Span, ...]]
    ) -> tuple[list[Span], list[str], list[str]]:
        """Turn spans of an array into windows, regions and experiments."""
        first = _merged(span[0] for span in spans)
        if array.startswith(f"{schema.SEQUENCE}/"):
            chrom = array.removeprefix(f"{schema.SEQUENCE}/")
            return [], [f"{chrom}:{low:,}-{high:,}" for low, high in first], []
        if array == schema.LABEL_BITS_BY_EXPERIMENT:
            n_windows = (self.attributes or {}).get("n_windows")
            windows = _merged((8 * span[1][0], 8 * span[1][1]) for span in spans)
            if n_windows is not None:
                windows = [(low, min(high, n_windows)) for low, high in windows]
            return windows, self._regions(windows), self._names(first)
        if array in (schema.LABEL_BITS, *schema.COORDINATES):
            return first, self._regions(first), []
        whole = [(0, (self.attributes or {}).get("n_experiments", -1))]
        return [], [], [] if first == whole else self._names(first)

    def _names(self, spans: Iterable[Span]) -> list[str]:
        names = self.experiments
        return [
            names[index] if index < len(names) else f"experiment {index}"
            for low, high in spans
            for index in range(low, high)
        ]

    def _regions(self, windows: Iterable[Span]) -> list[str]:
        """Say from where to where windows lie on each chromosome."""
        if self._windows is None or self.attributes is None:
            return []
        chrom, start = self._windows
        bin_size = self.attributes["bin_size"]
        found = []
        for low, high in windows:
            codes = chrom[low:high]
            for code in np.unique(codes):
                rows = np.flatnonzero(codes == code) + low
                name = self.attributes["chroms"][code]
                found.append(f"{name}:{int(start[rows].min()):,}-{int(start[rows].max()) + bin_size:,}")
        return found


def find_faults_by_checksum(store: Store) -> list[FileFault]:
    """Find files that are missing, or damaged by their own checksums: where no manifest tells."""
    places = Places(store.files, ())
    faults = []
    for array in store.array_digests:
        grid = places.grid(array)
        if grid is None:
            continue  # found as metadata that is not what it should be
        for index in np.ndindex(*grid.n_files):
            file = tuple(map(int, index))
            name = "/".join([array, "c", *map(str, file)])
            try:
                content = store.files.read(name)
            except (FileNotFoundError, NotADirectoryError):
                faults.append(FileFault(name, "missing", "no such file"))
                continue
            except OSError as error:
                faults.append(FileFault(name, "damaged", f"it cannot be read ({error.strerror})"))
                continue
            if find_bad_chunks(content, grid, file):
                faults.append(
                    FileFault(name, "damaged", "a checksum does not hold" if content else "it is empty")
                )
    return faults


def find_added(store: Store) -> list[FileFault]:
    """Find files that no array or group of the store has: where no manifest tells, but a server what there is."""
    places = Places(store.files, ())
    arrays = [*store.array_digests, *(f"{schema.MANIFEST}/{part}" for part in schema.MANIFEST_ARRAYS)]
    nodes = [*arrays, schema.SEQUENCE, schema.MANIFEST]
    known = {_DESCRIPTION, *(f"{node}/{_DESCRIPTION}" for node in nodes)}
    known |= {NAMES_FILE, DIGESTS_FILE, METADATA_FILE}
    undescribed = []
    for array in arrays:
        grid = places.grid(array)
        if grid is None:
            undescribed.append(f"{array}/c/")  # which chunks it has is not known
            continue
        known |= {"/".join([array, "c", *map(str, file)]) for file in np.ndindex(*grid.n_files)}
    return [
        FileFault(name, "added", "it is of none of the store's arrays")
        for name in store.files.names() or ()
        if name not in known and not name.startswith(tuple(undescribed))
    ]


def find_metadata_faults(files: Files) -> list[FileFault]:
    """Find metadata that is not what its copy says, or, without a copy, the consolidated metadata."""
    copy = read_copy(files)
    expected: dict[str, Any] = {}
    try:
        root = json.loads(files.read(_DESCRIPTION))
        nodes = root.pop("consolidated_metadata")["metadata"]
        # groups are consolidated within others in another form
        expected |= {
            f"{name}/{_DESCRIPTION}": node for name, node in nodes.items() if node["node_type"] == "array"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [FileFault(_DESCRIPTION, "damaged", f"it holds no consolidated metadata ({error})")]
    expected |= {name: json.loads(text) for name, text in copy.items()}
    faults = []
    for name, content in sorted(expected.items()):
        try:
            found = root if name == _DESCRIPTION else json.loads(files.read(name))
        except FileNotFoundError:
            faults.append(FileFault(name, "missing", "no such file"))
            continue
        except (OSError, ValueError) as error:
            faults.append(FileFault(name, "damaged", f"it cannot be read ({error})"))
            continue
        if found != content:
            faults.append(FileFault(name, "damaged", "it is not what the copy of the metadata says"))
    return faults


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Put spans together that touch."""
    merged: list[Span] = []
    for low, high in sorted(set(spans)):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
