"""Initial weights with which ControlNet and UNet together copy the hint, nearly unchanged.

diffusers' own initial weights suit long trainings: the hint layers shrink their input a hundredfold, zeros hide it from
the UNet, and noise of full strength fills both. On a CPU, hours would be spent learning to copy colours. Here the
initial weights copy, and training only has to learn what to change. The networks remain those of diffusers:

- The hint layers spread pixels over channels, as `PixelUnshuffleCoder` does. Each value takes two channels, because
  x = SiLU(x) - SiLU(-x).
- The ControlNet's first residual passes these channels to the UNet's last block, whose shortcut forwards them.
- The group norm before the UNet's last layer removes the mean and contrast of each group. Two constant channels per
  group preserve the contrast, and tell the last layer the mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from toolkit.pretrain.shape import NanoShape

GAIN = 1.7
"""Gain of the randomly initialised channels; keeps their variance after SiLU at about one."""

SHIFT = 1.5
"""Input around which the last SiLU is used as a linear function."""

CONSTANT = 2.0
"""Value of the two constant channels of each group; image channels are in -1..1."""

GROUP, IMAGE = 8, 6
"""Channels of a group, and how many of them hold the image; the last two are constants."""


@torch.no_grad()
def initialise_as_identity(unet: Any, controlnet: Any, shape: NanoShape) -> None:
    """Set the weights of new networks, in place.

    Args:
        unet: a result of `make_unet`.
        controlnet: a result of `make_controlnet` for it.
    """
    slots = torch.arange(shape.latent_channels)
    slots = slots // IMAGE * GROUP + slots % IMAGE
    _hint_layers(controlnet.controlnet_cond_embedding, shape, slots)
    for conv in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        nn.init.normal_(conv.weight, std=1 / conv.in_channels**0.5)
    _clear(controlnet.controlnet_down_blocks[0], slots)
    _copy(controlnet.controlnet_down_blocks[0], slots, slots, 1.0)
    for conv in (unet.conv_in, controlnet.conv_in):
        nn.init.zeros_(conv.weight)
    last = unet.up_blocks[-1].resnets[-1]
    width = last.out_channels
    constants = torch.arange(width).view(-1, GROUP)[:, IMAGE:]
    _clear(last.conv_shortcut, torch.arange(width))
    _copy(last.conv_shortcut, slots, width + slots, 1.0)  # after the channels from the level below
    last.conv_shortcut.bias[constants[:, 0]], last.conv_shortcut.bias[constants[:, 1]] = CONSTANT, -CONSTANT
    _clear(last.conv2, constants.flatten())
    last.conv2.weight[slots] *= 0.3
    _output_layers(unet.conv_norm_out, unet.conv_out, slots, shape)


def _hint_layers(embedding: Any, shape: NanoShape, slots: torch.Tensor) -> None:
    """Map each colour of each pixel of a cell to a channel, in the order of `pixel_unshuffle`."""
    for conv in (embedding.conv_in, *embedding.blocks, embedding.conv_out):
        fan_in = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
        nn.init.normal_(conv.weight, std=GAIN / fan_in**0.5)
        nn.init.zeros_(conv.bias)
    # (c, y, x) -> the pair of channels that holds colour c of the pixel (y, x).
    pairs = {(c, 0, 0): c for c in range(3)}
    for sign in (0, 1):
        rows = torch.arange(3) + 3 * sign
        _clear(embedding.conv_in, rows, 2 * sign - 1.0)
        _copy(embedding.conv_in, rows, torch.arange(3), 2.0 - 4 * sign)  # 0..1 becomes -1..1
    for block in embedding.blocks:
        count, known = len(pairs), dict(pairs)
        size = round((count / 3) ** 0.5)
        steps = [(0, 0)] if block.stride == (1, 1) else [(dy, dx) for dy in range(2) for dx in range(2)]
        pairs = {}
        for dy, dx in steps:
            for (c, y, x), source in known.items():
                target = pairs[c, size * dy + y, size * dx + x] = len(pairs)
                for row, factor in ((target, 1.0), (target + count * len(steps), -1.0)):
                    _clear(block, torch.tensor([row]))
                    block.weight[row, source, 1 + dy, 1 + dx] = factor
                    block.weight[row, source + count, 1 + dy, 1 + dx] = -factor
    sources = torch.tensor([pairs[c, y, x] for c in range(3) for y in range(shape.cell) for x in range(shape.cell)])
    _clear(embedding.conv_out, slots)
    _copy(embedding.conv_out, slots, sources, 1.0)
    _copy(embedding.conv_out, slots, sources + len(pairs), -1.0)


def _output_layers(norm: nn.GroupNorm, conv: nn.Conv2d, slots: torch.Tensor, shape: NanoShape) -> None:
    """Undo the norm: a constant shows the mean, and the deviation is mostly that of the constants."""
    level, slope = _silu(SHIFT)
    constant_level, constant_slope = _silu(CONSTANT)
    nn.init.constant_(
        norm.weight, (IMAGE / GROUP * 0.3 + 2 / GROUP * CONSTANT**2) ** 0.5
    )  # 0.3: variance of usual pictures
    nn.init.constant_(norm.bias, SHIFT)
    norm.bias.view(-1, GROUP)[:, IMAGE] = 0
    nn.init.normal_(conv.weight, std=0.003)
    scale, rows = shape.scaling_factor, torch.arange(len(slots))
    _clear(conv, rows, scale * (constant_level / constant_slope - level / slope))
    _copy(conv, rows, slots, scale / slope)
    _copy(conv, rows, slots // GROUP * GROUP + IMAGE, -scale / constant_slope)


def _silu(at: float) -> tuple[float, float]:
    """Value and slope of SiLU at a point."""
    gate = torch.sigmoid(torch.tensor(at, dtype=torch.float64)).item()
    return at * gate, gate * (1 + at * (1 - gate))


def _clear(conv: nn.Conv2d, rows: torch.Tensor, bias: float = 0.0) -> None:
    """Make outputs constant."""
    conv.weight[rows] = 0
    conv.bias[rows] = bias


def _copy(conv: nn.Conv2d, rows: torch.Tensor, columns: torch.Tensor, factor: float) -> None:
    """Make each output one input, times a factor."""
    middle = conv.kernel_size[0] // 2
    conv.weight[rows, columns, middle, middle] = factor
