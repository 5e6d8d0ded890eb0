"""One noise for a whole clip: the inverted latents of a reference frame (V-LASIK 4.1; DDIM, Song et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from toolkit.errors import UsageError

_SHARED_CONFIG = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"),
    *("prediction_type", "steps_offset", "set_alpha_to_one", "clip_sample_range"),
)
"""What the inverse scheduler takes over from the scheduler."""


def invert(
    latents: torch.Tensor,
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    scheduler,
    num_inference_steps: int = 50,
) -> torch.Tensor:
    """DDIM inversion: the noise from which deterministic denoising gives these latents again.

    Args:
        latents: ``[B, C, h, w]``, clean.
        predict: the model: noisy latents ``[B, C, h, w]`` and a timestep to the model's output in the scheduler's
            `prediction_type`.
        scheduler: the scheduler of diffusers whose betas and `prediction_type` the model was trained with; it is not
            changed.
        num_inference_steps: more steps give a closer reconstruction.

    Returns:
        ``[B, C, h, w]``, the latents at the highest noise level.

    Raises:
        UsageError: the scheduler is not one of a diffusion with betas or its model predicts the picture, or the number
            of steps does not fit it.
    """
    from diffusers import DDIMInverseScheduler

    config = scheduler.config
    if "beta_schedule" not in config:
        raise UsageError(
            f'{type(scheduler).__name__} cannot be inverted by DDIM, for it has no betas; use `shared_noise="seed"`'
        )
    if config.get("prediction_type") == "sample":
        # The first step would divide by the noise of clean latents, which is zero.
        raise UsageError('a model that predicts the picture cannot be inverted by DDIM; use `shared_noise="seed"`')
    # Half, for the offset of the timesteps would carry the last of all of them beyond the schedule.
    most = config["num_train_timesteps"] // 2
    if not 1 <= num_inference_steps <= most:
        raise UsageError(f"expected 1 to {most} inversion steps, found {num_inference_steps}")
    # Of the spacings that the inverse knows, the one that ends at the noise level from which the scheduler starts.
    spacing = "leading" if config.get("timestep_spacing") == "leading" else "trailing"
    # Latents are not bounded, so nothing is clipped unless the scheduler says so itself.
    inverse = DDIMInverseScheduler(
        **{name: config[name] for name in _SHARED_CONFIG if name in config},
        timestep_spacing=spacing,
        clip_sample=config.get("clip_sample", False),
    )
    inverse.set_timesteps(num_inference_steps, device=latents.device)
    for t in inverse.timesteps:
        latents = inverse.step(predict(latents, t), t, latents).prev_sample
    return latents
