"""A store's windows, labels and experiments as Parquet tables: for polars, pandas, DuckDB, Spark and R."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from mfdstore import schema
from mfdstore.export.choice import Chosen
from mfdstore.metadata import Factor

_ROWS_PER_GROUP: Final = 1 << 20
_SYSTEM_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_WRITE_FAILED: Final = "transport error"
"""What polars says of a part of a file that it could not write, without the system's reason."""
_TRIED: Final = 1 << 20
"""Bytes written to learn that reason; heads and feet of files have less."""


def write_parquet(chosen: Chosen, folder: Path, on_progress: Callable[[int, int], None]) -> int:
    """Write three tables: `windows`, `labels` (a row a positive pair) and `experiments`.

    Parameters
    ----------
    chosen
        Of the store.
    folder
        To fill; it exists.
    on_progress
        Called with the windows whose labels are written and their number.

    Returns
    -------
    Number of positive pairs.
    """
    _write_experiments(chosen, folder / "experiments.parquet")
    _sink(_windows(chosen), _window_schema(chosen), folder / "windows.parquet")
    accessions = pl.Enum(chosen.factors.experiments)
    types: dict[str, Any] = {schema.WINDOW: pl.UInt32, schema.EXPERIMENT: accessions}
    counted = _Counted(_labels(chosen, accessions, on_progress))
    _sink(counted, pl.Schema(types), folder / "labels.parquet")
    return counted.n_rows


def _window_schema(chosen: Chosen) -> pl.Schema:
    types: dict[str, Any] = {
        schema.WINDOW: pl.UInt32,
        schema.CHROM: pl.Enum(chosen.store.chroms),
        schema.START: pl.Int32,
        schema.END: pl.Int32,
        schema.SPLIT: pl.Enum(schema.SPLITS),
        schema.N_POSITIVE: pl.Int32,
    }
    return pl.Schema(types)


def _windows(chosen: Chosen) -> Iterator[pl.DataFrame]:
    windows, n_positive = chosen.store.windows, chosen.store.n_positive
    types = _window_schema(chosen)
    chroms = pl.Series(windows.chroms, dtype=types[schema.CHROM])
    splits = pl.Series(schema.SPLITS, dtype=types[schema.SPLIT])
    for chrom in chosen.chroms:
        rows = chosen.rows(chrom)
        for begin in range(0, len(rows), _ROWS_PER_GROUP):
            part = rows[begin : begin + _ROWS_PER_GROUP]
            yield pl.DataFrame(
                {
                    schema.WINDOW: part.astype(np.uint32),
                    schema.CHROM: chroms.gather(windows.chrom[part]),
                    schema.START: windows.start[part],
                    schema.END: windows.start[part] + np.int32(windows.bin_size),
                    schema.SPLIT: splits.gather(windows.split[part]),
                    schema.N_POSITIVE: n_positive[part],
                },
                schema=types,
            )


def _labels(
    chosen: Chosen, accessions: pl.Enum, on_progress: Callable[[int, int], None]
) -> Iterator[pl.DataFrame]:
    names = pl.Series(chosen.factors.experiments, dtype=accessions)
    n_done = 0
    for chrom in chosen.chroms:
        for rows, labels in chosen.blocks(chrom):
            row, experiment = np.nonzero(labels)
            yield pl.DataFrame(
                {schema.WINDOW: rows[row].astype(np.uint32), schema.EXPERIMENT: names.gather(experiment)}
            )
            n_done += len(rows)
            on_progress(n_done, chosen.n_windows)


def _write_experiments(chosen: Chosen, path: Path) -> None:
    columns = [pl.Series(schema.EXPERIMENT, chosen.factors.experiments, pl.String)]
    columns += [_column(factor) for factor in chosen.factors]
    table = pl.DataFrame(columns)
    _sink(iter([table]), table.schema, path)


def _column(factor: Factor) -> pl.Series:
    values: list[Any] = [
        None if missing else value
        for value, missing in zip(factor.values.tolist(), factor.missing, strict=True)
    ]
    types: dict[str, Any] = {"number": pl.Float64, "date": pl.Date, "multi_category": pl.List(pl.String)}
    if factor.kind == "multi_category":
        values = [None if value is None else list(value) for value in values]
    return pl.Series(factor.name, values, types.get(factor.kind, pl.String))


class _Counted(Iterator[pl.DataFrame]):
    """Passes tables on and counts their rows."""

    def __init__(self, tables: Iterator[pl.DataFrame]) -> None:
        self._tables = tables
        self.n_rows = 0

    def __next__(self) -> pl.DataFrame:
        table = next(self._tables)
        self.n_rows += len(table)
        return table


def _sink(tables: Iterator[pl.DataFrame], types: pl.Schema, path: Path) -> None:
    """Write tables one behind another, a row group at a time, without holding them all."""
    faults: list[Exception] = []

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        try:
            yield from tables
        except Exception as error:
            faults.append(error)
            raise

    try:
        register_io_source(read, schema=types, is_pure=True).sink_parquet(
            path, compression="zstd", row_group_size=_ROWS_PER_GROUP, engine="streaming"
        )
    except pl.exceptions.PolarsError as error:
        # polars makes an error of its own of one that a source raised, and of one that the system raised
        number = _SYSTEM_ERROR.search(str(error))
        if faults:
            raise faults[0] from error
        if number is None:
            if _WRITE_FAILED in str(error):
                raise _why_not_written(path) from error
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _why_not_written(path: Path) -> OSError:
    """Learn from the system why a file could not be written, by writing another beside it."""
    tried = path.with_name(f"{path.name}.tried")
    try:
        tried.write_bytes(bytes(_TRIED))
    except OSError as error:
        return OSError(error.errno, error.strerror, str(path))
    finally:
        tried.unlink(missing_ok=True)
    return OSError(errno.EIO, os.strerror(errno.EIO), str(path))
