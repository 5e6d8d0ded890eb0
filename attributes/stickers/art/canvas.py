"""Paint stickers on a canvas: compositing, light, and the white border of die-cut stickers."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

from attributes.stickers.art.forms import SIZE, disc

Colour = tuple[float, float, float] | np.ndarray
"""RGB in 0..1: one colour, or float ``[SIZE, SIZE, 3]``."""

WHITE = (1.0, 1.0, 1.0)
BLACK = (0.0, 0.0, 0.0)
INK = (0.08, 0.09, 0.12)


def hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """A colour from hue (turns, wrapped), saturation and value, clipped to 0..1."""
    return colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))


def mix(a: Colour, b: Colour, share: float | np.ndarray) -> np.ndarray:
    """From `a` to `b`; `share` is a number or a mask."""
    share = np.asarray(share, np.float32)
    share = share[..., None] if share.ndim == 2 else share
    return np.asarray(a, np.float32) * (1 - share) + np.asarray(b, np.float32) * share


def ramp(angle: float = 0.0) -> np.ndarray:
    """float32 ``[SIZE, SIZE]`` from 0 to 1, downwards at angle 0, rightwards at 90."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / (SIZE - 1) - 0.5
    turn = np.radians(angle)
    return np.clip(x * np.sin(turn) + y * np.cos(turn) + 0.5, 0, 1).astype(np.float32)


def glow(x: float, y: float, radius: float) -> np.ndarray:
    """float32 ``[SIZE, SIZE]``: 1 at a point, falling smoothly to 0 at `radius`."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32) * (100 / SIZE)
    distance = np.hypot(columns - x, rows - y) / radius
    return np.clip(1 - distance, 0, 1) ** 2 * (1 + 2 * np.minimum(distance, 1))


def blur(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; sigma in units."""
    import cv2

    return cv2.GaussianBlur(mask, (0, 0), sigma * SIZE / 100)


def grow(mask: np.ndarray, by: float) -> np.ndarray:
    """Widen a mask by `units`, or narrow it if negative, and keep its feathered edge."""
    import cv2

    change = cv2.dilate if by > 0 else cv2.erode
    reach = round(abs(by) * SIZE / 100)
    while reach > 0:
        # Repeated small discs add up to a large one, at a fraction of the cost.
        step = min(reach, 5)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * step + 1, 2 * step + 1))
        mask = change(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        reach -= step
    return mask


def noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth random values in 0..1, float32 ``[SIZE, SIZE]``, with about `cells` hills across."""
    small = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.clip(np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)), 0, 1)


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The part of the canvas that a mask covers, because most masks are small."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _within(colour: Colour, at: tuple[slice, slice]) -> np.ndarray:
    colour = np.asarray(colour, np.float32)
    return colour[at] if colour.ndim == 3 else colour


class Canvas:
    """A transparent square that masks are painted on."""

    def __init__(self):
        self._rgb = np.zeros((SIZE, SIZE, 3), np.float32)
        self.alpha = np.zeros((SIZE, SIZE), np.float32)

    def fill(self, mask: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Paint over the canvas."""
        at = _window(mask)
        share = mask[at] * np.float32(opacity)
        self._rgb[at] += share[..., None] * (_within(colour, at) - self._rgb[at])
        self.alpha[at] += share * (1 - self.alpha[at])

    def tint(self, mask: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Paint only where the canvas is covered, and keep its alpha."""
        at = _window(mask)
        share = mask[at] * np.float32(opacity)
        self._rgb[at] += share[..., None] * (_within(colour, at) * self.alpha[at][..., None] - self._rgb[at])

    def light(self, mask: np.ndarray, depth: float = 3.0, strength: float = 0.5) -> None:
        """Shade a form like a bulge of `depth` units, lit from the upper left."""
        dy, dx = np.gradient(blur(mask, depth))
        slope = np.clip((0.5 * dx + 0.87 * dy) * (depth * SIZE / 100 * 2.2), -1, 1)
        lit = (slope > 0).astype(np.float32)
        self.tint(mask * np.abs(slope) * (0.75 + 0.05 * lit), lit[..., None].repeat(3, axis=2), strength)

    def solid(self, mask: np.ndarray, colour: Colour, depth: float = 3.0, strength: float = 0.5) -> None:
        """Fill a form with a colour that darkens downwards, and shade it."""
        colour = np.asarray(colour, np.float32)
        self.fill(mask, mix(np.minimum(colour * 1.1 + 0.03, 1), colour * 0.86, ramp(20)))
        self.light(mask, depth, strength)

    def shine(
        self, mask: np.ndarray, x: float, y: float, rx: float, ry: float, turn: float = 0.0, opacity=0.55
    ) -> None:
        """A blurred oval reflection within `mask`."""
        self.tint(blur(disc(x, y, rx, ry, turn), 0.5) * grow(mask, -1.2) * (1 - ramp() * 0.5), WHITE, opacity)

    def shadow(self, mask: np.ndarray, distance: float = 1.2, opacity: float = 0.35) -> None:
        """Paint the shadow of a form, which is painted afterwards."""
        offset = round(distance * SIZE / 100)
        self.tint(blur(np.roll(mask, (offset, offset // 2), (0, 1)), distance * 0.8), BLACK, opacity)

    def die_cut(self, width: float = 3.2, colour: Colour = WHITE) -> None:
        """Put the picture on a backing that extends `width` units beyond it, with the rim of cut vinyl."""
        outline = grow(grow(self.alpha, width + 3), -3)
        backing = np.asarray(colour, np.float32) * np.ones((SIZE, SIZE, 3), np.float32)
        # The print fades slightly into the white, and the cut edge is slightly shaded.
        backing *= 1 - 0.10 * blur(self.alpha, 0.8)[..., None]
        backing *= 1 - 0.16 * (1 - blur(grow(outline, -0.6), 0.5))[..., None]
        under = (outline * (1 - self.alpha))[..., None]
        self._rgb += under * backing
        self.alpha += under[..., 0]

    def rim(self, strength: float = 0.25) -> None:
        """Darken the outermost edge to suggest thickness."""
        self.tint(1 - blur(grow(self.alpha, -0.8), 0.6), BLACK, strength)

    def fade(self, mask: np.ndarray) -> None:
        """Multiply the alpha by a mask, to cut holes or wear ink off."""
        self._rgb *= mask[..., None]
        self.alpha *= mask

    def picture(self) -> Image.Image:
        """The canvas as a straight-alpha RGBA picture."""
        alpha = np.clip(self.alpha, 0, 1)[..., None]
        rgb = np.clip(self._rgb / np.maximum(alpha, 1e-4), 0, 1)
        return Image.fromarray(np.rint(np.concatenate([rgb, alpha], axis=2) * 255).astype(np.uint8), "RGBA")
