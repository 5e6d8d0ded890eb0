"""Counts the frames of bare people that an edit leaves unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.video import read_frames

UNCHANGED = 45.0
"""PSNR in dB from which a frame counts as unchanged, because no change is visible."""


def levels(videos: Path, edited: Path) -> dict[str, list[float]]:
    """PSNR in dB of each frame of edited videos with the originals of the same names; infinite if equal."""
    return {
        video.name: [psnr(*pair) for pair in zip(read_frames(video), read_frames(edited / video.name), strict=True)]
        for video in sorted(videos.glob("*.mkv"))
    }


def psnr(one, other) -> float:
    """PSNR of two frames in dB."""
    error = np.mean((one.image.astype(np.float32) - other.image) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def counted(found: Mapping[str, list[float]]) -> dict[str, Any]:
    """Frames, how many stay unchanged or the same to the bit, and the videos that changed, the worst first."""
    values = np.array([value for levels in found.values() for value in levels])
    changed = {name: min(levels) for name, levels in found.items() if min(levels) < UNCHANGED}
    return {
        "frames": len(values),
        "unchanged": int((values >= UNCHANGED).sum()),
        "equal": int(np.isinf(values).sum()),
        "changed": dict(sorted(changed.items(), key=lambda item: item[1])),
    }
