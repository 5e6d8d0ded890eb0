"""Faces as ArcFace wants them: five points, and the picture moved so that they lie where its training had them."""

from __future__ import annotations

import numpy as np

from toolkit.evaluate.arcface import SIDE
from toolkit.faces.topology import Topology

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""px in a picture of 112: the eyes, the tip of the nose, the corners of the mouth, the viewer's left first
(insightface)."""

_POINTS = {
    "mediapipe478": ((468,), (473,), (4,), (61,), (291,)),
    "ibug68": (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
}
"""Landmarks whose means are the five points."""


def five_points(landmarks: np.ndarray, topology: Topology) -> np.ndarray:
    """The five points of a face, float64 ``[5, 2]``, in pixels counted from the centre of the first one.

    Args:
        landmarks: ``[N, 2 or 3]``, in pixels counted from the corner of the first one, as everywhere in the toolkit.
        topology: what they are.

    Raises:
        KeyError: the five points of such landmarks are not known.
    """
    return np.stack([landmarks[list(part), :2].mean(axis=0) for part in _POINTS[topology.name]]).astype(float) - 0.5


def similarity(points: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that bring points nearest to the `TEMPLATE`, float64 ``[2, 3]`` (Umeyama, 1991).

    Points that all lie in one place become the whole frame at its own size.
    """
    from skimage.transform import SimilarityTransform

    transform = SimilarityTransform.from_estimate(points, TEMPLATE)
    return transform.params[:2] if transform else np.eye(3)[:2]


def align(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face as ArcFace wants it, uint8 ``[112, 112, 3]``; black beyond the frame.

    Args:
        frame: uint8 ``[H, W, 3]``, RGB.
        points: from `five_points`.
    """
    import cv2

    return cv2.warpAffine(frame, similarity(points), (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=0)
