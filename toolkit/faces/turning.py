"""Measures how far a head is turned away from the camera."""

from __future__ import annotations

import numpy as np


def turns(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Angles between heads and an upright head that faces the camera, float64 ``[T]`` in degrees, 0..180.

    Yaw, pitch and roll are combined. The mean face is fitted under scaled orthography, which needs no depth, because
    not all analysers provide it.

    Args:
        landmarks: ``[T, N, 2 or more]`` in pixels.
        mean: ``[N, 3]``, a frontal face as in `Topology`.
    """
    from scipy.spatial.transform import Rotation

    if not len(landmarks):
        return np.zeros(0)
    centred = (mean - mean.mean(axis=0)).astype(np.float64)
    points = landmarks[..., :2].astype(np.float64)
    fitted = np.linalg.pinv(centred) @ (points - points.mean(axis=1, keepdims=True))
    left, _, right = np.linalg.svd(fitted.transpose(0, 2, 1), full_matrices=False)
    rows = left @ right
    third = np.cross(rows[:, 0], rows[:, 1])
    return np.degrees(Rotation.from_matrix(np.concatenate([rows, third[:, None]], axis=1)).magnitude())


def rolls(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Angles by which heads lean to the picture's right, float64 ``[T]`` in degrees, -180..180; 180 is upside down.

    The direction from forehead to chin tells the angle, so it holds for profiles too.

    Args:
        landmarks: ``[T, N, 2 or more]`` in pixels.
        mean: ``[N, 3]``, a frontal face as in `Topology`.
    """
    centred = (mean - mean.mean(axis=0)).astype(np.float64)
    points = landmarks[..., :2].astype(np.float64)
    down = (np.linalg.pinv(centred) @ (points - points.mean(axis=1, keepdims=True)))[:, 1]
    return np.asarray(np.degrees(np.arctan2(-down[:, 0], down[:, 1])))


def apart(one: float | np.ndarray, other: float | np.ndarray) -> np.ndarray:
    """Degrees between two directions, 0..180."""
    return np.abs((np.asarray(one) - other + 180) % 360 - 180)
