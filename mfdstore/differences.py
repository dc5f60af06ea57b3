"""What can differ between two stores, and whether anything does; `diff` finds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Change:
    """A value that differs: what of, and the value in either store; `None` where it has none."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class FactorChange:
    """A value of a factor that differs for one experiment; `None` where it is missing."""

    experiment: str
    factor: str
    a: Any
    b: Any


@dataclass(frozen=True)
class LabelChange:
    """How many shared windows an experiment labels in one store only."""

    experiment: str
    only_a: int
    only_b: int


@dataclass(frozen=True)
class StoreDiff:
    """All that differs between two stores, A and B.

    Parameters
    ----------
    settings
        Of the stores and their builds; chromosomes and their lengths.
    sources
        Digests (md5) of FASTA, tables, blacklist and the peak files of shared experiments.
    only_a, only_b
        Experiments of one store only.
    experiments_reordered, factors_reordered
        Whether those that both have stand in another order.
    n_shared_windows
        Windows of both.
    windows_only_a, windows_only_b
        Windows of one store only, by chromosome.
    splits
        Shared windows by split in A and in B, where these differ.
    factors
        Factors of one store only, or of another kind, role or unit.
    values
        Values of shared factors and experiments.
    labels
        Of shared experiments on shared windows.
    labels_compared
        Whether labels could be compared: bins of another size are no windows of both.
    sequence
        Positions that differ, by shared chromosome; -1 where its length does.
    same_digest
        Whether the stores' digests are equal: those of unequal ones differ by something, if by nothing named above.
    """

    settings: tuple[Change, ...] = ()
    sources: tuple[Change, ...] = ()
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    experiments_reordered: bool = False
    factors_reordered: bool = False
    n_shared_windows: int = 0
    windows_only_a: Mapping[str, int] = field(default_factory=dict)
    windows_only_b: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    factors: tuple[Change, ...] = ()
    values: tuple[FactorChange, ...] = ()
    labels: tuple[LabelChange, ...] = ()
    labels_compared: bool = True
    sequence: Mapping[str, int] = field(default_factory=dict)
    same_digest: bool = True

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        found = (
            self.settings,
            self.sources,
            self.only_a,
            self.only_b,
            self.experiments_reordered,
            self.factors,
            self.factors_reordered,
        )
        windows = (self.windows_only_a, self.windows_only_b, self.splits)
        return self.same_digest and not any((*found, *windows, self.values, self.labels, self.sequence))


def as_text(value: Any) -> str:
    """Write a value for a table: text as it is, anything else as JSON; ``-`` where there is none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
