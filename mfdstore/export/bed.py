"""A store's windows as BED, and the windows that each experiment labels: for bedtools, browsers and pyranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import StoreError
from mfdstore.export.choice import Chosen
from mfdstore.export.text import factor_texts, opened_text, write_table
from mfdstore.sources.encode import ACCESSION

_ROWS: Final = 1 << 18
_LARGEST_SCORE: Final = 1000
"""Of the fifth column, as BED has it."""


def write_bed(
    chosen: Chosen, folder: Path, *, packed: bool, positives: bool, on_progress: Callable[[int, int], None]
) -> int:
    """Write the windows, the experiments' factors and, if asked, the windows that each experiment labels.

    Parameters
    ----------
    chosen
        Of the store.
    folder
        To fill; it exists.
    packed
        By gzip.
    positives
        Write a file for each chosen experiment too.
    on_progress
        Called with the files written and their number.

    Returns
    -------
    Number of positive pairs written.

    Raises
    ------
    StoreError
        If an experiment's name cannot name a file.
    """
    ending = ".bed.gz" if packed else ".bed"
    names = chosen.factors.experiments if positives else ()
    for name in names:
        if not ACCESSION.fullmatch(name) or ".." in name:
            raise StoreError(
                chosen.store.path,
                found=f"experiment {name[:60]!r}",
                expected="an accession that can name a file",
                remedy="Choose other --experiments, or export as parquet.",
            )
    with opened_text(folder / f"windows{ending}") as file:
        file.write(b"#chrom\tstart\tend\tname\tscore\tstrand\tn_positive\tsplit\n")
        for chrom in chosen.chroms:
            _write_rows(chosen, file, chosen.rows(chrom), described=True)
    on_progress(1, 1 + len(names))
    columns: list[tuple[str, Sequence[str]]] = [(schema.EXPERIMENT, chosen.factors.experiments)]
    columns += [(factor.name, factor_texts(factor)) for factor in chosen.factors]
    write_table(folder / "experiments.tsv", chosen.store.path, columns)
    n_pairs = 0
    if positives:
        (folder / "positives").mkdir()
    for done, (index, name) in enumerate(
        zip(chosen.experiments if positives else (), names, strict=True), start=2
    ):
        rows = chosen.positives(int(index))
        with opened_text(folder / "positives" / f"{name}{ending}") as file:
            _write_rows(chosen, file, rows, described=False)
        n_pairs += len(rows)
        on_progress(done, 1 + len(names))
    return n_pairs


def _write_rows(chosen: Chosen, file: IO[bytes] | Any, rows: NDArray[np.int64], *, described: bool) -> None:
    """Write windows as lines; `described` adds how many experiments label them, and their split."""
    windows, n_positive = chosen.store.windows, chosen.store.n_positive
    chroms, splits = pl.Series(windows.chroms), pl.Series(schema.SPLITS)
    for begin in range(0, len(rows), _ROWS):
        part = rows[begin : begin + _ROWS]
        table = pl.DataFrame(
            {
                "chrom": chroms.gather(windows.chrom[part]),
                "start": windows.start[part],
                "end": windows.start[part] + np.int32(windows.bin_size),
                "name": "w" + pl.Series(part).cast(pl.String),
                "score": np.minimum(n_positive[part], _LARGEST_SCORE),
                "strand": ".",
            }
        )
        if described:
            table = table.with_columns(
                n_positive=pl.Series(n_positive[part]), split=splits.gather(windows.split[part])
            )
        file.write(table.write_csv(include_header=False, separator="\t").encode())
