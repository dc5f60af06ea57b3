"""Factors as cells of a table, and tables and intervals as text files that are the same every time."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np

from mfdstore.errors import StoreError
from mfdstore.metadata import Factor
from mfdstore.places.address import Place
from mfdstore.schema import MULTI_SEPARATOR

GZIP_LEVEL: Final = 6


def factor_texts(factor: Factor) -> list[str]:
    """Spell the value of each experiment; what is missing is empty.

    Numbers are spelt so that reading them gives the same number, dates as 2016-07-28.
    """
    if factor.kind == "number":
        return ["" if np.isnan(value) else repr(float(value)) for value in factor.values]
    if factor.kind == "date":
        return ["" if np.isnat(value) else str(value.astype("datetime64[D]")) for value in factor.values]
    if factor.kind == "multi_category":
        return ["" if value is None else MULTI_SEPARATOR.join(value) for value in factor.values]
    return ["" if value is None else str(value) for value in factor.values]


def write_table(path: Path, store: Place, columns: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Write a tab-separated table with a header.

    Parameters
    ----------
    path
        To write.
    store
        Whose values they are, for messages.
    columns
        Header and cells of each column.

    Raises
    ------
    StoreError
        If a cell holds what would break the table, such as a tab, or blanks at its ends, which readers strip.
    """
    for header, cells in columns:
        for text in (header, *cells):
            if text != text.strip() or any(sign in text for sign in "\t\r\n"):
                raise StoreError(
                    store,
                    found=f"{text[:60]!r} in {header!r}",
                    expected="values without tabs and line ends, and without blanks around them",
                    remedy="Correct the metadata that the store is built from, and build it again.",
                )
    lines = ["\t".join(header for header, _ in columns)]
    lines += ["\t".join(cells) for cells in zip(*(cells for _, cells in columns), strict=True)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


@contextmanager
def opened_text(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a text file for writing, packed if its name ends in .gz; without name and time inside."""
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            yield raw
            return
        with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed:
            yield packed
