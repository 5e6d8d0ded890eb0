"""Compute the shadow that glasses cast on the face."""

from __future__ import annotations

import numpy as np

from attributes.glasses.casting import Rays, Scene
from attributes.glasses.lenses import Lens
from attributes.rendering.renderer import Window

STEP = 4
"""Pixels per sample. Coarse, because the shadow is blurred."""

SPREAD = 0.22
"""Radius of the main light as the tangent of its angle from the skin. Windows and panels are large."""

POINTS = 6
"""Points on the light that each sample tests. Neighbours test different points."""

LIFT = 0.3
"""Distance in millimetres from the skin to the origins of its rays."""


def shadow(
    head: Scene,
    frame: Scene,
    glass: Scene,
    lens: Lens,
    v: np.ndarray,
    rays: Rays,
    toward: np.ndarray,
    window: Window,
    reach: float,
) -> np.ndarray:
    """Share of the main light that glasses block from the skin: float32 ``[h, w]``.

    Args:
        head, frame, glass: scenes in head coordinates.
        v: float32 ``[V, 1]``, heights of the vertices of `glass` in their lens, -1 to 1.
        rays: rays of the camera.
        toward: float32 ``[3]``, unit direction of the main light in head coordinates.
        reach: distance in pixels from the sides of the window over which the shadow fades out.
    """
    import cv2

    x0, y0, x1, y1 = window
    rows, columns = -(-(y1 - y0) // STEP), -(-(x1 - x0) // STEP)
    column, row = (a.ravel() for a in np.meshgrid(np.arange(columns), np.arange(rows)))
    origins, directions = rays.of((np.stack([column, row], axis=1) + 0.5) * STEP + (x0, y0))
    depth = head.cast(origins, directions).depth
    on = np.flatnonzero(np.isfinite(depth))
    skin = origins[on] + directions[on] * (depth[on, None] - LIFT)
    side = np.cross(toward, directions[0])
    side /= max(np.linalg.norm(side), 1e-6)
    across = np.cross(toward, side)
    # A 4x4 pattern of rotations hides the small number of points after the blur.
    turn = ((column % 4 * 4 + row % 4 * 9) % 16 / 16 * 2 * np.pi)[on]
    dark = np.zeros(len(on), np.float32)
    for k in range(POINTS):
        angle, radius = turn + k * 2.4, SPREAD * np.sqrt((k + 0.5) / POINTS)  # Vogel's spiral
        ray = toward + radius * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * across)
        ray = (ray / np.linalg.norm(ray, axis=1, keepdims=True)).astype(np.float32)
        dark += frame.blocked(skin, ray)
    dark /= POINTS
    hit = glass.cast(skin, np.broadcast_to(toward, skin.shape).astype(np.float32))
    lit = np.flatnonzero(hit.triangle >= 0)
    tinted = 1 - 0.92 * lens.passed(hit[lit].interpolate(glass.triangles, v)[:, 0]).mean(axis=1)
    dark[lit] = dark[lit] + (1 - dark[lit]) * tinted
    blocked = np.zeros(rows * columns, np.float32)
    blocked[on] = dark
    size = (columns * STEP, rows * STEP)
    smooth = cv2.GaussianBlur(blocked.reshape(rows, columns), (0, 0), 1.0)
    smooth = cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR)[: y1 - y0, : x1 - x0]
    x, y = np.arange(x1 - x0) + 0.5, np.arange(y1 - y0) + 0.5
    fade_x, fade_y = (np.clip(np.minimum(a, len(a) - a) / max(reach, 1), 0, 1) for a in (x, y))
    return smooth * (fade_x * fade_y[:, None]).astype(np.float32)
