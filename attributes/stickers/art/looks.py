"""The register of looks: each is a function that paints one sticker on a canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attributes.stickers.art.canvas import Canvas
from attributes.stickers.art.sticker import Sticker, fit

LONG_SIDE = 256
"""Most pixels on the longer side of a drawn sticker."""

Paint = Callable[[Canvas, np.random.Generator], None]


@dataclass(frozen=True)
class Look:
    """How to draw one sticker.

    Attributes:
        paint: paints it; all that varies comes from the generator.
        kind, gloss: as in `Sticker`.
    """

    name: str
    paint: Paint
    kind: str
    gloss: float

    def draw(self, rng: np.random.Generator) -> Sticker:
        canvas = Canvas()
        self.paint(canvas, rng)
        return Sticker(self.name, fit(canvas.picture(), LONG_SIDE), self.kind, self.gloss)


class Album:
    """Looks of one kind, in the order in which they are written."""

    def __init__(self, kind: str, gloss: float):
        self.kind, self.gloss = kind, gloss
        self.looks: list[Look] = []

    def look(self, paint: Paint) -> Paint:
        """Decorator: the function's name, with hyphens, becomes the look's."""
        self.looks.append(Look(paint.__name__.rstrip("_").replace("_", "-"), paint, self.kind, self.gloss))
        return paint
