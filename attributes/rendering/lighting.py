"""Estimate the light on a face from its skin, so that drawn objects are lit like the skin.

The luminance of skin is approximately its albedo times a smooth function of the normal. Second-order spherical
harmonics represent it up to a few per cent for a convex matte object (Ramamoorthi and Hanrahan 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.spatial import cKDTree

from attributes.rendering.mesh import FaceMesh

CELL = 16
"""Side in pixels of the averages for local light. Hair and pores are smaller."""

SAMPLES = 120
"""Number of skin vertices that the light is fitted to."""

SMOOTHING = 2.0
"""Standard deviation of the smoothing over time, in frames."""

EVERY = 2
"""The light is estimated in every second frame and interpolated, because it is smoothed over more frames than that."""


@dataclass(frozen=True, eq=False)
class Lighting:
    """Light on selected vertices over a clip.

    Attributes:
        shading: float32 ``[T, P]``, factor on the colour of a surface; 1 for the brightest skin.
        gloss: float32 ``[T, P]``, strength of the reflection of the main light in 0..1.
        white: float32 ``[T]``, brightness of white paper at shading 1, in 0..1.
        tint: float32 ``[3]``, colour of the light, with mean 1.
    """

    shading: np.ndarray
    gloss: np.ndarray
    white: np.ndarray
    tint: np.ndarray


def normals(vertices: np.ndarray, triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Unit normals float32 ``[T, P, 3]`` at the vertices `points`, weighted by area; z < 0 faces the viewer.

    Args:
        vertices: ``[T, V, 3]``.
        triangles: ``[F, 3]``.
        points: ``[P]``.
    """
    row = np.full(vertices.shape[1], -1)
    row[points] = np.arange(len(points))
    near = triangles[(row[triangles] >= 0).any(axis=1)]
    a, b, c = (vertices[:, near[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    corner, triangle = row[near].T.reshape(-1), np.tile(np.arange(len(near)), 3)
    kept = corner >= 0
    incidence = scipy.sparse.csr_matrix(
        (np.ones(kept.sum(), np.float32), (corner[kept], triangle[kept])), shape=(len(points), len(near))
    )
    summed = incidence @ faces.transpose(1, 0, 2).reshape(len(near), -1)
    summed = summed.reshape(len(points), len(vertices), 3).transpose(1, 0, 2)
    return summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-9)


def harmonics(n: np.ndarray) -> np.ndarray:
    """The nine real spherical harmonics up to order 2, without their constants: ``[..., 3]`` -> ``[..., 9]``."""
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], axis=-1)


