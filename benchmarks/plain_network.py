"""The network as one writes it without thinking of speed: 1-D convolutions, channels outermost, eager, float32.

It is made from ours, part by part, with the same numbers: what differs is how it is computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mfdmodel.config import RunConfig
from mfdmodel.layers import Residual
from mfdmodel.train.players import Players
from mfdmodel.trunk import Trunk


def plain(module: nn.Module) -> nn.Module:
    """Give a module of one dimension with the same parameters."""
    if isinstance(module, nn.Conv2d):
        made: nn.Module = nn.Conv1d(
            module.in_channels,
            module.out_channels,
            module.kernel_size[1],
            padding=module.padding[1],
            dilation=module.dilation[1],
            bias=module.bias is not None,
        )
        state = module.state_dict()
        made.load_state_dict(state | {"weight": state["weight"].squeeze(2).contiguous()})
        return made
    if isinstance(module, nn.BatchNorm2d):
        made = nn.BatchNorm1d(module.num_features)
        made.load_state_dict(module.state_dict())
        return made
    if isinstance(module, nn.MaxPool2d):
        return nn.MaxPool1d(module.kernel_size[1])
    if isinstance(module, Residual):
        return Residual(*(plain(part) for part in module.chain))
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(plain(part) for part in module))
    return module


class PlainTrunk(nn.Module):
    """`Trunk` by `plain`."""

    def __init__(self, trunk: Trunk, config: RunConfig) -> None:
        super().__init__()
        self.kept = config.model.trunk.kept_positions(config.data.positions)
        self.body = nn.Sequential(*(plain(part) for part in (trunk.stem, trunk.tower, trunk.dilated)))
        self.pointwise = plain(trunk.pointwise)
        self.norm = trunk.norm

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the latent of channels, shape ``(window, dinucleotide, position)``."""
        x = self.body(windows)
        x = self.pointwise(x[..., self.kept.start : self.kept.stop])
        latent: Tensor = self.norm(x.mean(-1))
        return latent


class PlainPlayers(Players):
    """The same game, its optimisers as torch has them when nothing is said of how they step."""

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Make them: all parameters at once on a GPU, a loop over them on a processor."""
        made: list[torch.optim.Optimizer] = []
        for optimizer in super().configure_optimizers():
            kind = torch.optim.AdamW if isinstance(optimizer, torch.optim.AdamW) else torch.optim.Adam
            groups = [
                {name: group[name] for name in ("params", "lr", "weight_decay", "amsgrad")}
                for group in optimizer.param_groups
            ]
            made.append(kind(groups))
        return made
