"""A Dataset as users write it by hand: what the loaders here are measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset


class FastaDataset(Dataset[tuple[Tensor, Tensor]]):
    """One window by pysam, a lookup table and an identity matrix; its labels from packed bits in RAM.

    Parameters
    ----------
    fasta
        With its index.
    chroms
        Chromosome of each window.
    first
        First position of each window, 0-based, shape ``(window,)``.
    label_bits
        Packed labels, shape ``(window, label_byte)``.
    n_experiments
        Of the labels.
    positions
        Of a window; it has one base more.
    """

    def __init__(
        self,
        fasta: Path,
        chroms: list[str],
        first: NDArray[np.int64],
        label_bits: NDArray[np.uint8],
        *,
        n_experiments: int,
        positions: int,
    ) -> None:
        self.fasta_path = str(fasta)
        self.fasta: pysam.FastaFile | None = None
        self.chroms = chroms
        self.first = first
        self.label_bits = label_bits
        self.n_experiments = n_experiments
        self.positions = positions
        self.base = np.full(256, 4, np.int64)
        for index, base in enumerate("ACGT"):
            self.base[[ord(base), ord(base.lower())]] = index
        self.channels = np.zeros((17, 16), np.float32)
        self.channels[:16] = np.eye(16, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        if self.fasta is None:  # opened in the worker that reads it
            self.fasta = pysam.FastaFile(self.fasta_path)
        first, n_bases = int(self.first[row]), self.positions + 1
        bases = self.fasta.fetch(self.chroms[row], max(first, 0), first + n_bases)
        bases = bases.rjust(n_bases, "N") if first < 0 else bases.ljust(n_bases, "N")
        index = self.base[np.frombuffer(bases.encode(), np.uint8)]
        known = (index[:-1] < 4) & (index[1:] < 4)
        codes = np.where(known, 4 * index[:-1] + index[1:], 16)
        one_hot = np.ascontiguousarray(self.channels[codes].T)
        labels = np.unpackbits(self.label_bits[row], count=self.n_experiments).astype(np.float32)
        return torch.from_numpy(one_hot), torch.from_numpy(labels)
