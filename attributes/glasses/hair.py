"""Find from the colours where hair or an ear covers the sides of a head."""

from __future__ import annotations

import numpy as np

from attributes.glasses.placement import HeadTrack
from toolkit.task import FaceClip

# Landmarks of mediapipe from the outer corner of the eye to the ear, by side of the picture.
PATHS = {-1: (226, 35, 143, 34, 127), 1: (446, 265, 372, 264, 356)}
BESIDE = {-1: (117, 118, 111, 123, 116), 1: (346, 347, 340, 352, 345)}
"""Landmarks of the cheekbone on each side, because light falls off towards the sides."""
CHEEKS = np.array([50, 280, 101, 330, 117, 346, 151, 9])

STEPS = 24
"""Number of points tested along a path."""

FACING = -0.15
"""Greatest z of the normal of a tested side of the head; other sides are at the outline or behind it."""


def uncovered(clip: FaceClip, track: HeadTrack, ear: float) -> dict[int, float]:
    """End of the visible part of a temple on each side of the picture, as z in millimetres in head coordinates.

    Args:
        ear: distance in millimetres behind the last landmark at which the ear covers a temple if no hair does.
    """
    import cv2

    small = [cv2.blur(frame, (5, 5)) for frame in clip.frames[:: max(1, len(clip) // 6)]]
    landmarks = clip.landmarks[:: max(1, len(clip) // 6)]
    rotations = track.rotation[:: max(1, len(clip) // 6)]
    ends = {}
    for side, path in PATHS.items():
        along = np.linspace(0, len(path) - 1, STEPS)
        z = np.interp(along, np.arange(len(path)), track.shape[list(path), 2])
        votes = []
        for frame, points, rotation in zip(small, landmarks, rotations):
            outward = np.array([side * 0.85, 0, -0.5]) @ rotation.T
            if outward[2] > FACING:
                continue
            lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB).astype(np.float32)
            skin = _picked(lab, points[CHEEKS, :2])
            line = np.stack([np.interp(along, np.arange(len(path)), points[list(path), k]) for k in (0, 1)], axis=1)
            seen = _picked(lab, line)
            spread = np.maximum(np.median(np.abs(skin - np.median(skin, axis=0)), axis=0) * 3, (22, 7, 8))
            bases = np.median(skin, axis=0), np.median(_picked(lab, points[list(BESIDE[side]), :2]), axis=0)
            apart = np.minimum(*(np.abs((seen - base) / spread).max(axis=1) for base in bases))
            other = np.convolve(apart > 1.6, np.ones(3), mode="valid") == 3
            votes.append(z[int(np.argmax(other))] if other.any() else z[-1] + ear)
        ends[side] = float(np.median(votes)) if votes else float(z[-1] + ear)
    return ends


def _picked(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    x, y = np.rint(points).astype(int).T
    return picture[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
