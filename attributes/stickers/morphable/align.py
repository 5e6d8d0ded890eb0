"""Align the reference face, the mean of mediapipe's mesh, with the mean of a morphable model.

Three steps: a similarity, from the file's named landmarks if there are enough, else from the nose and a search over
sizes; iterative closest points (Besl and McKay 1992) on positions and normals; and a smooth warp, because the two means
are different people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.stickers.morphable.model import MorphableModel
from toolkit.errors import InputError
from toolkit.faces.topology import Topology

NOSE_TIP = 1
NAMED = {
    "center.nose.tip": NOSE_TIP,
    "right.eye.corner_outer": 33,
    "right.eye.corner_inner": 133,
    "left.eye.corner_inner": 362,
    "left.eye.corner_outer": 263,
    "right.lips.corner": 61,
    "left.lips.corner": 291,
}
"""Landmarks of the Basel files, and the same points of mediapipe's mesh."""

NORMAL_WEIGHT = 0.3
"""Cost in a match of a normal rotated by about 60 degrees, in distances between the outer eye corners."""

WORST_FIT = 0.08
"""Mean distance above which the surface is not a face, in distances between the outer eye corners."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """``scale * points @ rotation.T + translation``."""

    rotation: np.ndarray
    scale: float
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Transform points ``[M, 3]``."""
        return self.scale * points @ self.rotation.T + self.translation


def similarity(source: np.ndarray, target: np.ndarray) -> Similarity:
    """Least-squares similarity from source to target points ``[M, 3]`` (Umeyama 1991)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    x, y = source - a, target - b
    u, s, vt = np.linalg.svd(y.T @ x)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ (sign[:, None] * vt)
    scale = float((s * sign).sum() / (x * x).sum())
    return Similarity(rotation, scale, b - scale * rotation @ a)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals ``[V, 3]``, weighted by the area of the triangles at each vertex; zero without triangles."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normals = np.zeros(vertices.shape)
    face = np.cross(b - a, c - a)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


class Aligner:
    """The reference face aligned with the mean of a model.

    Attributes:
        similarity: transform from the axes and unit of the reference to those of the model.
        points: ``[N, 3]``, mesh points of the reference on the surface of the model, in the model's unit.
        eye_distance: distance between the outer eye corners, in the model's unit.

    Raises:
        InputError: no alignment fits, so the model is not a face with x across, y up and z forward.
    """

    def __init__(self, model: MorphableModel, reference: Topology):
        from scipy.spatial import cKDTree

        used = np.unique(reference.triangles)
        self._used = used
        self._source = reference.mean[used].astype(np.float64)
        self._source_normals = vertex_normals(reference.mean.astype(np.float64), reference.triangles)[used]
        self._vertices = model.mean.astype(np.float64)
        self._normals = vertex_normals(self._vertices, model.triangles)
        # The face is on the front, and a tree without the back of the head is faster.
        front = np.flatnonzero(self._normals[:, 2] < 0.3)
        self._front = front if len(front) > 100 else np.arange(len(self._vertices))
        self._trees: dict[float, cKDTree] = {}
        self._tree = cKDTree

        # The start with the best fit of positions and normals, which match eye sockets, lips and nose.
        found = [self._closest(start, rounds=25) for start in self._named(model)]
        if not found or found[0][1] > WORST_FIT:
            found = [self._closest(start, rounds=25) for start in self._search(reference)]
        start, _ = min(found, key=lambda pair: pair[1])
        self.similarity, fit = self._closest(start, rounds=25)
        if not np.isfinite(fit) or fit > WORST_FIT:
            raise InputError(
                f"{model.name}: expected the surface of a face that looks along z with y up, but the mean face fits "
                f"only to {fit:.2f} of the distance between the eyes; use the file as published by its owners"
            )
        warped = self._warp()
        self.points = np.full(reference.mean.shape, np.nan)
        self.points[used] = warped
        across = self.points[263] - self.points[33]
        self.eye_distance = float(np.linalg.norm(across))

    def _named(self, model: MorphableModel) -> list[Similarity]:
        known = [(index, model.landmarks[name]) for name, index in NAMED.items() if name in model.landmarks]
        if len(known) < 4:
            return []
        rows = {int(v): row for row, v in enumerate(self._used)}
        source = np.array([self._source[rows[index]] for index, _ in known])
        return [similarity(source, np.array([point for _, point in known], np.float64))]

    def _search(self, reference: Topology) -> list[Similarity]:
        """Starts with the nose on the foremost point, in sizes for cropped faces and full heads."""
        front = self._vertices[self._front]
        low, high = front.min(axis=0), front.max(axis=0)
        central = np.abs(front[:, 0] - (low[0] + high[0]) / 2) < 0.15 * (high[0] - low[0])
        band = front[central]
        nose = band[band[:, 2].argmin()]
        near = front[np.abs(front[:, 1] - nose[1]) < 0.05 * (high[1] - low[1])]
        width = np.ptp(near[:, 0])
        unit = width / np.ptp(self._source[:, 0])
        tip = reference.mean[NOSE_TIP].astype(np.float64)
        return [Similarity(np.eye(3), s, nose - s * tip) for s in unit * np.array([0.65, 0.75, 0.85, 0.95, 1.05])]

    def _features(self, scale: float):
        """A tree over the front vertices with their normals. The scale is rounded, so that few trees are built."""
        key = round(float(np.log(scale)), 1)
        if key not in self._trees:
            normals = self._normals[self._front] * NORMAL_WEIGHT * np.exp(key)
            self._trees[key] = self._tree(np.hstack([self._vertices[self._front], normals]))
        return self._trees[key], np.exp(key)

    def _match(self, placed: np.ndarray, normals: np.ndarray, scale: float) -> np.ndarray:
        tree, unit = self._features(scale)
        _, index = tree.query(np.hstack([placed, normals * NORMAL_WEIGHT * unit]))
        return self._front[index]

    def _closest(self, start: Similarity, rounds: int) -> tuple[Similarity, float]:
        """Iterative closest points. The fit is the mean distance of the better 80 %, in eye distances."""
        placing = start
        for _ in range(rounds):
            placed = placing.apply(self._source)
            found = self._match(placed, self._source_normals @ placing.rotation.T, placing.scale)
            distance = np.linalg.norm(self._vertices[found] - placed, axis=1)
            kept = distance <= np.quantile(distance, 0.85)
            placing = similarity(self._source[kept], self._vertices[found[kept]])
        placed = placing.apply(self._source)
        found = self._match(placed, self._source_normals @ placing.rotation.T, placing.scale)
        distance = np.sort(np.linalg.norm(self._vertices[found] - placed, axis=1) / placing.scale)
        return placing, float(distance[: int(0.8 * len(distance))].mean())

    def _warp(self) -> np.ndarray:
        """Warp the aligned reference smoothly onto the surface, stiffly at first, in units of the eye distance."""
        from scipy.interpolate import RBFInterpolator

        scale = self.similarity.scale
        placed = self.similarity.apply(self._source)
        normals = self._source_normals @ self.similarity.rotation.T
        for smoothing in (3.0, 1.0, 0.3, 0.1):
            found = self._match(placed, normals, scale)
            move = self._vertices[found] - placed
            far = np.linalg.norm(move, axis=1) > 0.2 * scale
            if far.mean() > 0.5:
                break
            # The outline may be outside a cropped model; it then follows its neighbours.
            bend = RBFInterpolator(
                placed[~far] / scale, move[~far], kernel="thin_plate_spline", smoothing=smoothing, degree=1
            )
            placed = placed + bend(placed / scale)
        return placed
