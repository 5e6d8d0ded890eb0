"""An image coder that loses nothing: pixels become channels."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch.nn import functional as F


class PixelUnshuffleCoder(ModelMixin, ConfigMixin):
    """Stands in the place of a VAE in small backbones: every square of pixels becomes one latent cell, exactly.

    Args:
        block_out_channels: channels after each halving, ``(3, 12, 48)`` for cells of 4 pixels; as with
            `AutoencoderKL`, their number less one is how often the picture is halved.
        latent_channels: the last of them.
        scaling_factor: what latents are multiplied with; 2 gives pictures of faces about unit variance.
    """

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
        # diffusers asks a model for its dtype and device, which it reads from a parameter.
        self.unused = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[torch.Tensor]:
        """Pixels ``[B, 3, H, W]`` to latents ``[B, C, H / cell, W / cell]``, not yet scaled."""
        latents = F.pixel_unshuffle(x, self.cell)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(
        self, z: torch.Tensor, generator: torch.Generator | None = None, return_dict: bool = True
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Latents to pixels, the inverse of `encode`; `generator` is not used."""
        pixels = F.pixel_shuffle(z, self.cell)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)
