"""Locate an analyser's landmarks and the face on a morphable model.

No format needs a hand-made table: everything follows from the reference face that `align` fits to the model's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attributes.stickers.morphable.align import Aligner, similarity, vertex_normals
from attributes.stickers.morphable.model import MorphableModel
from toolkit.errors import InputError
from toolkit.faces.topology import Topology, load_topology

REFERENCE = "mediapipe478"
SHARED_REGIONS = ("left_eye", "right_eye", "lips", "nose", "left_brow", "right_brow")
MESH_REGIONS = ("left_eye", "right_eye", "lips", "left_brow", "right_brow", "oval", "nose")
OUTLINES = ("oval", "jaw")
"""Regions whose landmarks follow the visible edge of the face. Each topology has one of them."""

REACH = 0.12
"""Largest distance of a vertex of the face from the surface of the reference, in eye distances."""


@dataclass(frozen=True, eq=False)
class LandmarkPoints:
    """Points on the surface of a model.

    Attributes:
        index: int ``[M]``, the landmarks with a point.
        vertices: int ``[M, 3]``, corners of the triangle of each point.
        weights: float64 ``[M, 3]``, barycentric coordinates of each point.
        side: int ``[M]``: 0 inside the face, -1 or 1 on its outline on the left or right of the picture.
    """

    index: np.ndarray
    vertices: np.ndarray
    weights: np.ndarray
    side: np.ndarray

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Interpolate values at the vertices ``[V, ...]`` at the points: float64 ``[M, ...]``."""
        return np.einsum("mc,mc...->m...", self.weights, values[self.vertices].astype(np.float64))


