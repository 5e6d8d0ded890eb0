"""Build the solids that glasses consist of: swept sections, curved discs, ellipsoids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SECTION = 10
"""Points per swept section."""

RINGS = 6
"""Rings per disc."""


@dataclass(frozen=True, eq=False)
class Solid:
    """Vertices ``[V, 3]``, triangles ``[F, 3]`` wound outwards, unit normals ``[V, 3]``, uv ``[V, 2]``."""

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    uv: np.ndarray


def sweep(
    path: np.ndarray,
    across: np.ndarray,
    half_across: float | np.ndarray,
    half_deep: float | np.ndarray,
    exponent: float,
    closed: bool,
) -> Solid:
    """Sweep a superelliptic section along a path.

    Args:
        path: ``[N, 3]``.
        across: ``[N, 3]``, approximate direction of the section's first axis; made perpendicular to the path.
        half_across, half_deep: half the section's size along the first and the second axis, ``[N]`` or a number.
        exponent: 2 for an ellipse, 4 for a rounded rectangle.
        closed: whether the path returns to its start; otherwise its ends are capped.

    Returns:
        A closed surface; u runs along the path from 0 to 1, v around the section.
    """
    count = len(path)
    if closed:
        tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        tangent = np.gradient(path, axis=0)
    tangent = _unit(tangent)
    first = _unit(across - (across * tangent).sum(axis=1, keepdims=True) * tangent)
    second = np.cross(tangent, first)
    angle = 2 * np.pi * np.arange(SECTION) / SECTION
    power = 2 / exponent
    c, s = np.cos(angle), np.sin(angle)
    a, b = np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power
    wide = np.broadcast_to(half_across, count)[:, None, None]
    deep = np.broadcast_to(half_deep, count)[:, None, None]
    vertices = path[:, None] + first[:, None] * a[:, None] * wide + second[:, None] * b[:, None] * deep
    # A smoothed gradient of |x/w|^e + |y/d|^e, so that flat faces keep round edges.
    normals = _unit(first[:, None] * c[:, None] / wide + second[:, None] * s[:, None] / deep)
    rings = np.arange(count) if not closed else np.append(np.arange(count), 0)
    k, j = np.meshgrid(np.arange(len(rings) - 1), np.arange(SECTION), indexing="ij")
    near, far, after = rings[k] * SECTION, rings[k + 1] * SECTION, (j + 1) % SECTION
    triangles = np.concatenate(
        [np.stack([near + j, near + after, far + j], -1), np.stack([near + after, far + after, far + j], -1)]
    ).reshape(-1, 3)
    vertices, normals = vertices.reshape(-1, 3), normals.reshape(-1, 3)
    uv = np.stack(np.meshgrid(np.arange(count) / max(count - 1, 1), angle / (2 * np.pi), indexing="ij"), -1).reshape(
        -1, 2
    )
    if not closed:
        around = np.arange(SECTION)
        caps = []
        for end, way in ((0, -1), (count - 1, 1)):
            centre, ring = len(vertices), end * SECTION + around
            vertices = np.concatenate([vertices, path[None, end]])
            normals = np.concatenate([normals, way * tangent[None, end]])
            uv = np.concatenate([uv, [[end / max(count - 1, 1), 0]]])
            pair = (ring, np.roll(ring, -1)) if way > 0 else (np.roll(ring, -1), ring)
            caps.append(np.stack([np.full(SECTION, centre), *pair], axis=1))
        triangles = np.concatenate([triangles, *caps])
    return _outward(Solid(vertices, triangles, normals, uv))


def disc(points_at: Callable[[float], np.ndarray], rim: np.ndarray, facing: np.ndarray) -> Solid:
    """A curved sheet inside an outline.

    Args:
        points_at: function from a share 0..1 of the outline's size to the scaled outline ``[N, 3]``.
        rim: ``[N, 2]``, the outline, for uv in -1..1 over its bounding box.
        facing: ``[3]``, direction on whose side the normals are.
    """
    count = len(rim)
    shares = np.linspace(0, 1, RINGS + 1)[1:]
    vertices = np.concatenate([points_at(0.0)[:1], *(points_at(share) for share in shares)])
    uv = rim / np.abs(rim).max(axis=0)
    uv = np.concatenate([[[0, 0]], *(uv * share for share in shares)])
    j = np.arange(count)
    after = (j + 1) % count
    triangles = [np.stack([np.zeros(count, int), 1 + j, 1 + after], axis=1)]
    for k in range(RINGS - 1):
        near, far = 1 + k * count, 1 + (k + 1) * count
        triangles += [np.stack([near + j, far + j, near + after], 1), np.stack([near + after, far + j, far + after], 1)]
    triangles = np.concatenate(triangles)
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    faces = np.cross(b - a, c - a)
    if faces.sum(axis=0) @ facing < 0:
        triangles, faces = triangles[:, [0, 2, 1]], -faces
    normals = np.zeros_like(vertices)
    np.add.at(normals, triangles, faces[:, None])
    return Solid(vertices, triangles, _unit(normals), uv)


def ellipsoid(centre: np.ndarray, radii: np.ndarray) -> Solid:
    """A closed, axis-aligned ellipsoid."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=1)
    points = np.asarray(ball.vertices)
    normals = _unit(points / radii)
    return _outward(Solid(centre + points * radii, np.asarray(ball.faces), normals, np.zeros((len(points), 2))))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _outward(solid: Solid) -> Solid:
    """The solid, wound so that the enclosed volume is positive."""
    a, b, c = (solid.vertices[solid.triangles[:, k]] for k in range(3))
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        return Solid(solid.vertices, solid.triangles[:, [0, 2, 1]], solid.normals, solid.uv)
    return solid
