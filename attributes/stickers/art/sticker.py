"""Define a sticker, and trim and reduce its picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

MARGIN = 1
"""Transparent pixels around every sticker, so that samples beyond its edge are transparent."""
VISIBLE = 8
"""Alpha out of 255 below which pixels are trimmed."""


@dataclass(frozen=True, eq=False)
class Sticker:
    """A picture to put on skin.

    Attributes:
        name: name of the look, or of the file without its suffix.
        rgba: uint8 ``[h, w, 4]``, RGB with straight (not premultiplied) alpha, trimmed to a margin of one transparent
            pixel.
        kind: ``shape``, ``emoji``, ``label``, ``tattoo``, ``translucent``, ``glitter``, ``text`` or ``file``.
        gloss: strength of reflections, from 0 (matte, like ink) to 1 (foil).
    """

    name: str
    rgba: np.ndarray
    kind: str
    gloss: float


def fit(picture: Image.Image, long_side: int) -> np.ndarray | None:
    """Trim an RGBA picture to its visible part and reduce it to at most `long_side` pixels, including the margin.

    Returns:
        uint8 ``[h, w, 4]``, or None if nothing is visible.
    """
    box = picture.getchannel("A").point(lambda alpha: 255 * (alpha >= VISIBLE)).getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    scale = min(1.0, (long_side - 2 * MARGIN) / max(picture.size))
    if scale < 1.0:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        # Pillow premultiplies RGBA before it resamples, so hidden colours do not bleed into the edge.
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.pad(np.asarray(picture), ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
