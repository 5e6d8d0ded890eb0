"""Blended latents: the original stays outside the mask (Blended Latent Diffusion, Avrahami 2023; V-LASIK 4.1)."""

from __future__ import annotations

import torch


def blend(
    latents: torch.Tensor,
    background_latents: torch.Tensor,
    noise: torch.Tensor,
    mask: torch.Tensor,
    scheduler,
    next_timestep: torch.Tensor | None,
    ratio: float = 0.9,
) -> torch.Tensor:
    """Pull the latents outside the mask towards the original, to be called after each `scheduler.step`.

    Outside the mask the result is ``ratio * background + (1 - ratio) * latents``, inside it is `latents`. The
    background is noised to the level that `latents` has now, which is that of the *next* timestep; after the last step
    it is clean. The reference code of Blended Latent Diffusion takes the level of the timestep just left and leaves
    noise in the last blend.

    Args:
        latents: ``[T, C, h, w]``, what `scheduler.step` gave.
        background_latents: ``[T, C, h, w]``, the clean latents of the original.
        noise: ``[T, C, h, w]``, standard normal: the noise that the denoising started from.
        mask: ``[T, 1, h, w]`` in 0..1; 1 where the picture is made anew.
        scheduler: a scheduler of diffusers, for its `add_noise`; it is not changed.
        next_timestep: the timestep of the next step, or None after the last one.
        ratio: in 0..1; 0 leaves `latents` as they are.

    Returns:
        ``[T, C, h, w]``, of the dtype of `latents`.
    """
    background = background_latents
    if next_timestep is not None:
        background = scheduler.add_noise(background_latents, noise, torch.as_tensor(next_timestep).reshape(1))
    return torch.lerp(latents, background.to(latents.dtype), ((1 - mask) * ratio).to(latents.dtype))
