"""Turns portraits in space: every pixel is a point in 3D, and each view shows the nearest points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.portraits.portrait import SIDE, Portrait

DENSITY = 1.6
"""Points per pixel along each axis. With fewer, a turn by 45 degrees tears holes at the nose."""


@dataclass(frozen=True)
class Pose:
    """Angles in radians: `yaw` turns the face to the picture's right, `pitch` down, `roll` clockwise.

    `shift` is a share of the canvas, `scale` a factor.
    """

    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float]
    scale: float

    @classmethod
    def of(cls, angles: np.ndarray, shift: np.ndarray, scale: float) -> Pose:
        """From arrays: yaw, pitch and roll ``[3]``, and the shift ``[2]``."""
        yaw, pitch, roll = map(float, angles)
        return cls(yaw, pitch, roll, (float(shift[0]), float(shift[1])), float(scale))


@dataclass(frozen=True, eq=False)
class View:
    """A portrait in a pose.

    Attributes:
        x, y: float32 ``[SIDE, SIDE]``, the point of the portrait that each pixel shows.
        seen: float32 ``[SIDE, SIDE]`` in 0..1, 0 where the pixel shows no part of the portrait.
        landmarks: float32 ``[478, 3]`` in the pose.
        rotation: float32 ``[3, 3]`` of the pose.
    """

    x: np.ndarray
    y: np.ndarray
    seen: np.ndarray
    landmarks: np.ndarray
    rotation: np.ndarray


class Relief:
    """A portrait as points in 3D."""

    def __init__(self, portrait: Portrait):
        import cv2

        self.portrait = portrait
        count = round(SIDE * DENSITY)
        at = (np.arange(count, dtype=np.float32) + 0.5) / DENSITY
        x, y = np.meshgrid(at, at)
        z = cv2.resize(portrait.depth, (count, count), interpolation=cv2.INTER_LINEAR)
        matte = cv2.resize(portrait.matte, (count, count), interpolation=cv2.INTER_LINEAR)
        kept = matte > 0.02
        self._points = np.stack([x[kept], y[kept], z[kept]], axis=1)
        chin, width = portrait.landmarks[152, 1], np.ptp(portrait.landmarks[:468, 0])
        # Below the chin, the body follows a turn less and less.
        down = np.clip((self._points[:, 1] - chin) / (0.9 * width), 0, 1)
        self._follows = (1 - down * down * (3 - 2 * down))[:, None]
        # The head turns around the top of the neck.
        self._pivot = np.array([SIDE / 2, chin - 0.1 * width, 0.45 * width], np.float32)

    def view(self, pose: Pose, change: np.ndarray | None = None) -> View:
        """Show the portrait in a pose.

        Args:
            pose: the pose.
            change: float32 ``[478, 3]`` in pixels, added to the landmarks of the view; the surface does not change.
        """
        import cv2
        from scipy.spatial.transform import Rotation

        turn = Rotation.from_euler("yxz", [-pose.yaw, pose.pitch, pose.roll]).as_matrix().astype(np.float32)
        moved = self._moved(self._points, self._follows, turn, pose)
        column, row = np.floor(moved[:, 0]).astype(np.int32), np.floor(moved[:, 1]).astype(np.int32)
        inside = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
        order = np.flatnonzero(inside)
        # Points are written from far to near, so that the nearest one stays. Small integers sort fastest.
        far = np.clip(moved[order, 2], -SIDE, SIDE)
        order = order[np.argsort(((SIDE - far) * 64).astype(np.uint16), kind="stable")]
        flat = row[order] * SIDE + column[order]
        source = np.full((SIDE * SIDE, 2), -1, np.float32)
        # The point at the centre of the pixel, not where the point fell in it.
        source[flat] = self._points[order, :2] - (moved[order, :2] - np.floor(moved[order, :2]) - 0.5)
        source = source.reshape(SIDE, SIDE, 2)
        known = (source[..., 0] >= 0).astype(np.float32)
        filled = cv2.blur(source * known[..., None], (5, 5)) / np.maximum(cv2.blur(known, (5, 5)), 1e-6)[..., None]
        holes = known == 0
        source[holes] = filled[holes]
        # A median over the neighbours removes single points that rounding put in the wrong pixel.
        x, y = (cv2.medianBlur(np.ascontiguousarray(source[..., k]), 3) for k in range(2))
        seen = cv2.morphologyEx(known, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        points = self.portrait.landmarks if change is None else self.portrait.landmarks + change
        landmarks = self._moved(points, np.ones((478, 1), np.float32), turn, pose)
        return View(x - 0.5, y - 0.5, cv2.GaussianBlur(seen, (3, 3), 0), landmarks.astype(np.float32), turn)

    def _moved(self, points: np.ndarray, follows: np.ndarray, turn: np.ndarray, pose: Pose) -> np.ndarray:
        turned = (points - self._pivot) @ turn.T + self._pivot
        placed = points + follows * (turned - points)
        centre = np.array([SIDE / 2, SIDE / 2, 0], np.float32)
        shift = SIDE * np.array([*pose.shift, 0], np.float32)
        return ((placed - centre) * np.float32(pose.scale) + centre + shift).astype(np.float32)


def normals(depth: np.ndarray) -> np.ndarray:
    """Unit normals ``[S, S, 3]`` of a surface, towards the viewer (z < 0)."""
    import cv2

    down, across = np.gradient(cv2.GaussianBlur(depth, (0, 0), 3.0))
    n = np.stack([across, down, -np.ones_like(across)], axis=-1)
    return n / np.linalg.norm(n, axis=-1, keepdims=True)
