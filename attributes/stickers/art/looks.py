"""Register looks: functions that paint a sticker on a canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attributes.stickers.art.canvas import Canvas
from attributes.stickers.art.sticker import Sticker, fit

LONG_SIDE = 256
"""Largest size of the longer side of a drawn sticker, in pixels."""

Paint = Callable[[Canvas, np.random.Generator], None]


@dataclass(frozen=True)
class Look:
    """A kind of drawn sticker.

    Attributes:
        name: name of the look.
        paint: paints it; all variation comes from the generator.
        kind, gloss: as in `Sticker`.
    """

    name: str
    paint: Paint
    kind: str
    gloss: float

    def draw(self, rng: np.random.Generator) -> Sticker:
        """Draw a sticker of this look."""
        canvas = Canvas()
        self.paint(canvas, rng)
        rgba = fit(canvas.picture(), LONG_SIDE)
        assert rgba is not None, f"{self.name} paints nothing"
        return Sticker(self.name, rgba, self.kind, self.gloss)


class Album:
    """Looks of one kind, in the order of their definition."""

    def __init__(self, kind: str, gloss: float):
        self.kind, self.gloss = kind, gloss
        self.looks: list[Look] = []

    def look(self, paint: Paint) -> Paint:
        """Decorator that registers a look under the name of the function, with hyphens."""
        self.looks.append(Look(paint.__name__.rstrip("_").replace("_", "-"), paint, self.kind, self.gloss))
        return paint
