"""Read LoRAs and add them to the weights of a model (Hu et al. 2021, arXiv 2106.09685), without the package peft."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import InputError

_LAYER = re.compile(
    r"(?P<layer>.+?)\.(?:(?P<down>lora_A|lora_down|lora\.down)|(?P<up>lora_B|lora_up|lora\.up))"
    r"(?:\.default)?\.weight|(?P<scaled>.+)\.alpha"
)
_PREFIXES = ("base_model.model.", "unet.", "controlnet.", "lora_unet_", "lora_controlnet_")
"""Prefixes of the names, taken off in this order."""


@dataclass(frozen=True)
class LowRank:
    """What a LoRA adds to one layer: ``scale * up @ down``, in the shape of the layer's weight.

    Attributes:
        down: ``[r, I]`` of a linear layer, or ``[r, I, k, k]`` of a convolution.
        up: ``[O, r]``, or ``[O, r, 1, 1]``.
        scale: alpha / r, or 1 if the file has no alpha.
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float

    def change(self) -> torch.Tensor:
        """The change of the weight, float32, ``[O, I]`` or ``[O, I, k, k]``."""
        down, up = self.down.float(), self.up.float()
        product = up.flatten(1) @ down.flatten(1)
        return self.scale * product.reshape(up.shape[0], *down.shape[1:])


def read_lora(path: Path, model: torch.nn.Module) -> dict[str, LowRank]:
    """The layers of a LoRA, by the names of the model's layers.

    Args:
        path: safetensors with the names of kohya, diffusers or peft.
        model: the model that it is for. Layers of text encoders in the file are left out.

    Raises:
        InputError: the file is damaged, or has layers that the model does not have or that are of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"the LoRA {path} is damaged: {str(error).splitlines()[0]}") from error
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
    }
    known = {name.replace(".", "_"): name for name in layers} | {name: name for name in layers}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(("text_encoder", "lora_te")):
            continue
        match = _LAYER.fullmatch(key)
        kind = None if match is None else "down" if match["down"] else "up" if match["up"] else "alpha"
        layer = None if match is None else known.get(_bare(match["layer"] or match["scaled"]))
        if kind is None or layer is None:
            raise InputError(f"the LoRA {path} does not fit the {type(model).__name__}, which has no layer for {key!r}")
        found.setdefault(layer, {})[kind] = value
    if not found:
        raise InputError(f"the LoRA {path} has no layer for a {type(model).__name__}")
    return {name: _checked(path, name, parts, layers[name].weight.shape) for name, parts in sorted(found.items())}


def add_lora(model: torch.nn.Module, layers: Mapping[str, LowRank], weight: float = 1.0) -> None:
    """Add a LoRA to the weights of a model, in place; sums are computed in float32.

    Args:
        weight: factor of the change.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    with torch.no_grad():
        for name, layer in layers.items():
            parameter = modules[name].weight
            change = layer.change().to(parameter.device) * weight
            parameter.copy_((parameter.float() + change).to(parameter.dtype))


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _checked(path: Path, name: str, parts: Mapping[str, torch.Tensor], shape: torch.Size) -> LowRank:
    down, up = parts.get("down"), parts.get("up")
    if down is None or up is None:
        raise InputError(f"the LoRA {path} has one half of {name}, but not the other")
    rank = down.shape[0] if down.ndim else 0
    if shape[2:] == (1, 1) and down.ndim == 2 and up.ndim == 2:  # kohya stores these as linear layers
        down, up = down[..., None, None], up[..., None, None]
    if not rank or up.ndim < 2 or up.shape[1] != rank or (up.shape[0], *down.shape[1:]) != tuple(shape):
        raise InputError(
            f"the LoRA {path} does not fit: {name} has the shape {list(shape)}, but the file has {list(down.shape)} "
            f"and {list(up.shape)}"
        )
    alpha = parts.get("alpha")
    return LowRank(down, up, 1.0 if alpha is None else float(alpha) / rank)
