"""Experiments by what is known of them: selected by values of factors, or put into groups of one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import some
from mfdstore.metadata import Factor


@dataclass(frozen=True)
class Groups:
    """Experiments grouped by the values of one factor or several.

    Parameters
    ----------
    by
        Names of the factors.
    names
        For each group, its value of each factor; sorted.
    offsets, members
        Experiment e is in the groups ``members[offsets[e]:offsets[e + 1]]``: none where a value is missing,
        several where a cell holds several; int64, shapes ``(experiment + 1,)`` and ``(membership,)``.
    n_missing
        For each factor, how many experiments have no value of it, and so are in no group.
    """

    by: tuple[str, ...]
    names: tuple[tuple[Any, ...], ...]
    offsets: NDArray[np.int64]
    members: NDArray[np.int64]
    n_missing: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Experiments in each group, shape ``(group,)``."""
        return np.bincount(self.members, minlength=len(self))

    def by_column(self, columns: NDArray[np.int64], n_columns: int) -> tuple[NDArray[np.int64], ...]:
        """Give offsets and members by the store's experiments, of which `columns` are grouped here.

        Returns
        -------
        Offsets and members, shapes ``(n_columns + 1,)`` and ``(membership,)``.
        """
        lengths = np.diff(self.offsets)
        by_membership = np.repeat(columns, lengths)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(by_membership, minlength=n_columns))])
        return offsets, self.members[np.argsort(by_membership, kind="stable")]


def factor_names(dataset: xr.Dataset) -> list[str]:
    """List the coordinates of the experiments, among them their accessions."""
    return [str(name) for name, values in dataset.coords.items() if values.dims == (schema.EXPERIMENT,)]


def factors_of(dataset: xr.Dataset) -> Iterator[Factor]:
    """Give what a dataset knows of its experiments, as the store does; accessions left out.

    A coordinate that a user has added is a number, a date or a category, by its type.
    """
    for name in factor_names(dataset):
        if name == schema.EXPERIMENT:
            continue
        column = dataset[name]
        values, role = np.asarray(column), column.attrs.get("role")
        kind: schema.Kind = "category"
        unit = ""
        if values.dtype.kind == "M":
            kind, typed = "date", values.astype("datetime64[D]")
        elif values.dtype.kind in "fiu":
            kind, typed, unit = "number", values.astype(np.float64), str(column.attrs.get("units", ""))
        else:
            if column.attrs.get("kind") == "multi_category":
                kind = "multi_category"
            typed = np.empty(len(values), object)
            for index, cell in enumerate(_cells(values, kind)):
                held = tuple(map(str, cell)) if kind == "multi_category" else str(cell[0]) if cell else None
                typed[index] = held or None
        yield Factor(name, kind, role if role in schema.ROLES else None, typed, unit)


def choose(dataset: xr.Dataset, factors: Mapping[str, Any]) -> NDArray[np.intp]:
    """Find the experiments whose factors all have one of the values wanted.

    Parameters
    ----------
    dataset
        With coordinates of the experiments.
    factors
        A value, or several, for each factor named.

    Returns
    -------
    Indices, ascending.

    Raises
    ------
    ConfigError
        If a factor is none of the dataset's, no value is given, or one that none of its experiments has.
    """
    if not isinstance(factors, Mapping):
        raise ConfigError(
            "experiments",
            found=repr(factors),
            expected='a value, or several, for each factor: {"target": "CTCF"}',
            remedy="Pass a dictionary.",
        )
    keep = np.ones(dataset.sizes.get(schema.EXPERIMENT, 0), np.bool_)
    for name, wanted in factors.items():
        column, values = _column(dataset, name), _listed(wanted)
        if not len(values):
            raise ConfigError(
                name, found="no value", expected="one or more", remedy="Name some, or leave the factor out."
            )
        keep &= _holds_any(name, column.values, values, column.attrs.get("kind"))
    return np.flatnonzero(keep)