def light(frames: Sequence[np.ndarray], mesh: FaceMesh, patch: np.ndarray) -> Lighting:
    """Estimate the light of a clip at the vertices `patch` of its mesh.

    Args:
        frames: uint8 ``[T, H, W, 3]``.
        mesh: mesh of the clip, present in every frame.
        patch: int ``[P]`` vertex indices.
    """
    count = len(frames)
    keys = np.unique(np.append(np.arange(0, count, EVERY), count - 1))
    read = _light([frames[k] for k in keys], replace(mesh, vertices=mesh.vertices[keys]), patch)
    after = np.clip(np.searchsorted(keys, np.arange(count)), 1, max(len(keys) - 1, 1))
    if len(keys) == 1:
        return read
    share = ((np.arange(count) - keys[after - 1]) / (keys[after] - keys[after - 1])).astype(np.float32)

    def between(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return values[after - 1] * (1 - weight) + values[after] * weight

    return Lighting(between(read.shading), between(read.gloss), between(read.white), read.tint)


def _light(frames: Sequence[np.ndarray], mesh: FaceMesh, patch: np.ndarray) -> Lighting:
    """Estimate the light of every frame."""
    height, width = frames[0].shape[:2]
    small = np.stack([_reduced(frame) for frame in frames]).astype(np.float32)
    luma = small @ np.array([0.2126, 0.7152, 0.0722], np.float32) / 255
    skin = _skin(mesh)
    points, at_patch = np.unique(np.concatenate([skin, patch]), return_inverse=True)
    at_skin, at_patch = at_patch[: len(skin)], at_patch[len(skin) :]
    scale = np.array([luma.shape[2] / width, luma.shape[1] / height], np.float32)
    where = (mesh.vertices[:, points, :2] * scale - 0.5).astype(np.float32)
    seen = np.stack([map_coordinates(y, w.T[::-1], order=1, mode="nearest") for y, w in zip(luma, where)])
    n = normals(mesh.vertices, mesh.triangles, points)
    inside = ((where > 0) & (where < np.array(luma.shape[:0:-1]) - 1)).all(axis=-1)
    weight = (np.clip(-n[..., 2], 0, 1) * inside)[:, at_skin]
    basis = harmonics(n)
    coefficients = _fit(basis[:, at_skin], seen[:, at_skin], weight)
    coefficients = gaussian_filter1d(coefficients, SMOOTHING / EVERY, axis=0, mode="nearest")
    smooth = (basis @ coefficients[..., None])[..., 0]
    reference = [
        np.percentile(y[w > 0.3], 85) if (w > 0.3).any() else y.mean() for y, w in zip(smooth[:, at_skin], weight)
    ]
    reference = gaussian_filter1d(np.maximum(reference, 0.02), SMOOTHING / EVERY, mode="nearest")[:, None]
    local = gaussian_filter1d(seen[:, at_patch], SMOOTHING / EVERY / 2, axis=0, mode="nearest")
    smooth = smooth[:, at_patch]
    shading = np.sqrt(np.clip(smooth / reference, 0.2, 1.15) * np.clip(local / reference, 0.2, 1.2))
    bright = np.percentile(luma.reshape(len(luma), -1), 97, axis=1)
    # Bright skin reflects about 60 % of white. Dark skin tells little about it, so the brightest pixels count too.
    bright = gaussian_filter1d(bright, SMOOTHING / EVERY, mode="nearest")
    white = np.clip(np.maximum(1.25 * reference[:, 0], 0.92 * bright), 0.08, 1)
    mean = small.reshape(-1, 3).mean(axis=0) + 8
    tint = np.clip((mean / mean.mean()) ** 0.3, 0.9, 1.1)
    return Lighting(
        shading=shading.astype(np.float32),
        gloss=_mirror(n[:, at_patch], coefficients).astype(np.float32),
        white=white.astype(np.float32),
        tint=(tint / tint.mean()).astype(np.float32),
    )


def _reduced(frame: np.ndarray) -> np.ndarray:
    """Averages over `CELL` x `CELL` pixels, from every fourth pixel of every fourth row."""
    import cv2

    height, width = frame.shape[:2]
    sampled = np.ascontiguousarray(frame[2::4, 2::4] if min(height, width) >= 64 else frame)
    return cv2.resize(sampled, (max(width // CELL, 2), max(height // CELL, 2)), interpolation=cv2.INTER_AREA)


def _skin(mesh: FaceMesh) -> np.ndarray:
    """About `SAMPLES` vertices of the skin, away from eyes, brows and lips."""
    names = ("left_eye", "right_eye", "left_brow", "right_brow", "lips")
    features = mesh.rest[np.concatenate([mesh.regions[name] for name in names])]
    apart, _ = cKDTree(features).query(mesh.rest)
    skin = np.flatnonzero(apart > 0.08)
    return skin[:: max(1, len(skin) // SAMPLES)]


def _fit(basis: np.ndarray, seen: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Robust ridge regression per frame, ``[T, 9]``. Outliers (hair, hands, highlights) lose weight."""
    ridge = np.diag([1e-4, 1e-2, 1e-2, 1e-2, 0.1, 0.1, 0.1, 0.1, 0.1]) * basis.shape[1]
    weight = weight + 1e-6
    for _ in range(3):
        weighted = (basis * weight[..., None]).transpose(0, 2, 1)
        coefficients = np.linalg.solve(weighted @ basis + ridge, weighted @ seen[..., None])
        residual = np.abs((basis @ coefficients)[..., 0] - seen)
        weight = weight / (1 + (residual / 0.08) ** 2)
    return coefficients[..., 0]


def _mirror(n: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Blinn-Phong reflection of the main light at normals ``[T, P, 3]``."""
    main = coefficients[:, 1:4] + np.array([0, -0.05, -0.1])  # a little light from above, in case the face shows none
    main = main / np.linalg.norm(main, axis=1, keepdims=True)
    half = main + np.array([0, 0, -1.0])
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    return np.clip(np.einsum("tpc,tc->tp", n, half), 0, 1) ** 24
