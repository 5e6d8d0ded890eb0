"""Tells face paint from what a remover of search areas is made for, such as stickers."""

from __future__ import annotations

import numpy as np

from toolkit.filling import disc

LIDS = 0.5
"""Width of the zone of lids and lashes around an eye, as a share of the eye's width."""
PAINTED = 0.3
"""Share of the lids above both eyes from which the eyes are painted: what a remover of search areas changes there, or
what exact masks cover. It was at least 0.55 in all frames of a real painted face and of a drawn one, and at most 0.2
above two large stickers right below the eyes. Of all around the eyes, nothing was changed in the first second of 59
unpainted clips."""
EVERYWHERE = 0.5
"""Share of the search area from which a remover changes everything and tells nothing about the eyes."""


def shows_paint(
    changed: np.ndarray, area: np.ndarray, landmarks: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> bool:
    """Whether a remover took the lids of both eyes for the attribute, and not the whole face.

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
    """Share of the lids above an eye that was changed, for the eye with the lower share.

    Stickers may lie beside one eye, or below both. Only make-up and face paint are on both upper lids.

    Args:
        changed: bool ``[R, R]``.
        landmarks: float32 ``[N, 2 or more]`` in pixels.
        eyes: indices of the landmarks around each eye.
    """
    import cv2

    y, x = np.indices(changed.shape)
    middle = landmarks[:, :2].mean(axis=0)
    across = landmarks[eyes[1], :2].mean(axis=0) - landmarks[eyes[0], :2].mean(axis=0)
    shares = []
    for side in eyes:
        centre = landmarks[side, :2].mean(axis=0)
        below = across[0] * (y - centre[1]) - across[1] * (x - centre[0])
        below = below * np.sign(across[0] * (middle[1] - centre[1]) - across[1] * (middle[0] - centre[0]))
        points = np.clip(np.rint(landmarks[side, :2] - 0.5), -(2**15), 2**15).astype(np.int32)
        eye = np.zeros(changed.shape, np.uint8)
        cv2.fillConvexPoly(eye, cv2.convexHull(points), 1)
        zone = (cv2.dilate(eye, disc(2 * LIDS * np.ptp(points[:, 0]))) > 0) & (eye == 0) & (below < 0)
        shares.append(float(changed[zone].mean()) if zone.any() else 0.0)
    return min(shares)
