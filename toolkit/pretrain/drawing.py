"""Makes hints from clean pictures: draws shapes on them, cuts out parts, or degrades them.

All frames of a clip get the same shapes, so that drawings stand still.
"""

from __future__ import annotations

import cv2
import numpy as np

Frames = np.ndarray
"""uint8 ``[T, R, R, 3]``."""


def drawn(frames: Frames, rng: np.random.Generator) -> tuple[Frames, np.ndarray]:
    """Draw one to four random shapes on the frames; also returns their mask, bool ``[T, R, R]``."""
    side = frames.shape[1]
    output, covered = frames.astype(np.float32), np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        coverage = _shape(side, rng)
        if rng.random() < 0.4:
            coverage = cv2.GaussianBlur(coverage, (0, 0), float(rng.uniform(0.4, 1.5)))
        covered = np.maximum(covered, coverage)
        opacity = float(rng.uniform(0.3, 1)) if rng.random() < 0.25 else 1.0
        output += (coverage * opacity)[None, :, :, None] * (_texture(side, rng) - output)
    mask = np.broadcast_to(covered > 0.05, frames.shape[:3])
    return np.clip(output, 0, 255).astype(np.uint8), mask


def hole(side: int, rng: np.random.Generator) -> np.ndarray:
    """A random mask, bool ``[R, R]``."""
    covered = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        covered = np.maximum(covered, _shape(side, rng))
    return cv2.dilate(covered, np.ones((3, 3))) > 0.05


def degraded(frames: Frames, rng: np.random.Generator) -> Frames:
    """Shrink, blur or add noise to the frames, or two of these."""
    side, kind = frames.shape[1], rng.random()
    if kind < 0.4:
        small = int(rng.integers(side // 8, side * 5 // 8))
        frames = np.stack([_resized(_resized(frame, small), side) for frame in frames])
    elif kind < 0.7:
        sigma = float(rng.uniform(0.5, 4)) * side / 256
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if kind >= 0.7 or rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(2, 15), frames.shape)
        frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
    return frames


def _resized(frame: np.ndarray, side: int) -> np.ndarray:
    how = cv2.INTER_AREA if side < frame.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(frame, (side, side), interpolation=how)


def _shape(side: int, rng: np.random.Generator) -> np.ndarray:
    """Coverage 0..1 of an ellipse, a zigzag, a polygon or a line near the middle, float32 ``[R, R]``."""
    coverage, unit, kind = np.zeros((side, side), np.float32), side / 256, rng.integers(4)
    centre = rng.normal(side / 2, (35 * unit, 45 * unit))
    if kind == 0:
        axes = rng.uniform(6 * unit, 40 * unit, 2)
        thickness = int(rng.choice([-1, 1, 2, 3, 5]))
        box = (_point(centre), tuple(float(2 * axis) for axis in axes), float(rng.uniform(0, 180)))
        cv2.ellipse(coverage, box, 1, thickness, cv2.LINE_AA)
    elif kind == 1:
        steps = rng.normal(0, 14 * unit, (int(rng.integers(3, 9)), 2))
        points = (centre + np.cumsum(steps, axis=0)).astype(np.int32)
        cv2.polylines(coverage, [points], bool(rng.integers(2)), 1, int(rng.integers(1, 9)), cv2.LINE_AA)
    elif kind == 2:
        points = (centre + rng.normal(0, 22 * unit, (int(rng.integers(3, 8)), 2))).astype(np.int32)
        cv2.fillPoly(coverage, [cv2.convexHull(points)], 1, cv2.LINE_AA)
    else:
        other = centre + rng.normal(0, 60 * unit, 2)
        cv2.line(coverage, _point(centre), _point(other), 1, int(rng.integers(1, 7)), cv2.LINE_AA)
    return coverage


def _point(values: np.ndarray) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _texture(side: int, rng: np.random.Generator) -> np.ndarray:
    """A colour, often dark and often with smooth patches; float32 ``[R, R, 3]``, about 0..255."""
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0, 90))
    patches = rng.normal(0, 30 if rng.random() < 0.5 else 0, (8, 8, 3))
    return cv2.resize((colour + patches).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
