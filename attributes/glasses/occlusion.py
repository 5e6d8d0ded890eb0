"""Finds what covers glasses, such as a hand, by the colour that it has where an eye should be."""

from __future__ import annotations

import numpy as np

from toolkit.task import FaceClip

SEEN = 0.9
"""Mean of the lens map over an eye from which a lens is certainly in front of that eye. Under two drawn hands it was at
most 0.76, in 6 real clips of people with glasses at least 0.98."""
FLAT = 0.75
"""Share of an eye's pixels of about one colour from which something covers the eye. It was at least 0.8 under a drawn
hand. Eyes seen through a real lens reached 0.77, and where the lens map was lower (heads that cross), 0.59."""
ALIKE = 8.0
"""Distance of colours in CIELAB that count as about one."""
EVEN = 3.0
"""The same for an evenly coloured object."""
GAP = 8 / 256
"""Widest gap between the fingers, as a share of the crop's side."""
MARGIN = 6 / 256
"""How far the covered part is widened: soft edges of a paste must not reach it."""


def covered(clip: FaceClip, lens: np.ndarray) -> np.ndarray:
    """Parts of the crops in front of glasses: bool ``[T, H, W]``.

    Something is in front if an eye shows neither a lens nor an eye, but one colour. Everything of that colour that is
    connected with the eye belongs to it.

    Args:
        clip: a person with glasses.
        lens: float32 ``[T, H, W]`` in 0..1, the segmenter's map of lenses.
    """
    import cv2

    found = np.zeros(lens.shape, bool)
    side = lens.shape[2]
    gap, margin = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(s * side) + 1,) * 2) for s in (GAP / 2, MARGIN)
    )
    for t in np.flatnonzero(clip.present):
        lab = None
        for name in ("left_eye", "right_eye"):
            points = clip.landmarks[t, clip.topology.regions[name], :2] - 0.5
            points = np.clip(np.rint(points), -(2**15), 2**15).astype(np.int32)
            eye = np.zeros(lens.shape[1:], np.uint8)
            cv2.fillConvexPoly(eye, cv2.convexHull(points), 1)
            if not eye.any() or lens[t][eye > 0].mean() >= SEEN:
                continue
            if lab is None:
                lab = cv2.cvtColor(clip.frames[t].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
            colours = lab[eye > 0]
            sample = colours[:: max(1, len(colours) // 64)]
            alike = np.linalg.norm(colours[:, None] - sample, axis=2) < ALIKE
            best = alike.sum(axis=0).argmax()
            if alike[:, best].mean() < FLAT:
                continue
            colour = np.median(colours[alike[:, best]], axis=0)
            # As even as what covers the eye, so that a hand does not run into a face of nearly its colour.
            spread = np.percentile(np.linalg.norm(colours[alike[:, best]] - colour, axis=1), 90)
            same = (np.linalg.norm(lab - colour, axis=2) < np.clip(1.5 * spread, EVEN, ALIKE)).astype(np.uint8)
            _, labels = cv2.connectedComponents(cv2.morphologyEx(same, cv2.MORPH_CLOSE, gap))
            touched = np.unique(labels[(eye > 0) & (same > 0)])
            found[t] |= np.isin(labels, touched[touched > 0])
        if found[t].any():
            found[t] = cv2.dilate(found[t].astype(np.uint8), margin) > 0
    return found
