"""The arrays of a store on disk, as docs/format.md lays them down: shapes, chunks, codecs, attributes, manifest.

Who fills them is another matter: `writer` does it row by row, `build` by tasks that own whole shards.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArrayConfigLike

from mfdstore import schema
from mfdstore.dinucleotides import BLANK
from mfdstore.metadata import Factor, FactorTable
from mfdstore.provenance import combine_digests, digest_values
from mfdstore.schema import n_bytes
from mfdstore.shard_bytes import ZSTD_LEVEL

_CODECS: Final = (ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec())
_CODES_PER_CHUNK: Final = 1 << 17
_VALUES_PER_CHUNK: Final = 1 << 18
_WINDOW_BYTES_PER_CHUNK: Final = 1 << 16
_CONFIG: Final[ArrayConfigLike] = {"write_empty_chunks": True}
"""A chunk of nothing but fill values is written all the same: then a missing file is a lost one."""
_PARTIAL: Final = "*.partial"
"""Files that zarr had not finished when it was killed."""


def create_root(path: Path) -> zarr.Group:
    """Make the root group of a store and that of its sequence; both may be there from before."""
    root = zarr.open_group(str(path), mode="a", zarr_format=3)
    root.require_group(schema.SEQUENCE)
    return root


def remove_others(path: Path, chroms: Sequence[str], factors: FactorTable) -> None:
    """Remove the arrays that a store of other chromosomes and factors left where this one is being written."""
    here = {
        schema.SEQUENCE,
        schema.LABEL_BITS,
        schema.LABEL_BITS_BY_EXPERIMENT,
        *schema.COORDINATES,
        *factors.names,
    }
    for folder, kept in ((path, here), (path / schema.SEQUENCE, {*chroms})):
        for entry in folder.iterdir():
            if entry.is_dir() and entry.name not in kept:
                shutil.rmtree(entry)


def create_codes(root: zarr.Group, chrom: str, size: int) -> zarr.Array[Any]:
    """Make the array of a chromosome's codes, shape ``(position,)``."""
    return _create(
        root,
        f"{schema.SEQUENCE}/{chrom}",
        shape=(size,),
        dtype=np.dtype(np.uint8),
        dims=(schema.POSITION,),
        chunks=(_CODES_PER_CHUNK,),
        shards=(schema.CODES_PER_SHARD,),
        fill_value=BLANK,
        keep=True,
    )


def create_label_bits(root: zarr.Group, n_windows: int, n_experiments: int) -> zarr.Array[Any]:
    """Make the array of labels in the order of windows, shape ``(window, label_byte)``."""
    width = n_bytes(n_experiments)
    return _create(
        root,
        schema.LABEL_BITS,
        shape=(n_windows, width),
        dtype=np.dtype(np.uint8),
        dims=(schema.WINDOW, schema.LABEL_BYTE),
        chunks=(schema.ROWS_PER_CHUNK, width),
        shards=(schema.ROWS_PER_SHARD, width),
        keep=True,
    )


