"""What the loader hands over: windows and labels as compact as stored, expanded where they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mfdstore.loader import expansion

NO_WINDOW: Final = -1
"""In place of a row, where a batch was filled up."""


@dataclass(frozen=True)
class Batch:
    """Some windows with their labels; 1 byte a position and 1 bit an experiment.

    A batch may be kept as long as one likes. Its memory is that of some batches cut together (in RAM some ten
    thousand windows, streamed a pool), which lives as long as one of them: keep a `clone` of few batches of many.

    Parameters
    ----------
    codes
        Dinucleotide codes with strand and shift applied, 16 is blank; uint8, shape ``(window, position)``.
    label_bits
        Packed labels, the first experiment in the highest bit; uint8, shape ``(window, label_byte)``.
    window
        Row of each window in the store, int64, shape ``(window,)``; -1 where there is none (`mask`).
    """

    codes: Tensor
    label_bits: Tensor
    window: Tensor

    def __len__(self) -> int:
        return len(self.window)

    @property
    def mask(self) -> Tensor:
        """False for rows that only fill the batch up, shape ``(window,)``."""
        return self.window >= 0

    def to(self, device: torch.device | str) -> Batch:
        """Move to a device; pinned memory is copied while the caller goes on."""
        overlap = self.codes.is_pinned()
        return Batch(
            self.codes.to(device, non_blocking=overlap),
            self.label_bits.to(device, non_blocking=overlap),
            self.window.to(device, non_blocking=overlap),
        )

    def pin_memory(self) -> Batch:
        """Copy to memory that a CUDA device copies from by itself (a `DataLoader` asks for this)."""
        return Batch(self.codes.pin_memory(), self.label_bits.pin_memory(), self.window.pin_memory())

    def clone(self) -> Batch:
        """Copy to memory of its own."""
        return Batch(self.codes.clone(), self.label_bits.clone(), self.window.clone())

    def part(self, start: int, stop: int) -> Batch:
        """Give some of the windows, in the same memory."""
        return Batch(self.codes[start:stop], self.label_bits[start:stop], self.window[start:stop])

    def followed_by(self, other: Batch) -> Batch:
        """Give the windows of both, in memory of their own."""
        return Batch(
            torch.cat([self.codes, other.codes]),
            torch.cat([self.label_bits, other.label_bits]),
            torch.cat([self.window, other.window]),
        )

    def one_hot(self, dtype: torch.dtype = torch.float32, *, out: Tensor | None = None) -> Tensor:
        """Expand the codes to channels where they are, shape ``(window, dinucleotide, position)``.

        See `expansion.one_hot`, which says what `dtype` and `out` are.
        """
        return expansion.one_hot(self.codes, dtype, out=out)

    def labels(
        self, n_experiments: int, dtype: torch.dtype = torch.float32, *, out: Tensor | None = None
    ) -> Tensor:
        """Expand the labels to numbers where they are, shape ``(window, experiment)``; see `expansion.labels`."""
        return expansion.labels(self.label_bits, n_experiments, dtype, out=out)
