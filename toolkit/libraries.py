"""What running the networks needs of diffusers, imported without the rest.

Modules that an edit imports take these names from here, not from diffusers: the first import of diffusers decides what
it loads, see `toolkit.imports.lean_diffusers`. A thread that needs them waits for one that imports them.
"""

from toolkit.imports import lean_diffusers

with lean_diffusers():
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        DiffusionPipeline,
        UNet2DConditionModel,
        UNetMotionModel,
    )
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
    from diffusers.models.autoencoders.vae import DecoderOutput
    from diffusers.models.modeling_utils import ModelMixin
    from diffusers.schedulers import KarrasDiffusionSchedulers
    from diffusers.utils import BaseOutput
    from diffusers.utils.torch_utils import randn_tensor

__all__ = [
    "AutoencoderKL",
    "AutoencoderTinyOutput",
    "BaseOutput",
    "ConfigMixin",
    "ControlNetModel",
    "DDIMScheduler",
    "DecoderOutput",
    "DiffusionPipeline",
    "KarrasDiffusionSchedulers",
    "ModelMixin",
    "StableDiffusionLoraLoaderMixin",
    "UNet2DConditionModel",
    "UNetMotionModel",
    "randn_tensor",
    "register_to_config",
]
