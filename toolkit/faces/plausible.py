"""Drops implausible faces: tiny ones, those mostly outside the frame, and those found twice. Measures the others."""

from __future__ import annotations

import numpy as np

from toolkit.faces.types import Face

MIN_SIDE = 12.0
"""Pixels; landmarks that span less are noise, not a face."""

MIN_INSIDE = 1 / 3
"""Smallest share of a face's box that must lie in the frame."""

SAME_FACE_IOU = 0.5
"""Boxes that overlap more than this belong to one face found twice."""


def check_frame(frame: np.ndarray) -> None:
    """Check that an array is a frame.

    Raises:
        ValueError: it is not uint8 ``[H, W, 3]``.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8 [H, W, 3], not {frame.dtype} {list(frame.shape)}")


def box_around(landmarks: np.ndarray) -> np.ndarray:
    """float32 ``[4]``: x0 y0 x1 y1 around landmarks ``[N, 3]``."""
    return np.concatenate([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)]).astype(np.float32)


def plausible_faces(faces: list[Face], frame_size: tuple[int, int]) -> list[Face]:
    """The plausible faces, largest first; `frame_size` is height and width in pixels."""
    height, width = frame_size
    frame_box = np.array([0, 0, width, height], np.float32)
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -_area(face.box)):
        box = face.box
        if not np.isfinite(face.landmarks).all() or max(box[2] - box[0], box[3] - box[1]) < MIN_SIDE:
            continue
        inside = _area(_intersection(box, frame_box)) >= MIN_INSIDE * _area(box)
        if inside and not any(iou(box, other.box) > SAME_FACE_IOU for other in kept):
            kept.append(face)
    return kept


def misfits(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """How far landmarks are from any view of the mean face, float64 ``[T]`` in sizes of the face.

    About 0.015 for a face in full view, and often beyond 0.03 for guesses at hidden parts and for what is no face.

    Args:
        landmarks: ``[T, N, 2 or more]`` in pixels.
        mean: ``[N, 3]``, a frontal face as in `Topology`.
    """
    shape = (mean - mean.mean(axis=0)).astype(np.float64)
    points = landmarks[..., :2].astype(np.float64)
    points = points - points.mean(axis=1, keepdims=True)
    apart = points - shape @ (np.linalg.pinv(shape) @ points)
    sizes = np.sqrt(np.ptp(points, axis=1).prod(axis=1))
    return np.asarray(np.sqrt((apart**2).sum(axis=2).mean(axis=1)) / np.maximum(sizes, 1e-6))


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])


def _area(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two boxes, the common area as a share of the area of both."""
    common = _area(_intersection(a, b))
    return common / max(_area(a) + _area(b) - common, 1e-9)
