"""Batches of equal size out of pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mfdstore.dinucleotides import BLANK
from mfdstore.loader.batch import NO_WINDOW, Batch
from mfdstore.loader.content import Cut

CutPiece = tuple[NDArray[np.int64], list[Cut]]
"""Rows of the windows of a piece, and the piece in each view."""


def as_batches(pieces: Iterator[CutPiece], batch_size: int) -> Iterator[tuple[Batch, ...]]:
    """Divide pieces into batches, each in all views; the last may be smaller.

    A batch looks into the memory of its piece, which lives as long as one of its batches does. Only a batch that is
    of several pieces is copied.

    Parameters
    ----------
    pieces
        In their order, all of the same views.
    batch_size
        Windows in a batch.
    """
    rest: tuple[Batch, ...] | None = None
    for rows, views in pieces:
        window = torch.from_numpy(rows)
        whole = tuple(Batch(codes, label_bits, window) for codes, label_bits in views)
        first = 0
        if rest is not None:
            first = min(batch_size - len(rest[0]), len(rows))
            rest = tuple(
                left.followed_by(view.part(0, first)) for left, view in zip(rest, whole, strict=True)
            )
            if len(rest[0]) < batch_size:
                continue
            yield rest
            rest = None
        for start in range(first, len(rows), batch_size):
            part = tuple(view.part(start, start + batch_size) for view in whole)
            if len(part[0]) < batch_size:
                rest = part
            else:
                yield part
    if rest is not None:
        yield rest


def padding(n_rows: int, positions: int, label_bytes: int, device: torch.device) -> Batch:
    """Make rows that are no windows: blank, without a label."""
    return Batch(
        torch.full((n_rows, positions), BLANK, dtype=torch.uint8, device=device),
        torch.zeros((n_rows, label_bytes), dtype=torch.uint8, device=device),
        torch.full((n_rows,), NO_WINDOW),
    )
