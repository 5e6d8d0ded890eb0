"""Summarises evaluations: means, worst videos, and groups of people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nano_report.variants import true_masks
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.evaluation import evaluate
from toolkit.evaluate.quality import psnr, psnr_of_video
from toolkit.evaluate.statistics import mean_over_videos
from toolkit.evaluate.tables import heading, interval, number
from toolkit.portraits import load_portraits
from toolkit.video import read_frames

INSIDE = "psnr_inside"

AGES = {"under 40": (0, 40), "40 to 64": (40, 65), "65 and more": (65, 200)}
"""Groups of ages: from, and below."""

TONES = {"light": (41.0, math.inf), "medium": (10.0, 41.0), "dark": (-math.inf, 10.0)}
"""Groups of skin tones by the individual typology angle in degrees: above, and up to. They join two classes each of
Chardon et al. (1991): very light and light, intermediate and tan, brown and dark."""

CHEEKS = (50, 280)
"""Landmarks in the middle of the cheeks."""


def measured(config: EvaluateConfig) -> dict[str, Any]:
    """Run an evaluation, or take up a finished one of the same videos, and summarise it.

    Returns:
        ``columns``: heading of each measure; ``cells``: method -> measure -> text with its 95 % interval; ``means``:
        method -> measure -> value; ``videos``: method -> name -> measure -> value.
    """
    evaluation = evaluate(config).evaluation
    rows: Mapping[str, Any] = evaluation.means
    failed = [
        f"{video.name}: {video.failed}" for method in evaluation.methods for video in method.videos if video.failed
    ]
    if failed:
        raise SystemExit("not measured: " + "; ".join(failed))
    return {
        "columns": {column.name: heading(column) for column in evaluation.columns},
        "cells": {
            method: {
                column.name: number(row[column.name].value, column) + interval(row[column.name], column)
                for column in evaluation.columns
            }
            for method, row in rows.items()
        },
        "means": {method: {name: finite(mean.value) for name, mean in row.items()} for method, row in rows.items()},
        "videos": {
            method.name: {
                video.name: {name: finite(value) for name, value in video.values.items()} for video in method.videos
            }
            for method in evaluation.methods
        },
    }


def likeness(videos: Path, edited: Path) -> dict[str, dict[str, float | None]]:
    """PSNR of edits with the target inside and outside the true mask, as `toolkit evaluate` measures it.

    Args:
        videos: folder with the folders ``with`` and ``without``.
        edited: folder of edits of the videos in ``with``.

    Returns:
        Video -> measure -> value.
    """
    found = {}
    for source in sorted((videos / "with").glob("*.mkv")):
        target = videos / "without" / source.name
        frames = zip(read_frames(edited / source.name), read_frames(target), true_masks(source, target), strict=True)
        levels = [psnr(one.image, other.image, mask) for one, other, mask in frames]
        found[source.name] = {
            f"psnr_{region}": finite(psnr_of_video([level[region] for level in levels]))
            for region in ("inside", "outside")
        }
    return found


def finite(value: float | None) -> float | None:
    """The value, or None if it is missing or not finite."""
    return value if value is not None and math.isfinite(value) else None


def inside(result: Mapping[str, Any], method: str) -> dict[str, float]:
    """PSNR inside the mask of each video of a method."""
    found = {name: values.get(INSIDE) for name, values in result["videos"][method].items()}
    return {name: value for name, value in found.items() if value is not None}


def ranked(values: Mapping[str, float]) -> list[str]:
    """Names by value, the worst first; equal values by name."""
    return sorted(values, key=lambda name: (values[name], name))


def spread(values: Mapping[str, float]) -> dict[str, Any]:
    """Mean, its 95 % interval, and the worst value with its name."""
    mean = mean_over_videos(list(values.values()))
    worst = ranked(values)[0]
    return {"mean": mean.value, "low": mean.low, "high": mean.high, "worst": values[worst], "worst_name": worst}


def age_group(age: int) -> str:
    """The group of `AGES` that an age in years belongs to."""
    return next(name for name, (low, high) in AGES.items() if low <= age < high)


def tone_group(angle: float) -> str:
    """The group of `TONES` that an individual typology angle in degrees belongs to."""
    return next(name for name, (low, high) in TONES.items() if low < angle <= high)


def typology_angle(colour: np.ndarray) -> float:
    """Individual typology angle in degrees of a colour ``[3]``, sRGB in 0..255: arctan((L* - 50) / b*)."""
    import cv2

    lab = cv2.cvtColor(np.float32(colour).reshape(1, 1, 3) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan2(lab[0] - 50, lab[2])))


def tone_of(portrait: Path) -> float:
    """Individual typology angle of the cheeks in a portrait, the median over their pixels; the light counts too."""
    picture = load_portraits([portrait])[0]
    width = float(np.ptp(picture.landmarks[:468, 0]))
    y, x = np.mgrid[: len(picture.image), : len(picture.image)]
    near = [np.hypot(x - px, y - py) < 0.07 * width for px, py in picture.landmarks[list(CHEEKS), :2]]
    return typology_angle(np.median(picture.image[near[0] | near[1]].astype(np.float32), axis=0))


def group_means(values: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, Any]:
    """Means by group, and how far the worst group is behind the mean over all videos.

    Args:
        values: of each video.
        groups: group of each video; videos that are in none are left out.

    Returns:
        ``groups``: name -> mean, lower and upper end of its 95 % interval (None for one video), number of videos;
        ``worst``: name of the worst; ``behind``: its distance to the mean, at least 0.
    """
    sorted_in: dict[str, list[float]] = {}
    for name, value in values.items():
        if name in groups:
            sorted_in.setdefault(groups[name], []).append(value)
    if not sorted_in:
        return {"groups": {}, "worst": None, "behind": None}
    found = {}
    for group, those in sorted_in.items():
        mean = mean_over_videos(those)
        found[group] = [mean.value, mean.low, mean.high, len(those)]
    worst = min(found, key=lambda group: (found[group][0], group))
    total = float(np.mean([value for those in sorted_in.values() for value in those]))
    return {"groups": found, "worst": worst, "behind": max(0.0, total - found[worst][0])}
