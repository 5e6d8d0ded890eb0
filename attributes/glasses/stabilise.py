"""Stabilise masks over time: average the maps of neighbouring frames, and threshold with hysteresis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attributes.glasses.segmenter.model import GlassesSegmenter, RegionMaps
from attributes.glasses.segmenter.region import eye_regions
from attributes.segmenting.stabilise import averaged, connected
from toolkit.task import FaceClip

LOW, HIGH = 0.3, 0.6
"""Hysteresis: pixels above `LOW` are kept if they connect to one above `HIGH`."""
PRESENT = 0.75
"""Probability of presence above which a frame shows glasses. It was at most 0.74 on bare portraits, on synthetic people
with decoys and in 60 real videos without glasses; it was at least 0.9 on 72 drawings of glasses, and 1.0 in 6 real
videos with glasses."""
EVERY = 8
"""`clearly_bare` looks at every this many frames."""
ABSENT = 0.25
"""Probability of presence below which each of them must be."""
MIN_AREA = 0.004
"""Smallest mask as a share of the region. Anything smaller is a hair or a wrinkle."""


def steady(found: RegionMaps) -> RegionMaps:
    """Average the maps over neighbouring frames; see `attributes.segmenting.stabilise.averaged`."""
    return replace(found, maps=averaged(found.maps, found.regions))


def wears_glasses(found: RegionMaps) -> bool:
    """Whether most frames of the clip show glasses. Decided once per clip, so that masks do not flicker."""
    usable = found.regions.usable
    return bool(usable.any() and (found.presence[usable] > PRESENT).mean() > 0.5)


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
    mask = connected(soft, LOW, HIGH)
    return mask if mask.sum() * scale**2 > MIN_AREA * 256 * 128 else np.zeros_like(mask)
