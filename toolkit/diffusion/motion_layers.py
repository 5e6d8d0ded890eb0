"""Remove motion layers of a UNet by name: V-LASIK (section C.2) removes the first five of the output blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.errors import InputError, UsageError
from toolkit.validation import did_you_mean

PAPER = (
    *("up_blocks.0.motion_modules.0", "up_blocks.0.motion_modules.1", "up_blocks.0.motion_modules.2"),
    *("up_blocks.1.motion_modules.0", "up_blocks.1.motion_modules.1"),
)
"""The first five output motion layers of Stable Diffusion 1.5 with AnimateDiff."""


class NoMotion(torch.nn.Module):
    """Replaces a removed motion layer, because diffusers' blocks expect one for each of their layers."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = torch.nn.ModuleList()  # read by FreeNoise

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the input."""
        return hidden_states


def motion_layer_names(unet: torch.nn.Module) -> list[str]:
    """Names of all motion layers of a `UNetMotionModel`, in network order."""
    return [name for name, _ in unet.named_modules() if name.rpartition(".")[0].endswith("motion_modules")]


def has_motion(unet: torch.nn.Module) -> bool:
    """Whether frames see each other in the UNet: it has motion layers that were not removed."""
    return any(not isinstance(unet.get_submodule(name), NoMotion) for name in motion_layer_names(unet))


def named_motion_layers(unet: Mapping[str, Any], adapter: Mapping[str, Any]) -> list[str]:
    """The same names from the configurations of a UNet and a motion adapter, without loading weights.

    Raises:
        InputError: the adapter does not say how many layers each level has.
    """
    levels = len(unet["down_block_types"])
    layers = adapter.get("motion_layers_per_block", 2)
    layers = list(layers) if isinstance(layers, list | tuple) else [layers] * levels
    if len(layers) < levels or not all(isinstance(count, int) for count in layers):
        raise InputError(
            f"expected a number of motion layers for each of {levels} levels in the motion adapter's configuration, "
            f"found motion_layers_per_block {layers}; fetch or save the adapter again"
        )
    names = [f"down_blocks.{i}.motion_modules.{k}" for i in range(levels) for k in range(layers[i])]
    names += [f"up_blocks.{i}.motion_modules.{k}" for i in range(levels) for k in range(layers[-1 - i] + 1)]
    return [*names, "mid_block.motion_modules.0"] if adapter.get("use_motion_mid_block", True) else names


def remove_motion_layers(unet: torch.nn.Module, names: Sequence[str] = PAPER) -> dict[str, torch.nn.Module]:
    """Remove motion layers in place. Call this after loading the weights.

    Returns:
        The removed layers by name, for `restore_motion_layers`.

    Raises:
        UsageError: the UNet does not have one of the layers. Then no layer is removed.
    """
    check_motion_layers(names, motion_layer_names(unet))
    removed = {name: unet.get_submodule(name) for name in dict.fromkeys(names)}
    restore_motion_layers(unet, {name: NoMotion() for name in removed})
    return removed


def check_motion_layers(names: Sequence[str], known: Sequence[str]) -> None:
    """Check names of motion layers.

    Raises:
        UsageError: a name is unknown.
    """
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"this UNet has no motion layer {name!r}{hint}; it has {', '.join(known) or 'none'}")


def restore_motion_layers(unet: torch.nn.Module, layers: dict[str, torch.nn.Module]) -> None:
    """Put removed layers back."""
    for name, layer in layers.items():
        parent, _, index = name.rpartition(".")
        unet.get_submodule(parent)[int(index)] = layer
