"""Gradual blending: weights of the original by distance to the mask (V-LASIK, section C.2)."""

from __future__ import annotations

import numpy as np
import torch

from toolkit.filling import distances

PAPER_RANGE = (0.0, 0.7)
"""Weights of the original inside the mask and far from it."""

WIDTH = 0.125
"""Distance over which the weight rises, as a share of the frame's side. The paper gives no value."""


def original_weights(
    mask: torch.Tensor, blend_range: tuple[float, float] = PAPER_RANGE, width: float = WIDTH
) -> torch.Tensor:
    """Compute the weights of the noised original in the blend after each step.

    Args:
        mask: ``[T, 1, h, w]`` in 0..1. Cells of 0.5 or more are inside.
        blend_range: weights inside, and at distance `width` and beyond.
        width: distance as a share of the larger side. 0 makes a hard edge.

    Returns:
        float32 ``[T, 1, h, w]``. A frame without masked cells has the second weight everywhere.
    """
    low, high = blend_range
    reach = width * max(mask.shape[-2:])
    weights = np.full(tuple(mask.shape), high, np.float32)
    for weight, inside in zip(weights[:, 0], mask[:, 0].cpu().numpy() >= 0.5):
        if inside.any():
            # Distances are measured to the centre of the nearest masked cell; its edge is half a cell closer.
            share = np.clip((distances(inside) - 0.5) / reach, 0, 1) if reach > 0.5 else (~inside).astype(np.float32)
            weight[:] = np.where(inside, low, low + (high - low) * share)
    return torch.from_numpy(weights)
