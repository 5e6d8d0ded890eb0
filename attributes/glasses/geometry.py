"""Build eyeglasses as a triangle mesh: swept rims, bridge and temples, spherical lenses, pads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.design import GlassesDesign
from attributes.glasses.shapes import outline
from attributes.glasses.solids import Solid, disc, ellipsoid, sweep

PARTS = ("rim", "bridge", "temple", "hinge", "nose_pad", "lens")

POINTS = 72
"""Points on the outline of a lens."""


@dataclass(frozen=True, eq=False)
class GlassesMesh:
    """Glasses in millimetres.

    x points to the picture's right, y down, z away from the viewer, towards the wearer's head. The origin is between
    the lenses at their middle height, on the front plane.

    Attributes:
        vertices: float32 ``[V, 3]``.
        triangles: int32 ``[F, 3]``, wound so that ``(b - a) x (c - a)`` points out of the material. A lens is a
            single sheet that faces the viewer.
        normals: float32 ``[V, 3]``, unit, outward.
        part: uint8 ``[V]``, index into `PARTS`.
        side: int8 ``[V]``: -1 on the picture's left, 0 in the middle, 1 on its right.
        uv: float32 ``[V, 2]``. Lenses: -1..1 over their bounding box, v downwards. Temples: u from 0 at the hinge to 1
            at the tip. Rims: u from 0 to 1 around the lens.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    part: np.ndarray
    side: np.ndarray
    uv: np.ndarray


def glasses_mesh(design: GlassesDesign) -> GlassesMesh:
    """The mesh of a design, with about 3,000 to 7,000 triangles."""
    pieces: list[tuple[str, int, Solid]] = []
    for side in (-1, 1):
        front = _Front(design, side)
        pieces.append(("lens", side, front.glass()))
        pieces += [("rim", side, solid) for solid in front.rims()]
        pieces += [("nose_pad", side, solid) for solid in front.pads()]
        pieces += [("hinge", side, solid) for solid in [*front.pad_arms(), *front.screws()]]
        pieces.append(("hinge", side, front.end_piece()))
        pieces.append(("temple", side, front.temple()))
    pieces += [("bridge", 0, solid) for solid in _bridges(design)]
    return _joined(pieces)


