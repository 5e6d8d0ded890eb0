"""Draws measures over time as SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np

from toolkit.evaluate.results import Column, VideoResult
from toolkit.evaluate.tables import heading

POINTS = 400
"""Points of a line, at most; in longer videos they are the extremes of groups of frames."""

WIDTH, HEIGHT = 480, 150
LEFT, RIGHT, TOP, BOTTOM = 54, 472, 8, 128
"""Edges of the area in which lines are drawn."""

COLOURS = 7
"""Colours in the style sheet, classes ``m0``, ``m1``...; further methods repeat them with dashes."""


def method_class(index: int) -> str:
    """CSS class of a method's lines and swatches, everywhere on the page."""
    return f"m{index % COLOURS}" + (" dashed" if index >= COLOURS else "")


def plot(column: Column, found: Mapping[str, VideoResult]) -> str:
    """Draw one measure of all methods in one video; returns an empty string if no frame has a value.

    Args:
        found: method -> its result, in the order of the page.
    """
    series = {method: _series(column, video) for method, video in found.items()}
    if all(np.isnan(values).all() for _, values in series.values()):
        return ""
    finite = np.concatenate([values[np.isfinite(values)] for _, values in series.values()])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    end = max((float(times[-1] - times[0]) for times, _ in series.values() if len(times)), default=0.0)
    start = next(float(times[0]) for times, _ in series.values() if len(times))
    lines, keys = [], []
    for index, (method, (times, values)) in enumerate(series.items()):
        if np.isnan(values).all():
            continue
        drawn = _polylines(*thinned(times - times[0], values), end, low, high)
        lines.append(f'<g class="{method_class(index)}" data-method="{index}">{drawn}</g>')
        infinite = int(np.isinf(values).sum())
        note = f" <small>infinite in {infinite} of {len(values)} frames</small>" if infinite else ""
        keys.append(
            f'<span data-method="{index}"><i class="{method_class(index)}"></i> <bdi>{html.escape(method)}</bdi> '
            f"<output></output>{note}</span>"
        )
    return (
        f"<figure class=plot><figcaption><b>{html.escape(heading(column))}</b> {' '.join(keys)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(heading(column))} over time" '
        f'data-end="{end:.6f}" data-low="{low!r}" data-high="{high!r}" data-digits="{column.digits}">'
        f"{_axes(low, high, start, end) if len(finite) else ''}{''.join(lines)}"
        f'<line class=now x1="{LEFT}" x2="{LEFT}" y1="0" y2="{HEIGHT}"/></svg></figure>'
    )


def _series(column: Column, video: VideoResult) -> tuple[np.ndarray, np.ndarray]:
    """Times, and values in the column's unit; NaN for frames without a value."""
    count = 0 if video.failed else min(len(video.times), len(video.per_frame.get(column.name, ())))
    values = [np.nan if value is None else value for value in video.per_frame.get(column.name, ())[:count]]
    return np.array(video.times[:count], np.float64), np.array(values, np.float64) / column.unit


def _polylines(times: np.ndarray, values: np.ndarray, end: float, low: float, high: float) -> str:
    x = LEFT + (RIGHT - LEFT) * times / (end or 1.0)
    span = high - low
    # Two divisions, because the span of huge values can overflow.
    y = BOTTOM - (BOTTOM - TOP) * ((values / span - low / span) if span else np.full(len(values), 0.5))
    parts = []
    for part in _stretches(np.isfinite(values)):
        points = [f"{a:.1f},{b:.1f}" for a, b in zip(x[part], y[part], strict=True)]
        if len(points) == 1:
            points *= 2  # a line without length: its round ends draw a dot
        parts.append(f'<polyline points="{" ".join(points)}"/>')
    return "".join(parts)


def _axes(low: float, high: float, start: float, end: float) -> str:
    """Labels at the lowest, middle and highest value, and at the times of the first and last frame."""
    levels = [(BOTTOM, low), ((TOP + BOTTOM) / 2, low / 2 + high / 2), (TOP, high)]
    if low == high:
        levels = [((TOP + BOTTOM) / 2, low)]
    rows = "".join(
        f'<line class=grid x1="{LEFT}" x2="{RIGHT}" y1="{y:g}" y2="{y:g}"/>'
        f'<text x="{LEFT - 4}" y="{y + 4:g}" text-anchor="end">{value:.4g}</text>'
        for y, value in levels
    )
    times = [(LEFT, "start", start), (RIGHT, "end", start + end)] if end else [(LEFT, "start", start)]
    ticks = "".join(
        f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="{anchor}">{time:.2f} s</text>' for x, anchor, time in times
    )
    return rows + ticks


def thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a series to about `POINTS` points that include the extremes of each group of frames."""
    if len(values) <= POINTS:
        return times, values
    kept: list[int] = []
    for part in np.array_split(np.arange(len(values)), POINTS // 2):
        seen = part[np.isfinite(values[part])]
        kept += sorted({seen[values[seen].argmin()], seen[values[seen].argmax()]}) if len(seen) else [part[0]]
    return times[kept], values[kept]


def _stretches(where: np.ndarray) -> list[slice]:
    """Slices of consecutive true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(np.int8), [0]])))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
