"""Latents that penalties are judged by, and slow answers from the definition."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def naive_sum(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(np.corrcoef(x[:, i], y[:, i])[0, 1] ** 2 for i in range(x.shape[1])))


def latent_of(n: int = 64, widths: tuple[int, int] = (5, 3), seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        role: torch.randn(n, width, generator=generator)
        for role, width in zip(("biological", "technical"), widths, strict=True)
    }
