"""Parts of pictures continued from around them."""

from __future__ import annotations

import numpy as np

RADIUS = 1 / 64
"""As a share of a picture's side: how far from a filled pixel those lie that it is continued from."""


GAP = 1 / 64
"""As a share of a picture's side: gaps of a mask that are closed."""


def closed(mask: np.ndarray) -> np.ndarray:
    """The mask without gaps and holes; bool ``[R, R]``, as the one given."""
    import cv2
    from scipy.ndimage import binary_fill_holes

    size = 2 * round(GAP * len(mask) / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return binary_fill_holes(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel))


def filled(frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Frames whose masked pixels are continued from those around them, by Telea's method.

    Args:
        frames: uint8 ``[K, R, R, 3]``.
        masks: bool ``[K, R, R]``.
    """
    import cv2

    radius = RADIUS * frames.shape[1]
    return np.stack(
        [
            cv2.inpaint(frame, mask.astype(np.uint8), radius, cv2.INPAINT_TELEA) if mask.any() else frame
            for frame, mask in zip(frames, masks)
        ]
    )
