"""Tab-separated tables as the ENCODE portal writes them, with the place of every row for messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mfdstore.errors import SourceError
from mfdstore.provenance import SourceFile, describe_bytes
from mfdstore.sources.table_hints import describe_lack


class Row(dict[str, str]):
    """Cells of one line by column; a column that the table lacks reads as empty."""

    def __init__(self, cells: Mapping[str, str], path: Path, line: int) -> None:
        super().__init__(cells)
        self.path = path
        self.line = line

    def __missing__(self, column: str) -> str:
        return ""

    def fault(self, column: str, expected: str, remedy: str) -> SourceError:
        """Describe a cell that cannot be used."""
        found = f"{self[column][:60]!r} in column {column!r}"
        return SourceError(self.path, line=self.line, found=found, expected=expected, remedy=remedy)


@dataclass(frozen=True)
class Table:
    """A tab-separated table with one header line.

    Parameters
    ----------
    path
        Of the file.
    line
        Where its header stands, counted from 1.
    file
        Name, size and digest.
    columns
        The header's cells.
    rows
        The lines below that are not empty.
    """

    path: Path
    line: int
    file: SourceFile
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path, required: Sequence[str], stamped: bool = False) -> Table:
        """Read a table; with `stamped`, a first line that lacks the required columns is skipped.

        Raises
        ------
        SourceError
            If the file cannot be read, is no text, lacks a column, or its lines are not of one length.
        """
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
        texts = re.split(r"\r\n|\n|\r", text)
        lines = [line.split("\t") for line in texts]
        first = 1 if stamped and lines and not set(required) <= set(lines[0]) else 0
        header = lines[first] if len(lines) > first else []
        lacking = [column for column in required if column not in header]
        if lacking:
            found, remedy = describe_lack(texts[first:], lacking)
            raise SourceError(
                path,
                line=first + 1,
                found=found,
                expected=f"a header with {', '.join(map(repr, lacking))}",
                remedy=remedy,
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
            rows.append(Row(dict(zip(header, values, strict=False)), path, number))
        if not rows:
            raise SourceError(path, found="no rows", expected="one row a file", remedy="Download it again.")
        return cls(path, first + 1, describe_bytes(path.name, raw), tuple(header), tuple(rows))
