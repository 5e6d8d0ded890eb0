"""Keeps the frame's own detail where an attribute is see-through, as clear lenses are."""

from __future__ import annotations

import math

import numpy as np

from toolkit.filling import around, disc, distances

TRANSFER = 2.0
"""Standard deviation of the blur that separates what a remover changed from detail, in pixels of its pictures. Rendered
glasses lost less with 1.5 to 4 than with 1; finer than that, the remover blurs."""

WIDEN, SOFT = 1, 1.0
"""How far opaque parts are widened, and standard deviation of their soft border, in pixels of the remover's pictures.
A remover's pixels next to a rim hold a share of it."""

BORDER = 4 / 256
"""Width of the mask's border that counts as opaque too, as a share of the crop's side: lenses end in rims or edges, and
the thinnest rims are not always found."""

FINE, COARSE = 0.7, 2.5
"""Standard deviations of the blurs between which patterns are compared, in pixels of the remover's pictures."""

NEAR = 1.5
"""Standard deviation of the surroundings in which they are compared, in the same pixels."""

FAINT = 1.5
"""Strength of a pattern, in 0..255, below which it is texture and always stays."""

TAKEN, KEPT = 0.25, 0.5
"""Share of a pattern, after the remover, up to which it was taken out on purpose, and from which it was only softened.
A window that a lens mirrors is taken out; lashes and the edge of an iris are softened."""


def transferred(
    before: np.ndarray, edited: np.ndarray, mask: np.ndarray, opaque: np.ndarray, weights: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """The edit of a crop with the crop's own detail where the attribute is see-through.

    There, only the low frequencies of the edit are added to the crop. In opaque parts, at the mask's border, and where
    the remover took a pattern out, such as a reflection, the edit itself is used.

    Args:
        before: uint8 ``[R, R, 3]``, the crop before the remover.
        edited: uint8 ``[R, R, 3]``, the remover's output.
        mask: bool ``[R, R]``: where the attribute is.
        opaque: bool ``[R, R]``: its opaque parts.
        weights: float32 ``[R, R]`` in 0..1: how much of the edit is pasted.
        pixel: side of the remover's pixels in pixels of the crop.

    Returns:
        The picture, uint8 ``[R, R, 3]``, and how much of it replaces the crop with its detail, float32 ``[R, R]`` in
        0..1; both are `edited` and 1 far from the pasted pixels.
    """
    picture, replaced = edited.copy(), np.ones(weights.shape, np.float32)
    area = around(weights > 0, math.ceil(4 * COARSE * pixel))
    if not picture[area].size:
        return picture, replaced
    hard = widened(mask, opaque, pixel)[area].astype(np.float32)
    old, new, known = before[area].astype(np.float32), edited[area].astype(np.float32), weights[area]
    solid = np.maximum(hard, _taken_out(old, new, known * (1 - hard), pixel))
    low = _mean(new - old, known * (1 - solid), TRANSFER * pixel)
    share = _blurred(solid, SOFT * pixel)
    # Where nothing was changed, the crop stays to the bit.
    mixed = old + low + share[..., None] * (new - old - low)
    picture[area] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    replaced[area] = share
    return picture, replaced


def widened(mask: np.ndarray, opaque: np.ndarray, pixel: float) -> np.ndarray:
    """bool ``[R, R]``: opaque parts, and what hides rims that were not found.

    Args:
        mask, opaque, pixel: as for `transferred`.
    """
    import cv2
    from scipy.ndimage import binary_fill_holes

    result = cv2.dilate(opaque.astype(np.uint8), disc(2 * WIDEN * pixel)) > 0
    near = around(mask, 1)
    inside = binary_fill_holes(mask[near])  # the holes are eyes
    if inside.any():
        result[near] |= inside & (distances(~inside) <= BORDER * len(mask))
    return result


def _taken_out(old: np.ndarray, new: np.ndarray, known: np.ndarray, pixel: float) -> np.ndarray:
    """float32 ``[h, w]`` in 0..1: where a remover took patterns out of a picture instead of softening them.

    The share of a pattern that is left is the slope of the least-squares line from old to new, weighted around each
    pixel. `FAINT` pulls it to 1 where there is no pattern.
    """
    one, other = (_blurred(picture, FINE * pixel) - _blurred(picture, COARSE * pixel) for picture in (old, new))
    products = np.stack([(one * other).sum(axis=2), (one * one).sum(axis=2)], axis=2)
    both, own = np.moveaxis(_mean(products, known, NEAR * pixel), 2, 0)
    least = 3 * FAINT**2
    left = (both + least) / (own + least)
    ramp = np.clip((KEPT - left) / (KEPT - TAKEN), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _mean(values: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted means around each pixel; 0 where no weight is near."""
    total = _blurred(weights, sigma)[..., None]
    return _blurred(values * weights[..., None], sigma) / np.maximum(total, 1e-4)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(picture, (0, 0), sigma)
