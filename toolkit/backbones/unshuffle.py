"""A lossless image coder that turns pixels into channels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from toolkit.libraries import AutoencoderTinyOutput, ConfigMixin, DecoderOutput, ModelMixin, register_to_config


class PixelUnshuffleCoder(ModelMixin, ConfigMixin):
    """Replaces the VAE in small backbones. Each square of pixels becomes one latent cell, without loss.

    Args:
        block_out_channels: channels before and after each halving of the resolution: ``(3, 12, 48)`` halves it twice,
            which gives cells of 4 pixels. The meaning is that of `AutoencoderKL`.
        latent_channels: the last of `block_out_channels`.
        scaling_factor: latents are multiplied by this. With 2, images of faces have roughly unit variance.
    """

    lossless = True
    """Pictures survive it as they are; a VAE has no such attribute."""

    @register_to_config
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (3, 12, 48),
        latent_channels: int = 48,
        scaling_factor: float = 2.0,
    ):
        super().__init__()
        if list(block_out_channels) != [3 * 4**level for level in range(len(block_out_channels))]:
            raise ValueError(f"block_out_channels must be 3, 12, 48 and so on, found {block_out_channels}")
        if latent_channels != block_out_channels[-1]:
            raise ValueError(f"latent_channels must be {block_out_channels[-1]}, found {latent_channels}")
        self.cell = 2 ** (len(block_out_channels) - 1)
        # diffusers reads the dtype and device of a model from a parameter, so there must be one.
        self.unused = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[torch.Tensor]:
        """Encode pixels ``[B, 3, H, W]`` as unscaled latents ``[B, C, H / cell, W / cell]``."""
        latents = F.pixel_unshuffle(x, self.cell)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(
        self, z: torch.Tensor, generator: torch.Generator | None = None, return_dict: bool = True
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Decode latents to pixels, the inverse of `encode`. `generator` is ignored."""
        pixels = F.pixel_shuffle(z, self.cell)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)
