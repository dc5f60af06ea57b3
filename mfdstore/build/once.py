"""Tasks that are done once: what a killed build had finished is found, tested and not done again."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore.provenance import describe_file
from mfdstore.publish import RECORDS, write_whole


@dataclass(frozen=True)
class Done:
    """What a task leaves.

    Parameters
    ----------
    value
        What the driver needs to know of it; plain JSON.
    outputs
        Files written, relative to the build's folder.
    inputs
        Digest (md5) of each source file that was read, by path.
    """

    value: Any = None
    outputs: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One piece of work, sent to whoever does it.

    Parameters
    ----------
    name
        Of the task among all of the build; names its record.
    key
        Digest of all that decides its outputs beside its source files.
    work
        Called with the build's folder and the arguments; writes each output under its name only when it is whole.
    arguments
        For `work`.
    """

    name: str
    key: str
    work: Callable[..., Done]
    arguments: tuple[Any, ...]


def do_once(folder: Path, task: Task) -> Any:
    """Do a task unless its record says that it is done and all it read and wrote is as it was.

    Returns
    -------
    The value of what it did, now or before.
    """
    record = folder / RECORDS / f"{task.name}.json"
    before = _read_record(record)
    if before is not None and before["key"] == task.key and _is_as_it_was(folder, before):
        return before["value"]
    done = task.work(folder, *task.arguments)
    written = {
        "key": task.key,
        "value": done.value,
        "inputs": dict(done.inputs),
        "outputs": {name: _digest(folder / name) for name in done.outputs},
    }
    write_whole(record, json.dumps(written).encode())
    # through JSON once more, so that the value is the same whether it was done now or before
    return json.loads(json.dumps(done.value))


def key_of(**parts: Any) -> str:
    """Digest what decides a task's outputs; plain JSON values and dataclasses' dictionaries."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array to a ``.npy`` file that has its name only when it is whole."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_whole(path, buffer.getbuffer())


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    sound = isinstance(record, dict) and {"key", "value", "inputs", "outputs"} <= record.keys()
    return record if sound else None


def _is_as_it_was(folder: Path, record: Mapping[str, Any]) -> bool:
    try:
        outputs = all(_digest(folder / name) == digest for name, digest in record["outputs"].items())
        return outputs and all(
            describe_file(Path(name)).md5 == digest for name, digest in record["inputs"].items()
        )
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
