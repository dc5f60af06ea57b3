"""The ENCODE portal's tables: `metadata.tsv` of a download, and the experiment report of a cart.

Which columns make which factor stands in `encode_columns`. In `metadata.tsv` the lab of a processed file reads "ENCODE
Processing Pipeline"; the lab that did the experiment, its life stage and age are in the report only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import SourceError
from mfdstore.genomes import same_assembly
from mfdstore.metadata import Factor, FactorTable
from mfdstore.provenance import SourceFile
from mfdstore.schema import MULTI_SEPARATOR, NAME_BYTES, RESERVED, Kind
from mfdstore.sources.encode_columns import COLUMNS, Column
from mfdstore.sources.tables import Row, Table

ACCESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
PIPELINE: Final = "ENCODE Processing Pipeline"
ACCESSIBLE: Final = "Accessible DNA"
_ACCESSIBILITY_ASSAYS: Final = ("DNase-seq", "ATAC-seq", "FAIRE-seq", "snATAC-seq")
MISSING: Final = ("", "NA", "N/A", "NaN", "unknown", "not applicable")
_ORGANISM_SUFFIX: Final = re.compile(r"-(human|mouse|dmelanogaster|celegans)$")
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)\s+([a-z]+?)s?")


@dataclass(frozen=True)
class ExperimentTable:
    """The peak files that the metadata speaks of, and what it says of each.

    Parameters
    ----------
    factors
        Of the peak files of the genome's assembly, in the table's order; experiments are file accessions.
    md5
        Digest of each file by accession, where the table has one.
    files
        The tables themselves.
    counts
        Rows read, left out and why.
    empty_columns
        Columns of the metadata table that hold nothing for any of the peak files, so became no factor.
    """

    factors: FactorTable
    md5: Mapping[str, str]
    files: tuple[SourceFile, ...]
    counts: Mapping[str, int]
    empty_columns: tuple[str, ...]


def read_experiments(metadata: Path, report: Path | None, genome: str) -> ExperimentTable:
    """Read the portal's tables and join them: by file accession, else by experiment accession.

    Parameters
    ----------
    metadata
        `metadata.tsv` of a portal download.
    report
        Experiment report of a cart (first line a time stamp); without it lab, life stage and age are unknown.
    genome
        Name of the assembly; rows of others and rows that are no BED files are counted and left out.

    Raises
    ------
    SourceError
        If a table is not what it should be, an accession is unfit for a file name or occurs twice, a cell that
        should be a number or date is neither, or no row is left.
    """
    table = Table.read(metadata, required=("File accession",))
    counts = {"metadata_rows": len(table.rows), "rows_not_bed": 0, "rows_other_assembly": 0}
    seen: dict[str, int] = {}
    kept: list[Row] = []
    for row in table.rows:
        check_accession(row, "File accession", seen)
        file_format = row["File format"]
        assembly = row["File assembly"] or row["Assembly"]
        if file_format and not file_format.startswith("bed"):
            counts["rows_not_bed"] += 1
        elif assembly and not same_assembly(assembly, genome):
            counts["rows_other_assembly"] += 1
        else:
            kept.append(row)
    if not kept:
        raise SourceError(
            metadata,
            found=f"{len(table.rows)} rows, {counts['rows_not_bed']} of them no BED file and "
            f"{counts['rows_other_assembly']} not of {genome}",
            expected="at least one BED file of the assembly",
            remedy="Check --genome, and that this is the metadata of the peak files.",
        )
    files = [table.file]
    joined: list[Row | None] = [None] * len(kept)
    if report is not None:
        report_table = Table.read(report, required=("Accession",), stamped=True)
        files.append(report_table.file)
        joined = _join(kept, report_table)
        counts["rows_without_report"] = sum(row is None for row in joined)
    factors = [_read_factor(column, kept, joined) for column in COLUMNS]
    used = {source.partition(":")[2] for column in COLUMNS for source in column.sources if source[0] == "m"}
    factors += keep_other_columns(table, kept, used | {"File accession"}, {column.name for column in COLUMNS})
    known = tuple(factor for factor in factors if not factor.missing.all())
    empty = tuple(factor.name for factor in factors if factor.missing.all())
    md5 = {row["File accession"]: row["md5sum"].lower() for row in kept if row["md5sum"]}
    accessions = tuple(row["File accession"] for row in kept)
    return ExperimentTable(FactorTable(accessions, known), md5, tuple(files), counts, empty)


def check_accession(row: Row, column: str, seen: dict[str, int]) -> None:
    """Refuse an accession that cannot name a file, or that was there before.

    Parameters
    ----------
    row, column
        Where it stands.
    seen
        Lines by accession of the rows before; this one is added.

    Raises
    ------
    SourceError
        If it is unfit or not the first.
    """
    accession = row[column]
    if not ACCESSION.fullmatch(accession) or ".." in accession:
        raise row.fault(
            column,
            "letters, digits, '_', '-' and '.' only, since it names a file",
            "Correct the accession.",
        )
    if accession in seen:
        raise SourceError(
            row.path,
            line=row.line,
            found=f"accession {accession} again, first on line {seen[accession]}",
            expected="each accession once",
            remedy="Remove one of the two rows.",
        )
    seen[accession] = row.line


def _join(rows: Iterable[Row], report: Table) -> list[Row | None]:
    by_file: dict[str, list[Row]] = {}
    by_experiment: dict[str, Row] = {}
    for row in report.rows:
        before = by_experiment.setdefault(row["Accession"], row)
        if row["Accession"]:
            _check_agreement(row["Accession"], before, row)
        for entry in row["Files"].split(","):
            by_file.setdefault(entry.strip().removeprefix("/files/").rstrip("/"), []).append(row)
    return [
        _row_of_file(row, by_file.get(row["File accession"], []))
        or by_experiment.get(row["Experiment accession"] or "-")
        for row in rows
    ]


def _row_of_file(row: Row, found: Sequence[Row]) -> Row | None:
    """Choose among the report's rows that list a file: that of its own experiment, else the only one."""
    for one in found:
        if one["Accession"] == row["Experiment accession"]:
            return one
    for other in found[1:]:
        _check_agreement(row["File accession"], found[0], other)
    return found[0] if found else None


