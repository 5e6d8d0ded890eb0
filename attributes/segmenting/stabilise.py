"""Stabilise maps over time: average those of neighbouring frames, and threshold with hysteresis."""

from __future__ import annotations

import numpy as np

from attributes.segmenting.region import Regions

REACH = 3
"""Frames before and after that contribute."""
SIGMA = 1.6
"""Standard deviation of their weight, in frames."""
TURN = 0.06
"""Standard deviation of their weight in the sine of the head's turn. What is on a face only moves in the region if the
head turns."""


def averaged(maps: np.ndarray, regions: Regions) -> np.ndarray:
    """Average maps over neighbouring frames, symmetrically in time, so that nothing lags.

    Args:
        maps: float32 ``[T, ...]`` in the regions.
        regions: where they are.

    Returns:
        The same shape; 0 in frames without a region.
    """
    usable = regions.usable
    result = np.zeros_like(maps)
    facing = np.nan_to_num(regions.facing)
    for t in np.flatnonzero(usable):
        near = np.arange(max(0, t - REACH), min(len(maps), t + REACH + 1))
        near = near[usable[near]]
        turned = np.linalg.norm(facing[near] - facing[t], axis=1)
        weight = np.exp(-((near - t) ** 2) / (2 * SIGMA**2) - turned**2 / (2 * TURN**2))
        result[t] = np.tensordot((weight / weight.sum()).astype(np.float32), maps[near], axes=1)
    return result


def connected(
    soft: np.ndarray, low: float, high: float, least: float = 0.0, counted: np.ndarray | None = None
) -> np.ndarray:
    """Threshold with hysteresis: pixels above `low` in parts that reach `high` somewhere (Canny, 1986).

    Args:
        soft: float32 ``[H, W]`` in 0..1.
        low, high: the thresholds.
        least: fewest pixels of a part above `high`.
        counted: bool ``[H, W]``, the pixels that count for that; None for all.

    Returns:
        bool ``[H, W]``.
    """
    import cv2

    # Equals skimage.filters.apply_hysteresis_threshold, but is ten times faster.
    count, labels = cv2.connectedComponents((soft > low).astype(np.uint8), connectivity=4)
    sure = soft > high if counted is None else (soft > high) & counted
    kept = np.bincount(labels[sure], minlength=count) >= max(least, 1)
    kept[0] = False
    return kept[labels]
