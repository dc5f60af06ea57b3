"""Windows of a store in both strands, side by side: what is predicted or described is averaged over them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mfdstore.loader import Batch, Loader
from mfdstore.loader.content import Content
from mfdstore.store import Store


def both_strands(
    store: Store,
    rows: NDArray[np.int64],
    *,
    positions: int,
    batch_size: int = 256,
    data: Content | None = None,
) -> Iterator[tuple[Batch, ...]]:
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
        The store's content where it is open already.
    """
    loader = Loader(store, rows=rows, batch_size=batch_size, positions=positions, data=data)
    yield from loader.views(("forward", "reverse"))
