"""Find stickers in clips of faces with a small network. Importing this package does not import torch."""

from toolkit.lazy import lazy_names

_HOMES = {"StickerSegmenter": "model", "StickerMaps": "model"}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
