"""Define the MobileNetV1 (Howard et al. 2017) of the 3DDFA regressors; its parameters match their state dicts."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

BLOCKS = (
    ("dw2_1", 64, 1),
    ("dw2_2", 128, 2),
    ("dw3_1", 128, 1),
    ("dw3_2", 256, 2),
    ("dw4_1", 256, 1),
    ("dw4_2", 512, 2),
    ("dw5_1", 512, 1),
    ("dw5_2", 512, 1),
    ("dw5_3", 512, 1),
    ("dw5_4", 512, 1),
    ("dw5_5", 512, 1),
    ("dw5_6", 1024, 2),
    ("dw6", 1024, 1),
)
"""Name, output channels at full width, and stride of the depthwise separable blocks."""


class DepthwiseSeparable(nn.Module):
    """A depthwise separable convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_sep = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn_dw(self.conv_dw(x)))
        return torch.relu(self.bn_sep(self.conv_sep(x)))


class MobileNet(nn.Module):
    """Predicts ``[B, parameters]`` from pictures float32 ``[B, 3, 120, 120]``.

    Args:
        width: channels of the first layer: 32 for the full network, 16 for the half one.
        parameters: size of the output, 62 in the 3DDFA networks.
    """

    def __init__(self, width: int = 32, parameters: int = 62):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        blocks = OrderedDict()
        for name, full, stride in BLOCKS:
            outputs = full * width // 32
            blocks[name] = DepthwiseSeparable(channels, outputs, stride)
            channels = outputs
        for name, block in blocks.items():
            self.add_module(name, block)
        self.fc_param = nn.Linear(channels, parameters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for name, _, _ in BLOCKS:
            x = getattr(self, name)(x)
        return self.fc_param(x.mean(dim=(2, 3)))
