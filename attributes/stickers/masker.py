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

LOW, HIGH = 0.4, 0.9
"""Hysteresis: pixels above `LOW` are kept if they connect to enough of them above `HIGH`."""
LEAST = 60 / 192**2
"""Fewest pixels above `HIGH` as a share of the region. Of 426 bare frames of 58 real videos, 0.9 % have as many and
are above `PRESENT`; of 40 videos with drawn stickers, 38 are."""
PRESENT = 0.7
"""Mean probability of presence above which a clip shows stickers."""
LIPS = 0.12
"""How far the surroundings of the lips reach, in widths of the mouth: teeth and tongues are none."""
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
            if (soft[t] > HIGH).any():
                least = LEAST * found.maps[t].size / found.regions.scale[t] ** 2
                face = _face(clip, t)
                counted = face & ~_covered(clip, t, self._forbidden, LIPS)
                masks[t] = connected(soft[t], LOW, HIGH, least, counted)
                masks[t] &= face & ~_covered(clip, t, self._forbidden)
        return masks


def _face(clip: FaceClip, t: int) -> np.ndarray:
    """bool ``[H, W]``: the face without ears and what hangs from them; everything if landmarks do not surround it."""
    if "oval" not in clip.topology.regions:
        return np.ones(clip.frames.shape[1:3], bool)
    return _hulls(clip, [clip.landmarks[t, :, :2]])


def _covered(clip: FaceClip, t: int, names: tuple[str, ...], lips: float = 0.0) -> np.ndarray:
    """bool ``[H, W]``: the pixels of parts of the face, by their names in `CONTOURS`.

    Args:
        lips: how far the lips are widened, in their widths.
    """
    parts = {part: clip.landmarks[t, clip.topology.regions[part], :2] for name in names for part in CONTOURS[name]}
    covered = _hulls(clip, list(parts.values()))
    if lips and "lips" in parts:
        import cv2

        kernel = disc(2 * lips * float(np.ptp(parts["lips"][:, 0])))
        covered |= cv2.dilate(_hulls(clip, [parts["lips"]]).astype(np.uint8), kernel) > 0
    return covered


def _hulls(clip: FaceClip, outlines: list[np.ndarray]) -> np.ndarray:
    """bool ``[H, W]``: the convex hulls of points in pixels of the clip."""
    import cv2

    area = np.zeros(clip.frames.shape[1:3], np.uint8)
    for points in outlines:
        corners = np.rint(points - 0.5).clip(-(2**15), 2**15).astype(np.int32)
        cv2.fillConvexPoly(area, cv2.convexHull(corners), 1)
    return area > 0
