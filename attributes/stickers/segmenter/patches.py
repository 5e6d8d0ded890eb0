"""Paint stickers that are nothing in particular: random shapes, outlines and patterns, and colours near the skin's."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 128
"""Width and height of a patch in pixels."""


def random_patch(rng: np.random.Generator) -> np.ndarray:
    """A shape with a pattern, a rim or only an outline: uint8 ``[128, 128, 4]``."""
    shape = _shape(rng)
    colours = rng.uniform(0, 255, (3, 3))
    if rng.random() < 0.3:
        colours = rng.uniform(170, 255, (3, 3))  # pale
    picture = np.broadcast_to(colours[0], (SIDE, SIDE, 3)).copy()
    if rng.random() < 0.6:
        where = _pattern(rng)[..., None]
        picture += where * (colours[1] - picture)
    inner = cv2.erode(shape, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(5, 22)),) * 2))
    alpha = shape.astype(np.float32)
    kind = rng.random()
    if kind < 0.3:
        picture = np.where(inner[..., None] > 127, picture, 255.0 if rng.random() < 0.6 else colours[2])
    elif kind < 0.5:
        alpha = alpha - inner * rng.uniform(0.5, 1)  # an outline, empty or nearly so
    return np.dstack([picture, alpha]).clip(0, 255).astype(np.uint8)


def towards(rgba: np.ndarray, skin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same picture in colours nearer to those of the skin, or without colour."""
    colours = rgba[..., :3].astype(np.float32)
    if rng.random() < 0.25:
        colours = np.broadcast_to(colours.mean(axis=-1, keepdims=True), colours.shape)
    goal = skin * np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, 3))
    colours = colours + rng.uniform(0.35, 0.85) * (goal - colours)
    return np.dstack([np.clip(colours, 0, 255).astype(np.uint8), rgba[..., 3]])


def _shape(rng: np.random.Generator) -> np.ndarray:
    """uint8 ``[128, 128]``: a polygon, a star, a blob, an ellipse or a rounded strip."""
    cover, middle = np.zeros((SIDE, SIDE), np.uint8), SIDE / 2
    kind = rng.random()
    if kind < 0.2:
        axes = (int(middle * 0.9), int(middle * rng.uniform(0.3, 0.9)))
        cv2.ellipse(cover, (SIDE // 2, SIDE // 2), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        return cover
    count = int(rng.integers(3, 13))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.5 / count, count)
    reach = middle * rng.uniform(0.55, 0.92, count)
    if kind < 0.4:
        reach[::2] *= rng.uniform(0.3, 0.8)
    outline = middle + reach[:, None] * np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.35, 1)], axis=-1)
    cv2.fillPoly(cover, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if rng.random() < 0.5:
        soft = cv2.GaussianBlur(cover, (0, 0), rng.uniform(3, 9)).astype(np.float32)
        cover = np.clip((soft - 110) * 8, 0, 255).astype(np.uint8)
    return cover


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """float32 ``[128, 128]`` in 0..1: stripes, dots, a gradient or clouds."""
    y, x = np.indices((SIDE, SIDE), np.float32) / SIDE
    angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 9)
    along = x * np.cos(angle) + y * np.sin(angle)
    kind = rng.random()
    if kind < 0.3:
        return np.clip(0.5 + 4 * np.sin(2 * np.pi * waves * along), 0, 1).astype(np.float32)
    if kind < 0.5:
        return np.clip(4 * (np.sin(2 * np.pi * waves * x) * np.sin(2 * np.pi * waves * y) - 0.3), 0, 1)
    if kind < 0.7:
        return along
    cloud = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), rng.uniform(2, 14))
    return np.clip(0.5 + cloud / (2 * cloud.std()), 0, 1)
