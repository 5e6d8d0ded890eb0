"""Cast rays against the glasses and the head, with Embree on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.placement import HeadTrack
from attributes.rendering.renderer import EmbreeRenderer, Window

AWAY = 500.0
"""Distance in millimetres from the head to the origins of the rays."""


@dataclass(frozen=True, eq=False)
class Hits:
    """The first hit of each ray.

    Attributes:
        depth: float32 ``[R]``, millimetres along the ray; infinite for rays that miss.
        triangle: int32 ``[R]``; -1 for rays that miss.
        weights: float32 ``[R, 3]``, barycentric.
    """

    depth: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    def interpolate(self, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolate vertex `values` ``[V, C]`` at the hits: ``[R, C]``."""
        corners = triangles[self.triangle]
        out = self.weights[:, :1] * values[corners[:, 0]]
        out += self.weights[:, 1:2] * values[corners[:, 1]]
        out += self.weights[:, 2:] * values[corners[:, 2]]
        return out

    def __getitem__(self, kept: np.ndarray) -> Hits:
        return Hits(self.depth[kept], self.triangle[kept], self.weights[kept])

    def __add__(self, other: Hits) -> Hits:
        return Hits(
            np.concatenate([self.depth, other.depth]),
            np.concatenate([self.triangle, other.triangle]),
            np.concatenate([self.weights, other.weights]),
        )


class Scene:
    """A mesh as a target of rays.

    Args:
        renderer: owns the Embree device.
        vertices: float32 ``[V, 3]``.
        triangles: int32 ``[F, 3]``; may be empty.
    """

    def __init__(self, renderer: EmbreeRenderer, vertices: np.ndarray, triangles: np.ndarray):
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.triangles = triangles
        if len(triangles):
            self._scene = EmbreeScene(device=renderer.device)
            # Kept alive: the scene holds a bare pointer to it.
            self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices, np.float32), triangles)

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Nearest hits of rays, float32 ``[R, 3]``, with unit directions."""
        count = len(origins)
        if not len(self.triangles) or not count:
            return Hits(np.full(count, np.inf, np.float32), np.full(count, -1, np.int32), np.zeros((count, 3), "f4"))
        found = self._scene.run(origins, directions, query="INTERSECT", output=True)
        triangle = np.asarray(found["primID"], np.int32)
        u, v = np.asarray(found["u"]), np.asarray(found["v"])
        depth = np.where(triangle >= 0, np.asarray(found["tfar"]), np.inf).astype(np.float32)
        return Hits(depth, triangle, np.stack([1 - u - v, u, v], axis=1).astype(np.float32))

    def blocked(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Whether each ray hits anything: bool ``[R]``."""
        if not len(self.triangles) or not len(origins):
            return np.zeros(len(origins), bool)
        return np.asarray(self._scene.run(origins, directions, query="OCCLUDED")) == 0


@dataclass(frozen=True, eq=False)
class Rays:
    """The camera's rays in head coordinates. Like the landmarks, they have no perspective."""

    track: HeadTrack
    t: int

    def of(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins and directions, float32 ``[S, 3]``, of the rays through points ``[S, 2]`` of the frame."""
        at = np.empty((len(position), 3))
        at[:, :2] = position
        at[:, 2] = self.track.translation[self.t, 2] - AWAY * self.track.scale[self.t]
        origins = self.track.to_head(self.t, at).astype(np.float32)
        return origins, np.tile(self.track.rotation[self.t, 2].astype(np.float32), (len(at), 1))


@dataclass(frozen=True, eq=False)
class Samples:
    """Sample points in a window, several per pixel near edges.

    Attributes:
        pixel: int64 ``[S]``, index into the flattened window.
        position: float32 ``[S, 2]``, x and y in pixels of the frame.
        weight: float32 ``[S]``, share of the pixel.
    """

    pixel: np.ndarray
    position: np.ndarray
    weight: np.ndarray

    def sums(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Weighted sums of ``[S, C]`` over the samples of each pixel: float32 ``[h, w, C]``."""
        from scipy.sparse import csc_matrix

        count, total = shape[0] * shape[1], len(self.pixel)
        gather = csc_matrix((self.weight, self.pixel, np.arange(total + 1)), shape=(count, total))
        return (gather @ values.astype(np.float32, copy=False)).reshape(*shape, values.shape[1])

    def __getitem__(self, kept: np.ndarray) -> Samples:
        return Samples(self.pixel[kept], self.position[kept], self.weight[kept])

    def __add__(self, other: Samples) -> Samples:
        return Samples(
            np.concatenate([self.pixel, other.pixel]),
            np.concatenate([self.position, other.position]),
            np.concatenate([self.weight, other.weight]),
        )


def samples(pixels: np.ndarray, window: Window, fine: int) -> Samples:
    """Samples in a `fine` x `fine` grid inside each of the `pixels`, which are indices into the flattened window."""
    x0, y0, x1, _ = window
    offsets = (np.arange(fine, dtype=np.float32) + 0.5) / fine
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(1, -1, 2)
    corner = np.stack([pixels % (x1 - x0) + x0, pixels // (x1 - x0) + y0], axis=1).astype(np.float32)
    return Samples(
        np.repeat(pixels, fine**2),
        (corner[:, None] + grid).reshape(-1, 2),
        np.full(len(pixels) * fine**2, 1 / fine**2, np.float32),
    )