class Correspondence:
    """The mean of a model, aligned with the reference face.

    Attributes:
        eye_distance: distance between the outer eye corners of the mean, in the model's unit.
        rest: float32 ``[V, 3]``, the mean in the axes of the reference and in units of `eye_distance`.
    """

    def __init__(self, model: MorphableModel):
        self._model = model
        self._reference = load_topology(REFERENCE)
        aligner = Aligner(model, self._reference)
        self._placed = aligner.points
        self.eye_distance = aligner.eye_distance
        placing = aligner.similarity
        corners = self._placed[[33, 263]]
        self.rest = ((model.mean - corners.mean(axis=0)) @ placing.rotation / self.eye_distance).astype(np.float32)
        self._placed_rest = (self._placed - corners.mean(axis=0)) @ placing.rotation / self.eye_distance

    @cached_property
    def face(self) -> np.ndarray:
        """Vertices of the face, int ``[V']``: near the reference, with the same orientation, and not in its holes."""
        from scipy.spatial import cKDTree
        from skimage.measure import points_in_poly

        triangles = self._reference.triangles
        corners = self._placed_rest[triangles]
        weights = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [1, 1, 0], [1, 0, 1], [0, 1, 1]], float)
        weights /= weights.sum(axis=1, keepdims=True)
        # Vertex normals, because one triangle of the reference beside the nose faces the other way.
        normals = vertex_normals(self._placed_rest, triangles)[triangles].mean(axis=1)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        surface = np.einsum("sc,fci->fsi", weights, corners).reshape(-1, 3)
        distance, nearest = cKDTree(surface).query(self.rest, distance_upper_bound=REACH)
        near = np.isfinite(distance)
        facing = np.zeros(len(near))
        facing[near] = (self._rest_normals[near] * normals[nearest[near] // len(weights)]).sum(axis=1)
        kept = near & (facing > 0.1)
        for region in ("left_eye", "right_eye", "lips_inner"):
            contour = self._placed_rest[self._reference.regions[region], :2]
            inside = points_in_poly(self.rest[:, :2], _shrink(contour, 0.9))
            kept &= ~inside
        return np.flatnonzero(self._largest_part(kept))

    @cached_property
    def _rest_normals(self) -> np.ndarray:
        return vertex_normals(self.rest.astype(np.float64), self._model.triangles)

    def _largest_part(self, kept: np.ndarray) -> np.ndarray:
        """The largest connected piece. Eyeballs, lashes and teeth are separate pieces."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        inner = self._model.triangles[kept[self._model.triangles].all(axis=1)]
        if not len(inner):
            raise InputError(f"{self._model.name}: expected the surface of a face in the model, found none")
        edges = np.concatenate([inner[:, :2], inner[:, 1:]])
        graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(kept), len(kept)))
        _, label = connected_components(graph, directed=False)
        used = np.zeros(len(kept), bool)
        used[inner] = True
        return used & (label == np.bincount(label[used]).argmax())

    @cached_property
    def triangles(self) -> np.ndarray:
        """Triangles of the face as indices into `face`: int32 ``[F', 3]``."""
        row = np.full(len(self._model.mean), -1, np.int32)
        row[self.face] = np.arange(len(self.face), dtype=np.int32)
        mapped = row[self._model.triangles]
        return mapped[(mapped >= 0).all(axis=1)]

    @cached_property
    def regions(self) -> dict[str, np.ndarray]:
        """The regions of `FaceMesh` as indices into `face`."""
        from scipy.spatial import cKDTree

        tree = cKDTree(self.rest[self.face])
        found = {}
        for name in MESH_REGIONS:
            _, index = tree.query(self._placed_rest[self._reference.regions[name]])
            _, first = np.unique(index, return_index=True)
            found[name] = index[np.sort(first)].astype(np.int32)
        return found

    def landmark_points(self, topology: Topology) -> LandmarkPoints:
        """Points of the landmarks on the face. Landmarks outside the mesh, such as irises, have no point.

        Raises:
            InputError: the topology lacks the regions that locate its landmarks.
        """
        positions = self._positions(topology)
        index = np.flatnonzero(np.isfinite(positions).all(axis=1))
        vertices, weights = self._project(positions[index])
        side = np.zeros(len(index), np.int64)
        outline = np.isin(index, [v for name in OUTLINES for v in topology.regions.get(name, ())])
        side[outline] = np.where(positions[index][outline, 0] < 0, -1, 1)
        return LandmarkPoints(index, vertices, weights, side)

    def _positions(self, topology: Topology) -> np.ndarray:
        """Landmarks of the topology's mean in the axes of `rest`."""
        if topology.name == REFERENCE:
            return self._placed_rest
        shared = [name for name in SHARED_REGIONS if name in topology.regions]
        if len(shared) < 4:
            raise InputError(
                f"expected at least four of the regions {', '.join(SHARED_REGIONS)} in the landmarks "
                f"{topology.name}, found {', '.join(shared) or 'none'}; use the mediapipe analyser"
            )
        middles = np.array([topology.mean[topology.regions[name]].mean(axis=0) for name in shared], np.float64)
        ours = np.array([self._placed_rest[self._reference.regions[name]].mean(axis=0) for name in shared])
        return similarity(middles, ours).apply(topology.mean.astype(np.float64))

    def _project(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest points on the face as corners ``[M, 3]`` of the model and barycentric weights ``[M, 3]``."""
        from scipy.spatial import cKDTree
        from trimesh.triangles import closest_point, points_to_barycentric

        triangles = self.face[self.triangles]
        corners = self.rest[triangles].astype(np.float64)
        # Neighbouring triangles have similar sizes, so the nearest triangle is among those with the nearest middles.
        _, candidates = cKDTree(corners.mean(axis=1)).query(positions, k=min(24, len(triangles)))
        count = candidates.shape[1]
        flat = candidates.ravel()
        nearest = closest_point(corners[flat], np.repeat(positions, count, axis=0)).reshape(len(positions), count, 3)
        best = np.linalg.norm(nearest - positions[:, None], axis=2).argmin(axis=1)
        rows = np.arange(len(positions))
        chosen = candidates[rows, best]
        weights = points_to_barycentric(corners[chosen], nearest[rows, best])
        weights = np.clip(np.nan_to_num(weights, nan=1 / 3), 0, 1)
        return triangles[chosen], weights / weights.sum(axis=1, keepdims=True)


def _shrink(contour: np.ndarray, factor: float) -> np.ndarray:
    return contour.mean(axis=0) + factor * (contour - contour.mean(axis=0))
