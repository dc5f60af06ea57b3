"""Building blocks of the network: the pre-activation convolution, the residual sum, the plain perceptron.

A window is an image of height 1, ``(window, channel, 1, position)``, with the channels innermost in memory. Torch
has that layout for images only; convolutions of kernel 1, the stem's and max pools are faster in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def convolution(n_in: int, n_out: int, *, kernel: int, dilation: int = 1, bias: bool) -> nn.Conv2d:
    """Make a convolution along positions that keeps their number; `kernel` is odd."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(n_in, n_out, (1, kernel), padding=(0, padding), dilation=(1, dilation), bias=bias)


class CodeConvolution(nn.Conv2d):
    """A convolution along positions over the channels of dinucleotides, that takes codes as well.

    Codes stand for one-hot channels: the weights of the code at each place of the kernel are looked up and summed, as
    in an embedding, so that the channels (64 bytes a position at float32) are never written. Parameters, and what it
    computes, are those of the convolution.

    Parameters
    ----------
    n_in
        Channels, one for each code; any code from there on is blank, of no channel.
    n_out
        Channels of the output.
    kernel
        Positions the convolution sees; odd.
    """

    def __init__(self, n_in: int, n_out: int, *, kernel: int) -> None:
        super().__init__(n_in, n_out, (1, kernel), padding=(0, kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve channels, shape ``(window, dinucleotide, 1, position)``, or codes, uint8, ``(window, position)``.

        Returns
        -------
        Shape ``(window, channel, 1, position)``, channels innermost in memory.
        """
        if x.dtype != torch.uint8:
            return super().forward(x)
        n_out, n_in, _, kernel = self.weight.shape
        # for each place of the kernel a row of weights by code, and one of zeros for blank
        rows = nn.functional.pad(self.weight.squeeze(2).permute(2, 1, 0), (0, 0, 0, 1))
        codes = nn.functional.pad(x.long().clamp(max=n_in), (kernel // 2, kernel // 2), value=n_in)
        seen = codes.unfold(1, kernel, 1) + (n_in + 1) * torch.arange(kernel, device=x.device)
        summed = nn.functional.embedding_bag(seen.flatten(0, 1), rows.flatten(0, 1), mode="sum")
        out = summed.view(*x.shape, 1, n_out).permute(0, 3, 2, 1)
        return out if self.bias is None else out + self.bias[:, None, None]


def max_pool(width: int) -> nn.MaxPool2d:
    """Make a pool along positions that makes one of each `width`; a rest is dropped."""
    return nn.MaxPool2d((1, width))


class ConvBlock(nn.Sequential):
    """Batch norm, GELU, convolution, dropout, in this order (method, section 2).

    The activation stands before the convolution, so a residual sum around the block passes what it is given
    unchanged. Padding keeps the number of positions; the convolution has no bias, as a batch norm follows it
    wherever it is used.

    Parameters
    ----------
    n_in, n_out
        Channels.
    kernel
        Positions the convolution sees; odd.
    dilation
        Positions between them.
    dropout
        Share of the outputs set to zero in training.
    """

    def __init__(
        self, n_in: int, n_out: int, *, kernel: int, dilation: int = 1, dropout: float = 0.0
    ) -> None:
        parts: list[nn.Module] = [
            nn.BatchNorm2d(n_in),
            nn.GELU(approximate="tanh"),
            convolution(n_in, n_out, kernel=kernel, dilation=dilation, bias=False),
        ]
        if dropout > 0:
            parts.append(nn.Dropout(dropout))
        super().__init__(*parts)


class Residual(nn.Module):
    """Add what a chain of modules makes of its input to the input."""

    def __init__(self, *chain: nn.Module) -> None:
        super().__init__()
        self.chain = nn.Sequential(*chain)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus the chain's output, of the same shape."""
        change: Tensor = self.chain(x)
        return x + change


def perceptron(
    widths: Sequence[int], *, activation: Callable[[], nn.Module], batch_norm: bool = False
) -> nn.Sequential:
    """Chain linear layers, with an activation between any two and none behind the last.

    Parameters
    ----------
    widths
        Of the input, each hidden layer, and the output.
    activation
        Makes the module that stands behind each hidden layer.
    batch_norm
        Whether a batch norm stands between a hidden layer and its activation.
    """
    parts: list[nn.Module] = []
    last = len(widths) - 2
    for index, (n_in, n_out) in enumerate(pairwise(widths)):
        parts.append(nn.Linear(n_in, n_out))
        if index < last:
            if batch_norm:
                parts.append(nn.BatchNorm1d(n_out))
            parts.append(activation())
    return nn.Sequential(*parts)
