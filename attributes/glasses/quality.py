"""Measure the quality of inpainted pairs."""

from __future__ import annotations

import numpy as np

RING = 1 / 40
"""Width of the ring around the mask, divided by the side of the frame."""


def sharpness(image: np.ndarray, mask: np.ndarray) -> float:
    """Fine detail inside the mask divided by that in a ring around it: about 1 if they match, near 0 for a blur.

    Detail is the mean absolute Laplacian of the luma.

    Args:
        image: uint8 ``[H, W, 3]``.
        mask: bool ``[H, W]``.

    Returns:
        The ratio, at most 10; 1 if the mask is empty or has no surroundings.
    """
    import cv2

    detail = np.abs(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F, ksize=3))
    side = 2 * max(1, round(mask.shape[1] * RING)) + 1
    ring = (cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0) & ~mask
    # The step at the seam belongs to neither side.
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if not inside.any() or not ring.any():
        return 1.0
    # Half a grey level is the effect of rounding, which makes the ratio of two flat areas 1.
    return float(min((detail[inside].mean() + 0.5) / (detail[ring].mean() + 0.5), 10.0))
