"""Tells face paint from what a remover of search areas is made for, such as stickers."""

from __future__ import annotations

import numpy as np

from toolkit.filling import disc

LIDS = 0.5
"""Width of the zone of lids and lashes around an eye, as a share of the eye's width."""
PAINTED = 0.3
"""Share of the zones around both eyes that a remover changes from which the eyes are painted. Of what was pasted, it
was at least 0.59 in all frames of the one clip of a painted face, and 0 in the first second of 59 unpainted ones."""
EVERYWHERE = 0.5
"""Share of the search area from which a remover changes everything and tells nothing about the eyes."""


def shows_paint(
    changed: np.ndarray, area: np.ndarray, landmarks: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> bool:
    """Whether a remover took the surroundings of both eyes for the attribute, and not the whole face.

    Args:
        changed: bool ``[R, R]``, what it changed.
        area: bool ``[R, R]``, where the attribute may be.
        landmarks: float32 ``[N, 2 or more]`` in pixels.
        eyes: indices of the landmarks around each eye.
    """
    if not area.any() or changed[area].mean() >= EVERYWHERE:
        return False
    return changed_lids(changed, landmarks, eyes) > PAINTED


def changed_lids(changed: np.ndarray, landmarks: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]) -> float:
    """Share of the zone around an eye that was changed, for the eye with the lower share.

    A sticker may lie beside one eye. Only make-up and face paint surround both.

    Args:
        changed: bool ``[R, R]``.
        landmarks: float32 ``[N, 2 or more]`` in pixels.
        eyes: indices of the landmarks around each eye.
    """
    import cv2

    shares = []
    for side in eyes:
        points = np.clip(np.rint(landmarks[side, :2] - 0.5), -(2**15), 2**15).astype(np.int32)
        eye = np.zeros(changed.shape, np.uint8)
        cv2.fillConvexPoly(eye, cv2.convexHull(points), 1)
        zone = (cv2.dilate(eye, disc(2 * LIDS * np.ptp(points[:, 0]))) > 0) & (eye == 0)
        shares.append(float(changed[zone].mean()) if zone.any() else 0.0)
    return min(shares)
