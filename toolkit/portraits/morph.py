"""Morphs portraits: mixes their landmarks, warps their pictures onto the mix, and varies the expression."""

from __future__ import annotations

import numpy as np

from toolkit.faces.topology import load_topology
from toolkit.portraits.portrait import SIDE, Portrait

CELL = 8
"""Spacing in pixels of the grid on which warps are solved."""

_LIPS_LOWER = np.array([17, 84, 314, 14, 87, 317, 16, 85, 315, 18, 83, 313])
_CHIN = np.array([152, 148, 377, 176, 400, 175, 199, 200])
_MOUTH_CORNERS = (61, 291)


def mixed(portraits: list[Portrait], shape: np.ndarray, texture: np.ndarray, landmarks_change: np.ndarray) -> Portrait:
    """Morph portraits into one.

    Args:
        portraits: K portraits.
        shape, texture: float ``[K]``, weights of their landmarks and of their pictures; each sums to 1.
        landmarks_change: float32 ``[478, 3]`` in pixels, added to the mixed landmarks.
    """
    import cv2

    landmarks = np.tensordot(shape, np.stack([p.landmarks for p in portraits]), axes=1).astype(np.float32)
    landmarks += landmarks_change
    warped = []
    for portrait, weight in zip(portraits, texture):
        if weight < 0.02:
            continue
        x, y = bend(landmarks, portrait.landmarks)
        stack = np.dstack([portrait.image.astype(np.float32), portrait.matte, portrait.depth])
        warped.append((weight, cv2.remap(stack, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)))
    total = sum(weight for weight, _ in warped)
    blend = sum(weight / total * stack for weight, stack in warped)
    # Blended hair would show both hairstyles, so outside the face only the first portrait counts.
    if len(warped) > 1:
        hull = cv2.convexHull(np.ascontiguousarray(landmarks[:468, :2])).astype(np.int32)
        face = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(face, hull, 1)
        near = cv2.GaussianBlur(cv2.dilate(face, np.ones((9, 9), np.uint8)).astype(np.float32), (0, 0), 6)[..., None]
        blend = warped[0][1] + near * (blend - warped[0][1])
    image = np.clip(np.rint(blend[..., :3]), 0, 255).astype(np.uint8)
    return Portrait(portraits[0].name, image, blend[..., 3], landmarks, np.ascontiguousarray(blend[..., 4]))


def bend(landmarks: np.ndarray, source: np.ndarray, stiff: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Warp one face onto another: for every pixel, the point of the other face that it shows.

    Args:
        landmarks: ``[478, 3]`` of the result.
        source: ``[478, 3]`` of the face that is warped.
        stiff: bend smoothly, as a thin plate. Otherwise changes are local, so that a lid can move without its brow.

    Returns:
        x and y, float32 ``[SIDE, SIDE]``.
    """
    import cv2
    from scipy.interpolate import RBFInterpolator

    edge = np.linspace(0, SIDE, 6)
    frame = np.concatenate([[(x, y) for x in edge for y in (0, SIDE)], [(x, y) for x in (0, SIDE) for y in edge[1:-1]]])
    chosen = _chosen()
    at = np.concatenate([landmarks[chosen, :2], frame])
    offset = np.concatenate([source[chosen, :2] - landmarks[chosen, :2], np.zeros_like(frame)])
    grid = np.arange(0, SIDE, CELL) + CELL / 2
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    kernel = "thin_plate_spline" if stiff else "linear"
    field = (
        RBFInterpolator(at, offset, smoothing=0.5, kernel=kernel)(points)
        .reshape(len(grid), len(grid), 2)
        .astype(np.float32)
    )
    field = cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    rows = np.arange(SIDE, dtype=np.float32)
    return field[..., 0] + rows[None], field[..., 1] + rows[:, None]


def _chosen() -> np.ndarray:
    """About 110 landmarks: contours of the features, and a sparse net over the rest."""
    regions = load_topology("mediapipe478").regions
    names = ("left_eye", "right_eye", "left_brow", "right_brow", "lips", "oval")
    return np.unique(
        np.concatenate([*(regions[name][:: 1 if "eye" in name else 2] for name in names), range(0, 468, 9)])
    )


def expression(landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small random change of lids, jaw, corners of the mouth and brows: float32 ``[478, 3]`` in pixels."""
    regions = load_topology("mediapipe478").regions
    change = np.zeros_like(landmarks)
    width = float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2]))
    closure = rng.uniform(0.2, 0.75) if rng.random() < 0.25 else 0.0
    for name in ("left_eye", "right_eye"):
        eye = regions[name]
        y = landmarks[eye, 1]
        bottom = y.max()
        upper = eye[y < (y.max() + y.min()) / 2]
        change[upper, 1] += closure * (bottom - landmarks[upper, 1])
    jaw = rng.uniform(0, 0.1) * width if rng.random() < 0.5 else 0.0
    change[_LIPS_LOWER, 1] += jaw
    change[_CHIN, 1] += 0.8 * jaw
    smile = rng.uniform(-0.01, 0.045) * width
    for corner, side in zip(_MOUTH_CORNERS, (-1, 1)):
        change[corner, :2] += (side * smile, -0.5 * smile)
    for name in ("left_brow", "right_brow"):
        change[regions[name], 1] += rng.normal(0, 0.015) * width
    return change
