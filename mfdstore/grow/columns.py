"""Metadata of several sources as one table: columns matched by name, experiments by accession."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

from mfdstore.errors import ConfigError
from mfdstore.metadata import Factor, FactorTable
from mfdstore.sources.encode import as_values

Name = TypeVar("Name", bound=Hashable)


def join_factors(tables: Sequence[tuple[str, FactorTable]]) -> FactorTable:
    """Put tables one below another; what a table does not say of its experiments is missing.

    An experiment that stands in several tables is one, whose values are known from any of them.

    Parameters
    ----------
    tables
        What each is called, for messages, and what it says.

    Raises
    ------
    ConfigError
        If a factor is of another kind, role or unit in another table, or an experiment has two values of one.
    """
    experiments = tuple(dict.fromkeys(name for _, table in tables for name in table.experiments))
    names = merge_orders([table.names for _, table in tables])
    return FactorTable(experiments, tuple(_join_column(name, experiments, tables) for name in names))


def merge_orders(orders: Iterable[Sequence[Name]]) -> tuple[Name, ...]:
    """Merge lists of names into one, each name once.

    What is new in a list comes behind what stands before it there, or before what stands behind it, or at the end.

    >>> merge_orders([["target", "lab"], ["target", "organ", "lab", "date"]])
    ('target', 'organ', 'lab', 'date')
    >>> merge_orders([["chr1"], ["chr2"], ["chr0", "chr1"]])
    ('chr0', 'chr1', 'chr2')
    """
    merged: list[Name] = []
    for order in orders:
        known = set(merged)
        first = next((name for name in order if name in known), None)
        place = len(merged) if first is None else merged.index(first)
        for name in order:
            if name in known:
                place = merged.index(name)
            else:
                merged.insert(place, name)
            place += 1
    return tuple(merged)


def _join_column(
    name: str, experiments: tuple[str, ...], tables: Sequence[tuple[str, FactorTable]]
) -> Factor:
    columns = [(where, table, table[name]) for where, table in tables if name in table]
    # a column without a value says nothing, so it may be of any kind
    speaking = [entry for entry in columns if not entry[2].missing.all()] or columns[:1]
    where, _, first = speaking[0]
    for other_where, _, other in speaking[1:]:
        for what in ("kind", "role", "unit"):
            mine, theirs = (getattr(factor, what) or "none" for factor in (first, other))
            if mine != theirs:
                raise ConfigError(
                    other_where,
                    found=f"factor {name} of {what} {theirs}",
                    expected=f"{what} {mine}, as in {where}",
                    remedy="Make both from tables that agree on the column, or rename it in one of the tables and "
                    "build that store again.",
                )
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for table_where, table, factor in speaking:
        for experiment, value, missing in zip(table.experiments, factor.values, factor.missing, strict=True):
            if missing:
                continue
            if experiment in values and values[experiment] != value:
                raise ConfigError(
                    table_where,
                    found=f"{name} {value!r} of experiment {experiment}",
                    expected=f"{values[experiment]!r}, as in {origin[experiment]}",
                    remedy="Correct the metadata of one of them and make it again, or leave the experiment out of "
                    "one of them by `mfdstore subset`.",
                )
            values[experiment], origin[experiment] = value, table_where
    column = as_values(first.kind, [values.get(experiment) for experiment in experiments])
    return Factor(name, first.kind, first.role, column, first.unit)
