"""The ENCODE portal's tables: `metadata.tsv` of a download, and the experiment report of a cart.

Which columns make which factor stands in `encode_columns`. In `metadata.tsv` the lab of a processed file reads "ENCODE
Processing Pipeline"; the lab that did the experiment, its life stage and age are in the report only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import SourceError
from mfdstore.genomes import same_assembly, some
from mfdstore.metadata import Factor, FactorTable
from mfdstore.provenance import SourceFile, describe_bytes
from mfdstore.schema import MULTI_SEPARATOR, RESERVED, Kind
from mfdstore.sources.encode_columns import COLUMNS, Column

ACCESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
PIPELINE: Final = "ENCODE Processing Pipeline"
ACCESSIBLE: Final = "Accessible DNA"
_ACCESSIBILITY_ASSAYS: Final = ("DNase-seq", "ATAC-seq", "FAIRE-seq", "snATAC-seq")
_MISSING: Final = ("", "NA", "N/A", "NaN", "unknown", "not applicable")
_ORGANISM_SUFFIX: Final = re.compile(r"-(human|mouse|dmelanogaster|celegans)$")
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:-\d+)?\s+([a-z]+?)s?")


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
    table = _Table.read(metadata, required=("File accession",))
    counts = {"metadata_rows": len(table.rows), "rows_not_bed": 0, "rows_other_assembly": 0}
    seen: dict[str, int] = {}
    kept: list[_Row] = []
    for row in table.rows:
        accession = row["File accession"]
        _check_accession(metadata, row, accession, seen)
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
    joined: list[_Row | None] = [None] * len(kept)
    if report is not None:
        report_table = _Table.read(report, required=("Accession",), stamped=True)
        files.append(report_table.file)
        joined = _join(kept, report_table)
        counts["rows_without_report"] = sum(row is None for row in joined)
    factors = [_read_factor(column, kept, joined) for column in COLUMNS]
    factors += _other_columns(table, kept)
    known = tuple(factor for factor in factors if not factor.missing.all())
    empty = tuple(factor.name for factor in factors if factor.missing.all())
    md5 = {row["File accession"]: row["md5sum"].lower() for row in kept if row["md5sum"]}
    accessions = tuple(row["File accession"] for row in kept)
    return ExperimentTable(FactorTable(accessions, known), md5, tuple(files), counts, empty)


class _Row(dict[str, str]):
    """Cells of one line by column; a column that the table lacks reads as empty."""

    def __init__(self, cells: Mapping[str, str], path: Path, line: int) -> None:
        super().__init__(cells)
        self.path = path
        self.line = line

    def __missing__(self, column: str) -> str:
        return ""

    def fault(self, column: str, expected: str, remedy: str) -> SourceError:
        found = f"{self[column][:60]!r} in column {column!r}"
        return SourceError(self.path, line=self.line, found=found, expected=expected, remedy=remedy)


@dataclass(frozen=True)
class _Table:
    file: SourceFile
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]

    @classmethod
    def read(cls, path: Path, required: Sequence[str], stamped: bool = False) -> _Table:
        """Read a table; with `stamped`, a first line that lacks the required columns is skipped."""
        try:
            raw = path.read_bytes()
            text = raw.decode("utf-8-sig")
        except OSError as error:
            raise SourceError(
                path,
                found=f"no readable file ({error.strerror})",
                expected="a tab-separated table of the ENCODE portal",
                remedy="Check the path.",
            ) from error
        except UnicodeDecodeError as error:
            raise SourceError(
                path,
                found=f"bytes that are not text ({error.reason} at byte {error.start})",
                expected="tab-separated text in UTF-8",
                remedy="Unpack it if it is compressed; save it as UTF-8.",
            ) from error
        # the portal itself writes reports with CR LF; quotes mean nothing to it, and cells have no greatest length
        lines = [line.split("\t") for line in re.split(r"\r\n|\n|\r", text)]
        first = 1 if stamped and lines and not set(required) <= set(lines[0]) else 0
        header = lines[first] if len(lines) > first else []
        lacking = [column for column in required if column not in header]
        if lacking:
            raise SourceError(
                path,
                line=first + 1,
                found=f"columns {some([repr(cell[:40]) for cell in header])}"
                if any(header)
                else "no header line",
                expected=f"a header with {', '.join(map(repr, lacking))}",
                remedy="Give the portal's table as it was downloaded.",
            )
        twice = sorted({column for column in header if column and header.count(column) > 1})
        if twice:
            raise SourceError(
                path,
                line=first + 1,
                found=f"column {twice[0]!r} more than once",
                expected="each column once",
                remedy="Remove or rename one of them.",
            )
        rows = []
        for number, cells in enumerate(lines[first + 1 :], start=first + 2):
            if not any(cells):
                continue
            if len(cells) > len(header) or len(cells) < len(header) - 1:
                raise SourceError(
                    path,
                    line=number,
                    found=f"{len(cells)} cells",
                    expected=f"{len(header)}, as the header has",
                    remedy="The file may be truncated, or a cell may hold a tab: download it again.",
                )
            values = [cell.strip() for cell in cells]
            rows.append(_Row(dict(zip(header, values, strict=False)), path, number))
        if not rows:
            raise SourceError(path, found="no rows", expected="one row a file", remedy="Download it again.")
        return cls(describe_bytes(path.name, raw), tuple(header), tuple(rows))


def _check_accession(path: Path, row: _Row, accession: str, seen: dict[str, int]) -> None:
    if not ACCESSION.fullmatch(accession) or ".." in accession:
        raise row.fault(
            "File accession",
            "letters, digits, '_', '-' and '.' only, since it names a file",
            "Correct the accession.",
        )
    if accession in seen:
        raise SourceError(
            path,
            line=row.line,
            found=f"accession {accession} again, first on line {seen[accession]}",
            expected="each accession once",
            remedy="Remove one of the two rows.",
        )
    seen[accession] = row.line


def _join(rows: Iterable[_Row], report: _Table) -> list[_Row | None]:
    by_file: dict[str, _Row] = {}
    by_experiment: dict[str, _Row] = {}
    for row in report.rows:
        by_experiment[row["Accession"]] = row
        for entry in row["Files"].split(","):
            by_file[entry.strip().removeprefix("/files/").rstrip("/")] = row
    return [
        by_file.get(row["File accession"]) or by_experiment.get(row["Experiment accession"] or "-")
        for row in rows
    ]


def _cell(column: Column, row: _Row, report_row: _Row | None) -> tuple[_Row, str] | None:
    """Find the first source that has a value for this experiment: its row and its column there."""
    for source in column.sources:
        table, _, name = source.partition(":")
        from_row = row if table == "m" else report_row
        if from_row is None or from_row[name] in _MISSING:
            continue
        if column.name == "lab" and from_row[name] == PIPELINE:
            continue
        return from_row, name
    return None


def _read_factor(column: Column, rows: Sequence[_Row], report_rows: Sequence[_Row | None]) -> Factor:
    values = [
        _value(column, cell) if (cell := _cell(column, row, report_row)) is not None else _absent(column, row)
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


def _absent(column: Column, row: _Row) -> str | None:
    """Fill in what the portal leaves empty because the assay implies it."""
    if column.name == "target" and row["Assay"] in _ACCESSIBILITY_ASSAYS:
        return ACCESSIBLE
    return None


def _value(column: Column, cell: tuple[_Row, str]) -> Any:
    row, name = cell
    text = row[name]
    if column.name in ("age", "age_unit"):
        # pooled donors ("53 years, 32 years") and "90 or above" have no one age: missing, not an average
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


def _other_columns(table: _Table, rows: Sequence[_Row]) -> list[Factor]:
    """Keep every other column of the metadata table as it is, under a name in the store's style."""
    used = {source.partition(":")[2] for column in COLUMNS for source in column.sources if source[0] == "m"}
    taken = {column.name for column in COLUMNS} | RESERVED
    others = []
    for header in table.columns:
        name = re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")
        if header in used or header == "File accession" or not name:
            continue
        while name in taken:
            name += "_"
        taken.add(name)
        values = [row[header] if row[header] not in _MISSING else None for row in rows]
        others.append(Factor(name, "category", None, as_values("category", values)))
    return others
