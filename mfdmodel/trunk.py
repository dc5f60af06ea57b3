"""The trunk: dinucleotides of a window to its latent (paper, section 2; after Basenji2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mfdmodel.config import POOLING, TrunkConfig
from mfdmodel.layers import CodeConvolution, ConvBlock, Residual, max_pool
from mfdstore.dinucleotides import N_CODES


def tower_channels(channels: int, n_stages: int, multiple: int = 1) -> tuple[int, ...]:
    """Compute the channels of the stem and behind each stage: geometric from C // 2 to C, rounded down.

    Parameters
    ----------
    channels
        C.
    n_stages
        Of the tower.
    multiple
        What the stages between are rounded down to; no stage gets fewer channels than the stem.

    >>> tower_channels(24, 6)
    (12, 13, 15, 16, 19, 21, 24)
    >>> tower_channels(64, 6, 8)
    (32, 32, 40, 40, 48, 56, 64)
    """
    start = channels // 2
    ratio = channels / start
    exact = [int(start * ratio ** (stage / n_stages)) for stage in range(1, n_stages)]
    inner = [max(start, width // multiple * multiple) for width in exact]
    return (start, *inner, channels)


def dilations(n_blocks: int) -> tuple[int, ...]:
    """Compute the dilation of each block, in positions.

    >>> dilations(4)
    (2, 3, 4, 6)
    """
    return tuple(int(2 * 1.5**block) for block in range(n_blocks))


class Trunk(nn.Module):
    """Stem, tower, dilated residual blocks, crop, pointwise block, pool, batch norm.

    Parameters
    ----------
    config
        Channels, number of blocks, crop, pooling, width of the latent.
    """

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        widths = tower_channels(config.channels, config.tower_stages, config.channel_multiple)
        self.n_latent = config.n_latent
        self.pooling = config.pooling
        self._config = config
        self.stem = nn.Sequential(
            CodeConvolution(N_CODES, widths[0], kernel=config.stem_kernel),
            Residual(ConvBlock(widths[0], widths[0], kernel=1)),
            max_pool(POOLING),
        )
        self.tower = nn.Sequential(
            *(
                nn.Sequential(
                    ConvBlock(n_in, n_out, kernel=config.tower_kernel),
                    Residual(ConvBlock(n_out, n_out, kernel=1)),
                    max_pool(POOLING),
                )
                for n_in, n_out in pairwise(widths)
            )
        )
        c = config.channels
        self.dilated = nn.Sequential(
            *(
                Residual(
                    ConvBlock(c, c, kernel=3, dilation=dilation),
                    ConvBlock(c, c, kernel=1, dropout=config.dropout),
                )
                for dilation in dilations(config.dilated_blocks)
            )
        )
        self.pointwise = ConvBlock(c, self.n_latent, kernel=1)
        self.norm = nn.BatchNorm1d(self.n_latent)
        nn.init.constant_(self.norm.weight, config.norm_gain)

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the latent of windows.

        Parameters
        ----------
        windows
            Channels, shape ``(window, dinucleotide, position)``; or codes, uint8, shape ``(window, position)``, which
            are not expanded: less memory, as fast forward and slower backward on a CPU.

        Returns
        -------
        Batch-normalised features, shape ``(window, latent)``.

        Raises
        ------
        ValueError
            If the window is too short for the poolings and the crop to leave a position.
        """
        kept = self._config.kept_positions(windows.shape[-1])
        x = windows
        if windows.dtype != torch.uint8:
            x = windows.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        x = self.dilated(self.tower(self.stem(x)))
        x = self.pointwise(x[..., kept.start : kept.stop]).squeeze(2)
        latent: Tensor = self.norm(x.mean(-1) if self.pooling == "average" else x.amax(-1))
        return latent
