"""The manifest of a store as it is read: which files there should be, and what their bytes should be.

`layout.write_manifest` writes it. It is read here without the help of any ``zarr.json``, for each of them may be what
is damaged: the frame of its three arrays is fixed by docs/format.md (one chunk each, zstd, crc32c).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

import google_crc32c
import numpy as np
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd

from mfdstore import schema
from mfdstore.places.files import Files

NAMES_FILE: Final = f"{schema.MANIFEST}/{schema.FILE_NAMES}/c/0"
DIGESTS_FILE: Final = f"{schema.MANIFEST}/{schema.FILE_DIGESTS}/c/0/0"
METADATA_FILE: Final = f"{schema.MANIFEST}/{schema.METADATA}/c/0"
OWN_FILES: Final = (
    f"{schema.MANIFEST}/zarr.json",
    *(f"{schema.MANIFEST}/{part}/zarr.json" for part in schema.MANIFEST_ARRAYS),
    NAMES_FILE,
    DIGESTS_FILE,
    METADATA_FILE,
)
"""Files of the manifest itself."""
_DIGEST_SIZE: Final = 32
_EMPTY: Final = hashlib.sha256().digest()

FaultKind = Literal["damaged", "missing", "added"]


@dataclass(frozen=True)
class FileFault:
    """A file that is not as the manifest says.

    Parameters
    ----------
    file
        Relative to the store.
    kind
        ``damaged``, ``missing``, or ``added``: not of the store.
    detail
        What is wrong with it.
    """

    file: str
    kind: FaultKind
    detail: str


@dataclass(frozen=True)
class Manifest:
    """What the manifest holds, as far as it can be read.

    Parameters
    ----------
    digests
        SHA-256 of each file, by its name relative to the store; empty if the manifest is damaged.
    faults
        Of the two files that the manifest does not list: those of names and of digests.
    """

    digests: Mapping[str, bytes]
    faults: tuple[FileFault, ...]


def has_manifest(files: Files) -> bool:
    """Say whether a store has a manifest, whole or damaged; those written first had none.

    Raises
    ------
    RemoteError
        If that cannot be told, for a server does not answer.
    """
    try:
        if f'"{schema.MANIFEST}/{schema.FILE_NAMES}"'.encode() in files.read("zarr.json"):
            return True
    except OSError:
        pass
    return any(_is_there(files, name) for name in OWN_FILES)


def _is_there(files: Files, name: str) -> bool:
    try:
        files.read(name)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read_manifest(files: Files) -> Manifest:
    """Read the names and digests of all files."""
    faults = []
    parts: dict[str, Any] = {}
    for file in (NAMES_FILE, DIGESTS_FILE):
        try:
            content = _read_chunk(files, file)
            if file == NAMES_FILE:
                parts[file] = check_names(VLenUTF8().decode(content))
            else:
                parts[file] = np.frombuffer(content, np.uint8).reshape(-1, _DIGEST_SIZE)
        except FileNotFoundError:
            faults.append(FileFault(file, "missing", "no such file"))
        except (OSError, ValueError, RuntimeError) as error:
            faults.append(FileFault(file, "damaged", str(error)))
    if not faults and len(parts[NAMES_FILE]) != len(parts[DIGESTS_FILE]):
        detail = f"{len(parts[DIGESTS_FILE])} digests for {len(parts[NAMES_FILE])} files"
        faults.append(FileFault(DIGESTS_FILE, "damaged", detail))
    if faults:
        try:
            _read_chunk(files, METADATA_FILE)
        except (OSError, ValueError, RuntimeError) as error:
            kind: FaultKind = "missing" if isinstance(error, FileNotFoundError) else "damaged"
            faults.append(FileFault(METADATA_FILE, kind, str(error)))
        return Manifest({}, tuple(faults))
    digests = {
        name: digest.tobytes() for name, digest in zip(parts[NAMES_FILE], parts[DIGESTS_FILE], strict=True)
    }
    return Manifest(digests, ())


def read_copy(files: Files) -> dict[str, str]:
    """Read the copy of the metadata: text of each ``zarr.json`` by its name; nothing if that is damaged itself."""
    try:
        copy = json.loads(_read_chunk(files, METADATA_FILE))
    except (OSError, ValueError, RuntimeError):
        return {}
    return copy if isinstance(copy, dict) and all(isinstance(text, str) for text in copy.values()) else {}


def find_faults(
    files: Files,
    manifest: Manifest,
    n_jobs: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FileFault]:
    """Hold every file of a store against the manifest.

    Parameters
    ----------
    files
        Of the store.
    manifest
        Its manifest, whole.
    n_jobs
        Files that are digested at a time.
    on_progress
        Called with the files digested and their number.

    Returns
    -------
    Faults by name of the file; what a server of plain HTTP holds beside the store is not known.

    Raises
    ------
    RemoteError
        If a file cannot be had: then it is not known to be damaged.
    """
    of_digest: dict[bytes, str] = {}
    for name, digest in manifest.digests.items():
        of_digest.setdefault(digest, name)

    def check(name: str) -> FileFault | None:
        try:
            found = files.digest(name)
        except (FileNotFoundError, NotADirectoryError):
            return FileFault(name, "missing", "no such file")
        except OSError as error:
            return FileFault(name, "damaged", f"it cannot be read ({error.strerror})")
        if found == manifest.digests[name]:
            return None
        if found in of_digest:
            return FileFault(name, "damaged", f"it holds the bytes of {of_digest[found]}")
        return FileFault(name, "damaged", "it is empty" if found == _EMPTY else "its SHA-256 is another")

    faults = []
    with ThreadPoolExecutor(n_jobs, thread_name_prefix="digest") as pool:
        for done, fault in enumerate(pool.map(check, manifest.digests), start=1):
            if fault is not None:
                faults.append(fault)
            on_progress(done, len(manifest.digests))
    known = {*manifest.digests, NAMES_FILE, DIGESTS_FILE}
    faults += [
        FileFault(name, "added", "the manifest does not list it")
        for name in files.names() or ()
        if name not in known
    ]
    return sorted(faults, key=lambda fault: fault.file)


def check_names(names: Iterable[Any]) -> list[str]:
    """Refuse names that lead out of the store.

    Raises
    ------
    ValueError
        If there is one.
    """
    checked = [str(name) for name in names]
    for name in checked:
        if not name or name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
            raise ValueError(f"it lists {name!r}, which is no file of a store")
    return checked


def _read_chunk(files: Files, name: str) -> bytes:
    """Read a chunk of one of the manifest's arrays.

    Raises
    ------
    ValueError, RuntimeError
        If it is damaged.
    OSError
        If it cannot be read.
    """
    content = files.read(name)
    if google_crc32c.value(content[:-4]) != int.from_bytes(content[-4:], "little") or len(content) < 4:
        raise ValueError("its checksum does not hold" if content else "it is empty")
    decoded: bytes = Zstd().decode(content[:-4])
    return decoded
