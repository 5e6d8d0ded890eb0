"""Describes how a stored frame is displayed: size, pixel aspect and rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from toolkit.video.planes import side_data


@dataclass(frozen=True)
class Display:
    """How to show a frame.

    Attributes:
        width, height: size in pixels after scaling and before rotation.
        turns: quarter turns clockwise after scaling, 0 to 3.
        mirrored: whether the picture is mirrored left to right before rotation.
    """

    width: int
    height: int
    turns: int
    mirrored: bool

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height after rotation."""
        return (self.height, self.width) if self.turns % 2 else (self.width, self.height)

    def turn(self, image: np.ndarray) -> np.ndarray:
        """Mirror and rotate a picture ``[height, width, C]``; returns a contiguous array."""
        if self.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, -self.turns))

    def unturn(self, image: np.ndarray) -> np.ndarray:
        """Undo `turn`; returns a view."""
        image = np.rot90(image, self.turns)
        return image[:, ::-1] if self.mirrored else image


def display_of(frame: VideoFrame, aspect: float | None, max_side: int | None) -> Display:
    """The display of a decoded frame.

    Args:
        frame: a decoded frame.
        aspect: width of a stored pixel divided by its height; None if the file does not state it.
        max_side: limit of the larger side in pixels; None for no limit.
    """
    width, height = float(frame.width), float(frame.height)
    # Near 1 it is a rounding error, not worth scaling every frame; beyond 4 the header is damaged.
    if aspect is not None and 0.25 <= aspect <= 4 and abs(aspect - 1) > 0.02:
        width, height = (width * aspect, height) if aspect >= 1 else (width, height / aspect)
    shrink = min(1.0, max_side / max(width, height)) if max_side else 1.0
    turns, mirrored = _orientation(frame)
    return Display(max(1, round(width * shrink)), max(1, round(height * shrink)), turns, mirrored)


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Quarter turns clockwise, and whether mirrored before, from the display matrix (ISO 14496-12, 8.3.2)."""
    data = side_data(frame, Type.DISPLAYMATRIX)
    if data is None:
        return 0, False
    # A stored point (x, y) is displayed at (a x + c y, b x + d y), y downwards.
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return int(np.rint(np.degrees(np.arctan2(b, a)) / 90)) % 4, mirrored
