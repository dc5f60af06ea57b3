"""What ``ds.mfd`` shows in a cell: the genome, the windows, what is known of the experiments, how to ask.

It shows what there is of a dataset, whatever was dropped from it, and reads no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from mfdstore import schema
from mfdstore.display import html_box, html_fold, html_table, plain, text_table
from mfdstore.metadata import FACTOR_COLUMNS, describe_factors
from mfdstore.query.factors import factors_of

_MOST_CHROMS: Final = 30
_HOW: Final = (
    ('ds.mfd.region("chr22:20,000,000-21,000,000")', "windows whose bin shares a base with a region"),
    ('ds.mfd.overlapping("peaks.bed.gz")', "... with intervals of a file, a table or a PyRanges object"),
    ('ds.mfd.split("train")', "windows of a split"),
    ('ds.mfd.experiments({"target": "CTCF"})', "experiments by what is known of them"),
    ('ds.mfd.positives("ENCFF...")', "windows that one experiment labels"),
    ('ds.mfd.count_experiments(by="target")', "experiments of each target that label each window (lazy)"),
    ('ds.mfd.count_windows(by="target", per="split")', "windows that each target labels, by split (lazy)"),
    ('ds.mfd.jaccard(by="target")', "how far two targets label the same windows (lazy)"),
)


def as_text(dataset: xr.Dataset) -> str:
    """Describe a dataset in lines of text."""
    parts = [_title(dataset)]
    head, rows = _windows(dataset)
    if rows:
        parts.append(text_table(head, rows))
    with_role, others = _factors(dataset)
    if with_role:
        parts.append(text_table(FACTOR_COLUMNS, with_role))
    if others:
        parts.append(f"known as well: {plain(', '.join(row[0] for row in others), 600)}")
    parts.append("\n".join(f"{how:<50}{what}" for how, what in _HOW))
    return "\n\n".join(parts)


def as_html(dataset: xr.Dataset) -> str:
    """Describe a dataset in HTML; every word of the metadata is escaped."""
    parts = []
    head, rows = _windows(dataset)
    if rows:
        parts.append(html_fold("Windows by chromosome and split", html_table(head, rows), is_open=True))
    with_role, others = _factors(dataset)
    if with_role:
        table = html_table(FACTOR_COLUMNS, with_role)
        parts.append(html_fold("Factors: what is known of the experiments", table, is_open=True))
    if others:
        parts.append(html_fold(f"Known as well: {len(others)} columns", html_table(FACTOR_COLUMNS, others)))
    parts.append(html_fold("How to ask", html_table((), _HOW)))
    return html_box(_title(dataset), *parts)


def _factors(dataset: xr.Dataset) -> tuple[list[list[str]], list[list[str]]]:
    """Describe the factors that have a role, and those that only describe."""
    factors = list(factors_of(dataset))
    with_role = [factor for factor in factors if factor.role is not None]
    return describe_factors(with_role), describe_factors(factor for factor in factors if factor.role is None)


def _title(dataset: xr.Dataset) -> str:
    genome = dataset.attrs.get("genome", "unknown")
    said = [
        f"genome {genome}",
        f"{dataset.sizes.get(schema.WINDOW, 0):,} windows",
        f"{dataset.sizes.get(schema.EXPERIMENT, 0):,} experiments",
    ]
    if "bin_size" in dataset.attrs:
        said.append(f"bins of {dataset.attrs['bin_size']} bp")
    if schema.SEQUENCE in dataset and schema.POSITION in dataset.sizes:
        said.append(f"{dataset.sizes[schema.POSITION]:,} positions a window")
    return f"mfd: {', '.join(said)}"


def _windows(dataset: xr.Dataset) -> tuple[list[str], list[list[str]]]:
    """Count windows by chromosome (in the order they come) and split; no rows where this is not known."""
    columns = {
        name: np.asarray(dataset[name])
        for name in (schema.CHROM, schema.SPLIT)
        if name in dataset.coords and dataset[name].dims == (schema.WINDOW,)
    }
    if len(columns) < 2 or not dataset.sizes[schema.WINDOW]:
        return [], []
    if any(column.dtype.kind in "iu" for column in columns.values()):
        return [], []  # codes of the arrays as stored, which name no chromosome and no split
    codes, chroms = pd.factorize(columns[schema.CHROM])
    counts: dict[str, Sequence[int]] = {}
    for split in schema.SPLITS:
        counts[split] = np.bincount(codes[columns[schema.SPLIT] == split], minlength=len(chroms)).tolist()
    counts = {split: numbers for split, numbers in counts.items() if any(numbers)}
    table = [
        [str(chrom), *(f"{numbers[index]:,}" for numbers in counts.values())]
        for index, chrom in enumerate(chroms)
    ]
    if len(table) > _MOST_CHROMS:
        table = [*table[:_MOST_CHROMS], [f"and {len(table) - _MOST_CHROMS} more", *[""] * len(counts)]]
    total = ["all", *(f"{sum(numbers):,}" for numbers in counts.values())]
    return ["chromosome", *counts], table if len(chroms) < 2 else [*table, total]
