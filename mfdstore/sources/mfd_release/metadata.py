"""The metadata of the authors' release as factors, with the kinds and roles that the portal's reader gives.

What their columns do not hold (biosample type, platform, read length, project ...) is no factor of an imported store,
unless the portal's own table is given in place of theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfdstore.errors import ConfigError, SourceError
from mfdstore.genomes import some
from mfdstore.metadata import Factor, FactorTable
from mfdstore.sources.encode import (
    MISSING,
    PIPELINE,
    ExperimentTable,
    as_values,
    check_accession,
    keep_other_columns,
    read_experiments,
    read_value,
)
from mfdstore.sources.encode_columns import Column
from mfdstore.sources.mfd_release import layout
from mfdstore.sources.mfd_release.layout import CarriedFactor, CarriedStore, ReleaseColumn
from mfdstore.sources.tables import Row, Table


def read_metadata(
    path: Path,
    experiments: Sequence[str],
    *,
    carried: CarriedStore | None = None,
    report: Path | None = None,
    genome: str,
    allow_missing: bool = False,
) -> ExperimentTable:
    """Read what is known of the experiments of a release.

    Parameters
    ----------
    path
        The authors' table, the table that `mfdstore export` wrote, or the portal's `metadata.tsv`.
    experiments
        Accessions, in the order of the labels.
    carried
        The store that was exported, if the release is an export of ours: its factors are in columns of their own.
    report
        The portal's experiment report, beside the portal's table only.
    genome
        Name of the assembly.
    allow_missing
        Leave out rows of experiments that have no labels, instead of stopping.

    Returns
    -------
    The factors of the experiments, in their order.

    Raises
    ------
    SourceError
        If the table cannot be read, a cell is not what its column holds, or its rows are not those of the experiments.
    ConfigError
        If there is a report, but not the portal's table.
    """
    table = Table.read(path, required=())
    headers = {_canonical(header): header for header in table.columns}
    if carried is None and _is_portal(table):
        return _match(path, read_experiments(path, report, genome), experiments, allow_missing)
    if report is not None:
        raise ConfigError(
            "--report",
            found=f"a table of the release, {path.name}, beside it",
            expected="the ENCODE portal's metadata.tsv, whose experiments a report describes",
            remedy="Leave out --report, or give the portal's table to --metadata.",
        )
    accession = headers.get(_canonical(layout.ACCESSION))
    if accession is None:
        raise SourceError(
            path,
            line=table.line,
            found=f"columns {some([repr(header[:40]) for header in table.columns])}",
            expected=f"a header with {layout.ACCESSION!r}, as the release has, or the ENCODE portal's table",
            remedy="Give the metadata table that belongs to the overlaps, separated by tabs.",
        )
    seen: dict[str, int] = {}
    for row in table.rows:
        check_accession(row, accession, seen)
    if carried is None:
        factors = _read_factors(table, headers, accession)
    else:
        factors = [_read_carried(table, factor) for factor in carried.factors]
    known = tuple(factor for factor in factors if carried is not None or not factor.missing.all())
    empty = tuple(factor.name for factor in factors if factor.missing.all())
    read = ExperimentTable(
        FactorTable(tuple(row[accession] for row in table.rows), known),
        {},
        (table.file,),
        {"metadata_rows": len(table.rows)},
        empty,
    )
    return _match(path, read, experiments, allow_missing)


def _canonical(header: str) -> str:
    """Spell a header so that "Biosample.term.name" and "Biosample term name" are one."""
    return re.sub(r"[ ._]+", ".", header.strip()).lower()


def _is_portal(table: Table) -> bool:
    return "File accession" in table.columns and "Experiment accession" in table.columns


def _match(
    path: Path, read: ExperimentTable, experiments: Sequence[str], allow_missing: bool
) -> ExperimentTable:
    """Order the rows as the labels are, and refuse rows and labels without each other."""
    places = {name: row for row, name in enumerate(read.factors.experiments)}
    lacking = [name for name in experiments if name not in places]
    if lacking:
        raise SourceError(
            path,
            found=f"{len(places):,} experiments, without {len(lacking):,} that have labels: {some(lacking)}",
            expected=f"a row for each of the {len(experiments):,} experiments of the overlaps",
            remedy="Give the metadata table that belongs to the overlaps, or add the rows.",
        )
    labelled = set(experiments)
    without = [name for name in places if name not in labelled]
    if without and not allow_missing:
        raise SourceError(
            path,
            found=f"{len(without):,} experiment(s) without labels: {some(without)}",
            expected=f"the {len(experiments):,} experiments of the overlaps",
            remedy="Pass --allow-missing to import without these, or give the table that belongs to the overlaps.",
        )
    factors = read.factors.take(np.array([places[name] for name in experiments]))
    emptied = {factor.name for factor in factors if without and factor.missing.all()}
    return ExperimentTable(
        FactorTable(factors.experiments, tuple(one for one in factors if one.name not in emptied)),
        read.md5,
        read.files,
        {**read.counts, "rows_without_labels": len(without)},
        read.empty_columns + tuple(sorted(emptied)),
    )


def _read_factors(table: Table, headers: dict[str, str], accession: str) -> list[Factor]:
    factors = []
    used = {accession}
    for column in layout.METADATA_COLUMNS:
        header = headers.get(_canonical(column.header))
        if header is None:
            continue
        values = [_read_cell(column, row, header) for row in table.rows]
        factors.append(Factor(column.factor, column.kind, column.role, as_values(column.kind, values)))
        # an age that is a range is no number: then its text is kept beside, as what only describes
        lost = any(
            value is None and row[header] not in MISSING
            for value, row in zip(values, table.rows, strict=True)
        )
        if not (lost and column.factor == "age"):
            used.add(header)
    return factors + keep_other_columns(table, table.rows, used, {factor.name for factor in factors})


def _read_cell(column: ReleaseColumn, row: Row, header: str) -> Any:
    text = row[header]
    if text in MISSING or (column.factor == "lab" and text == PIPELINE):
        return None
    if column.factor == "age":
        return _number(text)
    if column.factor == "age_unit":
        return text.removesuffix("s")
    return read_value(Column(column.factor, column.kind, column.role, ()), row, header)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read_carried(table: Table, factor: CarriedFactor) -> Factor:
    header = f"{layout.CARRIED_PREFIX}{factor.name}"
    if header not in table.columns:
        raise SourceError(
            table.path,
            line=table.line,
            found=f"no column {header!r}",
            expected=f"the table that was exported beside {layout.OVERLAPS}, which names this factor",
            remedy="Give the three files of one export.",
        )
    column = Column(header, factor.kind, factor.role, ())
    values = [read_value(column, row, header) if row[header] else None for row in table.rows]
    return Factor(factor.name, factor.kind, factor.role, as_values(factor.kind, values), factor.unit)
