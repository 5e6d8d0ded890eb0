"""Measure how visible the eyes are through glasses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attributes.glasses.eyes import BOTH, eye_holes
from toolkit.task import FaceClip

HIDING = (0.5, 0.8)
"""Shares of foreign light at which the eye behind a pixel starts to be hidden and is fully hidden."""


def eye_visibility(clip: FaceClip, dark: np.ndarray, reflection: np.ndarray, eyes: Sequence[str] = BOTH) -> np.ndarray:
    """1 minus the share of the eye holes that dark or reflecting glass covers, per frame.

    The share of light that does not come from the eye is ``1 - (1 - dark)(1 - reflection)``. A pixel is hidden if this
    share is above the range `HIDING`, and partly hidden within it, so that the result has no sharp threshold.

    Args:
        clip: T frames.
        dark: float32 ``[T, H, W]``, 0..1, share of the light that the lens blocks; 0 outside lenses.
        reflection: float32 ``[T, H, W]``, 0..1, share of the pixel's light that is reflected.
        eyes: regions of the eyes that count.

    Returns:
        float32 ``[T]`` in 0..1; 1 for frames without a face or an eye.

    Raises:
        ValueError: the shape of the maps differs from that of the clip's frames.
    """
    if not dark.shape == reflection.shape == clip.frames.shape[:3]:
        raise ValueError(f"expected maps of shape {clip.frames.shape[:3]}, found {dark.shape} and {reflection.shape}")
    holes = eye_holes(clip, eyes)
    low, high = HIDING
    visible = np.ones(len(clip), np.float32)
    for t in np.flatnonzero(holes.any(axis=(1, 2))):
        foreign = 1 - (1 - dark[t][holes[t]]) * (1 - reflection[t][holes[t]])
        visible[t] = 1 - np.clip((foreign - low) / (high - low), 0, 1).mean()
    return visible
