"""Motion layers of a UNet, taken out by name: V-LASIK (arXiv 2406.14510, section 4.3) does without the first five of
the output blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.errors import UsageError
from toolkit.validation import did_you_mean

PAPER = (
    *("up_blocks.0.motion_modules.0", "up_blocks.0.motion_modules.1", "up_blocks.0.motion_modules.2"),
    *("up_blocks.1.motion_modules.0", "up_blocks.1.motion_modules.1"),
)
"""The first five output motion layers of Stable Diffusion 1.5 with AnimateDiff."""


class NoMotion(torch.nn.Module):
    """Stands where a motion layer was: diffusers' blocks zip their layers, so that one cannot just be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = torch.nn.ModuleList()  # FreeNoise looks here

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """The input."""
        return hidden_states


def motion_layer_names(unet: torch.nn.Module) -> list[str]:
    """Names of all motion layers of a `UNetMotionModel`, in the order of the network."""
    return [name for name, _ in unet.named_modules() if name.rpartition(".")[0].endswith("motion_modules")]


def named_motion_layers(unet: Mapping[str, Any], adapter: Mapping[str, Any]) -> list[str]:
    """Those names from the configurations of a UNet and a motion adapter, before any weight is read."""
    levels = len(unet["down_block_types"])
    layers = adapter.get("motion_layers_per_block", 2)
    layers = list(layers) if isinstance(layers, list | tuple) else [layers] * levels
    names = [f"down_blocks.{i}.motion_modules.{k}" for i in range(levels) for k in range(layers[i])]
    names += [f"up_blocks.{i}.motion_modules.{k}" for i in range(levels) for k in range(layers[-1 - i] + 1)]
    return [*names, "mid_block.motion_modules.0"] if adapter.get("use_motion_mid_block", True) else names


def remove_motion_layers(unet: torch.nn.Module, names: Sequence[str] = PAPER) -> dict[str, torch.nn.Module]:
    """Take motion layers out, in place; call it after the weights were loaded.

    Returns:
        What was taken out, by name; `restore_motion_layers` puts it back.

    Raises:
        UsageError: the UNet has no such layer; then nothing is taken out.
    """
    check_motion_layers(names, motion_layer_names(unet))
    removed = {name: unet.get_submodule(name) for name in dict.fromkeys(names)}
    restore_motion_layers(unet, {name: NoMotion() for name in removed})
    return removed


def check_motion_layers(names: Sequence[str], known: Sequence[str]) -> None:
    """
    Raises:
        UsageError: a name is not among the known ones.
    """
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"this UNet has no motion layer {name!r}{hint}; it has {', '.join(known) or 'none'}")


def restore_motion_layers(unet: torch.nn.Module, layers: dict[str, torch.nn.Module]) -> None:
    """Put layers in the places of their names."""
    for name, layer in layers.items():
        parent, _, index = name.rpartition(".")
        unet.get_submodule(parent)[int(index)] = layer
