"""Surroundings of synthetic people: backgrounds, light, and objects in front of the face."""

from __future__ import annotations

import numpy as np


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """A random blurred background, like a room, a wall or a street: float32 ``[side, side, 3]`` in 0..255."""
    import cv2

    base = rng.uniform(20, 230) + rng.normal(0, 12, 3)
    other = base + rng.normal(0, 40) + rng.normal(0, 15, 3)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:side, :side] / side - 0.5
    share = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    picture = (base + (other - base) * share).astype(np.float32)
    for _ in range(int(rng.integers(0, 14))):
        colour = tuple(float(v) for v in np.clip(rng.uniform(0, 255) + rng.normal(0, 18, 3), 0, 255))
        corner = rng.uniform(-0.2, 1, 2) * side
        size = rng.uniform(0.03, 0.6, 2) * side
        if rng.random() < 0.7:
            far = corner + size
            cv2.rectangle(picture, tuple(map(int, corner)), tuple(map(int, far)), colour, -1)
        else:
            cv2.circle(picture, tuple(map(int, corner)), int(size.min() / 2) + 1, colour, -1)
    noise = cv2.resize(rng.normal(0, 1, (int(rng.integers(3, 40)),) * 2).astype(np.float32), (side, side))
    picture += noise[..., None] * rng.uniform(0, 22)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 9)), 0, 255)


def light(rng: np.random.Generator, normal: np.ndarray) -> np.ndarray:
    """Random light: ambient light and a lamp.

    Args:
        rng: draws the light.
        normal: ``[S, S, 3]``, with z < 0 towards the viewer.

    Returns:
        Factors for linear light, float32 ``[S, S, 3]``.
    """
    import cv2

    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(-0.3, 1.0)
    lamp = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), -abs(np.cos(azimuth)) * np.cos(height) - 0.15])
    lamp /= np.linalg.norm(lamp)
    strength = rng.beta(1.2, 1.6) * 1.5
    lit = np.clip((normal @ lamp) * 1.1 + rng.uniform(-0.1, 0.3), 0, None)
    if rng.random() < 0.2:  # a hard edge, like that of a cast shadow
        edge = rng.uniform(0.15, 0.5)
        lit = cv2.GaussianBlur((lit > edge).astype(np.float32), (0, 0), rng.uniform(2, 8)) * lit.mean() * 2
    warm = np.exp(rng.normal(0, 0.12) * np.array([1, 0, -1]) + rng.normal(0, 0.03, 3))
    cool = np.exp(rng.normal(0, 0.08) * np.array([1, 0, -1]))
    factor = (1 - 0.6 * min(strength, 1)) * cool + strength * lit[..., None] * warm
    return (factor / max(float(factor.mean()), 1e-3) ** 0.95).astype(np.float32)


def covering(rng: np.random.Generator, picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cover part of the lower face or its side with a plain shape, like a hand, a cup, a microphone or a scarf."""
    import cv2

    width = float(np.ptp(landmarks[:468, 0]))
    middle = landmarks[int(rng.choice([17, 152, 234, 454, 205, 425])), :2] + rng.normal(0, 0.1, 2) * width
    mask = np.zeros(picture.shape[:2], np.float32)
    axes = rng.uniform(0.12, 0.38, 2) * width
    # The eyes stay visible, because models learn from the region around them.
    for eye in (landmarks[[33, 133], :2].mean(axis=0), landmarks[[263, 362], :2].mean(axis=0)):
        away = middle - eye
        distance = max(float(np.linalg.norm(away)), 1e-3)
        middle = eye + away * max(1.0, (axes.max() + 0.08 * width) / distance)
    cv2.ellipse(mask, (tuple(map(float, middle)), tuple(map(float, 2 * axes)), float(rng.uniform(0, 180))), 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.6, 2.5))[..., None]
    colour = np.clip(rng.uniform(10, 220) + rng.normal(0, 25, 3), 0, 255)
    shade = cv2.GaussianBlur(rng.normal(1, 0.6, picture.shape[:2]).astype(np.float32), (0, 0), 9)[..., None]
    return picture + mask * (np.clip(colour * shade, 0, 255) - picture)
