"""Computes the denoising loss of a batch as diffusers' `train_controlnet.py` does, with three optional weightings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from toolkit.errors import InputError
from toolkit.finetune.config import LossConfig

USUAL_CONTRAST = 0.01
"""Usual mean squared difference of the pictures with and without an attribute inside the mask, colours in 0..1."""

FAINTNESS = 0.25, 8.0
"""Smallest and largest factor by which `contrast_power` weighs errors inside a mask."""


@dataclass(frozen=True)
class Batch:
    """B pairs, ready for the models, on one device.

    Attributes:
        latents: ``[B, C, h, w]``, the encoded `image` times the scaling factor.
        noise: the same shape.
        timesteps: int64 ``[B]``.
        hint: float ``[B, 3, R, R]`` in 0..1, the `conditioning_image`.
        cells: float ``[B, 1, h, w]``, 1 if a latent cell has a masked pixel.
        states: ``[B, N, D]``, the encoded prompts.
        contrast: float ``[B]``, mean squared difference of `image` and `conditioning_image` inside the mask, colours in
            0..1; NaN if unknown.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    hint: torch.Tensor
    cells: torch.Tensor
    states: torch.Tensor
    contrast: torch.Tensor


def faintness(contrast: torch.Tensor, power: float) -> torch.Tensor:
    """The factor for errors inside the mask, one per contrast: largest for faint attributes, 1 for NaN."""
    factor = (USUAL_CONTRAST / contrast.clamp(min=1e-6)) ** power
    return torch.where(contrast.isnan(), 1.0, factor).clamp(*FAINTNESS)


def predict(controlnet: Any, unet: Any, scheduler: Any, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """The UNet's prediction for the noised latents with the ControlNet's residuals, ``[B, C, h, w]``.

    Args:
        dtype: number format of the frozen UNet. Only the ControlNet receives gradients.
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
    """The target of the prediction, ``[B, C, h, w]``, for the scheduler's prediction type.

    Raises:
        InputError: the prediction type is not supported.
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
    """The loss of each pair, float32 ``[B]``. By default their mean is the loss of `train_controlnet.py`.

    `mask_weight` weighs the squared errors of masked cells, normalised by the sum of the weights. `contrast_power`
    raises that weight for faint attributes. `snr_gamma` is min-SNR-γ (Hang et al. 2023, arXiv 2303.09556, and its
    appendix for v and sample prediction).
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
    # With zero terminal SNR the SNR can be 0, and epsilon would divide 0 by 0; the input is pure noise then.
    return clipped / (snr + 1) if kind == "v_prediction" else torch.where(snr > 0, clipped / snr, 1.0)
