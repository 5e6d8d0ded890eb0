"""Degrade pictures like a camera and a codec, with one random draw per clip (albumentations)."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

_UNUSED = ("albumentations.pytorch", "huggingface_hub")


class ClipDegradation:
    """Blur, noise, compression and colour shifts, the same for every frame of a clip.

    Args:
        rng: selects the effects and their strength.
    """

    def __init__(self, rng: np.random.Generator):
        A = _albumentations()
        self._seed = int(rng.integers(2**31))
        self._transform = A.Compose(
            [
                A.OneOf(
                    [
                        A.GaussianBlur(sigma_limit=(0.3, 0.9), blur_limit=0, p=1),
                        A.MotionBlur(blur_limit=(3, 3), p=1),
                    ],
                    p=0.5,
                ),
                A.RandomBrightnessContrast(brightness_limit=0.06, contrast_limit=0.08, p=0.5),
                A.HueSaturationValue(hue_shift_limit=4, sat_shift_limit=12, val_shift_limit=4, p=0.4),
                A.GaussNoise(std_range=(0.005, 0.02), p=0.5),
                A.ImageCompression(quality_range=(55, 92), p=0.6),
            ]
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Degrade a picture, uint8 ``[h, w, 3]``."""
        self._transform.set_random_seed(self._seed)
        return self._transform(image=np.ascontiguousarray(image))["image"]


def _albumentations() -> ModuleType:
    # By default albumentations looks up its latest version online when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Its parts for torch and for the Hugging Face hub are optional and not used here. With them, its import takes eight
    # times as long, in every worker.
    modules: dict[str, Any] = sys.modules
    skipped = [] if "albumentations" in modules else [name for name in _UNUSED if name not in modules]
    modules |= dict.fromkeys(skipped)
    try:
        import albumentations
    finally:
        for name in skipped:
            del modules[name]
    return albumentations
