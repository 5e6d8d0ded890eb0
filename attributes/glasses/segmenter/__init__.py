"""A small network that finds eyeglasses in clips of faces. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attributes.glasses.segmenter.model import GlassesMaps, GlassesSegmenter

__all__ = ["GlassesMaps", "GlassesSegmenter"]


def __getattr__(name: str):
    if name in __all__:
        from attributes.glasses.segmenter import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
