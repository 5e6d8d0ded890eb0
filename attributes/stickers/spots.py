"""Choose the spot of a sticker on the skin, at random within the allowed part of the mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.rendering.mesh import FaceMesh
from attributes.rendering.renderer import EmbreeRenderer

CHART = 256
"""Side of the picture of the UV chart, in pixels."""

CONTOURS = {
    "eyes": ("left_eye", "right_eye"),
    "mouth": ("lips",),
    "brows": ("left_brow", "right_brow"),
    "nose": ("nose",),
}
"""Names in `FaceMesh.regions` that each forbidden region covers."""

MARGIN = 0.06
"""Distance from forbidden regions, in distances between the outer eye corners."""

RIM = 0.15
"""Distance from the rim of the mesh, where hair and ears start, in the same unit."""

NEIGHBOURHOOD = 0.2
"""Radius within which the skin around a sticker's centre counts as flat, in distances between the outer eye corners."""

FACING = 0.35
"""Least mean cosine of the angle between the skin and the viewer. A sliver at the edge teaches nothing."""

GRID = 9
"""Points per side at which the square of a sticker is tested and tracked."""


@dataclass(frozen=True, eq=False)
class Spot:
    """The spot of a sticker, fixed on the skin over the whole clip.

    Attributes:
        texcoords: float32 ``[V, 2]``, position of every vertex in the square of the sticker, which spans 0..1.
        corners: int32 ``[P, 3]``, corners of the triangles with points of the sticker, to track it.
        weights: float32 ``[P, 3]``, barycentric weights of these points.
        centre: u, v of the centre.
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
    """The UV chart of a mesh as pictures: the triangle at each point, and where stickers are allowed.

    Args:
        mesh: the mesh.
        forbidden: names in `CONTOURS`.
        margin, rim: distances to keep, as `MARGIN` and `RIM`.
    """

    def __init__(self, mesh: FaceMesh, forbidden: tuple[str, ...], margin: float = MARGIN, rim: float = RIM):
        import cv2

        self.mesh = mesh
        flat = np.concatenate([mesh.uv * CHART, np.zeros((len(mesh.uv), 1))], axis=1).astype(np.float32)
        self.fragments = EmbreeRenderer().fragments(flat[None], mesh.triangles, [(0, 0, CHART, CHART)])[0]
        units = self._pixels_per_unit()
        allowed = np.zeros((CHART, CHART), np.uint8)
        oval = np.round(mesh.uv[mesh.regions["oval"]] * CHART).astype(np.int32)
        cv2.fillPoly(allowed, [oval], 1)
        allowed[[0, -1]] = allowed[:, [0, -1]] = 0
        allowed = (cv2.distanceTransform(allowed, cv2.DIST_L2, 3) > rim * units) & (self.fragments.triangle >= 0)
        allowed = allowed.astype(np.uint8)
        for name in forbidden:
            for region in CONTOURS[name]:
                points = np.round(mesh.uv[mesh.regions[region]] * CHART).astype(np.int32)
                outline = points if region in ("left_eye", "right_eye", "lips") else cv2.convexHull(points)
                cv2.fillPoly(allowed, [outline], 0)
        self.allowed = cv2.distanceTransform(allowed, cv2.DIST_L2, 3) > margin * units

    def _pixels_per_unit(self) -> float:
        """Median number of pixels of the chart per unit of the rest shape."""
        edges = np.concatenate([self.mesh.triangles[:, [0, 1]], self.mesh.triangles[:, [1, 2]]])
        apart = np.linalg.norm(np.diff(self.mesh.rest[edges], axis=1)[:, 0], axis=1)
        chart = np.linalg.norm(np.diff(self.mesh.uv[edges], axis=1)[:, 0], axis=1)
        return float(np.median(chart / np.maximum(apart, 1e-6))) * CHART

    def metric(self, uv: np.ndarray) -> np.ndarray:
        """Matrix ``[2, 2]`` from small steps in UV at `uv` to steps on the skin (right and down on the face).

        A least-squares fit over the neighbourhood, in its tangent plane.
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

    def spot_at(self, uv: np.ndarray, size: float, angle: float, covered: np.ndarray) -> Spot | None:
        """The spot at `uv`, or None if a point of the sticker would be outside the allowed area.

        Args:
            uv: centre of the sticker.
            size: side of the square, in distances between the outer eye corners.
            angle: rotation in degrees, clockwise on the face.
            covered: bool ``[GRID, GRID]``, points of the square that the sticker covers.
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
        solid = covered.reshape(-1)
        if not (within & self.allowed[ys, xs])[solid].all():
            return None
        triangle = self.fragments.triangle[ys, xs]
        on_mesh = within & (triangle >= 0)
        return Spot(
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
        covered: np.ndarray,
        facing: np.ndarray | None = None,
    ) -> Spot | None:
        """A random spot, uniform over the allowed part of the chart that faces the viewer.

        Sizes that do not fit are reduced. Returns None after 60 attempts.

        Args:
            size: range of the side, in distances between the outer eye corners.
            rotation: range of the angle in degrees.
            alpha: as in `spot_at`.
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
            spot = self.spot_at(uv, wanted, rng.uniform(*rotation), covered)
            if spot is not None:
                return spot
        return None
