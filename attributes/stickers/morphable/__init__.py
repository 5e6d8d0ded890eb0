"""Morphable face models that the user names, fitted to the landmarks of a clip.

Nothing heavy is imported until a name is used.
"""

from importlib import import_module

_HOMES = {
    "CoefficientPredictor": "neural",
    "MorphableMesher": "mesher",
    "MorphableModel": "model",
    "TddfaPredictor": "neural",
    "load_morphable_model": "basel",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
