"""Clips that show a portrait as it is, in its own resolution, with its own background and light."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from toolkit.faces.topology import load_topology
from toolkit.portraits.driving import FPS
from toolkit.portraits.portrait import Portrait
from toolkit.task import FaceClip

ROLL, SWAY = 8.0, 2.5
"""Standard deviations of the head's roll in degrees: of a clip, and within it."""
SHIFT, DRIFT = 0.03, 0.01
"""The same of the place, as a share of the crop's side."""
ZOOM = 0.08
"""Standard deviation of the logarithm of the size."""


def photographed(rng: np.random.Generator, portrait: Portrait, frames: int, size: int, crop_scale: float) -> FaceClip:
    """A portrait as a clip, filmed by a camera in a moving hand.

    Args:
        rng: draws the movement.
        portrait: loaded from a picture.
        frames: number of frames, at 25 frames per second.
        size: width of the crop in pixels.
        crop_scale: width of the crop divided by the width of the face.

    Raises:
        InputError: the picture cannot be read any more.
        ValueError: the portrait has no picture.
    """
    import cv2

    if portrait.photo is None:
        raise ValueError(f"the portrait {portrait.name} was not loaded from a picture")
    image, to_canvas = portrait.photo.read(), portrait.photo.to_canvas
    points = (portrait.landmarks - np.append(to_canvas[:, 2], 0)) / to_canvas[0, 0]
    pictures, landmarks = [], []
    for move in _movement(rng, frames, points, size, crop_scale):
        scale = float(np.hypot(*move[0, :2]))
        source, matrix = _reduced(image, move, scale)
        # Half a pixel, because OpenCV counts from the centre of the first pixel.
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
        flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
        pictures.append(cv2.warpAffine(source, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))
        landmarks.append(np.column_stack([points[:, :2] @ move[:, :2].T + move[:, 2], points[:, 2] * scale]))
    return FaceClip(
        frames=np.stack(pictures),
        landmarks=np.stack(landmarks).astype(np.float32),
        topology=load_topology("mediapipe478"),
        times=np.arange(frames) / FPS,
        box=np.array([0, 0, size, size], np.float32),
        source="made",
        source_digest="made",
    )


def _movement(
    rng: np.random.Generator, frames: int, points: np.ndarray, size: int, crop_scale: float
) -> Iterator[np.ndarray]:
    """Matrices ``[2, 3]`` from the picture to the crops."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    zoom = size / (crop_scale * float((high - low).max())) * np.exp(rng.normal(0, ZOOM))
    roll, sway = rng.normal(0, ROLL), rng.normal(0, SWAY)
    shift, drift = rng.normal(0, SHIFT, 2), rng.normal(0, DRIFT, 2)
    phase, speed = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.5, 1.5)
    for t in range(frames):
        swing = np.sin(speed * t * 2 * np.pi / 50 + phase)
        angle = np.radians(roll + sway * swing[0])
        linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = size * (0.5 + shift + drift * swing[1:])
        yield np.column_stack([linear, centre - linear @ ((low + high) / 2)])


def _reduced(image: np.ndarray, move: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture that is made at most twice as small by its matrix: bilinear sampling alone would skip pixels."""
    import cv2

    matrix = move.copy()
    if scale >= 0.7:
        return image, matrix
    size = tuple(max(1, round(side * scale * 1.3)) for side in image.shape[1::-1])
    matrix[:, :2] *= [image.shape[1] / size[0], image.shape[0] / size[1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), matrix
