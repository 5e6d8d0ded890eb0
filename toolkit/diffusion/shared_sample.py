"""Networks on frames that start from one and the same sample: what depends on the sample alone is computed once.

All frames of a shot start from the same noise if noise is shared and the first timestep has no signal left (zero
terminal signal-to-noise ratio). Until a ControlNet's residuals are added, nothing in a UNet depends on a frame then:
diffusers adds them after its down path and its middle block. So these two run once with a batch of one, and only the up
path runs for each frame.

This is exact: the model's own `forward` runs, with the same weights on the same values, and torch broadcasts the batch
of one where a frame's residuals are added. Only attention to the prompt must be told the number of frames, and the
outputs of the blocks before are kept for the next frames.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from toolkit.libraries import UNet2DConditionModel


def is_shared(sample: torch.Tensor) -> bool:
    """Whether all frames of ``[F, C, h, w]`` are equal."""
    return bool((sample == sample[:1]).all())


def can_share(unet: torch.nn.Module) -> bool:
    """Whether `SharedSample` takes this UNet: frames do not see each other in it, and nothing wraps its `forward`."""
    return isinstance(unet, UNet2DConditionModel) and "forward" not in vars(unet)


class SharedSample:
    """Runs a UNet for one sample, timestep and prompt, and any number of frames.

    The UNet itself does not change, so other threads can use it at the same time. One thread may use this object.

    Args:
        unet: for which `can_share` holds.
        sample: ``[1, C, h, w]``.
        timestep: of the sample.
        embeds: of the prompt, ``[1, N, D]``.
    """

    def __init__(self, unet: torch.nn.Module, sample: torch.Tensor, timestep: torch.Tensor, embeds: torch.Tensor):
        if not can_share(unet):
            raise ValueError(f"expected a plain UNet2DConditionModel, found {type(unet).__name__}")
        self._unet, self._arguments = unet, (sample, timestep, embeds)
        self._twin = copy.copy(unet)  # with the same blocks and weights
        self._twin._modules = dict(unet._modules)
        self._twin.conv_in, self._twin.mid_block = _Once(unet.conv_in), _Once(unet.mid_block)
        self._twin.down_blocks = torch.nn.ModuleList(map(_Once, unet.down_blocks))
        self._twin.up_blocks = torch.nn.ModuleList(map(_ForEachFrame, unet.up_blocks))

    def is_for(self, unet: torch.nn.Module, *arguments: torch.Tensor) -> bool:
        """Whether this was made for the same UNet and an equal sample, timestep and prompt."""
        equal = all(torch.equal(mine, other) for mine, other in zip(self._arguments, arguments))
        return unet is self._unet and equal

    def predict(self, residuals: list[torch.Tensor]) -> torch.Tensor:
        """The UNet's prediction ``[F, C, h, w]``.

        Args:
            residuals: of a ControlNet for F frames, each ``[F, C', h', w']``, the middle block's last.
        """
        *down, mid = residuals
        sample, timestep, embeds = self._arguments
        return self._twin(
            sample,
            timestep,
            encoder_hidden_states=embeds,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=mid,
        ).sample


class _Block(torch.nn.Module):
    """Stands for a block of a UNet."""

    def __init__(self, block: torch.nn.Module):
        super().__init__()
        self.block = block
        self.has_cross_attention = getattr(block, "has_cross_attention", False)
        self.resnets = getattr(block, "resnets", None)


class _Once(_Block):
    """Answers with what the block returned the first time."""

    def __init__(self, block: torch.nn.Module):
        super().__init__(block)
        self._answer: Any = None

    def forward(self, *arguments: Any, **named: Any) -> Any:
        if self._answer is None:
            self._answer = self.block(*arguments, **named)
        return self._answer


class _ForEachFrame(_Block):
    """Gives the prompt to each of the frames that the block gets."""

    def forward(self, hidden_states: torch.Tensor, encoder_hidden_states: Any = None, **named: Any) -> Any:
        if self.has_cross_attention:
            named["encoder_hidden_states"] = encoder_hidden_states.expand(len(hidden_states), -1, -1)
        return self.block(hidden_states=hidden_states, **named)
