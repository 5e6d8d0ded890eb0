"""Compute eye holes: parts of a mask of glasses that are left unmasked to preserve gaze and blinks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.task import FaceClip

KERNEL = 10
"""Side in pixels of the square that dilates the eyes in a crop of `CROP` pixels (V-LASIK, C.1)."""
CROP = 512
"""Width in pixels of the crop that `KERNEL` refers to; the square scales with the crop."""


BOTH = ("left_eye", "right_eye")
"""Regions of a topology."""


def eye_holes(clip: FaceClip, eyes: Sequence[str] = BOTH) -> np.ndarray:
    """Masks of the eyes: the convex hull of each eye's landmarks, dilated.

    Args:
        clip: a clip with any topology that has the regions ``left_eye`` and ``right_eye``.
        eyes: those of them that count.

    Returns:
        bool ``[T, H, W]``; False in frames without the face.
    """
    import cv2

    count, height, width = clip.frames.shape[:3]
    holes = np.zeros((count, height, width), np.uint8)
    kernel = np.ones((max(1, round(KERNEL * width / CROP)),) * 2, np.uint8)
    sides = [clip.topology.regions[name] for name in eyes]
    for t in np.flatnonzero(clip.present):
        for side in sides:
            # In 1/16 px, from the centre of the first pixel. Clipped, because OpenCV overflows far outside the frame.
            points = np.clip((clip.landmarks[t, side, :2] - 0.5) * 16, -(2**19), 2**19)
            cv2.fillConvexPoly(holes[t], cv2.convexHull(np.rint(points).astype(np.int32)), 1, shift=4)
        holes[t] = cv2.dilate(holes[t], kernel)
    return holes > 0
