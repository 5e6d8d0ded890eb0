"""Finds what covers glasses, such as a hand, by the colour that it has where an eye should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from toolkit.task import FaceClip

if TYPE_CHECKING:
    from attributes.glasses.segmenter.model import GlassesMaps

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
UNLIKE = 0.2
"""Difference between the light that is lost before the two eyes from which something may be before one of them: the
lenses of glasses are alike. It was 0.26 or more with drawn sleeves and microphones before an eye, and at most 0.14 in 6
real clips of people with glasses."""
FOREIGN = 0.35
"""Share of foreign light from which a pixel of a lens may show something that is before it."""
BEYOND = 0.5
"""Share of an object that lies beyond the glasses, from which it is not a part of them. It was 0.6 or more for drawn
sleeves and microphones, and 0 for one dark or mirroring lens."""
RIM = 0.25
"""Value of the frame map from which a pixel belongs to a rim."""
CLEAR_RIM = 0.5
"""The same for rims that are plainly seen."""
RIMS_SEEN = 0.2
"""Share of the plainly seen rims in a part, from which that part is not in front: it would hide them."""
NO_SKIN = 15.0
"""Distance of an object's colour from the face's, in CIELAB. What looks like skin may be skin behind a reflection."""


def covered(clip: FaceClip, maps: GlassesMaps) -> np.ndarray:
    """Parts of the crops in front of glasses: bool ``[T, H, W]``.

    Something is in front if an eye shows neither a lens nor an eye, but one colour, or if one lens is much darker than
    the other and that colour goes on beyond the glasses. Everything of the colour that is connected belongs to it,
    unless rims are seen there: dark skin, hair and rims may be of one colour.

    Args:
        clip: a person with glasses.
        maps: the segmenter's maps, of the clip's size.
    """
    import cv2

    found = np.zeros(maps.lens.shape, bool)
    margin = _disc(MARGIN, found.shape[2])
    for t in np.flatnonzero(clip.present):
        lens = maps.lens[t]
        eyes = [eye for eye in _eyes(clip, t) if eye.any()]
        unseen = [eye for eye in eyes if lens[eye].mean() < SEEN]
        foreign = 1 - (1 - maps.dark[t]) * (1 - maps.reflection[t])
        unlike = len(eyes) == 2 and abs(float(foreign[eyes[0]].mean() - foreign[eyes[1]].mean())) > UNLIKE
        if not unseen and not unlike:
            continue
        lab = cv2.cvtColor(clip.frames[t].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        rims = maps.frame[t] > CLEAR_RIM
        for eye in unseen:
            part, share, _ = _of_one_colour(lab, eye)
            # The rim itself may cross an eye, if glasses sit low on the nose.
            rim = cv2.dilate((maps.frame[t] > RIM).astype(np.uint8), margin) > 0
            if share >= FLAT and (part & rim).sum() < BEYOND * part.sum() and not _shows(rims, part):
                found[t] |= part
        seeds = (lens > 0.5) & (foreign > FOREIGN)
        if unlike and seeds.any():
            part, _, colour = _of_one_colour(lab, seeds)
            face = np.zeros(lens.shape, np.uint8)
            cv2.fillConvexPoly(face, cv2.convexHull(_pixels(clip.landmarks[t])), 1)
            glasses = cv2.dilate(((lens > 0.5) | (maps.frame[t] > RIM)).astype(np.uint8), margin) > 0
            skin = lab[(face > 0) & ~glasses]
            beyond = (part & ~glasses).sum() > BEYOND * part.sum() and len(skin)
            if beyond and not _shows(rims, part) and np.linalg.norm(np.median(skin, axis=0) - colour) > NO_SKIN:
                found[t] |= part
        if found[t].any():
            found[t] = cv2.dilate(found[t].astype(np.uint8), margin) > 0
    return found


def _shows(rims: np.ndarray, part: np.ndarray) -> bool:
    return bool((rims & part).sum() > RIMS_SEEN * rims.sum())


def _of_one_colour(lab: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """What has the most common colour of some pixels and is connected with them.

    Args:
        lab: float32 ``[H, W, 3]``.
        seeds: bool ``[H, W]``, at least one.

    Returns:
        bool ``[H, W]``, the share of the seeds that have that colour, and the colour.
    """
    import cv2

    colours = lab[seeds]
    sample = colours[:: max(1, len(colours) // 64)]
    alike = np.linalg.norm(colours[:, None] - sample, axis=2) < ALIKE
    best = alike[:, alike.sum(axis=0).argmax()]
    colour = np.median(colours[best], axis=0)
    # As even as what covers the eye, so that a hand does not run into a face of nearly its colour.
    spread = np.percentile(np.linalg.norm(colours[best] - colour, axis=1), 90)
    same = (np.linalg.norm(lab - colour, axis=2) < np.clip(1.5 * spread, EVEN, ALIKE)).astype(np.uint8)
    _, labels = cv2.connectedComponents(cv2.morphologyEx(same, cv2.MORPH_CLOSE, _disc(GAP / 2, len(lab))))
    touched = np.unique(labels[seeds & (same > 0)])
    return np.isin(labels, touched[touched > 0]), float(best.mean()), colour


def _eyes(clip: FaceClip, t: int) -> list[np.ndarray]:
    """bool ``[H, W]`` for each eye."""
    import cv2

    eyes = []
    for name in ("left_eye", "right_eye"):
        eye = np.zeros(clip.frames.shape[1:3], np.uint8)
        cv2.fillConvexPoly(eye, cv2.convexHull(_pixels(clip.landmarks[t, clip.topology.regions[name]])), 1)
        eyes.append(eye > 0)
    return eyes


def _pixels(landmarks: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(landmarks[:, :2] - 0.5), -(2**15), 2**15).astype(np.int32)


def _disc(radius: float, side: int) -> np.ndarray:
    """A disc of a radius that is given as a share of the side."""
    import cv2

    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(radius * side) + 1,) * 2))
