"""Simulates a camera and a codec: exposure, colour, blur, resolution, noise and compression."""

from __future__ import annotations

import os

import numpy as np


class Camera:
    """A camera with random settings, which degrades every frame of a clip in the same way.

    Args:
        rng: draws the effects and their strengths.
        size: width of the frames in pixels; the random lower resolution is relative to it.
    """

    def __init__(self, rng: np.random.Generator, size: int):
        # Without this variable, albumentations looks up its latest version on the network when it is imported.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A

        self._seed = int(rng.integers(2**31))
        self._gain = np.exp(rng.normal(-0.06, 0.2))
        self._gamma = np.exp(rng.normal(0, 0.15))
        self._balance = np.exp(rng.normal(0, 0.07, 3))
        coarse = min(1.0, float(np.exp(rng.uniform(np.log(72), np.log(420)))) / size)
        self._steps = A.Compose(
            [
                A.ColorJitter(brightness=0.12, contrast=(0.75, 1.2), saturation=(0.45, 1.35), hue=0.03, p=0.9),
                A.OneOf(
                    [A.GaussianBlur(sigma_limit=(0.3, 1.4), blur_limit=0), A.MotionBlur(blur_limit=(3, 7))],
                    p=0.4,
                ),
                A.Downscale(scale_range=(coarse, coarse), p=0.65 if coarse < 1 else 0.0),
                A.OneOf([A.GaussNoise(std_range=(0.005, 0.04)), A.ISONoise(intensity=(0.05, 0.3))], p=0.45),
                A.Sharpen(alpha=(0.1, 0.3), lightness=(1.0, 1.0), p=0.15),
                A.ImageCompression(quality_range=(28, 95), p=0.75),
            ]
        )

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Degrade frames, uint8 ``[T, H, W, 3]``; equal frames give equal results."""
        return np.stack([self._one(frame) for frame in frames])

    def _one(self, frame: np.ndarray) -> np.ndarray:
        levels = np.arange(256, dtype=np.float32)[:, None] / 255
        curve = np.clip(self._gain * levels**self._gamma * self._balance, 0, 1) * 255
        exposed = np.stack([np.rint(curve[:, c]).astype(np.uint8)[frame[..., c]] for c in range(3)], axis=-1)
        self._steps.set_random_seed(self._seed)
        return self._steps(image=exposed)["image"]
