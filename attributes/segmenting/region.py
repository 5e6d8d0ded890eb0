"""Locate the upright region of a face that a network sees, crop it, and map results back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.faces.topology import Topology

LIMIT = 1e5
"""Largest valid coordinate in pixels."""


@dataclass(frozen=True)
class Frame:
    """Which part of a face the region shows.

    Attributes:
        width, height: of the region in pixels.
        span: its width in distances between the outer eye corners of a frontal face.
        centre: point of the mean face at its middle.
    """

    width: int
    height: int
    span: float
    centre: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Regions:
    """The region in every frame of a clip.

    Attributes:
        to_region: float64 ``[T, 2, 3]``, affine maps (rotation, scale, shift) from pixels of the frame to pixels of the
            region, with corners of pixels at whole numbers; NaN without a usable face.
        facing: float64 ``[T, 3]``, the picture's right as a unit direction of the mean face. This is ``(1, 0, 0)`` for
            a frontal face and has less x and more z for a turned head. NaN without a usable face.
    """

    to_region: np.ndarray
    facing: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Whether each frame has a region: bool ``[T]``."""
        return np.isfinite(self.to_region).all(axis=(1, 2))

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the region per pixel of the frame: float64 ``[T]``."""
        return np.linalg.norm(self.to_region[:, 0, :2], axis=1)


def regions_of(landmarks: np.ndarray, topology: Topology, frame: Frame) -> Regions:
    """Locate the region in each frame with a weak-perspective camera, fitted to the mean face.

    The size depends on the head and not on its projection, so turning the head does not enlarge the region.

    Args:
        landmarks: float32 ``[T, N, 3]`` in pixels; frames with a value that is not finite have no region.
        topology: of the landmarks.
        frame: what the region shows.
    """
    stable = _stable(topology)
    mean = topology.mean[stable].astype(np.float64)
    points = landmarks[:, stable, :2].astype(np.float64)
    to_region = np.full((len(points), 2, 3), np.nan)
    facing = np.full((len(points), 3), np.nan)
    good = np.isfinite(landmarks).all(axis=(1, 2)) & (np.abs(points) < LIMIT).all(axis=(1, 2))
    if not good.any():
        return Regions(to_region, facing)
    middle, origin = points[good].mean(axis=1), mean.mean(axis=0)
    # [t, 2, 3]: the rows are the axes of the picture in face coordinates, times the scale.
    camera = np.moveaxis(points[good] - middle[:, None], 1, 2) @ np.linalg.pinv(mean - origin).T
    size = np.linalg.svd(camera, compute_uv=False)[:, 0]
    angle = np.arctan2(camera[:, 1, 0] - camera[:, 0, 1], camera[:, 0, 0] + camera[:, 1, 1])
    centre = middle + camera @ (np.array(frame.centre) - origin)
    scale = frame.width / (frame.span * np.maximum(size, 1e-9))
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)
    shift = np.array([frame.width / 2, frame.height / 2]) - (linear @ centre[..., None])[..., 0]
    fitted = np.concatenate([linear, shift[..., None]], axis=2)
    fitted[size < 1] = np.nan  # too small to be a face
    to_region[good] = fitted
    upright = (linear / scale[:, None, None]) @ camera
    facing[good] = upright[:, 0] / np.maximum(np.linalg.norm(upright[:, 0], axis=1, keepdims=True), 1e-9)
    return Regions(to_region, facing)


def _stable(topology: Topology) -> np.ndarray:
    """Landmarks that do not move with speech and blinks: eye corners, nose, and the upper ends of the jaw."""
    if topology.name == "mediapipe478":
        return np.array([33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 2, 98, 327, 127, 356, 234, 454, 103, 332, 10])
    regions = topology.regions
    ends = [regions["jaw"][[0, 1, -2, -1]], regions["nose"]]
    ends += [regions[side][[0, len(regions[side]) // 2]] for side in ("right_eye", "left_eye")]
    return np.concatenate(ends)


def cut_out(frame: np.ndarray, to_region: np.ndarray, width: int, height: int) -> np.ndarray:
    """Crop the region of a frame.

    Args:
        frame: uint8 or float32 ``[H, W, C]``, C up to 4; its border pixels are repeated outwards.
        to_region: float64 ``[2, 3]``.
        width, height: of the region.

    Returns:
        ``[height, width, C]`` of the same type.
    """
    import cv2

    scale = np.hypot(*to_region[0, :2])
    if scale < 0.6:  # bilinear sampling alone would skip thin rims
        small = max(1, round(frame.shape[1] * scale / 0.75)), max(1, round(frame.shape[0] * scale / 0.75))
        to_region = to_region.copy()
        to_region[:, :2] *= np.array([frame.shape[1] / small[0], frame.shape[0] / small[1]])
        frame = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
    return cv2.warpAffine(
        frame, centred(to_region), (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def put_back(maps: np.ndarray, to_region: np.ndarray, out: np.ndarray) -> None:
    """Write maps of the region into a frame. Pixels outside the region keep their value.

    Args:
        maps: float32 ``[h, w, C]``, C up to 4.
        to_region: float64 ``[2, 3]``.
        out: float32 ``[C, H, W]``, modified in place.
    """
    import cv2

    count, height, width = out.shape
    back = cv2.invertAffineTransform(to_region)
    bottom, right = maps.shape[:2]
    corners = np.array([[0, 0, 1], [right, 0, 1], [0, bottom, 1], [right, bottom, 1]], float) @ back.T
    x0, y0 = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    moved = to_region.copy()
    moved[:, 2] += moved[:, :2] @ (x0, y0)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    window = cv2.warpAffine(maps, centred(moved), (int(x1 - x0), int(y1 - y0)), flags=flags)
    out[:, y0:y1, x0:x1] = np.moveaxis(window.reshape(y1 - y0, x1 - x0, count), 2, 0)


def centred(matrix: np.ndarray) -> np.ndarray:
    """The same map for OpenCV, whose origin is the centre of the first pixel and not its corner."""
    out = matrix.copy()
    out[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return out
