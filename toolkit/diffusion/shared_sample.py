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

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.diffusion.motion_layers import motion_layer_names


def is_shared(sample: torch.Tensor) -> bool:
    """Whether all frames of ``[F, C, h, w]`` are equal."""
    return bool((sample == sample[:1]).all())


class SharedSample:
    """Runs a UNet without motion modules for one sample, timestep and prompt, and any number of frames.

    Args:
        unet: a `UNet2DConditionModel`.
        sample: ``[1, C, h, w]``.
        timestep: of the sample.
        embeds: of the prompt, ``[1, N, D]``.
    """

    def __init__(self, unet: torch.nn.Module, sample: torch.Tensor, timestep: torch.Tensor, embeds: torch.Tensor):
        if motion_layer_names(unet):
            raise ValueError("frames see each other in the motion modules of this UNet")
        self._unet, self._arguments = unet, (sample, timestep, embeds)
        self._outputs: dict[int, Any] = {}

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
        with self._kept_outputs(), _widened(self._unet.up_blocks):
            return self._unet(
                sample,
                timestep,
                encoder_hidden_states=embeds,
                down_block_additional_residuals=tuple(down),
                mid_block_additional_residual=mid,
            ).sample

    @contextmanager
    def _kept_outputs(self) -> Iterator[None]:
        """Blocks before the up path answer with what they returned the first time."""
        blocks = [self._unet.conv_in, *self._unet.down_blocks, self._unet.mid_block]
        own = [vars(block).get("forward") for block in blocks]  # accelerate sets one to move a block to the device
        for number, block in enumerate(blocks):
            block.forward = self._kept(number, block.forward)
        try:
            yield
        finally:
            for block, forward in zip(blocks, own):
                if forward is None:
                    del block.forward
                else:
                    block.forward = forward

    def _kept(self, number: int, forward: Any) -> Any:
        def answer(*args: Any, **kwargs: Any) -> Any:
            if number not in self._outputs:
                self._outputs[number] = forward(*args, **kwargs)
            return self._outputs[number]

        return answer


@contextmanager
def _widened(blocks: Any) -> Iterator[None]:
    """Give a prompt ``[1, N, D]`` to each frame that a block gets."""

    def widen(block: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        if kwargs.get("encoder_hidden_states") is not None:
            kwargs["encoder_hidden_states"] = kwargs["encoder_hidden_states"].expand(
                len(kwargs["hidden_states"]), -1, -1
            )
        return args, kwargs

    handles = [block.register_forward_pre_hook(widen, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
