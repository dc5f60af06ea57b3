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
        remedy = (
            f"{some(map(repr, held))} holds file accessions: {save}call it 'File accession', and others as the "
            "portal's metadata.tsv does ('Experiment target', 'Assay', 'Biosample term name', 'Lab', ...); a column "
            "of another name is kept, but has no role."
        )
    return found, remedy
