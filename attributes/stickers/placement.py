"""Where on the skin a sticker sits: a chart of the mesh, the places that are allowed, a random one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.rendering.mesh import FaceMesh
from attributes.rendering.renderer import EmbreeRenderer

CHART = 256
"""Side of the picture of the UV chart in which places are looked up, in pixels."""

CONTOURS = {
    "eyes": ("left_eye", "right_eye"),
    "mouth": ("lips",),
    "brows": ("left_brow", "right_brow"),
    "nose": ("nose",),
}
"""What a forbidden region covers, in names of `FaceMesh.regions`."""

MARGIN = 0.06
"""Distance kept from forbidden regions, in distances between the outer eye corners."""

RIM = 0.15
"""Distance kept from the rim of the mesh, likewise: hair and ears begin there."""

NEIGHBOURHOOD = 0.2
"""Radius within which the skin around a sticker's centre counts as flat, in distances between the outer eye corners."""

FACING = 0.35
"""Least mean cosine between the skin and the viewer where a sticker is put: a sliver at the edge teaches nothing."""

GRID = 9
"""A sticker's square is tested and followed at GRID x GRID points."""


@dataclass(frozen=True, eq=False)
class Placement:
    """One sticker's place, the same over the whole clip.

    Attributes:
        texcoords: float32 ``[V, 2]``, position of every vertex in the sticker's own square, which spans 0..1.
        corners: int32 ``[P, 3]`` and `weights` float32 ``[P, 3]``: points of the sticker on the mesh, to follow it.
        centre: u, v.
        size: side of the square, in distances between the outer eye corners.
        angle: rotation in degrees, clockwise on the face.
    """

    texcoords: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    centre: tuple[float, float]
    size: float
    angle: float


class Chart:
    """The UV chart of one mesh as pictures: which triangle is where, and where a sticker may be."""

    def __init__(self, mesh: FaceMesh, forbidden: tuple[str, ...]):
        import cv2

        self.mesh = mesh
        flat = np.concatenate([mesh.uv * CHART, np.zeros((len(mesh.uv), 1))], axis=1).astype(np.float32)
        self.fragments = EmbreeRenderer().fragments(flat[None], mesh.triangles, [(0, 0, CHART, CHART)])[0]
        units = self._pixels_per_unit()
        allowed = np.zeros((CHART, CHART), np.uint8)
        oval = np.round(mesh.uv[mesh.regions["oval"]] * CHART).astype(np.int32)
        cv2.fillPoly(allowed, [oval], 1)
        allowed[[0, -1]] = allowed[:, [0, -1]] = 0
        allowed = (cv2.distanceTransform(allowed, cv2.DIST_L2, 3) > RIM * units) & (self.fragments.triangle >= 0)
        allowed = allowed.astype(np.uint8)
        for name in forbidden:
            for region in CONTOURS[name]:
                points = np.round(mesh.uv[mesh.regions[region]] * CHART).astype(np.int32)
                outline = points if region in ("left_eye", "right_eye", "lips") else cv2.convexHull(points)
                cv2.fillPoly(allowed, [outline], 0)
        self.allowed = cv2.distanceTransform(allowed, cv2.DIST_L2, 3) > MARGIN * units

    def _pixels_per_unit(self) -> float:
        """Median pixels of the chart per unit of the rest shape."""
        edges = np.concatenate([self.mesh.triangles[:, [0, 1]], self.mesh.triangles[:, [1, 2]]])
        apart = np.linalg.norm(np.diff(self.mesh.rest[edges], axis=1)[:, 0], axis=1)
        chart = np.linalg.norm(np.diff(self.mesh.uv[edges], axis=1)[:, 0], axis=1)
        return float(np.median(chart / np.maximum(apart, 1e-6))) * CHART

    def metric(self, uv: np.ndarray) -> np.ndarray:
        """float ``[2, 2]`` that takes small steps in UV at `uv` to steps on the skin (right and down on the face).

        Least squares over the neighbourhood, in the plane that fits it.
        """
        order = np.argsort(((self.mesh.uv - uv) ** 2).sum(axis=1))
        apart = np.linalg.norm(self.mesh.rest[order] - self.mesh.rest[order[0]], axis=1)
        near = order[(apart < NEIGHBOURHOOD) | (np.arange(len(order)) < 8)]
        du = self.mesh.uv[near] - self.mesh.uv[near].mean(axis=0)
        dx = self.mesh.rest[near] - self.mesh.rest[near].mean(axis=0)
        jacobian, *_ = np.linalg.lstsq(du, dx, rcond=None)  # [2, 3]
        normal = np.cross(jacobian[0], jacobian[1])
        normal /= np.linalg.norm(normal)
        down = np.array([0.0, 1.0, 0.0]) - normal * normal[1]
        down /= np.linalg.norm(down)
        right = np.cross(down, normal)
        return (jacobian @ np.stack([right, down], axis=1)).T

    def place(self, uv: np.ndarray, size: float, angle: float, alpha: np.ndarray) -> Placement | None:
        """The sticker at `uv`, or None where any of its opaque points would lie on a place that is not allowed.

        Args:
            alpha: bool ``[GRID, GRID]``, which points of the square are part of the sticker.
        """
        metric = self.metric(uv)
        turn = np.radians(angle)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        to_square = rotation @ metric / size
        if abs(np.linalg.det(to_square)) < 1e-6:
            return None
        steps = (np.arange(GRID) + 0.5) / GRID - 0.5
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        points = grid @ np.linalg.inv(to_square).T + uv
        cells = np.floor(points * CHART).astype(int)
        within = ((cells >= 0) & (cells < CHART)).all(axis=1)
        ys, xs = np.clip(cells[:, 1], 0, CHART - 1), np.clip(cells[:, 0], 0, CHART - 1)
        solid = alpha.reshape(-1)
        if not (within & self.allowed[ys, xs])[solid].all():
            return None
        triangle = self.fragments.triangle[ys, xs]
        on_mesh = within & (triangle >= 0)
        return Placement(
            texcoords=((self.mesh.uv - uv) @ to_square.T + 0.5).astype(np.float32),
            corners=self.mesh.triangles[triangle[on_mesh]],
            weights=self.fragments.weights[ys, xs][on_mesh],
            centre=(float(uv[0]), float(uv[1])),
            size=size,
            angle=angle,
        )

    def random(
        self,
        rng: np.random.Generator,
        size: tuple[float, float],
        rotation: tuple[float, float],
        alpha: np.ndarray,
        facing: np.ndarray | None = None,
    ) -> Placement | None:
        """A random place for a sticker, uniform over the allowed part of the chart that `facing` shows.

        A size that fits nowhere is drawn again, smaller; None after 60 tries.

        Args:
            size: range of the side, in distances between the outer eye corners.
            rotation: range of the angle in degrees.
            alpha: as in `place`.
            facing: float ``[V]``, how much each vertex faces the viewer over the clip, 1 for straight on.
        """
        ys, xs = np.nonzero(self.allowed)
        if not len(ys):
            return None
        wanted = rng.uniform(*size)
        for attempt in range(60):
            if attempt % 12 == 11:
                wanted = max(size[0], wanted * 0.75)
            k = rng.integers(len(ys))
            uv = (np.array([xs[k], ys[k]]) + rng.random(2)) / CHART
            corners = self.mesh.triangles[self.fragments.triangle[ys[k], xs[k]]]
            if facing is not None and facing[corners].mean() < FACING:
                continue
            place = self.place(uv, wanted, rng.uniform(*rotation), alpha)
            if place is not None:
                return place
        return None
