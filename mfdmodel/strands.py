"""Windows of a store in both strands, side by side: what is predicted or described is averaged over them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mfdstore.loader import Batch, Loader, RamData
from mfdstore.loader.content import DEFAULT_FLANK, reach
from mfdstore.store import Store


def both_strands(
    store: Store,
    rows: NDArray[np.int64],
    *,
    positions: int,
    batch_size: int = 256,
    data: RamData | None = None,
) -> Iterator[tuple[Batch, Batch]]:
    """Read windows in the order given, unshifted, each batch from the forward and from the reverse strand.

    Parameters
    ----------
    store
        To be read.
    rows
        Of the windows, shape ``(window,)``.
    positions
        Of a window.
    batch_size
        Windows in a batch; the last one may have fewer.
    data
        The store's content where it is in RAM already.
    """
    if data is None:
        data = RamData(store, flank=max(DEFAULT_FLANK, reach(positions, 0)))
    forward = Loader(store, rows=rows, batch_size=batch_size, positions=positions, data=data, threads=1)
    reverse = Loader(
        store, rows=rows, batch_size=batch_size, positions=positions, data=data, threads=1, strand="reverse"
    )
    yield from zip(forward, reverse, strict=True)
