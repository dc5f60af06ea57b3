"""gReLU: its `LabeledSeqDataset`, which holds sequences as indices and labels as float32 in RAM, in a DataLoader."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from grelu.data.dataset import LabeledSeqDataset
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from peers.exchange import Exchange
from peers.serving import Contestant, serve

WORKERS = (0, 2)


def prepare(exchange: Exchange) -> list[Contestant]:
    n_windows = exchange.n_each["dataset"]
    held = np.sort(exchange.order[:n_windows])  # 8 kB of labels a window: no more than are read
    chroms, starts = exchange.intervals
    intervals = pd.DataFrame({"chrom": np.array(chroms)[held], "start": starts[held]})
    intervals["end"] = intervals["start"] + exchange.n_bases
    dataset = LabeledSeqDataset(
        intervals,
        exchange.labels(held).astype(np.float32)[:, :, None],
        [f"task{index}" for index in range(exchange.n_experiments)],
        seq_len=exchange.n_bases,
        label_len=1,
        genome=str(exchange.fasta),
    )

    def load(windows: NDArray[np.int64], batch_size: int, *, workers: int) -> Any:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=np.searchsorted(held, windows).tolist(),
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    return [
        Contestant(
            f"gReLU in RAM, {workers} workers",
            "expanded",
            "one-hot of 4 bases and labels, float32",
            "bases, channels first",
            n_windows,
            partial(load, workers=workers),
            lambda batch: batch,
            augments="strand, shift",
        )
        for workers in WORKERS
    ]


if __name__ == "__main__":
    serve(prepare, "gReLU", "torch", "numpy")
