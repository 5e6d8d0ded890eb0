"""Encodes pictures and prompts with a backbone's frozen models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from toolkit.backbones import Backbone


def pixels(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Convert pictures, uint8 ``[R, R, 3]``, to float32 ``[B, 3, R, R]`` in -1..1, as diffusers normalises a target."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def hints(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Convert pictures, uint8 ``[R, R, 3]``, to float32 ``[B, 3, R, R]`` in 0..1, as a ControlNet expects its hint."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def pictures(values: torch.Tensor) -> np.ndarray:
    """Convert float ``[B, 3, R, R]`` in -1..1 to uint8 ``[B, R, R, 3]``, clipped."""
    scaled = ((values.float() + 1) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def cover(mask: np.ndarray, cell: int) -> torch.Tensor:
    """Reduce a mask, bool ``[R, R]``, to float32 ``[1, R / cell, R / cell]``: 1 if a latent cell has a masked pixel."""
    return F.max_pool2d(torch.from_numpy(mask)[None].float(), cell)


def contrast(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    """Mean squared difference of two pictures inside the mask, colours in 0..1; NaN if the mask is empty.

    Args:
        source, target: uint8 ``[R, R, 3]``.
        mask: bool ``[R, R]``.
    """
    difference = source[mask].astype(np.float32) - target[mask]
    return float(np.mean(difference**2)) / 255**2 if mask.any() else math.nan


@torch.no_grad()
def encode_pictures(backbone: Backbone, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the VAE's posterior, ``[B, C, h, w]`` each, without the scaling factor. The latter
    is 0 for coders without a posterior."""
    compute = backbone.compute
    memory_format = torch.channels_last if compute.channels_last else torch.contiguous_format
    values = values.to(compute.device, compute.torch_dtype, memory_format=memory_format)
    encoded = backbone.vae.encode(values)
    if not hasattr(encoded, "latent_dist"):
        return encoded.latents.contiguous(), torch.zeros_like(encoded.latents, memory_format=torch.contiguous_format)
    return encoded.latent_dist.mean.contiguous(), encoded.latent_dist.std.contiguous()


@torch.no_grad()
def code(backbone: Backbone, frames: Sequence[np.ndarray]) -> np.ndarray:
    """Encode and decode pictures with the VAE; uint8 ``[B, R, R, 3]``."""
    decoded = []
    for frame in frames:
        mean, _ = encode_pictures(backbone, pixels([frame]))
        decoded.append(pictures(backbone.vae.decode(mean, return_dict=False)[0]))
    return np.concatenate(decoded)


@torch.no_grad()
def encode_prompts(backbone: Backbone, texts: Iterable[str]) -> dict[str, torch.Tensor]:
    """The hidden states of each text, ``[N, D]`` on the CPU."""
    return {text: backbone.text_encoder(_tokens(backbone, text))[0][0].cpu().clone() for text in texts}


def _tokens(backbone: Backbone, text: str) -> Any:
    if backbone.tokenizer is None:  # the text encoder returns a constant
        return None
    ids = backbone.tokenizer(
        text,
        max_length=backbone.tokenizer.model_max_length,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids.to(backbone.compute.device)
