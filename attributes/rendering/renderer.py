"""Find the point of a mesh behind each pixel, by ray casting on the CPU or with pytorch3d.

The centre of the pixel in column i is at x = i + 0.5. The camera looks along +z without perspective, which matches the
z of the landmarks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toolkit.errors import MissingExtra, UsageError

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels; the right and lower end are excluded."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """Hits of a grid of samples over a window, one in the middle of each `step` x `step` pixels.

    Attributes:
        window: the covered pixels; its sides are multiples of `step`.
        step: pixels per sample, in each direction.
        triangle: int32 ``[h, w]``, index of the nearest triangle; -1 for misses.
        weights: float32 ``[h, w, 3]``, barycentric weights of its corners; 0 for misses.
    """

    window: Window
    step: int
    triangle: np.ndarray
    weights: np.ndarray

    def interpolate(self, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolate vertex `values` float32 ``[V, C]`` at every sample: ``[h, w, C]``, 0 for misses."""
        corners = triangles[self.triangle]
        weights = self.weights[..., None]
        out = weights[..., 0, :] * values[corners[..., 0]]
        out += weights[..., 1, :] * values[corners[..., 1]]
        out += weights[..., 2, :] * values[corners[..., 2]]
        return out


class UVRenderer(Protocol):
    """Finds the nearest triangle of a mesh for every sample of a window."""

    name: str

    def fragments(
        self, vertices: np.ndarray, triangles: np.ndarray, windows: Sequence[Window], step: int = 1
    ) -> list[Fragments]:
        """Fragments of the frames of a clip.

        Args:
            vertices: float32 ``[T, V, 3]``, x and y in pixels, z away from the viewer.
            triangles: int32 ``[F, 3]``.
            windows: one window per frame.
            step: pixels per sample, in each direction; windows grow right and down to hold whole samples.
        """
        ...


