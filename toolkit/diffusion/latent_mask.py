"""Masks at latent resolution that keep rims thinner than a latent cell (V-LASIK, section C.1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from toolkit.errors import UsageError


def mask_to_latent(
    mask: np.ndarray | torch.Tensor, cell: int = 8, keep: np.ndarray | torch.Tensor | None = None
) -> torch.Tensor:
    """Downscale masks to latent resolution: maximum over each latent cell, 3x3 dilation, 3x3 blur.

    Interpolation by a factor of 8 would lose a rim of one pixel; the maximum keeps it. The blur averages neighbours
    inside the frame only, so every cell with a masked pixel stays at exactly 1 after the dilation.

    The dilation closes holes of up to four cells, such as those for eyes. `keep` opens them again.

    Args:
        mask: bool, or float in 0..1, ``[T, H, W]``.
        cell: side of a latent cell in pixels: the VAE's scale factor.
        keep: bool ``[T, H, W]``: pixels that stay as they are. The result is multiplied by the share of other pixels
            in each cell.

    Returns:
        float32 ``[T, 1, H / cell, W / cell]`` in 0..1, on the device of `mask`.

    Raises:
        UsageError: the mask does not have three axes, a side is not a multiple of `cell`, or `keep` has another shape.
    """
    pixels = _tensor(mask)
    if pixels.ndim != 3:
        raise UsageError(f"expected masks [T, H, W], found the shape {tuple(pixels.shape)}")
    if pixels.shape[1] % cell or pixels.shape[2] % cell:
        raise UsageError(
            f"expected masks whose sides are multiples of {cell} pixels, found {pixels.shape[2]}x{pixels.shape[1]}; "
            "crop or resize the clip"
        )
    cells = F.max_pool2d(pixels[:, None].float(), cell)
    dilated = F.max_pool2d(cells, 3, stride=1, padding=1)
    latent = F.avg_pool2d(dilated, 3, stride=1, padding=1, count_include_pad=False)
    if keep is None:
        return latent
    kept = _tensor(keep).to(pixels.device)
    if kept.shape != pixels.shape:
        raise UsageError(f"expected `keep` with the masks' shape {tuple(pixels.shape)}, found {tuple(kept.shape)}")
    return latent * (1 - F.avg_pool2d(kept[:, None].float(), cell))


def _tensor(array: np.ndarray | torch.Tensor) -> torch.Tensor:
    """A tensor; numpy arrays are copied, because torch accepts neither read-only nor flipped ones."""
    return array if isinstance(array, torch.Tensor) else torch.from_numpy(np.array(array))
