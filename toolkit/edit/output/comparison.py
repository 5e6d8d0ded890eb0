"""Pictures that compare a video before and after the edit."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

MAX_WIDTH, MAX_HEIGHT = 1920, 1080
"""Largest sides in pixels, which every player can show."""
SWEEP_SECONDS, TURN_SECONDS = 4.0, 1.0
"""Time of the divider's way there and back, and time for which each video is shown."""


class Comparison:
    """Arranges a frame and its edit in one picture, with labels.

    Args:
        kind: ``side``: the original on the left, the edit on the right. ``slider``: one picture with the original
            left of a divider that sweeps from left to right and back in 4 seconds. ``toggle``: the original and the
            edit take turns of one second each.
        width, height: size of the frames in pixels.
    """

    def __init__(self, kind: Literal["side", "slider", "toggle"], width: int, height: int):
        if kind not in ("side", "slider", "toggle") or width < 2 or height < 2:
            raise ValueError(
                f"expected side, slider or toggle and at least 2 x 2 pixels, found {kind} {width} x {height}"
            )
        self._shape = (height, width, 3)
        self._arrange = getattr(self, f"_{kind}")
        across = 2 if kind == "side" else 1
        self._line = _line(min(across * width, MAX_WIDTH))
        scale = min(1.0, (MAX_WIDTH - (across - 1) * len(self._line)) / (across * width), MAX_HEIGHT / height)
        # The whole must have even sides: H.264 stores one colour for 2 x 2 pixels.
        self._width, self._height = _fit(width * scale, 2 // across), _fit(height * scale, 2)
        self.size = (self._height, across * self._width + (across - 1) * len(self._line))
        """Height and width of the pictures in pixels: even, at most 1080 and 1920."""
        size = _font_size(self._width // 2 if kind == "slider" else self._width, self._height)
        self._names = _text("original", size), _text("edited", size)
        self._edited_right = kind == "slider"

    def picture(self, original: np.ndarray, edited: np.ndarray, time: float) -> np.ndarray:
        """One picture of the comparison.

        Args:
            original, edited: uint8 ``[H, W, 3]``, RGB; not changed.
            time: of the frame, in seconds; it sets the divider's position.

        Returns:
            uint8 ``[*size, 3]``, RGB.

        Raises:
            ValueError: a frame has another shape or type.
        """
        for frame in (original, edited):
            if frame.shape != self._shape or frame.dtype != np.uint8:
                raise ValueError(f"expected uint8 {list(self._shape)}, found {frame.dtype} {list(frame.shape)}")
        return self._arrange(original, edited, time)

    def _side(self, original: np.ndarray, edited: np.ndarray, time: float) -> np.ndarray:
        line = np.broadcast_to(self._line[:, None], (self._height, len(self._line), 3))
        return np.hstack([self._original(original), line, self._edited(edited)])

    def _slider(self, original: np.ndarray, edited: np.ndarray, time: float) -> np.ndarray:
        divider = round(self._width * (0.5 - 0.5 * math.cos(2 * math.pi * time / SWEEP_SECONDS)))
        picture = self._edited(edited)
        picture[:, :divider] = self._original(original)[:, :divider]
        start = divider - len(self._line) // 2
        columns = np.arange(start, start + len(self._line))
        inside = (columns >= 0) & (columns < self._width)
        picture[:, columns[inside]] = self._line[inside, None]
        return picture

    def _toggle(self, original: np.ndarray, edited: np.ndarray, time: float) -> np.ndarray:
        # A time such as 0.9999999 is a second with a rounding error.
        turn = math.floor(time / TURN_SECONDS + 1e-4)
        return self._edited(edited) if turn % 2 else self._original(original)

    def _original(self, frame: np.ndarray) -> np.ndarray:
        return _label(self._scaled(frame), self._names[0], right=False)

    def _edited(self, frame: np.ndarray) -> np.ndarray:
        return _label(self._scaled(frame), self._names[1], right=self._edited_right)

    def _scaled(self, frame: np.ndarray) -> np.ndarray:
        import cv2

        height, width, _ = frame.shape
        if height - self._height < 2 and width - self._width < 2:  # crop an odd side, which keeps it sharp
            return frame[: self._height, : self._width].copy()
        return cv2.resize(frame, (self._width, self._height), interpolation=cv2.INTER_AREA)


def _fit(side: float, multiple: int) -> int:
    """The largest multiple that is not larger than a side, despite float errors."""
    return max(1, math.floor((side + 1e-6) / multiple)) * multiple


def _line(width: int) -> np.ndarray:
    """uint8 ``[columns]``, an even number: white with black edges, visible on any picture."""
    unit = max(1, round(width / 1600))
    return np.repeat(np.array([0, 255, 255, 0], np.uint8), unit)


def _font_size(width: int, height: int) -> int:
    """Height in pixels of the font, so that labels fit in a panel of this size."""
    size = min(max(14, round(0.04 * height)), 40)
    while size > 5:
        text_height, text_width, _ = _text("original", size).shape
        if text_width <= 0.9 * width and text_height <= height / 3:
            break
        size -= 1
    return size


def _text(text: str, size: int) -> np.ndarray:
    """float32 ``[h, w, 2]``: the coverage of a dark plate and of the white text on it, both 0 to 1."""
    from PIL import Image, ImageDraw, ImageFont

    font: Any = ImageFont.load_default(size)
    left, _, right, _ = font.getbbox(text)
    ascent, descent = font.getmetrics()
    pad = max(1, size // 3)
    area = (math.ceil(right - left) + 2 * pad, ascent + descent + pad)
    plate, letters = Image.new("L", area), Image.new("L", area)
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, area[0] - 1, area[1] - 1), radius=pad, fill=170)
    ImageDraw.Draw(letters).text((pad - left, pad // 2), text, font=font, fill=255)
    return np.stack([np.asarray(plate), np.asarray(letters)], axis=-1).astype(np.float32) / 255


def _label(picture: np.ndarray, text: np.ndarray, right: bool) -> np.ndarray:
    """Draw a label into a picture's upper left or right corner, in place, and return the picture."""
    height, width, _ = text.shape
    margin = max(1, height // 3)
    left = max(0, picture.shape[1] - margin - width) if right else margin
    area = picture[margin : margin + height, left : left + width]
    plate, letters = np.split(text[: area.shape[0], : area.shape[1]], 2, axis=-1)
    area[:] = np.rint(area * (1 - plate) * (1 - letters) + 255 * letters).astype(np.uint8)
    return picture