def covering(vertices: np.ndarray, triangles: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """Triangles that may be visible in the window of their frame: bool ``[T, F]``. The others are beyond one side."""
    x0, y0, x1, y1 = (np.array(windows, np.float32)[:, None, k] for k in range(4))
    x, y = vertices[..., 0], vertices[..., 1]
    # One bit per side that a vertex is beyond. A triangle is outside if its three corners share a bit.
    beyond = (x < x0) | (x > x1).astype(np.uint8) << 1 | (y < y0).astype(np.uint8) << 2 | (y > y1).astype(np.uint8) << 3
    return beyond[:, triangles[:, 0]] & beyond[:, triangles[:, 1]] & beyond[:, triangles[:, 2]] == 0


def _whole(window: Window, step: int) -> tuple[Window, int, int]:
    """The window, enlarged to whole samples, and its height and width in samples."""
    x0, y0, x1, y1 = window
    height, width = -(-(y1 - y0) // step), -(-(x1 - x0) // step)
    return (x0, y0, x0 + width * step, y0 + height * step), height, width


class EmbreeRenderer:
    """Casts one ray per sample, with Embree on the CPU.

    All frames share one scene, side by side, because building a scene costs more than the rays of a sticker.

    Attributes:
        device: the Embree device, for other scenes.
    """

    name = "embree"

    def __init__(self):
        from embreex.rtcore import EmbreeDevice

        # Embree creates as many threads as the process may use, which only costs time in scenes of a few thousand
        # triangles. One thread suits workers.
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
        if allowed:
            os.sched_setaffinity(0, {min(allowed)})
        try:
            self.device = EmbreeDevice()
        finally:
            if allowed:
                os.sched_setaffinity(0, allowed)

    def fragments(
        self, vertices: np.ndarray, triangles: np.ndarray, windows: Sequence[Window], step: int = 1
    ) -> list[Fragments]:
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh

        grids = [_whole(window, step) for window in windows]
        frame, face = np.nonzero(covering(vertices, triangles, [grid[0] for grid in grids]))
        if not len(frame):
            return [
                Fragments(w, step, np.full((h, n), -1, np.int32), np.zeros((h, n, 3), np.float32)) for w, h, n in grids
            ]
        # Near the origin, because Embree works in float32. Twice the width of the mesh separates the frames.
        left = np.array([w[:2] for w, _, _ in grids], np.float32)
        spacing = 2 * float(np.nanmax(np.ptp(vertices[..., 0], axis=1)) + max(w[2] - w[0] for w, _, _ in grids))
        shift = np.zeros((len(windows), 3), np.float32)
        shift[:, :2] = -left
        shift[:, 0] += spacing * np.arange(len(windows), dtype=np.float32)
        count = vertices.shape[1]
        used, indices = np.unique(triangles[face] + (frame * count)[:, None], return_inverse=True)
        points = vertices.reshape(-1, 3)[used] + shift[used // count]
        origins = []
        for t, (_, height, width) in enumerate(grids):
            grid = np.empty((height, width, 3), np.float32)
            grid[..., 0] = (np.arange(width, dtype=np.float32) + 0.5) * step + spacing * t
            grid[..., 1] = ((np.arange(height, dtype=np.float32) + 0.5) * step)[:, None]
            origins.append(grid.reshape(-1, 3))
        origins = np.concatenate(origins)
        origins[:, 2] = points[:, 2].min() - 1
        directions = np.zeros_like(origins)
        directions[:, 2] = 1
        scene = rtcore_scene.EmbreeScene(device=self.device)
        # The scene keeps a bare pointer to the geometry, so a reference must stay alive.
        geometry = TriangleMesh(scene, points, indices.reshape(-1, 3).astype(np.int32))
        hits = scene.run(origins, directions, query="INTERSECT", output=True)
        del geometry
        found = hits["primID"].astype(np.int64)
        hit = found >= 0
        u, v = np.asarray(hits["u"]), np.asarray(hits["v"])
        weights = np.stack([1 - u - v, u, v], axis=1).astype(np.float32)
        weights[~hit] = 0
        triangle = np.where(hit, face[np.where(hit, found, 0)], -1).astype(np.int32)
        out, start = [], 0
        for window, height, width in grids:
            part = slice(start, start + height * width)
            out.append(
                Fragments(window, step, triangle[part].reshape(height, width), weights[part].reshape(height, width, 3))
            )
            start += height * width
        return out


_REACH = 4e-5
"""How far triangles reach beyond their edges in pytorch3d, in halves of the window's shorter side.

A sample on an edge belongs to neither of the two triangles there, and triangles with an area of less than 0.5e-8 are
left out. No point of those is farther than 3.1e-5 from their edges, so with this reach their neighbours cover them.
In a window of 512 pixels it is 0.01 pixels.
"""


class Pytorch3dRenderer:
    """Uses the rasteriser of pytorch3d, on CPU or CUDA."""

    name = "pytorch3d"

    def __init__(self, device: str | None = None):
        try:
            import torch
            from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
            from pytorch3d.structures import Meshes
        except ImportError as error:
            raise MissingExtra(
                "the pytorch3d renderer needs pytorch3d, which has no wheel on PyPI: build it from its repository, "
                "or set the task option renderer=embree"
            ) from error
        self._torch, self._rasterize, self._meshes = torch, rasterize_meshes, Meshes
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    def fragments(
        self, vertices: np.ndarray, triangles: np.ndarray, windows: Sequence[Window], step: int = 1
    ) -> list[Fragments]:
        kept = covering(vertices, triangles, [_whole(window, step)[0] for window in windows])
        return [self._one(v, triangles, np.flatnonzero(k), w, step) for v, k, w in zip(vertices, kept, windows)]

    def _one(
        self, vertices: np.ndarray, triangles: np.ndarray, kept: np.ndarray, window: Window, step: int
    ) -> Fragments:
        torch = self._torch
        window, height, width = _whole(window, step)
        if not len(kept):
            shape = (height, width)
            return Fragments(window, step, np.full(shape, -1, np.int32), np.zeros((*shape, 3), np.float32))
        x0, y0, x1, y1 = window
        # pytorch3d's coordinates: +x left, +y up, the shorter side spans -1..1; z must be positive.
        points = vertices.astype(np.float32) - np.array([(x0 + x1) / 2, (y0 + y1) / 2, 0], np.float32)
        points[:, :2] /= -min(y1 - y0, x1 - x0) / 2
        points[:, 2] += 1 - points[:, 2].min()
        meshes = self._meshes(
            [torch.from_numpy(points).to(self._device)],
            [torch.from_numpy(triangles[kept].astype(np.int64)).to(self._device)],
        )
        found, _, weights, _ = self._rasterize(
            meshes,
            image_size=(height, width),
            faces_per_pixel=1,
            blur_radius=_REACH**2,
            perspective_correct=False,
            clip_barycentric_coords=True,
            cull_backfaces=False,
        )
        found = found[0, ..., 0].cpu().numpy()
        weights = weights[0, :, :, 0].cpu().numpy().astype(np.float32)
        hit = found >= 0
        weights[~hit] = 0
        triangle = np.where(hit, kept[np.where(hit, found, 0)], -1).astype(np.int32)
        return Fragments(window, step, triangle, weights)


def create_renderer(name: str = "embree", device: str | None = None) -> UVRenderer:
    """The renderer called ``embree`` or ``pytorch3d``.

    Raises:
        UsageError: another name.
        MissingExtra: pytorch3d is not installed.
    """
    if name == "embree":
        return EmbreeRenderer()
    if name == "pytorch3d":
        return Pytorch3dRenderer(device)
    raise UsageError(f"the renderer must be embree or pytorch3d, found {name!r}")