class _Front:
    """One half of the front, and the transform from the plane of its lens to the glasses."""

    def __init__(self, design: GlassesDesign, side: int):
        self.design, self.side = design, side
        self.lens = outline(design.style, design.lens_width, design.lens_height, POINTS)
        self.radius = 523 / design.base_curve
        step = np.roll(self.lens, -1, axis=0) - np.roll(self.lens, 1, axis=0)
        normal = np.stack([step[:, 1], -step[:, 0]], axis=1)
        outward = np.sign((normal * self.lens).sum())
        self.outward = outward * normal / np.linalg.norm(normal, axis=1, keepdims=True)

    def to_glasses(self, points: np.ndarray) -> np.ndarray:
        """Points ``[N, 3]`` of the lens plane (x away from the nose, y down, z behind its sphere) in the glasses."""
        design = self.design
        x, y, z = points.T
        z = z + self.radius - np.sqrt(np.maximum(self.radius**2 - x**2 - y**2, 1.0))
        wrap = np.deg2rad(design.wrap)
        inner = x + design.lens_width / 2  # the wrap rotates about the inner edge of the lens
        x, z = inner * np.cos(wrap) - z * np.sin(wrap), inner * np.sin(wrap) + z * np.cos(wrap)
        return _tilted(np.stack([self.side * (x + design.bridge_width / 2), y, z], axis=1), design)

    def flat(self, points: np.ndarray, z: float | np.ndarray = 0.0) -> np.ndarray:
        return self.to_glasses(np.column_stack([points, np.broadcast_to(z, len(points))]))

    def glass(self) -> Solid:
        inner = self.lens * 0.999
        return disc(lambda share: self.flat(inner * share, self.design.rim_depth * 0.45), inner, np.array([0, 0, -1.0]))

    def rims(self) -> list[Solid]:
        """The rim; part of it for half rims, nothing for rimless lenses."""
        design = self.design
        up = -self.lens[:, 1] / (design.lens_height / 2)
        blend = np.clip(0.5 + 0.9 * up, 0, 1)
        width = design.rim_width + (design.rim_top - design.rim_width) * blend * blend * (3 - 2 * blend)
        if design.rim == "full":
            return [self._rim(np.arange(POINTS), width, closed=True)]
        if design.rim == "rimless":
            return []
        keep = up > -0.08 if design.rim == "half" else up < 0.08
        start = int(np.flatnonzero(keep & ~np.roll(keep, 1))[0])
        index = (start + np.arange(int(keep.sum()))) % POINTS
        return [self._rim(index, width, closed=False)]

    def _rim(self, index: np.ndarray, width: np.ndarray, closed: bool) -> Solid:
        design = self.design
        half = width[index] / 2
        middle = self.lens[index] + self.outward[index] * half[:, None]
        path = self.flat(middle, design.rim_depth / 2)
        across = self.flat(middle + self.outward[index] * 0.5, design.rim_depth / 2) - path
        exponent = 2.0 if design.material == "metal" else 4.0
        return sweep(path, across, half, design.rim_depth / 2, exponent, closed)

    def _edge(self, height: float, outer: bool) -> np.ndarray:
        """The outer or nasal point ``[2]`` of the outline at this share of half its height; up is positive."""
        want = -height * self.design.lens_height / 2
        same = np.sign(self.lens[:, 0]) == (1 if outer else -1)
        off = np.where(same, np.abs(self.lens[:, 1] - want), np.inf)
        return self.lens[int(np.argmin(off))]

    def pads(self) -> list[Solid]:
        design = self.design
        edge = self._edge(-0.12, outer=False)
        if design.nose_pads:
            pad = np.array([[edge[0] - 1.2, edge[1] + 0.5, design.rim_depth / 2 + 5.0]])
            centre = self.to_glasses(pad)[0]
            return [ellipsoid(centre, np.array([1.6, 4.2, 2.3]))]
        if design.material == "plastic" and design.rim != "rimless":
            centre = self.to_glasses(np.array([[edge[0] - 0.4 * design.rim_width, edge[1], design.rim_depth]]))[0]
            return [ellipsoid(centre, np.array([1.8, 5.0, 3.0]))]
        return []

    def pad_arms(self) -> list[Solid]:
        """The wires that carry nose pads."""
        design = self.design
        if not design.nose_pads:
            return []
        edge = self._edge(-0.12, outer=False)
        centre = self.to_glasses(np.array([[edge[0] - 1.2, edge[1] + 0.5, design.rim_depth / 2 + 5.0]]))[0]
        start = self.flat(edge[None] * [[1.0, 0.8]], design.rim_depth)[0]
        bend = (start + centre) / 2 + [self.side * 1.2, 0, 2.2]
        line = _curve(np.stack([start, bend, centre]), 8)
        return [sweep(line, np.tile([0, 1.0, 0], (8, 1)), 0.45, 0.45, 2.0, closed=False)]

    def screws(self) -> list[Solid]:
        """The heads of the screws that hold lenses without a rim, near bridge and end piece."""
        design = self.design
        if design.rim != "rimless":
            return []
        edges = np.stack([self._edge(0.22, outer=False), self._edge(design.hinge_height, outer=True)])
        inwards = edges - edges / np.linalg.norm(edges, axis=1, keepdims=True) * 2.2
        return [ellipsoid(centre, np.array([1.0, 1.0, 0.8])) for centre in self.flat(inwards)]

    def _hinge(self) -> tuple[np.ndarray, np.ndarray]:
        """The points where the end piece leaves the rim and where the temple starts."""
        design = self.design
        edge = self._edge(design.hinge_height, outer=True)
        rim = (design.rim_width + design.rim_top) / 2 if design.rim != "rimless" else 0.0
        start = self.flat(edge[None] + [[rim * 0.6, 0]], design.rim_depth / 2)[0]
        corner = self.flat(edge[None] + [[rim * 0.8 + 3.2, 0]], design.rim_depth / 2)[0]
        return start, corner + np.array([self.side, 0, design.rim_depth / 2 + 2.5])

    def end_piece(self) -> Solid:
        design = self.design
        start, end = self._hinge()
        elbow = np.array([end[0] - self.side * 0.3, start[1], start[2] + 0.3])
        line = _curve(np.stack([start, elbow, end]), 8)
        height = max(min(design.temple_height, design.rim_top * 1.6), 1.2) / 2
        thick = max(design.temple_thickness, 1.2) / 2
        exponent = 2.0 if design.material == "metal" else 4.0
        return sweep(line, np.tile([0, 1.0, 0], (8, 1)), height, thick, exponent, closed=False)

    def temple(self) -> Solid:
        """The temple: straight back, then down behind the ear."""
        design = self.design
        _, start = self._hinge()
        straight = np.linspace(0, design.ear_bend, 22)
        rest = design.temple_length - design.ear_bend
        drop = np.deg2rad(42)
        hook = np.linspace(0, rest, 10)[1:]
        turn = drop * np.clip(hook / (0.45 * rest), 0, 1)
        step = np.diff(np.concatenate([[0], hook]))
        back = np.concatenate([straight, design.ear_bend + np.cumsum(step * np.cos(turn))])
        down = np.concatenate([np.zeros(len(straight)), np.cumsum(step * np.sin(turn))])
        # Temples bow outwards slightly and come in again at the ears.
        bow = design.spread * back * (1 - 0.55 * back / back[-1])
        line = start + np.stack([self.side * bow, down, back], axis=1)
        share = back / back[-1]
        height = design.temple_height / 2 * (1 - 0.35 * np.clip(share * 1.6, 0, 1))
        if design.temples.kind == "metal":  # acetate tips over the end of the wire
            height = np.maximum(height, np.where(share > 0.72, 1.3, 0.4))
        exponent = 2.5 if design.temples.kind == "metal" else 4.0
        return sweep(
            line, np.tile([0, 1.0, 0], (len(line), 1)), height, design.temple_thickness / 2, exponent, closed=False
        )


