"""What the attributes of a store must be, so that a reader can rely on them.

A file that was edited by hand, or by a faulty program, is told by the attribute's name when the store is opened,
not by whatever breaks first further on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mfdstore.schema import KINDS, ROLES


def find_fault(attributes: Mapping[str, Any]) -> str | None:
    """Look for an attribute that is missing or of another kind than the format says.

    Parameters
    ----------
    attributes
        The object under `schema.ATTRIBUTES`, of a format version that is known.

    Returns
    -------
    What is wrong, to stand behind "found"; `None` if all is sound.
    """
    for name, (is_sound, kind) in _EXPECTED.items():
        if name not in attributes:
            return f"no attribute '{name}'"
        if not is_sound(attributes[name]):
            return f"an attribute of another kind ({name} is not {kind})"
    if len(attributes["chroms"]) != len(attributes["chrom_sizes"]):
        return f"{len(attributes['chroms'])} chroms and {len(attributes['chrom_sizes'])} chrom_sizes"
    for entry in attributes["factors"]:
        fault = _find_factor_fault(entry)
        if fault is not None:
            return f"a factor {entry.get('name')!r} with {fault}"
    if not _are_distinct([entry["name"] for entry in attributes["factors"]]):
        return "a factor that occurs twice"
    return None


def _find_factor_fault(entry: Mapping[str, Any]) -> str | None:
    if not _is_name(entry.get("name")):
        return "no name"
    if entry.get("kind") not in KINDS:
        return f"kind {entry.get('kind')!r}"
    if "role" not in entry or (entry["role"] is not None and entry["role"] not in ROLES):
        return f"role {entry.get('role')!r}"
    if not isinstance(entry.get("unit"), str):
        return f"unit {entry.get('unit')!r}"
    return None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_size(value: Any) -> bool:
    return _is_count(value) and value >= 1


def _are_distinct(names: list[str]) -> bool:
    return len(set(names)) == len(names)


def _list_of(is_sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_sound, value))


def _are_names(value: Any) -> bool:
    return _list_of(_is_name)(value) and len(value) > 0 and _are_distinct(value)


def _are_digests(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value.values()))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_EXPECTED: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "genome": (_is_name, "a name"),
    "bin_size": (_is_size, "a number of bp"),
    "min_overlap": (_is_size, "a number of bp"),
    "min_experiments": (_is_count, "a count"),
    "chroms": (_are_names, "a list of names, each once"),
    "chrom_sizes": (_list_of(_is_size), "a list of numbers of bp"),
    "n_windows": (_is_count, "a count"),
    "n_experiments": (_is_count, "a count"),
    "digest": (_is_name, "a digest"),
    "array_digests": (_are_digests, "digests by name"),
    "provenance": (_is_object, "an object"),
    "factors": (_list_of(_is_object), "a list of objects"),
}
