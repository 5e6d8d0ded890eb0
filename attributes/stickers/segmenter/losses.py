"""Define the loss of the training."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from attributes.segmenting.losses import soft_dice

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
        loss = loss + soft_dice(logits[chosen].sigmoid(), maps[chosen])
    return loss + 0.3 * F.binary_cross_entropy_with_logits(presence, shown)
