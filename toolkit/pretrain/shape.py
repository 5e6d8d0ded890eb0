"""The sizes of `nano`, and its networks as diffusers classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from diffusers import ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel


class NanoShape(BaseModel):
    """Sizes of the networks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolution: int = Field(256, ge=16, le=1024, multiple_of=8, description="Side of the pictures in pixels.")
    cell: int = Field(
        4, ge=2, le=8, description="Side of a latent cell in pixels. The coder turns its pixels into channels."
    )
    channels: list[int] = Field([64, 128, 192], min_length=2, description="Widths of the UNet's levels.")
    layers: int = Field(1, ge=1, le=4, description="Residual blocks per level.")
    heads: int = Field(4, ge=1, description="Attention heads in the middle.")
    tokens: int = Field(1, ge=1, description="Length of the learned prompt.")
    width: int = Field(32, ge=8, description="Width of the learned prompt.")
    hint_channels: list[int] = Field(
        [16, 32, 96], description="Widths of the layers that shrink a hint to the size of a latent."
    )
    motion_heads: int = Field(4, ge=1, description="Attention heads of the motion layers.")
    scaling_factor: float = Field(2.0, gt=0, description="Factor of the latents.")

    @property
    def latent_channels(self) -> int:
        """The number of values in a cell's pixels."""
        return 3 * self.cell**2

    @property
    def groups(self) -> int:
        """Groups of the normalisation; `initialise_as_identity` puts six latent channels into each."""
        return self.latent_channels // 6

    @model_validator(mode="after")
    def _identity_fits(self) -> NanoShape:
        if self.cell not in (2, 4, 8):
            raise ValueError(f"cell must be 2, 4 or 8, found {self.cell}")
        if self.channels[0] != 8 * self.groups:
            raise ValueError(f"with cells of {self.cell} the first of channels must be {8 * self.groups}")
        if wrong := next((width for width in self.channels if width % self.groups), None):
            raise ValueError(f"channels must be multiples of {self.groups}, found {wrong}")
        needed = [6 * 4**level for level in range(self.cell.bit_length())]
        if len(self.hint_channels) != len(needed) or any(a < b for a, b in zip(self.hint_channels, needed)):
            raise ValueError(f"hint_channels must be at least {needed}, found {self.hint_channels}")
        return self


def make_scheduler() -> DDIMScheduler:
    """A scheduler that predicts the picture itself and starts from pure noise, so that few steps are enough."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        rescale_betas_zero_snr=True,  # Lin et al., 2023 (arXiv 2305.08891)
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=False,
    )


def make_unet(shape: NanoShape) -> UNet2DConditionModel:
    """A UNet with convolutions on every level and attention only in the middle, where a picture has few cells."""
    from diffusers import UNet2DConditionModel

    levels = len(shape.channels)
    return UNet2DConditionModel(
        sample_size=shape.resolution // shape.cell,
        in_channels=shape.latent_channels,
        out_channels=shape.latent_channels,
        block_out_channels=tuple(shape.channels),
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        layers_per_block=shape.layers,
        cross_attention_dim=shape.width,
        attention_head_dim=shape.heads,  # diffusers' name for the number of heads
        norm_num_groups=shape.groups,
    )


def make_controlnet(unet: UNet2DConditionModel, shape: NanoShape) -> ControlNetModel:
    """A ControlNet that copies the UNet's encoder and outputs zeros at first."""
    from diffusers import ControlNetModel

    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=tuple(shape.hint_channels))


def make_motion_adapter(shape: NanoShape) -> MotionAdapter:
    """A motion adapter whose layers output zeros at first."""
    from diffusers import MotionAdapter
    from torch import nn

    adapter = MotionAdapter(
        block_out_channels=tuple(shape.channels),
        motion_layers_per_block=shape.layers,
        motion_num_attention_heads=shape.motion_heads,
        motion_norm_num_groups=shape.groups,
    )
    for name, module in adapter.named_modules():
        if name.endswith("proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return adapter
