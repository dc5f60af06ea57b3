"""Interval files that are less plain than nearly all, parsed by polars: comments, track lines, empty cells."""

from __future__ import annotations

import io

import numpy as np
import polars as pl


def parse_intervals(content: bytes) -> pl.DataFrame | None:
    """Parse chromosome, start and end of whole lines; `None` where anything looks wrong.

    Returns
    -------
    Columns ``chrom``, ``start`` and ``end``, a row an interval; `find_fault` says what is wrong where there is none.
    """
    if b"\r" in content:
        return None
    if content.startswith((b"track", b"browser", b"#")) or b"\ntrack" in content or b"\nbrowser" in content:
        lines = (line for line in content.split(b"\n") if not line.startswith((b"#", b"track", b"browser")))
        content = b"\n".join(lines)
    if not content.strip(b"\n"):
        return pl.DataFrame(schema={"chrom": pl.String, "start": pl.Int64, "end": pl.Int64})
    try:
        table = pl.read_csv(
            io.BytesIO(content),
            has_header=False,
            infer_schema=False,
            separator="\t",
            quote_char=None,
            comment_prefix="#",
            columns=[0, 1, 2],
        )
        # renamed by place: how polars numbers nameless columns depends on its version
        table.columns = ["chrom", "start", "end"]
        table = table.cast({"start": pl.Int64, "end": pl.Int64})
    except (pl.exceptions.PolarsError, IndexError, ValueError):
        return None
    return None if _has_gaps(table) or _is_ragged(content) else table


def _has_gaps(table: pl.DataFrame) -> bool:
    return bool(table.null_count().sum_horizontal().item()) or bool((table["chrom"] == "").any())


def _is_ragged(content: bytes) -> bool:
    """Say whether lines have different numbers of columns: a file cut off, or two files glued together.

    Comments between the lines may hold any number of tabs.
    """
    if content.startswith(b"#") or b"\n#" in content:
        content = b"\n".join(line for line in content.split(b"\n") if not line.startswith(b"#"))
    text = np.frombuffer(content.rstrip(b"\n") + b"\n", np.uint8)
    n_before = np.searchsorted(np.flatnonzero(text == ord("\t")), np.flatnonzero(text == ord("\n")))
    return bool((np.diff(n_before, prepend=0) != n_before[0]).any())
