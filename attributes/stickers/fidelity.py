"""Measure how much of a sticker is left, from the contrast along its outline."""

from __future__ import annotations

import numpy as np

from toolkit.task import FaceClip

CHANGED = 24
"""Change of a pixel, in levels of 0..255, above which it counts as part of a sticker."""
LEAST = 12
"""Smallest outline in pixels."""


class RimResidual:
    """Contrast along the outline of the changed skin, after the edit divided by before.

    The position of the sticker is unknown, so it is taken to be the strongly changed part of the face. The contrast is
    the mean magnitude of the gradient on the outline of that part. If the sticker was removed, the gradient of the skin
    is left.
    """

    def __call__(self, original: FaceClip, edited: FaceClip) -> np.ndarray:
        """Values float64 ``[T]``; 1 if nothing changed, NaN in frames without the face."""
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


def _around(landmarks: np.ndarray, size: tuple[int, ...]) -> tuple[int, int, int, int]:
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
