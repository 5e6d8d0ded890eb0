"""Trains a ControlNet by low-rank layers beside its own (LoRA; Hu et al. 2021, arXiv 2106.09685).

The layers have the names, shapes and initial values of the package peft, and their file is the one that diffusers
writes, so that diffusers with peft loads it as it is. Training needs neither.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from toolkit.backbones.lora import LowRank, add_lora
from toolkit.remover.layout import LORA_WEIGHTS

_DOWN, _UP = "lora_A", "lora_B"


def attach_lora(controlnet: Any, rank: int, seed: int) -> Any:
    """Freeze a ControlNet, and add low-rank layers to its linear layers and convolutions, in place.

    At first they change nothing: the second of each pair is zero. Layers narrower than the rank get none.

    Args:
        rank: width between the two layers of a pair.
        seed: seed of the first layer of each pair.
    """
    controlnet.requires_grad_(False)
    layers = [module for module in controlnet.modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            outputs, inputs = layer.weight.shape[0], layer.weight[0].numel()
            if rank <= min(outputs, inputs):
                _attach(layer, rank)
    return controlnet


def _attach(layer: Any, rank: int) -> None:
    down: torch.nn.Module
    if isinstance(layer, torch.nn.Linear):
        down = torch.nn.Linear(layer.in_features, rank, bias=False)
        up: torch.nn.Module = torch.nn.Linear(rank, layer.out_features, bias=False)
    else:
        size = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
        down = torch.nn.Conv2d(layer.in_channels, rank, bias=False, **size)
        up = torch.nn.Conv2d(rank, layer.out_channels, 1, bias=False)
    torch.nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
    torch.nn.init.zeros_(up.weight)
    setattr(layer, _DOWN, down.to(layer.weight.device))
    setattr(layer, _UP, up.to(layer.weight.device))
    layer.register_forward_hook(_beside)


def _beside(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    return output + getattr(layer, _UP)(getattr(layer, _DOWN)(inputs[0]))


def trained_parameters(controlnet: Any) -> list[torch.nn.Parameter]:
    """The parameters that training changes: all, or those of the low-rank layers."""
    return [parameter for parameter in controlnet.parameters() if parameter.requires_grad]


def _adapters(controlnet: Any) -> dict[str, torch.Tensor]:
    state = controlnet.state_dict()
    return {name: value for name, value in state.items() if f".{_DOWN}." in name or f".{_UP}." in name}


def save_trained(controlnet: Any, folder: Path) -> None:
    """Write what training changed, for `load_trained` and diffusers: the whole ControlNet, or its low-rank layers."""
    adapters = _adapters(controlnet)
    if not adapters:
        controlnet.save_pretrained(folder)
        return
    from safetensors.torch import save_file

    controlnet.save_config(folder)
    tensors = {name: value.cpu().contiguous() for name, value in sorted(adapters.items())}
    save_file(tensors, folder / LORA_WEIGHTS, metadata={"format": "pt"})


def load_trained(controlnet: Any, folder: Path) -> None:
    """Set the low-rank layers to those that `save_trained` wrote.

    Raises:
        ValueError: they are those of another ControlNet or of another rank.
    """
    from safetensors.torch import load_file

    found = load_file(folder / LORA_WEIGHTS)
    state = _adapters(controlnet)
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in state.items()}:
        raise ValueError("its low-rank layers have other names or shapes")
    with torch.no_grad():
        for name, value in found.items():
            state[name].copy_(value)


def merged_copy(controlnet: Any) -> Any:
    """A plain ControlNet that computes the same: a copy of the weights, with the low-rank layers added to them."""
    copy = type(controlnet).from_config(controlnet.config)
    adapters, state = _adapters(controlnet), controlnet.state_dict()
    copy.load_state_dict({name: value for name, value in state.items() if name not in adapters})
    stems = {name.removesuffix(f".{_DOWN}.weight") for name in adapters if name.endswith(f".{_DOWN}.weight")}
    layers = {
        stem: LowRank(adapters[f"{stem}.{_DOWN}.weight"], adapters[f"{stem}.{_UP}.weight"], 1.0) for stem in stems
    }
    add_lora(copy, layers)
    return copy