def _check_agreement(accession: str, before: Row, row: Row) -> None:
    differing = [name for name in before | row if row[name] != before[name]]
    if differing:
        raise SourceError(
            row.path,
            line=row.line,
            found=f"{accession} again, first on line {before.line}, with another {differing[0]!r}",
            expected="one row for it, or rows that agree",
            remedy="Remove the row that does not hold.",
        )


def _cell(column: Column, row: Row, report_row: Row | None) -> tuple[Row, str] | None:
    """Find the first source that has a value for this experiment: its row and its column there."""
    for source in column.sources:
        table, _, name = source.partition(":")
        from_row = row if table == "m" else report_row
        if from_row is None or from_row[name] in MISSING:
            continue
        if column.name == "lab" and from_row[name] == PIPELINE:
            continue
        return from_row, name
    return None


def _read_factor(column: Column, rows: Sequence[Row], report_rows: Sequence[Row | None]) -> Factor:
    values = [
        read_value(column, *cell)
        if (cell := _cell(column, row, report_row)) is not None
        else _absent(column, row)
        for row, report_row in zip(rows, report_rows, strict=True)
    ]
    return Factor(column.name, column.kind, column.role, as_values(column.kind, values))


def as_values(kind: Kind, values: Sequence[Any]) -> NDArray[Any]:
    """Make a factor's array of plain values, `None` where missing.

    Returns
    -------
    Shape ``(experiment,)``, of the dtype that `metadata.Factor` asks for the kind.
    """
    if kind == "number":
        return np.array([np.nan if value is None else value for value in values], np.float64)
    if kind == "date":
        return np.array(
            [np.datetime64("NaT") if value is None else value for value in values], "datetime64[D]"
        )
    filled = np.empty(len(values), object)
    for index, value in enumerate(values):
        filled[index] = value
    return filled


def _absent(column: Column, row: Row) -> str | None:
    """Fill in what the portal leaves empty because the assay implies it."""
    if column.name == "target" and row["Assay"] in _ACCESSIBILITY_ASSAYS:
        return ACCESSIBLE
    return None


def read_value(column: Column, row: Row, name: str) -> Any:
    """Read one cell that holds something as a value of a factor.

    Parameters
    ----------
    column
        What the factor is.
    row, name
        Where the cell stands.

    Raises
    ------
    SourceError
        If it should be a number or date and is none.
    """
    text = row[name]
    if column.name in ("age", "age_unit"):
        # pooled donors ("53 years, 32 years"), ranges ("37-42 weeks") and "90 or above" have no one age: missing,
        # not an average
        match = _AGE.fullmatch(text)
        if match is None:
            return None
        return float(match[1]) if column.name == "age" else match[2]
    if column.name == "target":
        return _ORGANISM_SUFFIX.sub("", text)
    if column.name == "assay":
        # "TF ChIP-seq" and "Histone ChIP-seq" are one technique; which one is told by the target
        return "ChIP-seq" if text.endswith("ChIP-seq") and "Mint" not in text else text
    if column.kind == "number":
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise row.fault(name, "a number or an empty cell", "Correct the cell.")
        return number
    if column.kind == "date":
        try:
            return np.datetime64(date.fromisoformat(text), "D")
        except ValueError:
            raise row.fault(name, "a date as 2016-07-28, or an empty cell", "Correct the cell.") from None
    if column.kind == "multi_category":
        items = {item.strip() for item in text.split(MULTI_SEPARATOR)} - {""}
        return tuple(sorted(items)) or None
    return text


def keep_other_columns(
    table: Table, rows: Sequence[Row], used: Collection[str], names: Collection[str]
) -> list[Factor]:
    """Keep every column that makes no factor of its own as it is, under a name in the store's style.

    A header without a letter or digit of ASCII is called by its place, ``column_14``.

    Parameters
    ----------
    table
        Whose columns these are.
    rows
        Those of its rows that count, one an experiment.
    used
        Headers of the columns that were read already.
    names
        Of the factors that were made of them.

    Raises
    ------
    SourceError
        If a name is too long for an array of a store.
    """
    taken = set(names) | RESERVED
    others = []
    for number, header in enumerate(table.columns, start=1):
        if header in used:
            continue
        name = re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_") or f"column_{number}"
        if len(name) > NAME_BYTES:
            raise SourceError(
                table.path,
                line=table.line,
                found=f"a column of {len(header)} letters, {header[:40]!r}...",
                expected=f"names of at most {NAME_BYTES}, since an array of the store is called so",
                remedy="Shorten the column's name.",
            )
        while name in taken:
            name += "_"
        taken.add(name)
        values = [row[header] if row[header] not in MISSING else None for row in rows]
        others.append(Factor(name, "category", None, as_values("category", values)))
    return others
