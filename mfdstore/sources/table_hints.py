"""What a table that is not the ENCODE portal's lacks, and which of its columns could stand for it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Final

from mfdstore.genomes import some

_SEPARATORS: Final = {",": "commas", ";": "semicolons", " ": "blanks", "|": "bars"}
_ACCESSION: Final = re.compile(r"ENCFF[0-9]{3}[A-Z]{3}")
_SAMPLE: Final = 200
"""Rows that are looked at."""


def describe_lack(lines: Sequence[str], lacking: Sequence[str]) -> tuple[str, str]:
    """Say what a table holds in place of columns that it lacks, and how it can be given them.

    Parameters
    ----------
    lines
        From its header on.
    lacking
        Names of the columns that must be there.

    Returns
    -------
    What is found, and the remedy.
    """
    header = lines[0].split("\t") if lines else []
    if not any(header):
        return "no header line", "Give the portal's table as it was downloaded."
    tab = "\t"
    mark = max(_SEPARATORS, key=lines[0].count)
    separated = len(header) == 1 and mark in lines[0]
    try:
        rows = list(csv.reader(lines[: _SAMPLE + 1], delimiter=mark)) if separated else []
    except csv.Error:
        rows = []
    if not separated:
        rows = [line.split("\t") for line in lines[: _SAMPLE + 1]]
    names = rows[0] if rows else header
    found = f"columns {some([repr(cell[:40]) for cell in names])}"
    if separated:
        found += f", separated by {_SEPARATORS[mark]} instead of tabs"
    remedy = "Give the portal's table as it was downloaded."
    held = [
        name
        for index, name in enumerate(names)
        if any(index < len(row) and _ACCESSION.fullmatch(row[index].strip()) for row in rows[1:])
    ]
    if "File accession" in lacking and held:
        save = "save the table with tabs and " if separated else ""
        faults = _what_must_go(lines, mark if separated else tab, names, held[0])
        remedy = (
            f"{some(map(repr, held))} holds file accessions{faults}: "
            f"{save}call it 'File accession', and others as the "
            "portal's metadata.tsv does ('Experiment target', 'Assay', 'Biosample term name', 'Lab', ...); a column "
            "of another name is kept, but has no role."
        )
    return found, remedy


def _what_must_go(lines: Sequence[str], mark: str, names: Sequence[str], column: str) -> str:
    """Say what in a column of accessions a table of files cannot have: empty cells, and the same file twice."""
    place = list(names).index(column)
    try:
        rows = [row for row in csv.reader(lines[1:], delimiter=mark) if any(cell.strip() for cell in row)]
    except csv.Error:
        return ""
    cells = [row[place].strip() if place < len(row) else "" for row in rows]
    filled = [cell for cell in cells if cell]
    faults = {"empty cells": len(cells) - len(filled), "repeats": len(filled) - len(set(filled))}
    told = " and ".join(f"{what}: {number:,}" for what, number in faults.items() if number)
    return f" (to be taken out: {told})" if told else ""
