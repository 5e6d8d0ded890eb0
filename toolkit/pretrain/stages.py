"""Builds the networks of a stage: those that it trains and those that it only uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from toolkit.backbones import describe, load
from toolkit.device import ComputeDevice
from toolkit.diffusion.motion_layers import PAPER, motion_layer_names, remove_motion_layers
from toolkit.errors import InputError
from toolkit.pretrain.identity_init import initialise_as_identity
from toolkit.pretrain.recipe import Recipe, Stage
from toolkit.pretrain.shape import make_controlnet, make_motion_adapter, make_unet

CONTROLNET = {"inpaint": "controlnet_inpaint", "tile": "controlnet_tile"}
"""The backbone's part that holds the ControlNet of a stage that trains nothing else."""


@dataclass
class Networks:
    """The networks of a stage, in float32 on their device.

    Attributes:
        trained: the networks in training, by the name of the backbone's part.
        parameters: the parameters in training.
        save: writes the trained part of a name into a folder in diffusers' format.
    """

    unet: Any
    controlnet: Any
    text_encoder: Any
    trained: Mapping[str, torch.nn.Module]
    parameters: list[torch.nn.Parameter]
    save: Callable[[str, Path], None] = field(repr=False)


def make_networks(stage: Stage, recipe: Recipe, folder: Path, compute: ComputeDevice, seed: int) -> Networks:
    """Create new networks for the stage ``backbone``; for the other stages, load those in the folder.

    Args:
        folder: a backbone. In the stage ``regions``, the one to start from.

    Raises:
        InputError: a part in the folder is damaged or missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if stage == "backbone":
            return _new(recipe, compute)
        backbone = _loaded(folder, compute)
        if stage == "motion":
            return _with_motion(backbone, recipe, compute)
    if stage == "regions":
        parts = {name: compute.prepare(getattr(backbone, name)) for name in ("unet", "controlnet_tile", "text_encoder")}
        return _networks(parts["unet"], parts["controlnet_tile"], parts["text_encoder"], parts)
    controlnet = compute.prepare(backbone.controlnet_tile)
    return _networks(backbone.unet, controlnet, backbone.text_encoder, {CONTROLNET[stage]: controlnet})


def _new(recipe: Recipe, compute: ComputeDevice) -> Networks:
    from toolkit.backbones import ConstantTextEncoder

    shape = recipe.shape
    unet = make_unet(shape)
    controlnet = make_controlnet(unet, shape)
    initialise_as_identity(unet, controlnet, shape)
    text_encoder = ConstantTextEncoder(shape.tokens, shape.width)
    trained = {"unet": unet, "controlnet_tile": controlnet, "text_encoder": text_encoder}
    for module in trained.values():
        compute.prepare(module)
    return _networks(unet, controlnet, text_encoder, trained)


def _with_motion(backbone: Any, recipe: Recipe, compute: ComputeDevice) -> Networks:
    from diffusers import UNetMotionModel

    unet = UNetMotionModel.from_unet2d(backbone.unet, make_motion_adapter(recipe.shape))
    remove_motion_layers(unet, [name for name in PAPER if name in motion_layer_names(unet)])
    compute.prepare(unet.requires_grad_(False))
    layers = torch.nn.ModuleDict(
        {name.replace(".", "/"): unet.get_submodule(name) for name in motion_layer_names(unet)}
    )
    networks = _networks(unet, backbone.controlnet_tile, backbone.text_encoder, {"motion_adapter": layers})
    networks.save = lambda _, folder: _save_motion(layers, recipe, folder)
    return networks


def _networks(unet: Any, controlnet: Any, text_encoder: Any, trained: Mapping[str, torch.nn.Module]) -> Networks:
    parameters = []
    for module in trained.values():
        module.train().requires_grad_(True)
        parameters += [parameter for parameter in module.parameters() if parameter.requires_grad]

    def save(name: str, folder: Path) -> None:
        _save_half(trained[name], folder)

    return Networks(unet, controlnet, text_encoder, trained, parameters, save)


def _loaded(folder: Path, compute: ComputeDevice) -> Any:
    spec = describe(folder)
    if "controlnet_tile" not in spec.parts:
        raise InputError(f"the backbone in {folder} has no controlnet_tile; run --stage backbone again")
    return load(spec, ("unet", "text_encoder", "controlnet_tile"), compute)


def _save_half(module: Any, folder: Path) -> None:
    """Save a network in 16 bits, which is precise enough to run it and halves the download."""
    import copy

    copied = copy.deepcopy(module).cpu().half()
    # diffusers writes the folder that a model came from into its config, which would reveal a local path.
    copied.register_to_config(_name_or_path="")
    copied.save_pretrained(folder)


def _save_motion(layers: torch.nn.ModuleDict, recipe: Recipe, folder: Path) -> None:
    """Save the layers as a complete adapter. Removed layers output zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # removed layers keep these weights, so they must not differ from run to run
        adapter = make_motion_adapter(recipe.shape)
    for name, layer in layers.items():
        if layer.state_dict():
            adapter.get_submodule(name.replace("/", ".")).load_state_dict(layer.state_dict())
    _save_half(adapter, folder)
