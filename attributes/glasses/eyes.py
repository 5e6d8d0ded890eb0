"""Eye holes: the part of a mask of glasses that stays, so that gaze and blinks are the person's own."""

from __future__ import annotations

import numpy as np

from toolkit.task import FaceClip

KERNEL = 10
"""px; side of the square that the eyes are dilated with in a crop of `CROP` pixels (V-LASIK, section 4.1)."""
CROP = 512
"""px; in crops of another width the square is larger or smaller in proportion."""


def eye_holes(clip: FaceClip) -> np.ndarray:
    """Where the eyes are: the landmarks of each eye joined into one component and dilated.

    Args:
        clip: landmarks of any topology with the regions ``left_eye`` and ``right_eye``.

    Returns:
        bool ``[T, H, W]``; False where there is no face.
    """
    import cv2

    count, height, width = clip.frames.shape[:3]
    holes = np.zeros((count, height, width), np.uint8)
    kernel = np.ones((max(1, round(KERNEL * width / CROP)),) * 2, np.uint8)
    sides = [clip.topology.regions[name] for name in ("left_eye", "right_eye")]
    for t in np.flatnonzero(clip.present):
        for side in sides:
            # 1/16 px; OpenCV counts from the centre of the first pixel. Far outside the frame its numbers overflow.
            points = np.clip((clip.landmarks[t, side, :2] - 0.5) * 16, -(2**19), 2**19)
            cv2.fillConvexPoly(holes[t], cv2.convexHull(np.rint(points).astype(np.int32)), 1, shift=4)
        holes[t] = cv2.dilate(holes[t], kernel)
    return holes > 0
