"""Turns into tables: medians, extremes and ratios, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

KINDS = {
    "compact": "Compact: to be expanded where they are used",
    "expanded": "Expanded: numbers that a network reads",
}


@dataclass
class Entry:
    """A contestant and what was measured of it.

    Parameters
    ----------
    name, kind, gives, augments, n_windows
        As in `serving.Contestant`.
    n_bytes
        Of a window with its labels.
    speeds
        Windows a second of each turn, by batch size.
    """

    name: str
    kind: str
    gives: str
    augments: str
    n_windows: int
    n_bytes: int
    speeds: dict[int, list[float]] = field(default_factory=dict)


def tabulate(entries: Sequence[Entry], batch_size: int, kind: str, standard: str) -> list[str]:
    """Write one table.

    Parameters
    ----------
    entries
        All that were timed.
    batch_size, kind
        Which of them.
    standard
        Name of the contestant that the last column compares with.
    """
    chosen = [entry for entry in entries if entry.kind == kind and entry.speeds.get(batch_size)]
    if not chosen:
        return []
    medians = {entry.name: statistics.median(entry.speeds[batch_size]) for entry in chosen}
    lines = [
        f"### {KINDS[kind]}",
        "",
        "| contestant | gives | could draw (none did) | bytes a window | windows/s | lowest | highest | GB/s "
        f"| {standard} is |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in chosen:
        turns, median = entry.speeds[batch_size], medians[entry.name]
        ratio = f"{medians[standard] / median:,.2f} times" if standard in medians else ""
        lines.append(
            f"| {entry.name} | {entry.gives} | {entry.augments} | {entry.n_bytes:,} | {median:,.0f} | "
            f"{min(turns):,.0f} | {max(turns):,.0f} | {median * entry.n_bytes / 1e9:.2f} | {ratio} |"
        )
    return [*lines, ""]


def list_versions(versions: Mapping[str, tuple[str, Mapping[str, str]]]) -> list[str]:
    """Say what each peer ran with."""
    return [
        f"- {module}: Python {python}, {', '.join(f'{name} {number}' for name, number in found.items())}"
        for module, (python, found) in versions.items()
    ]


def list_passes(entries: Sequence[Entry]) -> list[str]:
    """Say who reads how many windows in a pass."""
    by_size: dict[int, list[str]] = {}
    for entry in entries:
        by_size.setdefault(entry.n_windows, []).append(entry.name)
    return [
        f"- {n_windows:,} windows: {'; '.join(names)}"
        for n_windows, names in sorted(by_size.items(), reverse=True)
    ]
