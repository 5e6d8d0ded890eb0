"""What is left of a sticker, told from its rim: art and skin meet there in a step of brightness or colour."""

from __future__ import annotations

import numpy as np

from toolkit.task import FaceClip

CHANGED = 24
"""Levels of 0..255 by which an edit must change a pixel for it to count as part of a sticker."""
LEAST = 12
"""Pixels of a rim below which there is none."""


class RimResidual:
    """Contrast across the rim of what was changed, after the edit over before.

    The sticker's place is not known: it is where the edit changed the face by much. The rim is the edge of that; the
    contrast is the mean magnitude of the gradient on it. A removed sticker leaves the skin's own gradient.
    """

    def __call__(self, original: FaceClip, edited: FaceClip) -> np.ndarray:
        """float64 ``[T]``; 1 where nothing was changed, NaN where there is no face."""
        import cv2

        found = np.full(len(original), np.nan)
        for t in np.flatnonzero(original.present):
            x0, y0, x1, y1 = _around(original.landmarks[t], original.frames.shape[1:3])
            before, after = (clip.frames[t, y0:y1, x0:x1] for clip in (original, edited))
            changed = (cv2.absdiff(before, after).max(axis=2) > CHANGED).astype(np.uint8)
            changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
            rim = cv2.morphologyEx(changed, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
            found[t] = 1.0
            if rim.sum() >= LEAST:
                found[t] = _gradient(after)[rim].mean() / max(float(_gradient(before)[rim].mean()), 1.0)
        return found


def _around(landmarks: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    limit = np.array([size[1], size[0]])
    (x0, y0), (x1, y1) = np.clip(np.floor(low), 0, limit - 1).astype(int), np.clip(np.ceil(high), 1, limit).astype(int)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _gradient(picture: np.ndarray) -> np.ndarray:
    """Magnitude of the Sobel gradient over all channels, float32 ``[H, W]``."""
    import cv2

    smooth = picture.astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.sqrt((across**2 + down**2).sum(axis=2))
