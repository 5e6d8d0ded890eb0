"""Pictures into latents and back, a few frames at a time: a VAE needs more memory than the networks after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from toolkit.diffusion.checks import check_finite, explained_memory

PIXELS = 2 * 512 * 512
"""Pixels that go through a VAE together, or one frame. At 512 pixels in float16, Stable Diffusion's VAE then needs
0.8 GiB; sixteen frames need 6."""


def frames_at_once(height: int, width: int) -> int:
    """Number of frames of this size that go through a VAE together."""
    return max(1, PIXELS // (height * width))


def is_lossless(vae: Any) -> bool:
    """Whether a picture survives this coder as it is."""
    return bool(getattr(vae, "lossless", False))


@torch.no_grad()
def encoded(
    vae: Any,
    pictures: torch.Tensor,
    device: torch.device,
    generator: torch.Generator | None = None,
    masks: np.ndarray | None = None,
    sample: bool = True,
) -> torch.Tensor:
    """Scaled latents ``[K, C, h, w]`` of pictures, in the VAE's dtype and on `device`.

    The random numbers are those of one draw for all frames.

    Args:
        pictures: uint8 ``[K, H, W, 3]``.
        device: where the VAE runs.
        generator: random numbers of the VAE's posterior.
        masks: bool, or float in 0..1, ``[K, H, W]``: pixels of 0.5 or more become mid-grey before. None for none.
        sample: draw from the posterior, if there is one; else its mode.

    Raises:
        OutOfMemory: the frames do not fit.
    """
    found = []
    size = frames_at_once(*pictures.shape[1:3])
    for start in range(0, len(pictures), size):
        part = pictures[start : start + size]
        with explained_memory("vae", f"encode {_described(part.shape[:3])}"):
            values = part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            if masks is not None:
                hard = torch.from_numpy(masks[start : start + size] >= 0.5)
                values = values.masked_fill(hard.to(device)[:, None], 0)
            found.append(vae.encode(values.to(vae.dtype)))
    if hasattr(found[0], "latent_dist"):
        kind = type(found[0].latent_dist)
        posterior = kind(torch.cat([one.latent_dist.parameters for one in found]))
        latents = posterior.sample(generator) if sample else posterior.mode()
    else:
        latents = torch.cat([one.latents for one in found])
    return latents * vae.config.scaling_factor


@torch.no_grad()
def decoded(vae: Any, latents: torch.Tensor, device: torch.device) -> np.ndarray:
    """Pictures, uint8 ``[K, H, W, 3]``, of scaled latents ``[K, C, h, w]``; the VAE runs on `device`.

    Raises:
        OutOfMemory: the frames do not fit.
        ToolkitError: the VAE returned NaN.
    """
    cell = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = (cell * side for side in latents.shape[2:])
    size = frames_at_once(height, width)
    made = []
    for part in latents.split(size):
        with explained_memory("vae", f"decode {_described((len(part), height, width))}"):
            scaled = (part.to(device) / vae.config.scaling_factor).to(vae.dtype)
            pictures = vae.decode(scaled, return_dict=False)[0].float()
            check_finite(pictures, "VAE")
            pictures = (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        made.append((pictures * 255).round().astype(np.uint8))
    return np.concatenate(made)


def _described(shape: tuple[int, ...] | torch.Size) -> str:
    count, height, width = shape
    return f"{count} frame{'' if count == 1 else 's'} of {width}x{height} pixels with the VAE"
