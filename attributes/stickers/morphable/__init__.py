"""Fit morphable face models to the landmarks of a clip.

Imports of heavy modules are deferred until a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "CoefficientPredictor": "neural",
    "MorphableMesher": "mesher",
    "MorphableModel": "model",
    "TddfaPredictor": "neural",
    "load_morphable_model": "basel",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
