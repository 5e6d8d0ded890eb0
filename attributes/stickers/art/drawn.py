"""Draw the embedded stickers by name."""

from __future__ import annotations

from functools import cache

import numpy as np

from attributes.stickers.art.looks import Look
from attributes.stickers.art.sticker import Sticker
from toolkit.errors import UsageError


@cache
def _looks() -> dict[str, Look]:
    from attributes.stickers.art import (
        animals,
        glitter,
        labels,
        lettering,
        nature,
        ornaments,
        shapes,
        smileys,
        tattoos,
        translucent,
    )

    modules = (shapes, nature, smileys, animals, labels, tattoos, ornaments, translucent, glitter, lettering)
    return {look.name: look for module in modules for look in module.ALBUM.looks}


def embedded_art() -> tuple[str, ...]:
    """Names of the embedded stickers, in a fixed order."""
    return tuple(_looks())


def draw(name: str, rng: np.random.Generator) -> Sticker:
    """Draw a sticker with at most 256 pixels on its longer side.

    Args:
        name: one of `embedded_art`.
        rng: draws colours and details; the same state gives the same bytes.

    Raises:
        UsageError: there is no sticker of that name.
    """
    if name not in _looks():
        raise UsageError(f"expected the name of an embedded sticker, found {name!r}; choose from {', '.join(_looks())}")
    return _looks()[name].draw(rng)
