"""Draw antialiased masks of simple forms. The unit is a hundredth of the canvas; x points right and y down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 320
"""Side of the canvas in pixels. Pictures are reduced to the size of the sticker afterwards."""
OVER = 4
_FULL = SIZE * OVER
_UNIT = _FULL / 100


class Pen:
    """Draws forms without antialiasing at four times the size; `mask` reduces them."""

    def __init__(self):
        self._image = Image.new("L", (_FULL, _FULL))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points) -> Pen:
        self._draw.polygon([(x * _UNIT, y * _UNIT) for x, y in points], fill=255)
        return self

    def disc(self, x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Pen:
        """A disc, or an ellipse rotated clockwise by `turn` degrees."""
        ry = rx if ry is None else ry
        if turn:
            angles = np.arange(0, 360, 4)
            return self.polygon(turned(polar(angles, 1.0, 0, 0) * [rx, ry] + [x, y], turn, x, y))
        self._draw.ellipse([(x - rx) * _UNIT, (y - ry) * _UNIT, (x + rx) * _UNIT, (y + ry) * _UNIT], fill=255)
        return self

    def dot(self, point: np.ndarray, radius: float) -> Pen:
        """A disc around a point ``[2]``."""
        x, y = point
        return self.disc(x, y, radius)

    def box(self, x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Pen:
        corners = [x0 * _UNIT, y0 * _UNIT, x1 * _UNIT, y1 * _UNIT]
        self._draw.rounded_rectangle(corners, radius * _UNIT, fill=255)
        return self

    def line(self, points, width: float | Sequence[float] | np.ndarray, closed: bool = False) -> Pen:
        """A line with round ends. A tapered line has one width per point."""
        points = np.asarray(points, float)
        widths = np.broadcast_to(np.asarray(width, float), len(points))
        if closed:
            points, widths = np.vstack([points, points[:1]]), np.append(widths, widths[0])
        for (x, y), w in zip(points, widths):
            self.disc(x, y, w / 2)
        steps = np.diff(points, axis=0)
        lengths = np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-6)
        normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / lengths / 2
        for a, b, n, wa, wb in zip(points[:-1], points[1:], normals, widths[:-1], widths[1:]):
            self.polygon([a + n * wa, b + n * wb, b - n * wb, a - n * wa])
        return self

    def text(self, x: float, y: float, words: str, height: float, bold: float = 0.0, turn: float = 0.0) -> Pen:
        """A line of text in Pillow's embedded font, centred on a point. `bold` thickens strokes and spaces letters."""
        font = ImageFont.load_default(size=height * _UNIT)
        stroke = round(bold * _UNIT)
        ends = _letter_ends(words, font, stroke)
        patch = Image.new("L", (int(ends[-1]) + 4 * stroke, round(1.6 * height * _UNIT) + 4 * stroke))
        draw = ImageDraw.Draw(patch)
        for letter, start in zip(words, [0.0, *ends]):
            place = (start + 2 * stroke, patch.height / 2)
            draw.text(place, letter, 255, font, anchor="lm", stroke_width=stroke)
        if turn:
            patch = patch.rotate(-turn, Image.Resampling.BILINEAR, expand=True)
        corner = (round(x * _UNIT - patch.width / 2), round(y * _UNIT - patch.height / 2))
        self._image.paste(255, corner, patch)
        return self

    def mask(self) -> np.ndarray:
        """The antialiased mask: float32 ``[SIZE, SIZE]`` in 0..1."""
        return np.asarray(self._image.reduce(OVER), np.float32) / 255


def _letter_ends(words: str, font, stroke: int) -> np.ndarray:
    """End of each letter's advance in whole pixels. Strokes widen it, so that bold letters do not merge."""
    return np.cumsum([font.getlength(letter) + 1.6 * stroke for letter in words])


def polygon(points) -> np.ndarray:
    return Pen().polygon(points).mask()


def disc(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> np.ndarray:
    return Pen().disc(x, y, rx, ry, turn).mask()


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> np.ndarray:
    return Pen().box(x0, y0, x1, y1, radius).mask()


def lines(many: Iterable, width: float | Sequence[float] | np.ndarray, closed: bool = False) -> np.ndarray:
    pen = Pen()
    for points in many:
        pen.line(points, width, closed)
    return pen.mask()


def line(points, width: float | Sequence[float] | np.ndarray, closed: bool = False) -> np.ndarray:
    return lines([points], width, closed)


def text(x: float, y: float, words: str, height: float, bold: float = 0.0, turn: float = 0.0) -> np.ndarray:
    return Pen().text(x, y, words, height, bold, turn).mask()


def text_width(words: str, height: float, bold: float = 0.0) -> float:
    """Width of `text`."""
    return float(_letter_ends(words, ImageFont.load_default(size=height * _UNIT), round(bold * _UNIT))[-1]) / _UNIT


def smooth(points, closed: bool = True, steps: int = 10) -> np.ndarray:
    """A Catmull-Rom spline through the points, float ``[M, 2]``."""
    p = np.asarray(points, float)
    if closed:
        p = np.vstack([p[-1:], p, p[:2]])
    else:
        p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.vstack([curve, p[-2:-1]])


def polar(angles, radii, x: float = 50.0, y: float = 50.0) -> np.ndarray:
    """Points at angles (degrees clockwise from the top) and distances around a centre, float ``[M, 2]``."""
    turn = np.radians(np.asarray(angles, float))
    radii = np.asarray(radii, float)
    return np.stack([x + radii * np.sin(turn), y - radii * np.cos(turn)], axis=-1)


def mirrored(points) -> np.ndarray:
    """A symmetric outline: the points, then their mirror images across x = 50 in reverse order."""
    p = np.asarray(points, float)
    # A point on the axis is its own image. Repeating it would put a kink into a spline.
    return np.vstack([p, (p[p[:, 0] != 50] * [-1, 1] + [100, 0])[::-1]])


def turned(points, degrees: float, x: float = 50.0, y: float = 50.0) -> np.ndarray:
    """The points rotated clockwise around a centre."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (np.asarray(points, float) - [x, y]) @ np.array([[c, s], [-s, c]]) + [x, y]


def rotate(mask: np.ndarray, degrees: float) -> np.ndarray:
    """A mask rotated clockwise around the middle of the canvas."""
    return np.asarray(Image.fromarray(mask).rotate(-degrees, Image.Resampling.BICUBIC)).clip(0, 1)


def star(x: float, y: float, outer: float, inner: float, tips: int, turn: float = 0.0) -> np.ndarray:
    """Corners of a star."""
    angles = np.arange(2 * tips) * 180 / tips + turn
    return polar(angles, np.where(np.arange(2 * tips) % 2, inner, outer), x, y)


def heart(x: float = 50.0, y: float = 50.0, size: float = 40.0) -> np.ndarray:
    """Outline of a heart, about twice `size` wide."""
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    h = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x + size / 16 * 16 * np.sin(t) ** 3, y - size / 16 * (h + 2.5)], axis=1)
