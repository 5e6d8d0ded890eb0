"""Steady masks: what is seen of glasses in one frame is supported by the frames around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attributes.glasses.segmenter.model import RegionMaps

REACH = 3
"""Frames before and after that count."""
SIGMA = 1.6
"""Standard deviation in frames of their weight."""
TURN = 0.06
"""Standard deviation of their weight in the head's turn (sine): in the region glasses stand still unless it turns."""
LOW, HIGH = 0.3, 0.6
"""Hysteresis: pixels over `LOW` count where they are joined to one over `HIGH`."""
PRESENT = 0.5
"""A clip shows glasses where the mean probability of presence is over this."""
MIN_AREA = 0.004
"""Share of the region that a mask covers at least; less is a hair or a wrinkle."""


def steady(found: RegionMaps) -> RegionMaps:
    """Maps averaged over neighbouring frames, symmetric in time, so that nothing lags behind."""
    usable = found.regions.usable
    maps = np.zeros_like(found.maps)
    facing = np.nan_to_num(found.regions.facing)
    for t in np.flatnonzero(usable):
        near = np.arange(max(0, t - REACH), min(len(maps), t + REACH + 1))
        near = near[usable[near]]
        turned = np.linalg.norm(facing[near] - facing[t], axis=1)
        weight = np.exp(-((near - t) ** 2) / (2 * SIGMA**2) - turned**2 / (2 * TURN**2))
        maps[t] = np.tensordot((weight / weight.sum()).astype(np.float32), found.maps[near], axes=1)
    return replace(found, maps=maps)


def wears_glasses(found: RegionMaps) -> bool:
    """Whether the clip as a whole shows glasses; decided once, so that a mask does not come and go."""
    usable = found.regions.usable
    return bool(usable.any() and found.presence[usable].mean() > PRESENT)


def hard(soft: np.ndarray, scale: float) -> np.ndarray:
    """The mask of one frame.

    Args:
        soft: float32 ``[H, W]`` in 0..1.
        scale: pixels of the region per pixel of the frame.

    Returns:
        bool ``[H, W]``; empty where too little is left.
    """
    import cv2

    # As skimage.filters.apply_hysteresis_threshold, an order of magnitude faster.
    count, labels = cv2.connectedComponents((soft > LOW).astype(np.uint8), connectivity=4)
    kept = np.zeros(count, bool)
    kept[labels[soft > HIGH]] = True
    kept[0] = False
    mask = kept[labels]
    return mask if mask.sum() * scale**2 > MIN_AREA * 256 * 128 else np.zeros_like(mask)
