"""Our loader, RAM mode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfdstore.loader import Batch, Loader, RamData
from mfdstore.store import Store
from peers.exchange import Exchange
from peers.serving import Contestant, serve

THREADS = (1, 2)


class Expanded:
    """Batches expanded to float32, each into the memory of the one before, on as many threads as they are cut by."""

    def __init__(self, loader: Loader, n_experiments: int, threads: int) -> None:
        self.loader = loader
        self.threads = threads
        self.n_experiments = n_experiments
        self.one_hot: Tensor | None = None
        self.labels: Tensor | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        torch.set_num_threads(self.threads)
        for batch in self.loader:
            if self.one_hot is None or self.labels is None:
                self.one_hot, self.labels = batch.one_hot(), batch.labels(self.n_experiments)
                yield self.one_hot, self.labels
                continue
            n = len(batch)
            yield (
                batch.one_hot(out=self.one_hot[:n]),
                batch.labels(self.n_experiments, out=self.labels[:n]),
            )


def unpack(batch: Batch) -> tuple[Any, Any]:
    return batch.codes, batch.label_bits


def prepare(exchange: Exchange) -> list[Contestant]:
    store = Store(exchange.store)
    data = RamData(store)

    def compact(windows: NDArray[np.int64], batch_size: int, *, threads: int) -> Loader:
        return Loader(store, rows=exchange.rows[windows], batch_size=batch_size, threads=threads, data=data)

    def expanded(windows: NDArray[np.int64], batch_size: int, *, threads: int) -> Expanded:
        return Expanded(compact(windows, batch_size, threads=threads), store.n_experiments, threads)

    augments = "strand, shift"
    return [
        *(
            Contestant(
                f"mfdstore, {threads} thread{'s' * (threads > 1)}",
                "compact",
                "codes of pairs, packed labels",
                "codes",
                exchange.n_each["fast"],
                partial(compact, threads=threads),
                unpack,
                augments=augments,
            )
            for threads in THREADS
        ),
        *(
            Contestant(
                f"mfdstore, {threads} thread{'s' * (threads > 1)}, into memory at hand",
                "expanded",
                "one-hot of 16 pairs and labels, float32",
                "pairs, channels first",
                exchange.n_each["expanded"],
                partial(expanded, threads=threads),
                lambda batch: batch,
                augments=augments,
            )
            for threads in THREADS
        ),
    ]


if __name__ == "__main__":
    serve(prepare, "numpy", "torch", "numba", "zarr")
