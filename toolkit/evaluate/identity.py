"""Aligns faces for ArcFace: five points are moved to where they were in its training data."""

from __future__ import annotations

import numpy as np

from toolkit.evaluate.arcface import SIDE
from toolkit.faces.topology import Topology

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""px in a 112-pixel picture: the eyes, the tip of the nose and the corners of the mouth, the viewer's left first
(insightface)."""

_POINTS = {
    "mediapipe478": ((468,), (473,), (4,), (61,), (291,)),
    "ibug68": (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
}
"""Topology -> the landmarks whose means are the five points."""


def five_points(landmarks: np.ndarray, topology: Topology) -> np.ndarray:
    """The five points of a face, float64 ``[5, 2]``, in pixels from the centre of the first pixel.

    Args:
        landmarks: ``[N, 2 or 3]``, in pixels from the corner of the first pixel, as everywhere in the toolkit.
        topology: of the landmarks.

    Raises:
        KeyError: the five points of this topology are unknown.
    """
    return np.stack([landmarks[list(part), :2].mean(axis=0) for part in _POINTS[topology.name]]).astype(float) - 0.5


def similarity(points: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that best map points onto `TEMPLATE`, float64 ``[2, 3]`` (Umeyama, 1991).

    Five identical points have no such map; the result is then the identity.
    """
    from skimage.transform import SimilarityTransform

    transform = SimilarityTransform.from_estimate(points, TEMPLATE)
    return transform.params[:2] if transform else np.eye(3)[:2]


def align(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Align a face for ArcFace, uint8 ``[112, 112, 3]``; pixels outside the frame are black.

    Args:
        frame: uint8 ``[H, W, 3]``, RGB.
        points: from `five_points`.
    """
    import cv2

    return cv2.warpAffine(frame, similarity(points), (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=0)
