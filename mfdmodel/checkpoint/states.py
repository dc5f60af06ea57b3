"""States and models on disk without pickle: tensors in safetensors, everything else as JSON.

A state is a nest of dicts, lists, tuples, tensors and plain values. Its tensors go into one safetensors file
and the nest itself, with a name in place of each tensor, as JSON into that file's header: so a state is one
file, and is replaced as a whole or not at all. The header has one entry, as the order of several is drawn anew in
each process: equal states are equal bytes. Reading runs no code that the file could bring along.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mfdstore.errors import RunError

State: TypeAlias = dict[str, Any]
"""Nested: dicts, lists, tuples, tensors, text, numbers, booleans, `None`."""

CHECKPOINT_VERSION: Final = 1
"""Version of the files written here, apart from the package's."""

FORMAT: Final = "mfdmodel"
_TENSOR: Final = "tensor"
_TUPLE: Final = "tuple"
_ITEMS: Final = "items"


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place, then move it there: readers see the old file or the new one, never half.

    Parameters
    ----------
    path
        Where the file is to be; its folder is made.
    write
        Writes the whole content to the path that it is given.

    Raises
    ------
    RunError
        If its folder cannot be made, or the file not be written there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        # some writers let nobody else read; who may read the folder may read what is in it
        beside.chmod(path.parent.stat().st_mode & 0o666)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            path,
            found=f"a place that cannot be written ({getattr(error, 'strerror', None) or error})",
            expected="a folder with leave to write and room on its disk",
            remedy="Mend that, or choose another folder for the run.",
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_atomically(path, lambda beside: cast(None, beside.write_text(text, encoding="utf-8")))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically.

    Raises
    ------
    ValueError
        If a number is NaN or infinite: JSON has no word for it, write `None`.
    """
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    RunError
        If the file is missing, unreadable or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            path,
            found="no such file",
            expected="a file that training or evaluation wrote",
            remedy="Check the run folder; a run that was never trained or evaluated lacks it.",
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise damaged(path, f"JSON of type {type(content).__name__}")
    return content


def write_state(path: Path, state: State) -> None:
    """Write a nested state as one safetensors file, atomically.

    Parameters
    ----------
    path
        Of the file.
    state
        Dicts (any plain keys), lists, tuples, tensors (any device, kept by dtype and shape) and plain values.

    Raises
    ------
    TypeError
        If the nest holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encode_node(state, tensors, "state")
    write_tensors(path, tensors, {"tree": tree})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors that share no memory as a safetensors file of ours, atomically, with a header of plain values."""
    whole = {"format": FORMAT, "version": CHECKPOINT_VERSION, **header}
    metadata = {FORMAT: json.dumps(whole)}
    write_atomically(path, lambda beside: save_file(dict(tensors), beside, metadata=metadata))


def read_state(path: Path) -> State:
    """Read a state back, its tensors on the CPU.

    Raises
    ------
    RunError
        If the file is missing, damaged, not one of ours, or written by a newer version.
    """
    header, tensors = read_tensors(path)
    try:
        state = _decode_node(header["tree"], tensors)
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(path, f"a tree that does not fit its tensors ({error})") from error
    if not isinstance(state, dict):
        raise damaged(path, f"a {type(state).__name__} at the root of its tree")
    return state


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a safetensors file of ours: its header and its tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(FORMAT, "{}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except FileNotFoundError:
        raise RunError(
            path,
            found="no such file",
            expected="a checkpoint",
            remedy="Train the run first; a run that was stopped in its first epoch has none and starts anew.",
        ) from None
    except (SafetensorError, OSError) as error:
        raise damaged(path, str(error)) from error
    try:
        header = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise damaged(path, f"a header that cannot be read ({error})") from error
    check_version(path, header.get("format"), header.get("version"))
    return header, tensors


def check_version(path: Path, name: object, version: object) -> None:
    """Make sure that a file is ours and not of a later version.

    Raises
    ------
    RunError
        If it is not.
    """
    if name != FORMAT:
        raise RunError(
            path,
            found=f"format {name!r}",
            expected=f"format {FORMAT!r}",
            remedy="This is no file of mfdmodel; check the path.",
        )
    try:
        number = int(str(version))
    except ValueError:
        raise damaged(path, f"version {version!r}") from None
    if number > CHECKPOINT_VERSION:
        raise RunError(
            path,
            found=f"version {number}",
            expected=f"version {CHECKPOINT_VERSION} or older",
            remedy="It was written by a newer mfdmodel; update the package.",
        )


def damaged(path: Path, found: str) -> RunError:
    """Make the error of a file that is not as it was written; `found` says what is wrong with it."""
    return RunError(
        path,
        found=found,
        expected="a whole file, as training wrote it",
        remedy="The file is damaged or was changed; train again or restore it from a copy.",
    )


def _encode_node(node: object, tensors: dict[str, Tensor], place: str) -> object:
    """Replace tensors by names, and what JSON lacks (tuples, keys that are not text) by marked objects."""
    if isinstance(node, Tensor):
        name = f"{len(tensors):06d}"
        # a copy of its own: safetensors refuses tensors that share memory
        tensors[name] = node.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if isinstance(node, Mapping):
        items = [
            [_encode_node(key, tensors, place), _encode_node(value, tensors, f"{place}.{key}")]
            for key, value in node.items()
        ]
        return {_ITEMS: items}
    if isinstance(node, tuple):
        return {_TUPLE: [_encode_node(item, tensors, place) for item in node]}
    if isinstance(node, list):
        return [_encode_node(item, tensors, place) for item in node]
    if node is None or type(node) in (str, int, float, bool):
        return node
    raise TypeError(f"{place}: {type(node).__name__} cannot be written to a checkpoint")


def _decode_node(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode_node(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    (kind, content), *rest = node.items()
    if rest or kind not in (_TENSOR, _ITEMS, _TUPLE):
        raise ValueError(f"a node marked {', '.join(node)}")
    if kind == _TENSOR:
        return tensors[content]
    if kind == _TUPLE:
        return tuple(_decode_node(item, tensors) for item in content)
    return {_decode_node(key, tensors): _decode_node(value, tensors) for key, value in content}
