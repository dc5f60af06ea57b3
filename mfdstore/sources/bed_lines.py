"""Intervals out of the text of a sound BED file in one pass, compiled by numba.

Most peak files are plain: no comment between the lines, whole numbers, as many columns in each line. Those are read
here; of any other nothing is said, and `bed` reads it in its own careful way.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.compiled import compiled

_MOST_NAMES: Final = 1 << 12
"""Sequences that one file may name; assemblies with more are for the careful way."""
_PLACES: Final = 1 << 14
"""Of the table that names are looked up in."""
_NO_INTERVALS: Final = (b"track", b"browser")
"""What begins lines that are no intervals, whatever follows."""


def scan_intervals(content: bytes) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
    """Read chromosome, start and end of each line.

    Parameters
    ----------
    content
        Of the file, uncompressed.

    Returns
    -------
    For each chromosome, in the order of first occurrence: starts and ends in bp in the order of the lines, shape
    ``(interval,)``; `None` for anything but lines of equally many columns with whole numbers below 10 ** 18.
    """
    if not content:
        return None
    text = np.frombuffer(content, np.uint8)
    n_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    chrom, intervals = np.empty(n_lines, np.int16), np.empty((2, n_lines), np.int64)
    names, counts = np.empty((2, _MOST_NAMES), np.int64), np.zeros(_MOST_NAMES, np.int64)
    table = np.full(_PLACES, -1, np.int16)
    n_found, n_names = _scan(text, chrom, intervals, names, counts, table)
    if n_found != n_lines:
        return None
    ends = np.cumsum(counts[:n_names])
    sorted_intervals = np.empty_like(intervals)
    _sort_by_name(chrom, intervals, ends - counts[:n_names], sorted_intervals)
    by_name = {}
    for (begin, length), count, end in zip(names[:, :n_names].T, counts, ends, strict=False):
        name = content[begin : begin + length]
        if name.startswith(_NO_INTERVALS):
            return None
        starts, stops = sorted_intervals[:, end - count : end]
        by_name[name.decode("ascii")] = (starts, stops)
    return by_name


@compiled
def _scan(  # pragma: no cover - compiled
    text: NDArray[np.uint8],
    chrom: NDArray[np.int16],
    intervals: NDArray[np.int64],
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    table: NDArray[np.int16],
) -> tuple[int, int]:
    """Read lines until one is not plain; gives how many were, and how many names they have.

    Parameters
    ----------
    text
        Of the file.
    chrom, intervals
        To fill: number of the name, and start and end of each line, shapes ``(line,)`` and ``(2, line)``.
    names, counts
        To fill: place and length of each name in the text, shape ``(2, name)``, and how many lines have it.
    table
        Number of the name whose hash ends so, or the place before it; all -1, a power of two long.
    """
    size = len(text)
    row = 0
    n_names = 0
    n_tabs = -1
    at = 0
    while at < size:
        begin = at
        hashed = np.uint64(14695981039346656037)
        while at < size and 32 < text[at] < 127:
            hashed = (hashed ^ np.uint64(text[at])) * np.uint64(1099511628211)
            at += 1
        length = at - begin
        if at == size or text[at] != 9 or length == 0 or text[begin] == 35:
            return row, n_names
        place = np.int64((hashed ^ (hashed >> np.uint64(32))) & np.uint64(len(table) - 1))
        while True:
            name = int(table[place])
            if name < 0:
                if n_names == len(counts):
                    return row, n_names
                name = n_names
                names[0, name] = begin
                names[1, name] = length
                table[place] = name
                n_names += 1
                break
            same = names[1, name] == length
            index = 0
            while same and index < length:
                same = text[names[0, name] + index] == text[begin + index]
                index += 1
            if same:
                break
            place = (place + 1) & (len(table) - 1)
        tabs = 1
        for column in range(2):
            at += 1
            first = at
            value = np.int64(0)
            while at < size and 48 <= text[at] <= 57:
                value = 10 * value + np.int64(text[at] - 48)
                at += 1
            if at == first or at - first > 18:
                return row, n_names
            intervals[column, row] = value
            if column == 0:
                if at == size or text[at] != 9:
                    return row, n_names
                tabs += 1
        if at < size and text[at] != 9 and text[at] != 10:
            return row, n_names
        while at < size and text[at] != 10:
            if text[at] == 9:
                tabs += 1
            elif text[at] == 13 or text[at] > 127:
                return row, n_names
            at += 1
        if n_tabs < 0:
            n_tabs = tabs
        elif tabs != n_tabs:
            return row, n_names
        chrom[row] = name
        counts[name] += 1
        at += 1
        row += 1
    return row, n_names


@compiled
def _sort_by_name(  # pragma: no cover - compiled
    chrom: NDArray[np.int16],
    intervals: NDArray[np.int64],
    begins: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Put the intervals of one name beside each other; `begins` are changed."""
    for row in range(len(chrom)):
        place = begins[chrom[row]]
        begins[chrom[row]] += 1
        out[0, place] = intervals[0, row]
        out[1, place] = intervals[1, row]
