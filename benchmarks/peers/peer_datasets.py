"""Datasets that give one window at a time, in torch's DataLoader: as users write them, and as MFD's authors did.

The second is written from what is known of theirs: a window's bases tokenised one by one in Python, a one-hot of
float64, labels from the pairs of their HDF5 file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pysam
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from peers.exchange import Exchange
from peers.fasta_dataset import FastaDataset
from peers.serving import Contestant, serve

WORKERS = (0, 2)
TOKENS = {first + second: 4 * i + j for i, first in enumerate("ACGT") for j, second in enumerate("ACGT")}
UNKNOWN = 16


class TokenisedDataset(Dataset[tuple[Tensor, Tensor]]):
    """One window by pysam and a dictionary of pairs; labels from (window, experiment) pairs."""

    def __init__(self, exchange: Exchange) -> None:
        self.path: Path = exchange.fasta
        self.fasta: pysam.FastaFile | None = None
        self.chroms, self.starts = exchange.intervals
        self.positions, self.n_bases = exchange.positions, exchange.n_bases
        self.n_experiments = exchange.n_experiments
        with h5py.File(exchange.overlaps) as file:
            query, self.target = file["query"][:], file["target"][:, 0]
        self.bounds = np.searchsorted(query, np.arange(len(self.starts) + 1))

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, window: int) -> tuple[Tensor, Tensor]:
        if self.fasta is None:  # opened in the worker that reads it
            self.fasta = pysam.FastaFile(str(self.path))
        start = int(self.starts[window])
        bases = self.fasta.fetch(self.chroms[window], start, start + self.n_bases)
        tokens = [TOKENS.get(bases[i : i + 2], UNKNOWN) for i in range(self.positions)]
        one_hot = np.eye(UNKNOWN + 1)[tokens][:, :UNKNOWN].T
        labels = np.zeros(self.n_experiments)
        labels[self.target[self.bounds[window] : self.bounds[window + 1]]] = 1
        return torch.from_numpy(np.ascontiguousarray(one_hot)), torch.from_numpy(labels)


def prepare(exchange: Exchange) -> list[Contestant]:
    def by_hand() -> Dataset[tuple[Tensor, Tensor]]:
        return FastaDataset(
            exchange.fasta,
            *exchange.intervals,
            exchange.label_bits,
            n_experiments=exchange.n_experiments,
            positions=exchange.positions,
        )

    def by_tokens() -> Dataset[tuple[Tensor, Tensor]]:
        return TokenisedDataset(exchange)

    def load(windows: NDArray[np.int64], batch_size: int, *, make: object, workers: int) -> object:
        assert callable(make)
        # each its own: a FASTA that is open in two processes is read from one place in the file
        return DataLoader(
            make(),
            batch_size=batch_size,
            sampler=windows.tolist(),
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    return [
        Contestant(
            f"{name}, {workers} workers",
            "expanded",
            f"one-hot of 16 pairs and labels, {dtype}",
            "pairs, channels first",
            exchange.n_each[speed],
            partial(load, make=make, workers=workers),
            lambda batch: batch,
        )
        for name, make, dtype, speed in (
            ("Dataset by hand", by_hand, "float32", "dataset"),
            ("authors' kind of Dataset", by_tokens, "float64", "tokens"),
        )
        for workers in WORKERS
    ]


if __name__ == "__main__":
    serve(prepare, "torch", "pysam", "h5py", "numpy")