def group(dataset: xr.Dataset, by: str | Sequence[str]) -> Groups:
    """Group experiments by the values of factors.

    An experiment whose cell holds several values is in the group of each; one without a value is in none.

    Parameters
    ----------
    dataset
        With coordinates of the experiments.
    by
        A factor, or several: then there is a group for each combination that occurs.

    Raises
    ------
    ConfigError
        If a factor is none of the dataset's, is named twice, or no experiment has a value of each.
    """
    names = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, Iterable) else ()
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            "by", found=repr(list(names)), expected="each factor once", remedy="Name at least one factor."
        )
    columns = {name: _column(dataset, name) for name in names}
    cells = {
        name: _cells(np.asarray(column.values), column.attrs.get("kind")) for name, column in columns.items()
    }
    found = [list(dict.fromkeys(product(*held))) for held in zip(*cells.values(), strict=True)]
    values = tuple(in_order({value for held in found for value in held}))
    n_missing = {name: sum(not cell for cell in held) for name, held in cells.items()}
    if not values:
        missing = ", ".join(f"{name} is missing in {n_missing[name]}" for name in names)
        raise ConfigError(
            "by",
            found=f"no group: of {len(found)} experiments {missing}",
            expected="experiments of which all factors named are known",
            remedy="Choose another factor.",
        )
    places = {value: index for index, value in enumerate(values)}
    offsets = np.concatenate([[0], np.cumsum([len(held) for held in found])]).astype(np.int64)
    members = np.array([places[value] for held in found for value in held], np.int64)
    return Groups(names, values, offsets, members, n_missing)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Sort values; by how they are written where texts and numbers are mixed, as a user's own column may."""
    listed = list(values)
    try:
        return sorted(listed)
    except TypeError:
        return sorted(listed, key=str)


def _column(dataset: xr.Dataset, name: str) -> xr.DataArray:
    known = factor_names(dataset)
    if name not in known:
        raise ConfigError(
            f"factor {name!r}",
            found="no such factor",
            expected=some(known, 40) if known else "experiments with factors, but the dataset has none",
            remedy="Correct the name.",
        )
    return dataset[name]


def _cells(column: NDArray[Any], kind: str | None) -> list[tuple[Any, ...]]:
    """List the values in each cell: none where it is missing, several where it holds several."""
    if column.dtype.kind == "M":
        # days are days, whatever the precision they are kept in
        days = column.astype("datetime64[D]")
        return [() if np.isnat(day) else (day,) for day in days]
    known = [value if value is not None and value == value else None for value in column.tolist()]
    if kind == "multi_category":
        return [
            tuple(name for name in str(value or "").split(schema.MULTI_SEPARATOR) if name) for value in known
        ]
    return [() if value is None else (value,) for value in known]


def _listed(wanted: Any) -> list[Any]:
    """Spell out one value or several."""
    if isinstance(wanted, (set, frozenset)):
        return sorted(wanted, key=str)
    return [wanted] if isinstance(wanted, str) else list(np.ravel(np.asarray(wanted, object)))


def _holds_any(name: str, column: NDArray[Any], wanted: list[Any], kind: str | None) -> NDArray[np.bool_]:
    """Find the experiments that have one of the values, and refuse a value that none has."""
    cells = _cells(column, kind)
    keep = np.zeros(len(column), np.bool_)
    for value in wanted:
        try:
            one = np.datetime64(value, "D") if column.dtype.kind == "M" else value
        except (ValueError, TypeError):
            one = None
        held = [one is not None and any(bool(one == inside) for inside in cell) for cell in cells]
        if not any(held):
            known = sorted({str(inside) for cell in cells for inside in cell})
            raise ConfigError(
                f"factor {name!r}",
                found=f"no experiment with {str(value)!r}",
                expected=some(known, 40) if known else "known values, but all are missing",
                remedy="Correct the value.",
            )
        keep |= np.array(held, np.bool_)
    return keep
