"""How much of the edit is pasted, pixel by pixel: soft masks, restricted to what the remover changed."""

from __future__ import annotations

import math

import numpy as np

from toolkit.edit.removal.stores import Edit
from toolkit.edit.resolved import ResolvedMasking
from toolkit.filling import around, distances

GROW = 0.03
"""How far changed parts are widened, as a share of the side: their faint surroundings belong to them."""
REACH = 2
"""Frames before and after in which a change counts too, so that the paste does not flicker."""


def paste_weights(
    mask: np.ndarray | None, changed: np.ndarray | None, side: int, masking: ResolvedMasking
) -> np.ndarray:
    """Weights of the edit for a frame, float32 ``[R, R]`` in 0..1.

    Args:
        mask: bool ``[R, R]``; None without masks.
        changed: bool ``[R, R]``, what the remover changed in this frame and its neighbours; None to paste everything.
        side: R.
        masking: settings.
    """
    result = np.ones((side, side), np.float32)
    if mask is not None and (masking.composite == "mask" or not mask.any()):
        result = feathered(mask, masking.dilation * side, masking.feather * side)
    if changed is not None:
        result = result * feathered(changed, GROW * side, GROW * side)
    return result


def feathered(mask: np.ndarray, grow: float, feather: float) -> np.ndarray:
    """float32 ``[R, R]``: 1 within `grow` pixels of the mask, falling to 0 over `feather` more along half a cosine."""
    if not mask.any() or mask.all():
        return mask.astype(np.float32)
    feather = max(feather, 1e-6)
    result = np.zeros(mask.shape, np.float32)
    near = around(mask, math.ceil(grow + feather) + 1)  # beyond, it is 0
    share = np.clip((distances(mask[near]) - grow) / feather, 0, 1)
    result[near] = 0.5 + 0.5 * np.cos(np.pi * share)
    return result


def composite_over(below: Edit, above: Edit) -> Edit:
    """Composite one edit over another (Porter and Duff, 1984), for several removers."""
    kept = (below.weights * (1 - above.weights))[..., None]
    weights = kept[..., 0] + above.weights
    colours = (below.colours * kept + above.colours * above.weights[..., None]) / np.maximum(weights, 1e-6)[..., None]
    colours = np.where(weights[..., None] > 0, colours, above.colours)
    return Edit(colours, weights, np.minimum(1 - (1 - below.replaced) * (1 - above.replaced), weights))
