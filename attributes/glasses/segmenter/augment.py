"""Augment training samples: vary the alignment and the camera each time a sample is used."""

from __future__ import annotations

import numpy as np

from attributes.glasses.segmenter.region import HEIGHT, WIDTH
from attributes.glasses.segmenter.samples import STORED
from attributes.segmenting.augment import photograph, realign


def centre_crop(stored: np.ndarray) -> np.ndarray:
    """The unaugmented region: ``[..., 160, 320, C]`` -> ``[..., 128, 256, C]``."""
    top, left = (STORED[0] - HEIGHT) // 2, (STORED[1] - WIDTH) // 2
    return stored[..., top : top + HEIGHT, left : left + WIDTH, :]


def augment(picture: np.ndarray, maps: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Augment a sample.

    Args:
        picture: uint8 ``[160, 320, 3]``.
        maps: uint8 ``[160, 320, 4]``.

    Returns:
        uint8 ``[128, 256, 3]`` and ``[128, 256, 4]``.
    """
    picture, maps = realign(picture, maps, (WIDTH, HEIGHT), rng)  # landmarks err more behind glasses
    return photograph(picture, rng), maps
