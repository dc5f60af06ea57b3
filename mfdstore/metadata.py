"""Factors: what is known of each experiment, typed, with what is missing kept as missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.display import html_box, html_table, plain, text_table
from mfdstore.schema import KINDS, MULTI_SEPARATOR, ROLES, Kind, Role

FACTOR_COLUMNS: Final = ("factor", "role", "kind", "known", "missing", "values", "range or commonest")
"""Heads of the columns that `describe_factors` gives."""
_EXAMPLES: Final = 4


@dataclass(frozen=True, repr=False)
class Factor:
    """One metadata column over all experiments.

    Parameters
    ----------
    name
        Of the factor: ``target``, ``lab``, ...
    kind
        How its values are to be read:

        - ``category``: object array of `str`, `None` where missing;
        - ``multi_category``: object array of tuples of `str`, `None` where missing;
        - ``number``: float64, NaN where missing;
        - ``date``: datetime64[D], NaT where missing.
    role
        ``biological``, ``technical``, or `None` for what only describes.
    values
        Shape ``(experiment,)``.
    unit
        Of a number, as text (``years``); empty where there is none.

    Raises
    ------
    ValueError
        If kind, role or the dtype of the values do not fit together.
    """

    name: str
    kind: Kind
    role: Role | None
    values: NDArray[Any]
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"factor {self.name}: kind {self.kind!r} is none of {', '.join(KINDS)}")
        if self.role is not None and self.role not in ROLES:
            raise ValueError(f"factor {self.name}: role {self.role!r} is none of {', '.join(ROLES)}")
        expected = {"number": "f", "date": "M"}.get(self.kind, "O")
        if self.values.dtype.kind != expected or self.values.ndim != 1:
            raise ValueError(
                f"factor {self.name}: kind {self.kind} cannot be {self.values.ndim}-d {self.values.dtype}"
            )

    def __repr__(self) -> str:
        """Say in a line what the factor is and which values it has."""
        name, role, kind, known, missing, n_values, shown = describe_factors([self])[0]
        said = f"{role or 'without role'}, {kind}; known of {known} experiments, missing in {missing}"
        return plain(f"Factor {name}: {said}; {n_values} values: {shown}", 300)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """True where the value is not known, shape ``(experiment,)``."""
        if self.kind == "number":
            return np.asarray(np.isnan(self.values))
        if self.kind == "date":
            return np.asarray(np.isnat(self.values))
        return np.array([value is None for value in self.values], np.bool_)

    def categories(self) -> tuple[str, ...]:
        """List the values that occur, sorted; empty for numbers and dates."""
        if self.kind == "category":
            return tuple(sorted({value for value in self.values if value is not None}))
        if self.kind == "multi_category":
            return tuple(sorted({item for value in self.values if value is not None for item in value}))
        return ()

    def take(self, rows: NDArray[np.integer[Any]]) -> Factor:
        """Keep the experiments at `rows`, in that order."""
        return Factor(self.name, self.kind, self.role, self.values[rows], self.unit)


@dataclass(frozen=True, repr=False)
class FactorTable:
    """All factors of a set of experiments; one order for every column.

    Raises
    ------
    ValueError
        If a factor's length is not the number of experiments, or a name occurs twice.
    """

    experiments: tuple[str, ...]
    factors: tuple[Factor, ...]

    def __post_init__(self) -> None:
        for factor in self.factors:
            if len(factor.values) != len(self.experiments):
                raise ValueError(
                    f"factor {factor.name} has {len(factor.values)} values for {len(self.experiments)} experiments"
                )
        if len(set(self.experiments)) != len(self.experiments):
            raise ValueError("an experiment occurs twice")
        if len({factor.name for factor in self.factors}) != len(self.factors):
            raise ValueError("a factor occurs twice")

    def __repr__(self) -> str:
        """Lay out a line for each factor."""
        return f"{self._title}\n{text_table(FACTOR_COLUMNS, describe_factors(self))}"

    def _repr_html_(self) -> str:
        return html_box(self._title, html_table(FACTOR_COLUMNS, describe_factors(self)))

    @property
    def _title(self) -> str:
        return f"FactorTable of {len(self):,} experiments"

    def __len__(self) -> int:
        return len(self.experiments)

    def __iter__(self) -> Iterator[Factor]:
        return iter(self.factors)

    def __contains__(self, name: str) -> bool:
        return any(factor.name == name for factor in self.factors)

    def __getitem__(self, name: str) -> Factor:
        for factor in self.factors:
            if factor.name == name:
                return factor
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the factors, in the store's order."""
        return tuple(factor.name for factor in self.factors)

    def take(self, rows: NDArray[np.integer[Any]]) -> FactorTable:
        """Keep the experiments at `rows`, in that order."""
        return FactorTable(
            tuple(self.experiments[row] for row in rows), tuple(factor.take(rows) for factor in self.factors)
        )


def describe_factors(factors: Iterable[Factor]) -> list[list[str]]:
    """Describe each factor in a row of words, under `FACTOR_COLUMNS`."""
    rows = []
    for factor in factors:
        known = factor.values[~factor.missing]
        n_missing = len(factor.values) - len(known)
        n_values, said = _describe_values(factor.kind, known) if len(known) else (0, "")
        unit = f" {factor.unit}" if factor.unit and said else ""
        counts = [f"{n:,}" for n in (len(known), n_missing, n_values)]
        rows.append([factor.name, factor.role or "", factor.kind, *counts, f"{said}{unit}"])
    return rows


def _describe_values(kind: Kind, known: NDArray[Any]) -> tuple[int, str]:
    """Count the values that occur, and name the commonest with their counts, or the range."""
    if kind in ("number", "date"):
        low, high = (f"{end:g}" if kind == "number" else str(end) for end in (known.min(), known.max()))
        return len(np.unique(known)), low if low == high else f"{low} to {high}"
    listed = [item for value in known for item in (value if kind == "multi_category" else (value,))]
    counted = sorted(Counter(listed).items(), key=lambda entry: (-entry[1], entry[0]))
    shown = ", ".join(f"{plain(value, 32)} ({n})" for value, n in counted[:_EXAMPLES])
    return len(counted), f"{shown} ..." if len(counted) > _EXAMPLES else shown


def decode_values(kind: Kind, stored: NDArray[Any]) -> NDArray[Any]:
    """Turn a factor's stored values into those of `Factor`; the empty string is a missing value.

    Parameters
    ----------
    kind
        Of the factor.
    stored
        Strings, or float64 numbers, or float64 days since 1970-01-01; shape ``(experiment,)``.
    """
    if kind == "number":
        return stored.astype(np.float64)
    if kind == "date":
        days = np.where(np.isnan(stored), 0, stored).astype(np.int64).astype("datetime64[D]")
        days[np.isnan(stored)] = np.datetime64("NaT")
        return days
    values = np.empty(len(stored), object)
    for index, text in enumerate(stored):
        if text == "":
            values[index] = None
        else:
            values[index] = tuple(text.split(MULTI_SEPARATOR)) if kind == "multi_category" else str(text)
    return values
