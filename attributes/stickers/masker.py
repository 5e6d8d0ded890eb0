"""Mask stickers with the embedded segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attributes.segmenting.stabilise import connected
from attributes.stickers.spots import CONTOURS
from toolkit.filling import disc
from toolkit.task import FaceClip, Masker

if TYPE_CHECKING:
    from attributes.stickers.options import StickersOptions
    from attributes.stickers.segmenter.model import StickerSegmenter

LOW, HIGH = 0.4, 0.7
"""Hysteresis: pixels above `LOW` are kept if they connect to one above `HIGH`."""
LEAST = 0.0015
"""Smallest part of a mask as a share of the region. Anything smaller is a mole or a bindi."""
PRESENT = 0.5
"""Mean probability of presence above which a clip shows stickers."""
MARGIN = 3 / 512
"""Side of the dilation of opaque parts, divided by the crop's width, so that no rim stays."""


class StickerMasker(Masker):
    """Finds stickers, and says that all of each sticker is opaque.

    Args:
        options: regions that stickers never cover.
        segmenter: if None, the embedded one.
    """

    def __init__(self, options: StickersOptions, segmenter: StickerSegmenter | None = None):
        from attributes.stickers.segmenter import StickerSegmenter

        # On the CPU, because it is small and every worker of a build has one.
        self._segmenter = segmenter or StickerSegmenter.load(device="cpu")
        self._forbidden = options.forbidden
        self._last: tuple[FaceClip, np.ndarray] | None = None

    def __call__(self, clip: FaceClip) -> np.ndarray:
        """Stickers without the regions that they never cover: bool ``[T, H, W]``."""
        if self._last is None or self._last[0] is not clip:  # callers ask for masks and opaque parts
            self._last = clip, self._find(clip)
        return self._last[1]

    def opaque(self, clip: FaceClip) -> np.ndarray:
        """The masks, slightly widened: bool ``[T, H, W]``."""
        import cv2

        masks = self(clip)
        kernel = disc(masks.shape[2] * MARGIN)
        wide = [cv2.dilate(mask.astype(np.uint8), kernel) > 0 if mask.any() else mask for mask in masks]
        return np.stack(wide)

    def _find(self, clip: FaceClip) -> np.ndarray:
        found = self._segmenter.segment(clip)
        usable, masks = found.regions.usable & clip.present, np.zeros(clip.frames.shape[:3], bool)
        if not usable.any() or found.presence[usable].mean() <= PRESENT:
            return masks
        soft = found.averaged().in_frames(clip.frames.shape[1:3])
        for t in np.flatnonzero(usable):
            least = LEAST * found.maps[t].size / found.regions.scale[t] ** 2
            masks[t] = connected(soft[t], LOW, HIGH, least)
            if masks[t].any():
                masks[t] &= ~_covered(clip, t, self._forbidden)
        return masks


def _covered(clip: FaceClip, t: int, names: tuple[str, ...]) -> np.ndarray:
    """bool ``[H, W]``: the pixels of parts of the face, by their names in `CONTOURS`."""
    import cv2

    area = np.zeros(clip.frames.shape[1:3], np.uint8)
    for name in names:
        for part in CONTOURS[name]:
            points = clip.landmarks[t, clip.topology.regions[part], :2] - 0.5
            cv2.fillConvexPoly(area, cv2.convexHull(np.rint(points).clip(-(2**15), 2**15).astype(np.int32)), 1)
    return area > 0
