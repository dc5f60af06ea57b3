"""Where a store came from: digests of its sources, versions of what made it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore.schema import DIGESTED

PACKAGES = ("mfd", "numpy", "zarr", "numcodecs", "xarray", "pysam", "polars")


@dataclass(frozen=True)
class SourceFile:
    """One file that went into a store.

    Parameters
    ----------
    name
        Of the file, without its folder: a store tells nothing of the machine that built it.
    size
        In bytes.
    md5
        Of the file as it lies on disk, compressed or not; the digest that the ENCODE portal lists.
    """

    name: str
    size: int
    md5: str


def describe_file(path: Path) -> SourceFile:
    """Digest a file."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False))
    return SourceFile(path.name, path.stat().st_size, digest.hexdigest())


def describe_bytes(name: str, content: bytes) -> SourceFile:
    """Digest a file that is already in memory."""
    return SourceFile(name, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())


def versions() -> dict[str, str]:
    """List the versions of Python and of the packages that shape a store's bytes."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def digest_values(values: NDArray[Any]) -> str:
    """Digest an array's values, apart from how they are chunked and compressed (SHA-256, hexadecimal).

    Numbers count by their bytes in C order, text (object arrays of `str`) by its UTF-8, parted by NUL.
    """
    if values.dtype.kind in "OT":
        return hashlib.sha256("\0".join(map(str, values)).encode()).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def combine_digests(digests: Mapping[str, str], attributes: Mapping[str, Any]) -> str:
    """Digest a whole store: the digests of its arrays, whatever their order, and what gives them meaning.

    Parameters
    ----------
    digests
        Of the values of each array, by name.
    attributes
        Of the format; those of `schema.DIGESTED` count, as JSON with sorted keys and no blanks.
    """
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    meaning = json.dumps(
        {name: attributes[name] for name in DIGESTED},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(f"{lines}{meaning}\n".encode()).hexdigest()
