"""Finds the frames in which an edit is worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.evaluate.results import Column, VideoResult

APART = 1.0
"""Seconds between two moments of one video, at least."""


@dataclass(frozen=True)
class Moment:
    """A frame in which a method scores badly.

    Attributes:
        method, video: names.
        column: the measure.
        time: in seconds, in the original.
        value: of the measure in this frame; infinite only if that is bad.
    """

    method: str
    video: str
    column: Column
    time: float
    value: float


def worst_moments(
    columns: Sequence[Column], results: Mapping[str, Iterable[VideoResult]], count: int
) -> dict[str, list[Moment]]:
    """Column -> the worst frames of all methods, worst first.

    Each method has at most `count` moments, `APART` seconds apart within a video. A method whose values are all equal
    has none.

    Args:
        columns: of the evaluation.
        results: method -> its videos.
        count: moments for each method and column.
    """
    found = {}
    for column in columns:
        moments = [moment for method, videos in results.items() for moment in _of_method(column, method, videos, count)]
        found[column.name] = sorted(moments, key=_badness, reverse=True)
    return found


def _of_method(column: Column, method: str, videos: Iterable[VideoResult], count: int) -> list[Moment]:
    moments = [
        Moment(method, video.name, column, time, value)
        for video in videos
        if video.failed is None
        for time, value in zip(video.times, video.per_frame.get(column.name, ()), strict=False)
        if value is not None and not math.isnan(value)
    ]
    if len({moment.value for moment in moments}) < 2:
        return []
    chosen: list[Moment] = []
    for moment in sorted(moments, key=_badness, reverse=True):
        if len(chosen) == count or _badness(moment) == -math.inf:
            break
        if all(moment.video != other.video or abs(moment.time - other.time) >= APART for other in chosen):
            chosen.append(moment)
    return chosen


def _badness(moment: Moment) -> float:
    return moment.value if moment.column.better == "lower" else -moment.value
