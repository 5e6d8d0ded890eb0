"""Videos in and out: probe, decode as a stream, find cuts, crop to a region, encode.

Nothing heavy is imported until a name is used.
"""

from importlib import import_module

_HOMES = {
    "Frame": "types",
    "VideoInfo": "types",
    "probe": "info",
    "read_frames": "decode",
    "SceneCutDetector": "scenes",
    "square_region": "region",
    "crop": "region",
    "VideoWriter": "encode",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
