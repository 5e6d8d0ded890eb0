"""Shared noise for a clip: inverted latents of a reference frame (V-LASIK, section C.1; DDIM, Song et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from toolkit.errors import UsageError

_SHARED_CONFIG = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"),
    *("prediction_type", "steps_offset", "set_alpha_to_one", "clip_sample_range"),
)
"""Settings that the inverse scheduler copies from the scheduler."""


def invert(
    latents: torch.Tensor,
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    scheduler: Any,
    num_inference_steps: int = 50,
) -> torch.Tensor:
    """DDIM inversion: find the noise from which deterministic denoising reproduces these latents.

    Args:
        latents: ``[B, C, h, w]``, clean.
        predict: the model. Takes noisy latents ``[B, C, h, w]`` and a timestep, and returns a prediction of the
            scheduler's `prediction_type`.
        scheduler: a scheduler of diffusers with the betas and `prediction_type` of the model's training. Not changed.
        num_inference_steps: number of steps. More steps reconstruct more closely.

    Returns:
        ``[B, C, h, w]``, the latents at the highest noise level.

    Raises:
        UsageError: the scheduler has no betas, the model predicts the image itself, or the number of steps is out of
            range.
    """
    from diffusers import DDIMInverseScheduler

    config = scheduler.config
    if "beta_schedule" not in config:
        raise UsageError(
            f'{type(scheduler).__name__} cannot be inverted by DDIM, because it has no betas; use `shared_noise="seed"`'
        )
    if config.get("prediction_type") == "sample":
        # The first step would divide by the noise of clean latents, which is zero.
        raise UsageError('a model that predicts the image cannot be inverted by DDIM; use `shared_noise="seed"`')
    # At most half of the timesteps, because an offset would move the last of them beyond the schedule.
    most = config["num_train_timesteps"] // 2
    if not 1 <= num_inference_steps <= most:
        raise UsageError(f"expected 1 to {most} inversion steps, found {num_inference_steps}")
    # The spacing whose last timestep has the noise level that the scheduler starts from.
    spacing = "leading" if config.get("timestep_spacing") == "leading" else "trailing"
    # Latents are unbounded, so clip only if the scheduler is set to.
    inverse = DDIMInverseScheduler(
        **{name: config[name] for name in _SHARED_CONFIG if name in config},
        timestep_spacing=spacing,
        clip_sample=config.get("clip_sample", False),
    )
    inverse.set_timesteps(num_inference_steps, device=latents.device)
    for t in inverse.timesteps:
        latents = inverse.step(predict(latents, t), t, latents).prev_sample
    return latents
