"""Codes to channels and bits to labels, on the device where they are; usable without a loader.

On a CPU the numba kernels of `kernels`, on as many threads as torch has. Elsewhere torch's own operations.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mfdstore.dinucleotides import N_CODES
from mfdstore.loader.kernels import expand_bits, expand_codes
from mfdstore.schema import n_bytes

# A number is set by its bits, so one kernel serves every type of the same size (numba knows no bfloat16).
_BITS_OF_SIZE: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_LEAST_BYTES: Final = 1 << 20
"""Less is expanded quicker than it is divided between threads."""


def one_hot(codes: Tensor, dtype: torch.dtype = torch.float32, *, out: Tensor | None = None) -> Tensor:
    """Expand dinucleotide codes to channels.

    Parameters
    ----------
    codes
        0 to 15 for AA, AC, ... TT, 16 is blank; uint8, shape ``(window, position)``.
    dtype
        Of the result; 0 and 1 are exact in every type.
    out
        Filled and returned where it is given, contiguous, of this dtype. At float32 a batch of 256 windows of 1152
        positions takes 19 MB; to fill memory that is at hand is quicker than to ask for new.

    Returns
    -------
    Shape ``(window, dinucleotide, position)``; all zero where blank.

    Raises
    ------
    ValueError
        If `out` has another shape, dtype or device, or is not contiguous, or `dtype` is complex.
    """
    out = _prepare((codes.shape[0], N_CODES, codes.shape[1]), dtype, codes.device, out)
    if codes.device.type == "cpu":
        return _fill(expand_codes, codes, out)
    return expand_codes_by_torch(codes, out)


def labels(
    bits: Tensor, n_experiments: int, dtype: torch.dtype = torch.float32, *, out: Tensor | None = None
) -> Tensor:
    """Expand packed labels to numbers.

    Parameters
    ----------
    bits
        8 experiments a byte, the first in the highest bit; uint8, shape ``(window, label_byte)``.
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
    if n_bytes(n_experiments) != bits.shape[1]:
        raise ValueError(f"{bits.shape[1]} label bytes are not those of {n_experiments} experiments")
    out = _prepare((bits.shape[0], n_experiments), dtype, bits.device, out)
    if bits.device.type == "cpu":
        return _fill(expand_bits, bits, out)
    return expand_bits_by_torch(bits, out)


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
    if dtype.itemsize not in _BITS_OF_SIZE or dtype.is_complex:
        raise ValueError(f"{dtype} is no type of real numbers or integers of up to 8 bytes")
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
    if not size:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(np.empty(size, np.uint8)).view(dtype).view(shape)


def _fill(kernel: Callable[..., None], source: Tensor, out: Tensor) -> Tensor:
    """Run a kernel that sets `out` to 0 and 1, on the bits of its numbers."""
    if not out.numel():
        return out
    bits = _BITS_OF_SIZE[out.dtype.itemsize]
    zero_one = torch.arange(2).to(out.dtype).view(bits).numpy()
    given, filled = source.numpy(), out.view(bits).numpy()
    threads = min(torch.get_num_threads(), len(given))
    if threads < 2 or out.nbytes < _LEAST_BYTES:
        kernel(given, zero_one, filled)
        return out
    parts = np.linspace(0, len(given), threads + 1).astype(int).tolist()
    pool = _pool(os.getpid(), threads - 1)
    others = [
        pool.submit(kernel, given[start:stop], zero_one, filled[start:stop])
        for start, stop in pairwise(parts[1:])
    ]
    try:
        kernel(given[: parts[1]], zero_one, filled[: parts[1]])
    finally:
        wait(others)  # they write to memory of the caller
    for other in others:
        other.result()
    return out


@lru_cache(maxsize=2)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Keep threads for the next batch; those of the process that this one is a fork of are not here."""
    return ThreadPoolExecutor(threads, thread_name_prefix="mfdstore-expand")
