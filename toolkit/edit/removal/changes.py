"""Where a remover changed a picture."""

from __future__ import annotations

import math

import numpy as np

from toolkit.filling import around, closed, disc

BLUR = 0.006
"""Standard deviation of the blur that suppresses noise before changes are measured, as a share of the side."""
REMOVED = 0.1
"""Change, as a share of the full range, that counts as removal if it surrounds a greater one."""
SMALLEST = 0.003
"""Smallest share of the crop that counts as removal if masks are only search areas. What changed on real faces without
stickers (nostrils, freckles, wrinkles) was smaller in 58 of 59 videos, drawn stickers in 2 of 40."""
EDGE = 1 / 256
"""How far removed parts are widened for their soft edges, as a share of the side."""


def changed_parts(original: np.ndarray, output: np.ndarray, threshold: float, peak: float = 0.0) -> np.ndarray:
    """bool ``[R, R]``: where two pictures differ by more than noise.

    Args:
        original, output: uint8 ``[R, R, 3]``.
        threshold: smallest difference, as a share of the full range.
        peak: a part counts only if it reaches this difference somewhere (hysteresis; Canny, 1986) and is not tiny, as
            freckles are. No effect up to `threshold`.
    """
    import cv2

    difference = cv2.absdiff(original, output)
    largest = cv2.max(cv2.max(difference[..., 0], difference[..., 1]), difference[..., 2])
    blurred = cv2.GaussianBlur(largest, (0, 0), max(0.3, BLUR * len(original)))
    changed = blurred >= _level(threshold)
    if peak <= threshold:
        return changed
    if blurred.max() < _level(peak):
        return np.zeros_like(changed)
    count, parts = cv2.connectedComponents(changed.astype(np.uint8), connectivity=4)
    peaks = np.bincount(parts[blurred >= _level(peak)], minlength=count) > 0
    large = np.bincount(parts[blurred >= _level(REMOVED)], minlength=count) >= SMALLEST * changed.size
    return (peaks & large & (np.arange(count) > 0))[parts]


def _level(share: float) -> int:
    """The smallest value of a uint8 that is more than this share of the full range; 256 if none is."""
    return int(np.searchsorted(np.arange(256) / 255, share, "right"))


def removed_parts(original: np.ndarray, output: np.ndarray, peak: float) -> np.ndarray:
    """bool ``[R, R]``: what a remover removed, without gaps and holes.

    Args:
        original, output: uint8 ``[R, R, 3]``.
        peak: as for `changed_parts`.
    """
    import cv2

    parts = closed(changed_parts(original, output, min(REMOVED, peak), peak)).astype(np.uint8)
    kernel = disc(2 * math.ceil(EDGE * len(parts)))
    near = around(parts > 0, len(kernel))
    if parts[near].size:
        parts[near] = cv2.dilate(parts[near], kernel)
    return parts > 0
