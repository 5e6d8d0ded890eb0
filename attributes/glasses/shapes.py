"""Compute outlines of lenses: tapered superellipses and a rounded polygon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Form:
    """Deformation of a superellipse. x points away from the nose, y downwards, both in -1..1.

    Attributes:
        exponent: 2 for an ellipse; higher values are squarer.
        taper: excess width of the top over the bottom.
        lean: outward shift of the bottom (a teardrop).
        lift: upward shift of the upper outer corner.
        nose: cut of the lower inner corner for the nose.
        sides: number of sides of a rounded polygon; 0 for a superellipse.
    """

    exponent: float = 2.0
    taper: float = 0.0
    lean: float = 0.0
    lift: float = 0.0
    nose: float = 0.0
    sides: int = 0


_FORMS = {
    "round": _Form(),
    "oval": _Form(2.2, 0.03, 0.0, 0.02, 0.06),
    "panto": _Form(2.3, 0.1, 0.0, 0.0, 0.12),
    "rectangle": _Form(3.6, 0.06, 0.0, 0.05, 0.12),
    "square": _Form(3.8, 0.06, 0.0, 0.02, 0.12),
    "wayfarer": _Form(3.2, 0.13, 0.0, 0.12, 0.14),
    "aviator": _Form(2.5, 0.16, 0.12, 0.0, 0.22),
    "cat-eye": _Form(2.7, 0.1, 0.05, 0.34, 0.14),
    "hexagonal": _Form(sides=6),
    "oversized": _Form(3.0, 0.07, 0.03, 0.05, 0.14),
    "narrow": _Form(3.2, 0.04, 0.0, 0.03, 0.05),
}


def outline(style: str, width: float, height: float, count: int = 72) -> np.ndarray:
    """A closed outline with evenly spaced points, counter-clockwise when seen from the front.

    Args:
        style: one of `attributes.glasses.design.Style`.
        width, height: exact size in mm.
        count: number of points.

    Returns:
        float64 ``[count, 2]`` in mm from the middle of the bounding box; x away from the nose, y downwards.
    """
    form = _FORMS[style]
    angle = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    c, s = np.cos(angle), -np.sin(angle)
    if form.sides:
        # A regular polygon in polar coordinates. A soft maximum over the sides rounds its corners.
        directions = np.pi / form.sides + 2 * np.pi * np.arange(form.sides) / form.sides + np.pi / 2
        along = np.cos(angle[:, None] - directions)
        radius = 1 / (np.maximum(along, 0) ** 14).sum(axis=1) ** (1 / 14)
        x, y = radius * c, radius * s
    else:
        power = 2 / form.exponent
        x, y = np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power
        x = x * (1 - form.taper * y) + form.lean * y
        y = y - form.lift * np.clip(x, 0, None) ** 2 * np.clip(0.5 - 0.5 * y, 0, 1)
        x = x + form.nose * np.clip(-x, 0, None) ** 2 * np.clip(0.5 + 0.5 * y, 0, 1) * 1.6
    points = np.stack([x, y], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) / (high - low) * (width, height)
    return _fit(_even(points, count), width, height)


def _even(points: np.ndarray, count: int) -> np.ndarray:
    """`count` points evenly spaced along a closed polyline."""
    closed = np.concatenate([points, points[:1]])
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, way[-1], count, endpoint=False)
    return np.stack([np.interp(at, way, closed[:, k]) for k in range(2)], axis=1)


def _fit(points: np.ndarray, width: float, height: float) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) / (high - low) * (width, height)
