"""Reads and writes videos: probe, decode frame by frame, find cuts, crop to a region, encode.

Nothing heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
