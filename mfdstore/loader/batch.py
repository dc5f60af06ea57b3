"""What the loader hands over: windows and labels as compact as stored, expanded where they are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mfdstore.dinucleotides import N_CODES
from mfdstore.loader.kernels import expand_bits, expand_codes
from mfdstore.schema import n_bytes

# A number is set by its bits, so one kernel serves every type of the same size (numba knows no bfloat16).
_BITS_OF_SIZE: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Batch:
    """Some windows with their labels; 1 byte a position and 1 bit an experiment.

    A batch may be kept as long as one likes: its memory is used again only when no tensor looks at it any
    more.

    Parameters
    ----------
    codes
        Dinucleotide codes with strand and shift applied, 16 is blank; uint8, shape ``(window, position)``.
    label_bits
        Packed labels, the first experiment in the highest bit; uint8, shape ``(window, label_byte)``.
    window
        Row of each window in the store, int64, shape ``(window,)``.
    """

    codes: Tensor
    label_bits: Tensor
    window: Tensor

    def __len__(self) -> int:
        return len(self.window)

    def to(self, device: torch.device | str) -> Batch:
        """Move to a device; pinned memory is copied while the caller goes on."""
        overlap = self.codes.is_pinned()
        return Batch(
            self.codes.to(device, non_blocking=overlap),
            self.label_bits.to(device, non_blocking=overlap),
            self.window.to(device, non_blocking=overlap),
        )

    def one_hot(self, dtype: torch.dtype = torch.float32, *, out: Tensor | None = None) -> Tensor:
        """Expand the codes to channels on the device where they are.

        Parameters
        ----------
        dtype
            Of the result; 0 and 1 are exact in every type.
        out
            Filled and returned where it is given, contiguous, of this dtype. At float32 a batch of 256
            windows of 1152 positions takes 19 MB; to fill memory that is at hand is quicker than to ask for
            new.

        Returns
        -------
        Shape ``(window, dinucleotide, position)``, 16 channels AA, AC, ... TT; all zero where blank.

        Raises
        ------
        ValueError
            If `out` has another shape, dtype or device, or is not contiguous.
        """
        shape = (self.codes.shape[0], N_CODES, self.codes.shape[1])
        out = _prepare(shape, dtype, self.codes.device, out)
        if self.codes.device.type == "cpu":
            return _fill(expand_codes, self.codes, out)
        return expand_codes_by_torch(self.codes, out)

    def labels(
        self, n_experiments: int, dtype: torch.dtype = torch.float32, *, out: Tensor | None = None
    ) -> Tensor:
        """Expand the labels to numbers on the device where they are.

        Parameters
        ----------
        n_experiments
            Of the store; the bits behind them fill the last byte and mean nothing.
        dtype, out
            As in `one_hot`.

        Returns
        -------
        1 where the bin holds a peak, shape ``(window, experiment)``.

        Raises
        ------
        ValueError
            If the packed labels are not those of so many experiments, or `out` does not fit.
        """
        if n_bytes(n_experiments) != self.label_bits.shape[1]:
            raise ValueError(
                f"{self.label_bits.shape[1]} label bytes are not those of {n_experiments} experiments"
            )
        out = _prepare((self.label_bits.shape[0], n_experiments), dtype, self.label_bits.device, out)
        if self.label_bits.device.type == "cpu":
            return _fill(expand_bits, self.label_bits, out)
        return expand_bits_by_torch(self.label_bits, out)


def expand_codes_by_torch(codes: Tensor, out: Tensor) -> Tensor:
    """Do what `kernels.expand_codes` does, on any device; slower on the CPU."""
    channels = torch.arange(out.shape[1], dtype=codes.dtype, device=codes.device)
    return out.copy_(codes[:, None, :] == channels[:, None])


def expand_bits_by_torch(bits: Tensor, out: Tensor) -> Tensor:
    """Do what `kernels.expand_bits` does, on any device; slower on the CPU."""
    places = torch.arange(7, -1, -1, dtype=bits.dtype, device=bits.device)
    spread = (bits[:, :, None] >> places) & 1
    return out.copy_(spread.flatten(1)[:, : out.shape[1]])


def _prepare(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, out: Tensor | None) -> Tensor:
    """Check `out`, or allocate it; on the CPU by numpy, which asks for huge pages (4 times faster)."""
    if out is not None:
        if out.shape != shape or out.dtype != dtype or out.device != device or not out.is_contiguous():
            raise ValueError(
                f"out is {tuple(out.shape)} {out.dtype} on {out.device}; "
                f"it must be {shape} {dtype} on {device}, contiguous"
            )
        return out
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    size = int(np.prod(shape)) * dtype.itemsize
    return torch.from_numpy(np.empty(size, np.uint8)).view(dtype).view(shape)


def _fill(kernel: Callable[..., None], source: Tensor, out: Tensor) -> Tensor:
    """Run a kernel that sets `out` to 0 and 1, on the bits of its numbers."""
    bits = _BITS_OF_SIZE[out.dtype.itemsize]
    zero_one = torch.arange(2).to(out.dtype).view(bits)
    kernel(source.numpy(), zero_one.numpy(), out.view(bits).numpy())
    return out
