"""Gradual blending: how much of the original stays at each step, by the distance to the mask (V-LASIK, section 4.3)."""

from __future__ import annotations

import numpy as np
import torch

PAPER_RANGE = (0.0, 0.7)
"""Weight of the original inside the mask, where all may change, and far from it."""

WIDTH = 0.125
"""Distance over which the weight rises, as a share of the picture's side. The paper does not say how far."""


def original_weights(
    mask: torch.Tensor, blend_range: tuple[float, float] = PAPER_RANGE, width: float = WIDTH
) -> torch.Tensor:
    """Weights of the noised original in the blend after each step.

    Args:
        mask: ``[T, 1, h, w]`` in 0..1; cells of 0.5 or more are its inside.
        blend_range: the weight inside, and at `width` and beyond.
        width: as a share of the larger side; 0 is a hard edge.

    Returns:
        float32 ``[T, 1, h, w]``; in a frame without a masked cell the second weight everywhere.
    """
    import cv2

    low, high = blend_range
    reach = width * max(mask.shape[-2:])
    weights = np.full(tuple(mask.shape), high, np.float32)
    for weight, inside in zip(weights[:, 0], mask[:, 0].cpu().numpy() >= 0.5):
        if inside.any():
            # The distance to the nearest cell of the mask, from which its own edge is half a cell away.
            distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            share = np.clip((distance - 0.5) / reach, 0, 1) if reach > 0.5 else (~inside).astype(np.float32)
            weight[:] = np.where(inside, low, low + (high - low) * share)
    return torch.from_numpy(weights)
