"""Made people: clips of faces that nobody has, from portraits that the user names, to train small models on.

Nothing heavy is imported until a name is used.
"""

from importlib import import_module

_HOMES = {
    "Camera": "camera",
    "MadePeople": "people",
    "Portrait": "portrait",
    "load_portraits": "portrait",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
