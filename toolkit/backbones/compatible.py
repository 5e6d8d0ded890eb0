"""Check that the parts of a backbone fit together, from their configurations and before reading weights."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from toolkit.backbones.locations import read_config
from toolkit.backbones.spec import BackboneSpec
from toolkit.errors import InputError

Config = Mapping[str, Any]

_LIMITS = (("layers", 256), ("length", 4096), ("position", 4096), ("", 1 << 20))
"""Largest numbers in a configuration, by a word in the setting's name; far above those of known models."""

_LONGEST = 64
"""Most values in a list of a configuration."""


def check_compatible(spec: BackboneSpec, parts: Collection[str]) -> None:
    """Compare the widths and channels of the named parts.

    Raises:
        InputError: two parts disagree, such as parts of SD 1.5 and SD 2 or SDXL. The message names both values.
        UsageError, MissingExtra: as for `part_folder`.
    """
    configs = {name: read_config(spec, name) for name in spec.parts if name in parts}
    for name, config in configs.items():
        if spec.parts[name].weights is not None:
            _check_sizes(spec, name, config)
    try:
        problem = next(_problems(spec, configs), None)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"a configuration of the backbone {spec.name} has a value of the wrong type: {error}"
        ) from error
    if problem:
        raise InputError(f"the parts of the backbone {spec.name} do not fit together: {problem}")


def _check_sizes(spec: BackboneSpec, name: str, config: Config) -> None:
    """Refuse a configuration for which building the model alone would take gigabytes or hours."""
    for key, value in config.items():
        if key == "block_out_channels" and value in (None, []):
            raise InputError(
                f"the configuration of the {name} of the backbone {spec.name} expects a list as {key}, found "
                f"{reprlib.repr(value)}; it is damaged, or no model of this kind"
            )
        largest = next(limit for word, limit in _LIMITS if word in key)
        values = value if isinstance(value, list) else [value]
        numbers = [one for one in values if isinstance(one, (int, float)) and not -largest <= one <= largest]
        if numbers or len(values) > _LONGEST:
            found = reprlib.repr(numbers[0]) if numbers else f"a list of {len(values)} values"
            limit = f"numbers up to {largest}" if numbers else f"at most {_LONGEST} values"
            raise InputError(
                f"the configuration of the {name} of the backbone {spec.name} expects {limit} as {key}, found {found}; "
                "it is damaged, or no model of this kind"
            )


def cell_size(vae: Config) -> int:
    """Side of a VAE's latent cell in pixels, from its configuration."""
    channels = vae.get("encoder_block_out_channels") or vae.get("block_out_channels") or (1, 1, 1, 1)
    return 2 ** (len(channels) - 1)


def picture_unit(spec: BackboneSpec) -> int:
    """Number of pixels of which the sides of a backbone's pictures are multiples.

    Raises:
        UsageError, MissingExtra: as for `part_folder`.
    """
    levels = read_config(spec, "unet").get("block_out_channels") or (1, 1, 1, 1)
    return cell_size(read_config(spec, "vae")) * 2 ** (len(levels) - 1)


def controlnet_problems(name: str, controlnet: Config, unet: Config | None, vae: Config | None) -> Iterator[str]:
    """Yield the reasons why a ControlNet does not fit a UNet or a VAE. `name` is its name in these messages."""
    if unet is not None:
        for key, default in (
            ("in_channels", 4),
            ("cross_attention_dim", 1280),
            ("block_out_channels", [320, 640, 1280, 1280]),
            ("layers_per_block", 2),
        ):
            yield from _differ(name, key, controlnet.get(key, default), "unet", key, unet.get(key, default))
    if vae is not None:
        hint = 2 ** (len(controlnet.get("conditioning_embedding_out_channels") or [16, 32, 96, 256]) - 1)
        if hint != cell_size(vae):
            yield f"the {name} downscales its input {hint} times, but the vae downscales frames {cell_size(vae)} times"


def _problems(spec: BackboneSpec, configs: Mapping[str, Config]) -> Iterator[str]:
    unet, vae = configs.get("unet"), configs.get("vae")
    if unet is not None:
        if unet.get("addition_embed_type"):
            yield (
                f"the unet needs SDXL's extra conditions (addition_embed_type {unet['addition_embed_type']}), but only "
                "UNets like that of SD 1.5 are supported"
            )
        if vae is not None:
            yield from _differ("unet", "in_channels", unet.get("in_channels", 4), "vae", *_latents(vae))
            yield from _differ("unet", "out_channels", unet.get("out_channels", 4), "vae", *_latents(vae))
        if "text_encoder" in configs:
            text = "hidden_size", configs["text_encoder"].get("hidden_size", 512)
            width = unet.get("cross_attention_dim", 1280)
            yield from _differ("unet", "cross_attention_dim", width, "text_encoder", *text)
        if "motion_adapter" in configs:
            yield from _motion(unet, configs["motion_adapter"])
    for name in ("controlnet_inpaint", "controlnet_tile"):
        if name in configs:
            yield from controlnet_problems(name, configs[name], unet, vae)
    if "scheduler" in configs:
        found = configs["scheduler"].get("prediction_type", "epsilon")
        if found != spec.prediction_type:
            yield f"the scheduler's prediction_type is {found}, but the description says {spec.prediction_type}"


def _motion(unet: Config, motion: Config) -> Iterator[str]:
    key, default = "block_out_channels", [320, 640, 1280, 1280]
    yield from _differ("motion_adapter", key, motion.get(key, default), "unet", key, unet.get(key, default))
    layers = motion.get("motion_layers_per_block", 2), unet.get("layers_per_block", 2)
    yield from _differ("motion_adapter", "motion_layers_per_block", layers[0], "unet", "layers_per_block", layers[1])
    if motion.get("conv_in_channels"):
        yield (
            f"the motion_adapter has its own input layer (conv_in_channels {motion['conv_in_channels']}), which this "
            "unet does not support"
        )


def _latents(vae: Config) -> tuple[str, Any]:
    return "latent_channels", vae.get("latent_channels", 4)


def _differ(one: str, key: str, value: Any, other: str, other_key: str, other_value: Any) -> Iterator[str]:
    if _expanded(value, other_value) != _expanded(other_value, value):
        yield f"the {one}'s {key} is {value}, but the {other}'s {other_key} is {other_value}"


def _expanded(value: Any, like: Any) -> Any:
    """Repeat a single number for each level if the other value is a list; diffusers accepts both forms."""
    return [value] * len(like) if isinstance(like, list) and not isinstance(value, list) else value
