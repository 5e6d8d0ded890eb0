"""Define the network: a small U-Net (Ronneberger et al., 2015) with a second head for the presence of the attribute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class SegmenterNetwork(nn.Module):
    """Predicts logits of maps and of presence from regions.

    Args:
        maps: number of maps.
        widths: feature channels at 1/2, 1/4, 1/8, ... of the region's size.
    """

    def __init__(self, maps: int, widths: Sequence[int]) -> None:
        super().__init__()
        # The finest level stores blocks of 2x2 pixels as channels: full sharpness at a fraction of the cost.
        self.fine = nn.Sequential(nn.PixelUnshuffle(2), _conv(12, widths[0]), _Block(widths[0]))
        self.down = nn.ModuleList()
        previous = widths[0]
        for width in widths[1:]:
            self.down.append(nn.Sequential(_conv(previous, width, stride=2), _Block(width)))
            previous = width
        self.deep = _Block(previous)
        self.up = nn.ModuleList()
        for width in widths[-2::-1]:
            self.up.append(nn.ModuleList([_conv(previous, width, 1), _conv(2 * width, width)]))
            previous = width
        self.maps = nn.Sequential(nn.Conv2d(previous, 4 * maps, 3, padding=1), nn.PixelShuffle(2))
        self.presence = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.ReLU(inplace=True), nn.Linear(64, 1))

    def forward(self, regions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """float32 ``[B, 3, H, W]`` of `normalise` -> logits ``[B, maps, H, W]``, and ``[B]`` of presence."""
        x, kept = self._encoded(regions)
        present = self._present(x)
        for squeeze, merge in self.up:
            x = F.interpolate(squeeze(x), scale_factor=2.0, mode="nearest")
            x = merge(torch.cat([x, kept.pop()], dim=1))
        return self.maps(x), present

    def only_presence(self, regions: torch.Tensor) -> torch.Tensor:
        """The second result of `forward`, at half of its cost."""
        return self._present(self._encoded(regions)[0])

    def _encoded(self, regions: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The deepest features, and those of the levels above."""
        x = self.fine(regions)
        kept = [x]
        for stage in self.down:
            x = stage(x)
            kept.append(x)
        return self.deep(kept.pop()), kept

    def _present(self, x: torch.Tensor) -> torch.Tensor:
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.presence(pooled)[:, 0]


def normalise(regions: torch.Tensor) -> torch.Tensor:
    """uint8 ``[B, H, W, 3]`` -> float32 ``[B, 3, H, W]`` (channels last), each picture with mean 0 and deviation 1."""
    x = regions.permute(0, 3, 1, 2).float()
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    # The lower bound keeps flat pictures from being amplified to noise.
    deviation = x.std(dim=(1, 2, 3), keepdim=True).clamp(min=12.0)
    return ((x - mean) / deviation).contiguous(memory_format=torch.channels_last)