def create_label_bits_by_experiment(root: zarr.Group, n_windows: int, n_experiments: int) -> zarr.Array[Any]:
    """Make the array of labels in the order of experiments, shape ``(experiment, window_byte)``."""
    width = n_bytes(n_windows)
    return _create(
        root,
        schema.LABEL_BITS_BY_EXPERIMENT,
        shape=(n_experiments, width),
        dtype=np.dtype(np.uint8),
        dims=(schema.EXPERIMENT, schema.WINDOW_BYTE),
        chunks=(1, _WINDOW_BYTES_PER_CHUNK),
        shards=(
            schema.EXPERIMENTS_PER_SHARD,
            -(-width // _WINDOW_BYTES_PER_CHUNK) * _WINDOW_BYTES_PER_CHUNK,
        ),
        keep=True,
    )


def open_to_fill(path: Path, name: str) -> zarr.Array[Any]:
    """Open an array of a store that is being written, from another thread or process than the one that made it."""
    # how empty chunks are written is a choice of the writer that zarr does not keep with the array
    return zarr.open_array(str(path), path=name, mode="r+", zarr_format=3).with_config(_CONFIG)


def write_coordinate(root: zarr.Group, name: str, values: NDArray[Any], chroms: Sequence[str]) -> str:
    """Write a coordinate of the windows; gives its digest."""
    return _write_vector(root, name, values, schema.WINDOW, _flags(name, chroms))


def write_factors(root: zarr.Group, factors: FactorTable) -> dict[str, str]:
    """Write the experiments and what is known of them; gives the digest of each array."""
    digests = {
        schema.EXPERIMENT: _write_vector(
            root, schema.EXPERIMENT, _strings(factors.experiments), schema.EXPERIMENT, {}
        )
    }
    for factor in factors:
        digests[factor.name] = _write_vector(
            root, factor.name, encode_values(factor), schema.EXPERIMENT, _describe(factor)
        )
    return digests


def finish(
    path: Path,
    *,
    factors: FactorTable,
    chroms: Sequence[str],
    chrom_sizes: Sequence[int],
    n_windows: int,
    digests: Mapping[str, str],
    attributes: Mapping[str, Any],
) -> str:
    """Write the attributes, the consolidated metadata and the manifest: the last that is written of a store.

    Parameters
    ----------
    path
        Of the store's directory.
    factors, chroms, chrom_sizes, n_windows
        What the arrays hold; lengths in bp.
    digests
        Of the values of each array, by name.
    attributes
        What the format's attributes hold beside these.

    Returns
    -------
    The store's digest, in hexadecimal.
    """
    described = {
        "format": schema.FORMAT_NAME,
        "format_version": schema.FORMAT_VERSION,
        "chroms": list(chroms),
        "chrom_sizes": list(chrom_sizes),
        "n_windows": n_windows,
        "n_experiments": len(factors),
        "factors": [
            {"name": factor.name, "kind": factor.kind, "role": factor.role, "unit": factor.unit}
            for factor in factors
        ],
        "array_digests": dict(sorted(digests.items())),
        **attributes,
    }
    digest = combine_digests(digests, described)
    root = zarr.open_group(str(path), mode="r+", zarr_format=3, use_consolidated=False)
    root.attrs.put(
        {
            "coordinates": " ".join([*schema.COORDINATES, *factors.names]),
            schema.ATTRIBUTES: described | {"digest": digest},
        }
    )
    for left in path.rglob(_PARTIAL):
        if left.is_file():  # a sequence may have such a name
            left.unlink()
    write_manifest(path)
    return digest


def write_manifest(path: Path) -> None:
    """Write the consolidated metadata, a copy of all metadata, and the digest of each file.

    The copy is what each ``zarr.json`` says, that of the root as it is before it is consolidated: so none that is
    damaged is lost. The chunks of names and digests are under the checksum of their codec alone.
    """
    root = zarr.open_group(str(path), mode="r+", zarr_format=3, use_consolidated=False)
    root.attrs.put(root.attrs.asdict())  # as it is without what was consolidated before
    manifest = root.require_group(schema.MANIFEST)
    own = {f"{schema.MANIFEST}/{part}/zarr.json" for part in schema.MANIFEST_ARRAYS}
    own |= {f"{schema.MANIFEST}/zarr.json", f"{schema.MANIFEST}/{schema.METADATA}/c/0"}
    files = sorted(
        own
        | {
            file.relative_to(path).as_posix()
            for file in path.rglob("*")
            if file.is_file() and not file.is_relative_to(path / schema.MANIFEST)
        }
    )
    names = _create(
        manifest,
        schema.FILE_NAMES,
        shape=(len(files),),
        dtype=np.dtype(object),
        dims=(schema.FILE,),
        chunks=(len(files),),
    )
    digests = _create(
        manifest,
        schema.FILE_DIGESTS,
        shape=(len(files), hashlib.sha256().digest_size),
        dtype=np.dtype(np.uint8),
        dims=(schema.FILE, schema.DIGEST_BYTE),
        chunks=(len(files), hashlib.sha256().digest_size),
    )
    described = {
        name: (path / name).read_text()
        for name in files
        if name.endswith("zarr.json") and name != f"{schema.MANIFEST}/{schema.METADATA}/zarr.json"
    }
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    copy = _create(
        manifest,
        schema.METADATA,
        shape=(len(text),),
        dtype=np.dtype(np.uint8),
        dims=(schema.METADATA_BYTE,),
        chunks=(len(text),),
    )
    copy[...] = np.frombuffer(text, np.uint8)
    with warnings.catch_warnings():
        # consolidated metadata is not yet in the Zarr 3 text; readers that do not know it ignore it
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(root.store)
    names[...] = _strings(files)
    digests[...] = np.stack([digest_file(path / name) for name in files])


def digest_file(path: Path) -> NDArray[np.uint8]:
    """Digest a file's bytes as they lie on disk (SHA-256), shape ``(digest_byte,)``."""
    with path.open("rb") as handle:
        return np.frombuffer(hashlib.file_digest(handle, "sha256").digest(), np.uint8)


def _write_vector(
    root: zarr.Group, name: str, values: NDArray[Any], dim: str, attributes: Mapping[str, Any]
) -> str:
    array = _create(
        root,
        name,
        shape=values.shape,
        dtype=values.dtype,
        dims=(dim,),
        chunks=(max(1, min(len(values), _VALUES_PER_CHUNK)),),
        attributes=attributes,
    )
    array[...] = values
    return digest_values(values)


def _create(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    dims: tuple[str, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None = None,
    fill_value: Any = None,
    attributes: Mapping[str, Any] | None = None,
    keep: bool = False,
) -> zarr.Array[Any]:
    """Make an array, in place of any other; with `keep`, one of this shape stays with what it holds."""
    if keep:
        there = group.get(name)
        if isinstance(there, zarr.Array) and (there.shape, there.chunks, there.shards) == (
            shape,
            chunks,
            shards,
        ):
            return there.with_config(_CONFIG)
    return group.create_array(
        name,
        shape=shape,
        dtype=str if dtype.kind == "O" else dtype,
        chunks=chunks,
        shards=shards,
        compressors=_CODECS,
        fill_value=fill_value,
        dimension_names=dims,
        attributes=dict(attributes or {}),
        config=_CONFIG,
        overwrite=True,
    )


def encode_values(factor: Factor) -> NDArray[Any]:
    """Turn a factor's values into what is stored: text, or float64; missing is the empty string or NaN."""
    if factor.kind == "number":
        return factor.values.astype(np.float64)
    if factor.kind == "date":
        days = factor.values.astype("datetime64[D]").astype(np.int64).astype(np.float64)
        days[factor.missing] = np.nan
        return days
    if factor.kind == "multi_category":
        return _strings(
            ["" if value is None else schema.MULTI_SEPARATOR.join(value) for value in factor.values]
        )
    return _strings(["" if value is None else value for value in factor.values])


def _strings(values: Sequence[str]) -> NDArray[np.object_]:
    return np.array(list(values), object)


def _describe(factor: Factor) -> dict[str, Any]:
    described: dict[str, Any] = {"role": factor.role or "", "kind": factor.kind}
    if factor.kind == "date":
        described |= {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}
    elif factor.kind == "number":
        described |= {"unit": factor.unit}
    else:
        described |= {"missing": ""}
    return described


def _flags(name: str, chroms: Sequence[str]) -> dict[str, Any]:
    """Explain coded coordinates in the words of the CF conventions."""
    meanings = {schema.CHROM: chroms, schema.SPLIT: schema.SPLITS}.get(name)
    if meanings is None:
        return {}
    return {"flag_values": list(range(len(meanings))), "flag_meanings": " ".join(meanings)}
