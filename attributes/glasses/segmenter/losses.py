"""Define the loss of the training, and the measure that selects the best weights."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from attributes.segmenting.losses import iou, soft_dice

PARTS = (3.0, 1.5, 0.7, 1.0)
"""Weight of the cross-entropy of each map, in the order of `CHANNELS`. Rims are thin and matter most."""

WIDE = 3
"""Rims of this many pixels of the region, or more, are not thin."""
MISSED = 2.0
"""Added weight of thin rims. They are uncertain in soft pictures, and one that is missed remains visible."""


def segmentation_loss(
    logits: torch.Tensor, presence: torch.Tensor, maps: torch.Tensor, worn: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy with higher weights on and around glasses, plus soft Dice of the frame and of frame or lens.

    Args:
        logits: ``[B, 4, H, W]``, output of the network.
        presence: ``[B]``, output of the network.
        maps: float ``[B, 4, H, W]``, true maps in 0..1.
        worn: float ``[B]``, 1 for people with glasses.
    """
    frame, lens = maps[:, :1], maps[:, 1:2]
    union = torch.maximum(frame, lens)
    near = F.max_pool2d(union, 9, 1, 4)
    weight = (0.5 + near + 2.0 * F.max_pool2d(frame, 5, 1, 2)).repeat(1, len(PARTS), 1, 1)
    weight[:, :1] *= 1 + MISSED * thin_rims(frame)
    parts = logits.new_tensor(PARTS).view(1, -1, 1, 1)
    entropy = F.binary_cross_entropy_with_logits(logits, maps, reduction="none")
    loss = (entropy * weight * parts).mean()
    guess = logits[:, :2].sigmoid()
    together = 1 - (1 - guess[:, :1]) * (1 - guess[:, 1:])
    chosen = worn > 0.5
    if chosen.any():
        loss = loss + 0.5 * soft_dice(guess[chosen, :1], frame[chosen])
        loss = loss + 0.5 * soft_dice(together[chosen], union[chosen])
    return loss + 0.3 * F.binary_cross_entropy_with_logits(presence, worn)


def thin_rims(frame: torch.Tensor) -> torch.Tensor:
    """The part of a frame map ``[B, 1, H, W]`` in 0..1 that is thinner than `WIDE` pixels (a top-hat)."""
    pad = WIDE // 2
    eroded = -F.max_pool2d(-frame, WIDE, 1, pad)
    return frame - F.max_pool2d(eroded, WIDE, 1, pad).minimum(frame)


def union_iou(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """IoU of frame or lens at 0.5, ``[B]``; 1 if both are empty. Maps are ``[B, 4, H, W]`` in 0..1."""
    return iou(guess[:, :2].amax(dim=1), truth[:, :2].amax(dim=1))


def thin_recall(guess: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels of thin rims within two pixels of one whose frame map is above 0.25, and all of them: ``[B]`` each.

    Args:
        guess, truth: maps ``[B, 4, H, W]`` in 0..1.
    """
    thin = thin_rims(truth[:, :1]) > 0.25
    found = F.max_pool2d((guess[:, :1] > 0.25).float(), 5, 1, 2) > 0
    return (thin & found).sum(dim=(1, 2, 3)), thin.sum(dim=(1, 2, 3))
