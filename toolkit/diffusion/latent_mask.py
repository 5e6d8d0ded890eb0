"""Masks at latent resolution that keep rims thinner than a latent cell (V-LASIK, section C.1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from toolkit.errors import UsageError


def mask_to_latent(mask: np.ndarray | torch.Tensor, cell: int = 8) -> torch.Tensor:
    """Downscale masks to latent resolution: maximum over each latent cell, 3x3 dilation, 3x3 blur.

    Interpolation by a factor of 8 would lose a rim of one pixel; the maximum keeps it. The blur averages neighbours
    inside the frame only, so every cell with a masked pixel stays at exactly 1 after the dilation.

    Args:
        mask: bool, or float in 0..1, ``[T, H, W]``.
        cell: side of a latent cell in pixels: the VAE's scale factor.

    Returns:
        float32 ``[T, 1, H / cell, W / cell]`` in 0..1, on the device of `mask`.

    Raises:
        UsageError: the mask does not have three axes, or a side is not a multiple of `cell`.
    """
    if not isinstance(mask, torch.Tensor):
        mask = torch.from_numpy(np.array(mask))  # copied, because torch accepts neither read-only nor flipped arrays
    if mask.ndim != 3:
        raise UsageError(f"expected masks [T, H, W], found the shape {tuple(mask.shape)}")
    if mask.shape[1] % cell or mask.shape[2] % cell:
        raise UsageError(
            f"expected masks whose sides are multiples of {cell} pixels, found {mask.shape[2]}x{mask.shape[1]}; "
            "crop or resize the clip"
        )
    cells = F.max_pool2d(mask[:, None].float(), cell)
    dilated = F.max_pool2d(cells, 3, stride=1, padding=1)
    return F.avg_pool2d(dilated, 3, stride=1, padding=1, count_include_pad=False)
