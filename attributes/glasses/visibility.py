"""How much of the eyes is seen through glasses."""

from __future__ import annotations

import numpy as np

from attributes.glasses.eyes import eye_holes
from toolkit.task import FaceClip

HIDING = (0.5, 0.8)
"""Share of the light that a lens may swallow or add before the eye behind a pixel begins to hide, and is hidden."""


def eye_visibility(clip: FaceClip, dark: np.ndarray, reflection: np.ndarray) -> np.ndarray:
    """1 minus the share of the eye holes that dark or mirroring glass covers, per frame.

    A pixel is hidden where ``1 - (1 - dark)(1 - reflection)``, the share of the light that is not the eye's own,
    exceeds the range `HIDING`; within the range it is hidden in part, so that a clip does not flip at a threshold.

    Args:
        clip: T frames.
        dark: float32 ``[T, H, W]``, 0..1, share of the light that does not pass the lens; 0 where there is none.
        reflection: float32 ``[T, H, W]``, 0..1, share of the pixel's light that is mirrored.

    Returns:
        float32 ``[T]`` in 0..1; 1 where there is no face or no eye in the frame.

    Raises:
        ValueError: the maps have another shape than the clip's frames.
    """
    if not dark.shape == reflection.shape == clip.frames.shape[:3]:
        raise ValueError(f"expected maps of shape {clip.frames.shape[:3]}, found {dark.shape} and {reflection.shape}")
    holes = eye_holes(clip)
    low, high = HIDING
    visible = np.ones(len(clip), np.float32)
    for t in np.flatnonzero(holes.any(axis=(1, 2))):
        foreign = 1 - (1 - dark[t][holes[t]]) * (1 - reflection[t][holes[t]])
        visible[t] = 1 - np.clip((foreign - low) / (high - low), 0, 1).mean()
    return visible
