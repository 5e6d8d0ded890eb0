"""Measures edits of real people with glasses, for whom there is no target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.video import probe

LARGE = 450
"""Pixels of a frame's shorter side from which a clip counts for the detail behind lenses."""


def large(videos: Path) -> list[str]:
    """Names of the videos that are large enough for a measure of detail."""
    return [path.name for path in sorted(videos.glob("*.mkv")) if min(probe(path).width, probe(path).height) >= LARGE]


def details(videos: Path, edits: Mapping[str, Path], every: int) -> dict[str, dict[str, Any]]:
    """What edits keep behind the lenses and leave of rims: video -> edit -> `benchmarks.detail.Detail`.

    Args:
        videos: the originals.
        edits: name -> folder of videos of the same names.
        every: look at every this many frames.
    """
    from benchmarks.detail import measure

    found = {}
    for video in sorted(videos.glob("*.mkv")):
        one = measure(video, {name: folder / video.name for name, folder in edits.items()}, every)
        found[video.name] = {
            name: {"kept": known(it.kept), "clear": known(it.clear), "traces": known(it.traces)}
            for name, it in one.items()
        }
    return found


def known(value: float) -> float | None:
    """The value, or None for NaN."""
    return None if math.isnan(value) else float(value)


def remaining(method: Mapping[str, Any], blank: Mapping[str, Any]) -> dict[str, float | None]:
    """Share of the glasses' pixels that is left in each video.

    Args:
        method: video -> measures of edits.
        blank: the same for black pictures, from which everything was removed.
    """
    found: dict[str, float | None] = {}
    for name, values in method.items():
        gone, everything = values.get("glasses_removed"), blank[name].get("glasses_removed")
        found[name] = 1 - gone / everything if gone is not None and everything else None
    return found


def steadiness(method: Mapping[str, Any], unedited: Mapping[str, Any]) -> dict[str, float | None]:
    """E_warp of each video divided by that of the unedited one."""
    found: dict[str, float | None] = {}
    for name, values in method.items():
        one, other = values.get("warp_error"), unedited[name].get("warp_error")
        found[name] = one / other if one is not None and other else None
    return found


def mean(values: Mapping[str, float | None]) -> float | None:
    """Mean of the known values."""
    found = [value for value in values.values() if value is not None]
    return sum(found) / len(found) if found else None
