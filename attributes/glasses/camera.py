"""Measure the blur and noise of a clip, so that drawn glasses match its sharpness and grain."""

from __future__ import annotations

import numpy as np

REBLUR = 1.0
"""Standard deviation, in pixels, of the additional blur that edges are compared under."""

BLUR_RANGE = (0.45, 3.0)
"""Smallest and largest plausible blur, in pixels."""


def measured_blur(frame: np.ndarray) -> float:
    """Blur of the sharpest edges of a frame uint8 ``[H, W, 3]``, as a standard deviation in pixels.

    An edge of blur s keeps ``s / sqrt(s^2 + r^2)`` of its slope under a further blur r (Zhuo and Sim, "Defocus map
    estimation from a single image", 2011).
    """
    import cv2

    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    luma = cv2.GaussianBlur(luma, (0, 0), 0.5)  # suppresses slopes of noise; subtracted again below

    def slope(image: np.ndarray) -> np.ndarray:
        return np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))

    sharp = slope(luma)
    strong = sharp > max(np.percentile(sharp, 97), 16)
    if not strong.any():
        return 1.0
    ratio = sharp[strong] / np.maximum(slope(cv2.GaussianBlur(luma, (0, 0), REBLUR))[strong], 1e-3)
    ratio = max(float(np.percentile(ratio, 70)), 1.01)
    blur = np.sqrt(max(REBLUR**2 / (ratio**2 - 1) - 0.25, 0))
    return float(np.clip(blur, *BLUR_RANGE))


def measured_noise(frame: np.ndarray) -> float:
    """Noise of a frame as a standard deviation in grey levels (Immerkaer 1996, with the median for the mean)."""
    import cv2

    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(luma, -1, kernel)))) / 0.6745 / 6