def _bridges(design: GlassesDesign) -> list[Solid]:
    """The bars that join the two halves above the nose."""
    right = _Front(design, 1)
    exponent = 2.0 if design.material == "metal" else 4.0
    depth = design.rim_depth / 2
    heights = {"saddle": 0.25, "keyhole": 0.42, "bar": 0.22, "double": 0.12}
    solids = [_bar(right, heights[design.bridge], 0.16 if design.bridge != "bar" else 0.3, depth, exponent)]
    if design.bridge == "double":
        solids.append(_bar(right, 0.8, 0.02, depth, exponent))
    return solids


def _bar(right: _Front, height: float, arch: float, depth: float, exponent: float) -> Solid:
    """A bar from rim to rim at a share of half the lens height, arched by a share of its span."""
    design = right.design
    edge = right._edge(height, outer=False)
    inset = 0.0 if design.rim == "rimless" else 0.5 * design.rim_width
    end = right.flat(edge[None] - [[inset, 0]], design.rim_depth / 2)[0]
    span = 2 * end[0]
    t = np.linspace(-1, 1, 17)
    rise = (1 - t**2) * span
    line = np.stack([t * end[0], end[1] - arch * rise, end[2] - 0.1 * rise], axis=1)
    if design.material == "metal":
        half = np.full(17, max(0.55, design.rim_width * 0.55))
        depth = max(0.6, design.rim_depth * 0.45)
    else:
        # Moulded plastic is higher at the rims.
        half = design.rim_top * (0.5 + 0.45 * t**2)
    return sweep(line, np.tile([0, 1.0, 0], (17, 1)), half, depth, exponent, closed=False)


def _tilted(points: np.ndarray, design: GlassesDesign) -> np.ndarray:
    """Apply the pantoscopic tilt: the bottom leans towards the cheeks."""
    angle = np.deg2rad(design.tilt)
    x, y, z = points.T
    return np.stack([x, y * np.cos(angle) - z * np.sin(angle), y * np.sin(angle) + z * np.cos(angle)], axis=1)


def _curve(control: np.ndarray, count: int) -> np.ndarray:
    """A quadratic Bezier curve through the ends of three control points, ``[count, 3]``."""
    t = np.linspace(0, 1, count)[:, None]
    a, b, c = control
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c


def _joined(pieces: list[tuple[str, int, Solid]]) -> GlassesMesh:
    offsets = np.cumsum([0, *(len(solid.vertices) for _, _, solid in pieces)])
    counts = [len(solid.vertices) for _, _, solid in pieces]
    return GlassesMesh(
        vertices=np.concatenate([solid.vertices for _, _, solid in pieces]).astype(np.float32),
        triangles=np.concatenate([solid.triangles + o for (_, _, solid), o in zip(pieces, offsets)]).astype(np.int32),
        normals=np.concatenate([solid.normals for _, _, solid in pieces]).astype(np.float32),
        part=np.repeat([PARTS.index(name) for name, _, _ in pieces], counts).astype(np.uint8),
        side=np.repeat([side for _, side, _ in pieces], counts).astype(np.int8),
        uv=np.concatenate([solid.uv for _, _, solid in pieces]).astype(np.float32),
    )
