"""Repairs each ``zarr.json``, the copy of them all, and the manifest: from each other."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

import zarr

from mfdstore import layout, schema
from mfdstore.manifest import METADATA_FILE, read_copy
from mfdstore.places.files import LocalFiles
from mfdstore.publish import write_whole
from mfdstore.repair.bench import Bench, Repaired

_ROOT: Final = "zarr.json"


def mend_metadata(bench: Bench) -> None:
    """Repair all metadata files that are at fault."""
    copy = {} if METADATA_FILE in bench.faulty else read_copy(LocalFiles(bench.path))
    consolidated = {} if _ROOT in bench.faulty else _read_consolidated(bench.path)
    for file in _metadata_at_fault(bench):
        if file in copy and bench.put(file, copy[file].encode(), "the copy of the metadata"):
            continue
        node = consolidated.get(file.removesuffix("/zarr.json"))
        if node is not None:
            # of a group it holds what lies in it, which the group itself does not
            own = {key: value for key, value in node.items() if key != "consolidated_metadata"}
            bench.put(file, json.dumps(own, indent=2).encode(), "the consolidated metadata")
        bench.reasons.setdefault(
            file, "the copy of the metadata and the consolidated metadata are damaged too"
        )
    if _ROOT in bench.faulty:
        if _ROOT not in copy:
            bench.reasons[_ROOT] = "the copy of the metadata is damaged too"
        elif left := _metadata_at_fault(bench):
            bench.reasons[_ROOT] = f"it holds what {left[0]} says, which is lost"
        else:
            bench.put(_ROOT, _consolidate(bench, copy[_ROOT]), "the copy of the metadata")
    if METADATA_FILE in bench.faulty:
        left = [file for file in (_ROOT, *_metadata_at_fault(bench)) if file in bench.faulty]
        if left:
            bench.reasons[METADATA_FILE] = f"it holds what {left[0]} says, which is lost"
        else:
            rebuilt = rebuild_manifest(bench.path, bench.folder, bench.digests)
            bench.put(METADATA_FILE, (rebuilt / METADATA_FILE).read_bytes(), "the metadata itself")


def _metadata_at_fault(bench: Bench) -> list[str]:
    return [file for file in bench.faulty if file.endswith("/zarr.json") and file in bench.digests]


def _read_consolidated(path: Path) -> dict[str, Any]:
    try:
        nodes = json.loads((path / _ROOT).read_text())["consolidated_metadata"]["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return nodes if isinstance(nodes, dict) else {}


def _consolidate(bench: Bench, root: str) -> bytes:
    """Consolidate all metadata anew, and give what the root's then says."""
    folder = bench.folder / "described"
    for file in bench.digests:
        if file.endswith("/zarr.json"):
            write_whole(folder / file, (bench.path / file).read_bytes())
    write_whole(folder / _ROOT, root.encode())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(str(folder), zarr_format=3)
    return (folder / _ROOT).read_bytes()


def rebuild_manifest(path: Path, folder: Path, files: Iterable[str]) -> Path:
    """Write the manifest of a store anew, beside it.

    Parameters
    ----------
    path
        Of the store.
    folder
        To write to.
    files
        Those of the store: what else lies in it is left out.

    Returns
    -------
    Path of a shadow of the store, with links in place of chunks, that has the manifest.
    """
    shadow = folder / "shadow"
    for file in files:
        if file.startswith(f"{schema.MANIFEST}/"):
            continue
        (shadow / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("zarr.json"):
            shutil.copyfile(path / file, shadow / file)
        elif (path / file).is_file():
            (shadow / file).symlink_to((path / file).resolve())
        else:
            (shadow / file).touch()  # lost itself, but the names of all files are to be right
    layout.write_manifest(shadow)
    return shadow


def mend_manifest(path: Path, folder: Path, added: Collection[str]) -> list[Repaired]:
    """Write the manifest anew, of a store all of whose arrays hold.

    Parameters
    ----------
    path
        Of the store.
    folder
        To write to.
    added
        Files that lie in the store and are not of it.

    Returns
    -------
    What was repaired; nothing if the root's consolidated metadata is not that of the arrays.
    """
    shadow = rebuild_manifest(path, folder, [file for file in LocalFiles(path).names() if file not in added])
    if (shadow / _ROOT).read_bytes() != (path / _ROOT).read_bytes():
        return []
    repaired = []
    for file in LocalFiles(shadow).names():
        if file.startswith(f"{schema.MANIFEST}/"):
            content = (shadow / file).read_bytes()
            if not (path / file).is_file() or (path / file).read_bytes() != content:
                write_whole(path / file, content)
                repaired.append(Repaired(file, "all files, whose arrays hold against their digests"))
    return repaired
