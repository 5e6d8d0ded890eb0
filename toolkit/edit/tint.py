"""Measures how far the colours where an attribute is or was differ from the skin around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolkit.filling import distances

NEAR, FAR = 0.03, 0.07
"""The skin around a mask: its distance from the mask, as shares of the crop's side."""
FEWEST = 50
"""Fewest pixels that tell a colour."""


def colour_differences(pictures: Sequence[np.ndarray], mask: np.ndarray, landmarks: np.ndarray) -> list[float | None]:
    """How far the colours of the most coloured quarter of a mask are from those of the skin around it.

    In units of CIELAB, without lightness. Paler skin counts as skin: brows, lashes, shadows and clear glass are paler.

    Args:
        pictures: uint8 ``[R, R, 3]`` each.
        mask: bool ``[R, R]``, the attribute itself; some of it is True.
        landmarks: float32 ``[N, 2 or more]`` in pixels of the pictures.

    Returns:
        For each picture, None if too little of the mask or of the skin around it is seen.
    """
    import cv2

    side = len(mask)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    reach = math.ceil(FAR * side) + 1  # nothing farther away is looked at
    low = np.maximum([x - reach, y - reach], 0)
    box = slice(low[1], y + height + reach), slice(low[0], x + width + reach)
    mask = mask[box]
    points = np.clip(np.rint(landmarks[:, :2] - 0.5) - low, -(2**15), 2**15).astype(np.int32)
    face = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(points), 1)
    distance = distances(mask) / side
    skin, inside = (face > 0) & (distance > NEAR) & (distance < FAR), (face > 0) & mask
    if min(skin.sum(), inside.sum()) < FEWEST:
        return [None] * len(pictures)
    return [_difference(picture[box], skin, inside) for picture in pictures]


def _difference(picture: np.ndarray, skin: np.ndarray, inside: np.ndarray) -> float:
    import cv2

    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    colours, own = lab[inside][:, 1:], np.median(lab[skin][:, 1:], axis=0)
    share = np.clip(colours @ own / max(float(own @ own), 1e-6), 0, 1)
    return float(np.percentile(np.linalg.norm(colours - share[:, None] * own, axis=1), 75))
