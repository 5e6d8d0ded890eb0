"""Define the terms that the losses and measures of every segmenter share."""

from __future__ import annotations

import torch


def soft_dice(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss, the mean over samples; maps are ``[B, 1, H, W]`` in 0..1."""
    overlap = (guess * truth).sum(dim=(1, 2, 3))
    size = guess.square().sum(dim=(1, 2, 3)) + truth.square().sum(dim=(1, 2, 3))
    return (1 - (2 * overlap + 10) / (size + 10)).mean()


def iou(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """IoU at 0.5, ``[B]``; 1 if both are empty. Maps are ``[B, H, W]`` in 0..1."""
    guess, truth = guess > 0.5, truth > 0.5
    both, either = (guess & truth).sum(dim=(1, 2)), (guess | truth).sum(dim=(1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
