"""The denoising loss of one batch, as `train_controlnet.py` of diffusers has it, with three optional weightings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from toolkit.errors import InputError
from toolkit.finetune.config import LossConfig

USUAL_CONTRAST = 0.01
"""Mean squared difference of the pictures with and without an attribute, inside the mask, colours in 0..1."""

FAINTNESS = 0.25, 8.0
"""Least and greatest factor by which errors on a pair count more than usual."""


@dataclass(frozen=True)
class Batch:
    """B pairs, ready for the models; all on one device.

    Attributes:
        latents: ``[B, C, h, w]``, the encoded `image`, scaled.
        noise: the same shape.
        timesteps: int64 ``[B]``.
        hint: float ``[B, 3, R, R]`` in 0..1, the `conditioning_image`.
        cells: float ``[B, 1, h, w]``, 1 where a latent cell holds a masked pixel.
        states: ``[B, N, D]``, the encoded prompts.
        contrast: float ``[B]``, mean squared difference of `image` and `conditioning_image` inside the mask, colours in
            0..1; NaN where it is not known.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    hint: torch.Tensor
    cells: torch.Tensor
    states: torch.Tensor
    contrast: torch.Tensor


def faintness(contrast: torch.Tensor, power: float) -> torch.Tensor:
    """By how much errors inside masks count more, one for each contrast: most for what is hardly seen; 1 for NaN."""
    factor = (USUAL_CONTRAST / contrast.clamp(min=1e-6)) ** power
    return torch.where(contrast.isnan(), 1.0, factor).clamp(*FAINTNESS)


def predict(controlnet: Any, unet: Any, scheduler: Any, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """What the UNet says about the noised latents with the residuals of the ControlNet, ``[B, C, h, w]``.

    Gradients reach the ControlNet only. `dtype` is that of the frozen UNet.
    """
    noisy = scheduler.add_noise(batch.latents.float(), batch.noise.float(), batch.timesteps).to(dtype)
    down, mid = controlnet(
        noisy,
        batch.timesteps,
        encoder_hidden_states=batch.states,
        controlnet_cond=batch.hint.to(dtype),
        return_dict=False,
    )
    return unet(
        noisy,
        batch.timesteps,
        encoder_hidden_states=batch.states,
        down_block_additional_residuals=[residual.to(dtype) for residual in down],
        mid_block_additional_residual=mid.to(dtype),
        return_dict=False,
    )[0]


def target(scheduler: Any, batch: Batch) -> torch.Tensor:
    """What the UNet should say, ``[B, C, h, w]``, by the scheduler's prediction type.

    Raises:
        InputError: a prediction type that nobody can train on.
    """
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return batch.noise
    if kind == "v_prediction":
        return scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)
    if kind == "sample":
        return batch.latents
    raise InputError(f"expected a scheduler that predicts epsilon, v_prediction or sample, found {kind!r}")


def losses(predicted: torch.Tensor, wanted: torch.Tensor, batch: Batch, scheduler: Any, config: LossConfig):
    """The loss of each pair, float32 ``[B]``; their mean is what `train_controlnet.py` minimises.

    `mask_weight` weighs the squared errors of masked cells and keeps the sum of the weights; `contrast_power` makes it
    larger for faint attributes. `snr_gamma` is min-SNR-γ
    (Hang et al. 2023, arXiv 2303.09556, and its appendix for v and sample prediction).
    """
    squared = (predicted.float() - wanted.float()) ** 2
    if config.mask_weight != 1 or config.contrast_power:
        inside = config.mask_weight * faintness(batch.contrast, config.contrast_power)[:, None, None, None]
        weights = (1 + (inside - 1) * batch.cells).expand_as(squared)
        result = (squared * weights).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3)).clamp(min=1e-6)
    else:
        result = squared.mean(dim=(1, 2, 3))
    if config.snr_gamma is not None:
        result = result * _min_snr(scheduler, batch.timesteps, config.snr_gamma)
    return result


def _min_snr(scheduler: Any, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    from diffusers.training_utils import compute_snr

    snr = compute_snr(scheduler, timesteps)
    clipped = snr.clamp(max=gamma)
    kind = scheduler.config.prediction_type
    if kind == "sample":
        return clipped
    # An SNR of 0, as with zero terminal SNR, gives 0/0 for epsilon: there the noise is all there is.
    return clipped / (snr + 1) if kind == "v_prediction" else torch.where(snr > 0, clipped / snr, 1.0)
