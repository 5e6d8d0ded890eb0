"""Define the loss of the training, and the measure that selects the best weights."""

from __future__ import annotations

import torch
from torch.nn import functional as F

SCALE = 6.0
"""Weight of the cross-entropy: most pixels are far from stickers, and easy."""


def segmentation_loss(
    logits: torch.Tensor, presence: torch.Tensor, maps: torch.Tensor, shown: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy with higher weights on and around stickers, plus soft Dice.

    Args:
        logits: ``[B, 1, H, W]``, output of the network.
        presence: ``[B]``, output of the network.
        maps: float ``[B, 1, H, W]``, true maps in 0..1.
        shown: float ``[B]``, 1 if a sticker is seen.
    """
    weight = 0.5 + 1.5 * F.max_pool2d(maps, 7, 1, 3)
    loss = SCALE * (F.binary_cross_entropy_with_logits(logits, maps, reduction="none") * weight).mean()
    chosen = shown > 0.5
    if chosen.any():
        loss = loss + _dice(logits[chosen].sigmoid(), maps[chosen])
    return loss + 0.3 * F.binary_cross_entropy_with_logits(presence, shown)


def _dice(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    overlap = (guess * truth).sum(dim=(1, 2, 3))
    size = guess.square().sum(dim=(1, 2, 3)) + truth.square().sum(dim=(1, 2, 3))
    return (1 - (2 * overlap + 10) / (size + 10)).mean()


def iou(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """IoU at 0.5, ``[B]``; 1 if both are empty. Maps are ``[B, 1, H, W]`` in 0..1."""
    guess, truth = (maps[:, 0] > 0.5 for maps in (guess, truth))
    both, either = (guess & truth).sum(dim=(1, 2)), (guess | truth).sum(dim=(1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
