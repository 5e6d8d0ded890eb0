"""Keep the original outside the mask (Blended Latent Diffusion, Avrahami 2023; V-LASIK, section C.1)."""

from __future__ import annotations

from typing import Any

import torch


def blend(
    latents: torch.Tensor,
    background_latents: torch.Tensor,
    noise: torch.Tensor,
    mask: torch.Tensor,
    scheduler: Any,
    next_timestep: torch.Tensor | None,
    ratio: float = 0.9,
) -> torch.Tensor:
    """Blend the original into the latents outside the mask. Call this after each `scheduler.step`.

    Outside the mask, the result is ``ratio * background + (1 - ratio) * latents``; inside, it is `latents`. The
    background is noised to the current level of `latents`, that of the *next* timestep. After the last step it is
    clean. This differs from the reference code of Blended Latent Diffusion, which uses the level of the timestep just
    finished and so leaves noise in the last blend.

    Args:
        latents: ``[T, C, h, w]``, returned by `scheduler.step`.
        background_latents: ``[T, C, h, w]``, clean latents of the original.
        noise: ``[T, C, h, w]``, standard normal: the noise that denoising started from.
        mask: ``[T, 1, h, w]`` in 0..1; 1 in the region to generate.
        scheduler: a scheduler of diffusers, for its `add_noise`. Not changed.
        next_timestep: the timestep of the next step, or None after the last one.
        ratio: weight of the background, in 0..1. 0 leaves `latents` unchanged.

    Returns:
        ``[T, C, h, w]``, with the dtype of `latents`.
    """
    background = background_latents
    if next_timestep is not None:
        background = scheduler.add_noise(background_latents, noise, torch.as_tensor(next_timestep).reshape(1))
    return torch.lerp(latents, background.to(latents.dtype), ((1 - mask) * ratio).to(latents.dtype))
