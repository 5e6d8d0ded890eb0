"""Stabilise masks over time: average the maps of neighbouring frames, and threshold with hysteresis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attributes.glasses.segmenter.model import GlassesSegmenter, RegionMaps
from attributes.glasses.segmenter.region import eye_regions
from toolkit.task import FaceClip

REACH = 3
"""Frames before and after that contribute."""
SIGMA = 1.6
"""Standard deviation of their weight, in frames."""
TURN = 0.06
"""Standard deviation of their weight in the sine of the head's turn. Glasses only move in the region if it turns."""
LOW, HIGH = 0.3, 0.6
"""Hysteresis: pixels above `LOW` are kept if they connect to one above `HIGH`."""
PRESENT = 0.5
"""Mean probability of presence above which a clip shows glasses."""
EVERY = 8
"""`clearly_bare` looks at every this many frames."""
ABSENT = 0.25
"""Probability of presence below which each of them must be."""
MIN_AREA = 0.004
"""Smallest mask as a share of the region. Anything smaller is a hair or a wrinkle."""


def steady(found: RegionMaps) -> RegionMaps:
    """Average the maps over neighbouring frames, symmetrically in time, so that nothing lags."""
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
    """Whether the clip shows glasses. Decided once per clip, so that masks do not flicker."""
    usable = found.regions.usable
    return bool(usable.any() and found.presence[usable].mean() > PRESENT)


def clearly_bare(segmenter: GlassesSegmenter, clip: FaceClip) -> bool:
    """Whether a clip clearly shows no glasses: `wears_glasses` would be False. If not, look at every frame.

    It would be wrong only if glasses came and went between every two of the frames that it looks at.
    """
    regions = eye_regions(clip.landmarks, clip.topology)
    usable = np.flatnonzero(regions.usable)[::EVERY]
    return not len(usable) or bool(segmenter.presence(clip, usable, regions).max() < ABSENT)


def hard(soft: np.ndarray, scale: float) -> np.ndarray:
    """The mask of one frame.

    Args:
        soft: float32 ``[H, W]`` in 0..1.
        scale: pixels of the region per pixel of the frame.

    Returns:
        bool ``[H, W]``; empty if too little is left.
    """
    import cv2

    # Equals skimage.filters.apply_hysteresis_threshold, but is ten times faster.
    count, labels = cv2.connectedComponents((soft > LOW).astype(np.uint8), connectivity=4)
    kept = np.zeros(count, bool)
    kept[labels[soft > HIGH]] = True
    kept[0] = False
    mask = kept[labels]
    return mask if mask.sum() * scale**2 > MIN_AREA * 256 * 128 else np.zeros_like(mask)
