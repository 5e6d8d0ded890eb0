"""Augment training samples: vary the alignment and the camera each time a sample is used."""

from __future__ import annotations

import numpy as np

from attributes.segmenting.region import centred


def realign(
    picture: np.ndarray, maps: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Imitate errors of landmarks: shift, rotate, scale and shear; mirror half.

    Args:
        picture: uint8 ``[h, w, 3]``.
        maps: uint8 ``[h, w, C]``, C up to 4.
        size: width and height of the results, whose middle is about that of the arguments.
        rng: draws the errors.

    Returns:
        Picture and maps of that size.
    """
    import cv2

    stored = np.array(picture.shape[1::-1])
    angle, scale = rng.normal(0, 2.5), np.exp(rng.normal(0, 0.05, 2))
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    linear = np.array([[cos, sin + rng.normal(0, 0.03)], [-sin, cos]]) @ np.diag(scale)
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    goal = np.array(size) / 2 + rng.normal(0, (5, 4))
    matrix = centred(np.concatenate([linear, (goal - linear @ (stored / 2))[:, None]], axis=1))
    picture = cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return picture, cv2.warpAffine(maps, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Imitate another camera: exposure, colour, sharpness, noise and compression of uint8 ``[H, W, 3]``."""
    if rng.random() < 0.8:
        picture = _recolour(picture, rng)
    if rng.random() < 0.5:
        picture = _coarsen(picture, rng)
    if rng.random() < 0.3:
        noise = rng.standard_normal(picture.shape, np.float32) * rng.uniform(1, 12)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        picture = _compress(picture, rng)
    return picture


def _recolour(picture, rng):
    """Change exposure, gamma and colour balance; sometimes remove the colour."""
    levels = np.arange(256)[:, None] / 255
    gain = np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.08, 3))
    table = np.clip(gain * levels ** np.exp(rng.normal(0, 0.25)) + rng.normal(0, 0.04), 0, 1) * 255
    out = np.stack([table.astype(np.uint8)[picture[..., c], c] for c in range(3)], axis=-1)
    if rng.random() < 0.12:
        out[:] = out.mean(axis=-1, keepdims=True).astype(np.uint8)
    return out


def _coarsen(picture, rng):
    """Blur, or imitate a face that was small in its video."""
    import cv2

    kind = rng.random()
    if kind < 0.35:
        return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6))
    if kind < 0.5:
        kernel = np.zeros((7, 7), np.float32)
        cv2.line(kernel, (3, 3), tuple(int(v) for v in rng.integers(0, 7, 2)), 1)
        return cv2.filter2D(picture, -1, kernel / kernel.sum())
    factor = rng.uniform(0.25, 0.9)
    width, height = size = picture.shape[1::-1]
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    down = cv2.INTER_AREA if rng.random() < 0.6 else cv2.INTER_LINEAR
    up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[int(rng.integers(3))]
    return cv2.resize(cv2.resize(picture, small, interpolation=down), size, interpolation=up)


def _compress(picture, rng):
    import cv2

    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)
