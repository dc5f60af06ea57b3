"""Which bases a training has read, kept beside its model: what is scored later, on any store, must be others."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.checkpoint.states import damaged, read_state, write_state
from mfdmodel.config import DataConfig
from mfdstore.errors import RunError
from mfdstore.schema import Split
from mfdstore.store import Store

SEEN: Final = Path("model", "seen.safetensors")
"""Within the folder of a run."""

Spans: TypeAlias = dict[str, NDArray[np.int64]]
"""By chromosome, 0-based half-open bp, sorted and apart from each other, shape ``(span, 2)``."""


def seen_spans(store: Store, data: DataConfig) -> Spans:
    """Merge the bases that windows of training and validation read, wherever training may move them.

    Parameters
    ----------
    store
        To train on.
    data
        How its windows are cut.
    """
    table = store.windows
    spans: Spans = {}
    first = table.first_position(data.positions)
    for code, chrom in enumerate(table.chroms):
        edges = []
        for rows, shift in ((table.rows("train"), data.max_shift), (table.rows("valid"), 0)):
            begin = first[rows[table.chrom[rows] == code]]
            edges.append(np.stack([begin - shift, begin + data.positions + 1 + shift], 1))
        both = np.concatenate(edges)
        if len(both):
            spans[chrom] = _merge(both)
    return spans


def write_seen(run: Path, spans: Spans) -> None:
    """Write what a training is about to read."""
    state = {chrom: torch.from_numpy(values) for chrom, values in spans.items()}
    write_state(run / SEEN, {"spans": state})


def read_seen(run: Path) -> Spans:
    """Read what a training has read.

    Raises
    ------
    RunError
        If the run does not say, or the file is damaged.
    """
    state = read_state(run / SEEN).get("spans")
    if not isinstance(state, dict):
        raise damaged(run / SEEN, "no spans")
    spans = {}
    for chrom, values in state.items():
        if not isinstance(values, torch.Tensor) or values.dtype != torch.int64 or values.shape[1:] != (2,):
            raise damaged(run / SEEN, f"spans of {chrom} that are no pairs of positions")
        spans[str(chrom)] = values.numpy()
    return spans


def check_unseen(run: Path, store: Store, *, split: Split, positions: int) -> None:
    """Make sure that windows of another store than the training's read no base that the training has read.

    Parameters
    ----------
    run
        Folder of the run.
    store
        To be scored.
    split
        Whose windows.
    positions
        Of a window.

    Raises
    ------
    RunError
        If one does, naming the first.
    """
    spans = read_seen(run)
    table = store.windows
    rows = table.rows(split)
    first = table.first_position(positions)
    for code, chrom in enumerate(table.chroms):
        mine = rows[table.chrom[rows] == code]
        known = spans.get(chrom, np.empty((0, 2), np.int64))
        # the first span that ends behind the window's beginning is the only one that can hold its first shared base
        nearest = np.searchsorted(known[:, 1], first[mine], "right")
        begins = np.append(known[:, 0], np.iinfo(np.int64).max)[nearest]
        shared = np.flatnonzero(begins < first[mine] + positions + 1)
        if len(shared):
            raise RunError(
                store.path,
                found=f"{len(shared):,} windows of split {split} on {chrom} with bases that {run} was trained on, "
                f"the first at {chrom}:{table.start[mine[shared[0]]]}",
                expected="windows that its training has not seen",
                remedy="Build the store with the splits of the training's store.",
            )


def _merge(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join spans that touch or overlap."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    furthest = np.maximum.accumulate(spans[:, 1])
    begins = np.flatnonzero(np.append(True, spans[1:, 0] > furthest[:-1]))
    ends = np.append(begins[1:], len(spans)) - 1
    return np.stack([spans[begins, 0], furthest[ends]], 1)
