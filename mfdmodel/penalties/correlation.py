"""Standardised columns, and the correlations of pairs of them (equation 3)."""

from __future__ import annotations

import torch
from torch import Tensor


def sum_squared_correlation(x: Tensor, y: Tensor, *, sample_deviation: bool = False) -> Tensor:
    """Sum the squared Pearson correlations between columns of equal index, over the rows (equation 3).

    A column without spread correlates with nothing: it adds zero. Computed in float32 at least, whatever the
    inputs are.

    Parameters
    ----------
    x, y
        Shape ``(window, feature)``, of one mini-batch.
    sample_deviation
        Divide the covariance (over n rows) by standard deviations over n - 1, as the authors' code does. It
        makes the sum smaller by ``((n - 1) / n) ** 2``.

    Returns
    -------
    A scalar between 0 and the number of features.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    n = x.shape[0]
    correlation = (standardise(x) * standardise(y)).mean(0)
    total = correlation.square().sum()
    return total * ((n - 1) / n) ** 2 if sample_deviation else total


def standardise(x: Tensor) -> Tensor:
    """Centre and scale columns over the rows, shape ``(window, feature)``; one without spread becomes zeros."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = x.mean(0)
    centred = x - mean
    # a column counts as constant where its spread is no more than the rounding of its mean
    floor = (1e-6 * mean.detach()).square() + 1e-20
    return centred * torch.rsqrt(torch.maximum(centred.square().mean(0), floor))
