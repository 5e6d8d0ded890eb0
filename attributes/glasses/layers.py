"""Render the glasses of one frame as layers: transmitted, added and reflected light, refraction, shadow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from attributes.glasses.casting import Hits, Rays, Samples, Scene, samples
from attributes.glasses.design import GlassesDesign
from attributes.glasses.geometry import PARTS, GlassesMesh
from attributes.glasses.materials import lens_of, surfaces_of
from attributes.glasses.occluder import head_mesh
from attributes.glasses.placement import HeadTrack
from attributes.glasses.shading import Illumination
from attributes.glasses.shadow import shadow
from attributes.glasses.strokes import border, sides, strokes
from attributes.rendering.renderer import EmbreeRenderer, Window
from toolkit.task import FaceClip

LENS, TEMPLE = PARTS.index("lens"), PARTS.index("temple")

MARGIN = 14.0
"""Millimetres around the glasses within which they cast a shadow."""

SINK = 5.0
"""Depth in millimetres up to which skin in front does not hide glasses: rims press into it, and landmarks err."""

SOFT = 0.65
"""Blur of the camera, in pixels, from which edges get 2x2 samples per pixel instead of 3x3."""

FADE = 7.0
"""Millimetres over which a temple vanishes under hair or behind the ear."""

EDGE = 0.65
"""Share of light blocked at the very edge of a lens without a rim."""

CONTACT = 0.45
"""Strength of the dark line where the frame touches the skin."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Layers over a window of the frame, in linear light: ``behind * through + added + mirrored``.

    Attributes:
        window: x0, y0, x1, y1.
        through: float32 ``[h, w, 3]``, visible share of the picture behind.
        added: float32 ``[h, w, 3]``, light from rims.
        mirrored: float32 ``[h, w, 3]``, light reflected by lenses.
        shift: float32 ``[h, w, 2]``, offset in pixels at which the picture behind is sampled.
        shade: float32 ``[h, w]``, factor on the picture behind, for the shadow.
        rim, lens, opacity: float32 ``[h, w]``, as in `DrawnGlasses`.
    """

    window: Window
    through: np.ndarray
    added: np.ndarray
    mirrored: np.ndarray
    shift: np.ndarray
    shade: np.ndarray
    rim: np.ndarray
    lens: np.ndarray
    opacity: np.ndarray


class Wearing:
    """Glasses on a head, ready to be rendered in any frame.

    Args:
        renderer: owns the Embree device.
        mesh: the glasses in head coordinates.
        design: their materials.
        light: illumination of the clip.
        ends: z in head coordinates from which hair or an ear covers the temples, by side.
        blur: blur of the camera, in pixels.
        rng: draws the pattern of tortoiseshell.
    """

    def __init__(
        self,
        renderer: EmbreeRenderer,
        mesh: GlassesMesh,
        design: GlassesDesign,
        light: Illumination,
        ends: dict[int, float],
        blur: float,
        rng: np.random.Generator,
    ):
        self._renderer, self._mesh, self._light = renderer, mesh, light
        of_lens = (mesh.part == LENS)[mesh.triangles[:, 0]]
        self._frame = Scene(renderer, mesh.vertices, mesh.triangles[~of_lens])
        self._glass = Scene(renderer, mesh.vertices, mesh.triangles[of_lens])
        self._fine = 3 if blur < SOFT else 2
        self._outline = border(self._glass.triangles)
        self._strokes = strokes(np.concatenate([sides(self._frame.triangles), self._outline]))
        self._hulls = [own for side in (-1, 1) if len(own := np.flatnonzero((mesh.part == LENS) & (mesh.side == side)))]
        glass = mesh.vertices[mesh.part == LENS, 1]
        top, bottom = (float(glass.min()), float(glass.max())) if len(glass) else (0.0, 1.0)
        surfaces = surfaces_of(design, rng, (top + 0.2 * (bottom - top), top + 0.7 * (bottom - top)))
        # Parts of one material are shaded together.
        distinct = {id(surface): surface for surface in surfaces if surface is not None}.values()
        self._materials = [(surface, np.array([part is surface for part in surfaces])) for surface in distinct]
        self._lens = lens_of(design)
        self._ends = ends
        self._ground = 0.0 if design.rim == "full" else EDGE  # a full rim covers it
        self._middles = np.zeros((3, 3), np.float32)
        for side in (-1, 1):
            own = mesh.vertices[(mesh.part == LENS) & (mesh.side == side)]
            if len(own):
                self._middles[side + 1] = (own.min(axis=0) + own.max(axis=0)) / 2
        edge = np.zeros((len(mesh.vertices), 1), np.float32)
        glass = np.flatnonzero(mesh.part == LENS)
        if len(glass):
            edge[glass, 0] = cKDTree(mesh.vertices[np.unique(self._outline)]).query(mesh.vertices[glass])[0]
        self._values = np.concatenate([mesh.vertices, mesh.normals, mesh.uv, edge], axis=1)

    def layers(self, clip: FaceClip, track: HeadTrack, t: int) -> Layers | None:
        """Layers of frame `t`; None if the glasses are outside the picture."""
        scale = float(track.scale[t])
        pixels = track.to_pixels(t, self._mesh.vertices)
        window = _window(pixels, MARGIN * scale, clip.frames.shape[1:3])
        if window is None:
            return None
        rays = Rays(track, t)
        head = Scene(self._renderer, *head_mesh(track, clip.topology, clip.landmarks[t], t))
        points, solid, glass, skin = self._seen(pixels[:, :2], window, rays, head)
        toward = (self._light.main @ track.rotation[t]).astype(np.float32)
        dark = shadow(
            head, self._frame, self._glass, self._lens, self._mesh.uv[:, 1:], rays, toward, window, MARGIN / 2 * scale
        )
        return self._layered(points, solid, glass, skin, dark, window, track, t)

    def _seen(
        self, pixels: np.ndarray, window: Window, rays: Rays, head: Scene
    ) -> tuple[Samples, Hits, Hits, np.ndarray]:
        """Samples that hit the frame or a lens, their hits, and the depth of the head there."""
        import cv2

        inside, edges = self._touched(pixels - window[:2], window)
        touched = inside | edges
        height, width = touched.shape
        index = np.flatnonzero(touched)
        points = samples(index, window, 1)
        ray = rays.of(points.position)
        solid, glass = self._frame.cast(*ray), self._glass.cast(*ray)
        # One sample per pixel is enough inside a part, away from its outline.
        kind = np.zeros(height * width, np.uint8)
        part = self._mesh.part[self._frame.triangles[solid.triangle, 0]] + 1
        kind[index] = np.where(solid.triangle >= 0, part, 0) + 16 * (glass.triangle >= 0)
        kind = kind.reshape(height, width)
        box = np.ones((5, 5), np.uint8)  # highlights on a wire of four pixels are narrower than a pixel
        uneven = (cv2.dilate(kind, box) != cv2.erode(kind, box)) | (kind & 15 == 0)
        uneven = (uneven & edges).ravel()
        plain = ~uneven[index] & (kind.ravel()[index] > 0)
        fine = samples(np.flatnonzero(uneven), window, self._fine)
        finer = rays.of(fine.position)
        solid_fine, glass_fine = self._frame.cast(*finer), self._glass.cast(*finer)
        met = (solid_fine.triangle >= 0) | (glass_fine.triangle >= 0)
        # The head changes little within a pixel, so its rays go through the middle of pixels with samples.
        skin = np.full(height * width, np.inf, np.float32)
        skin[fine.pixel[met]] = 0
        behind = np.flatnonzero(plain | (skin[index] == 0))
        skin[index[behind]] = head.cast(ray[0][behind], ray[1][behind]).depth
        points = points[plain] + fine[met]
        return points, solid[plain] + solid_fine[met], glass[plain] + glass_fine[met], skin[points.pixel]

    def _touched(self, pixels: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels inside lenses, and pixels that the frame or the outline of a lens may touch: bool ``[h, w]`` each."""
        import cv2

        shape = window[3] - window[1], window[2] - window[0]
        # Pixel i covers i to i + 1 here, and i - 0.5 to i + 0.5 for OpenCV; four bits of fraction.
        fixed = np.rint(np.clip(pixels - 0.5, -4096, 8192) * 16).astype(np.int32)
        edges, inside = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        cv2.polylines(edges, [fixed[stroke] for stroke in self._strokes], False, 1, shift=4)
        for own in self._hulls:
            cv2.fillPoly(inside, [cv2.convexHull(fixed[own])], 1, shift=4)
        return inside > 0, cv2.dilate(edges, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > 0

    def _layered(
        self,
        points: Samples,
        solid: Hits,
        glass: Hits,
        skin: np.ndarray,
        dark: np.ndarray,
        window: Window,
        track: HeadTrack,
        t: int,
    ) -> Layers:
        """Shade the samples and sum them into pixels.

        Args:
            skin: float32 ``[S]``, depth of the head.
            dark: float32 ``[h, w]``, share of the main light that is kept from the skin.
        """
        import cv2

        rotation, scale = track.rotation[t], float(track.scale[t])
        behind = skin + SINK
        in_glass = np.flatnonzero((glass.depth < solid.depth) & (glass.depth < behind))
        in_solid = np.flatnonzero(solid.depth < behind)
        values = np.zeros((len(skin), 15), np.float32)
        through, added, mirrored = values[:, :3], values[:, 3:6], values[:, 6:9]
        rim, lens, opacity, near = values[:, 9:13].T
        shift = values[:, 13:]
        through[:] = 1
        colour, alpha, front = self._frame_colour(solid[in_solid], rotation, t)
        added[in_solid] = colour * alpha[:, None]
        through[in_solid] -= alpha[:, None]
        rim[in_solid] = alpha
        near[in_solid] = alpha * front * np.exp(-np.clip(skin[in_solid] - solid.depth[in_solid], 0, 60) / 4)
        hit = glass[in_glass]
        position, normal, uv, side, inwards = self._at(self._glass, hit, rotation)
        offset = position - self._middles[side + 1]
        image, kept = self._lens.mirrored(self._light, rotation, normal, offset)
        mirrored[in_glass] = image * self._light.flicker[t]
        passed = self._lens.passed(uv[:, 1])
        lens[in_glass] = 1
        opacity[in_glass] = 1 - passed.mean(axis=1)
        passed *= kept[:, None]
        # The ground edge of the glass, seen through the lens: it is matte and scatters the light of the room.
        edge = np.clip(1.3 - inwards / self._lens.edge, 0, 1)
        ground = edge[:, None] * self._ground
        scattered = 0.45 * ground + self._lens.smudges(offset)[:, None]
        mirrored[in_glass] += scattered * self._light.diffuse(t, normal)[:, None] * self._light.white[t]
        passed *= 1 - ground
        if self._ground:
            rim[in_glass] = np.maximum(rim[in_glass], edge)
        through[in_glass] *= passed
        added[in_glass] *= passed
        across = (offset @ rotation.T.astype(np.float32))[:, :2]
        shift[in_glass] = self._lens.shift(across, skin[in_glass] - hit.depth) * scale
        shape = window[3] - window[1], window[2] - window[0]
        through -= 1  # pixels without samples transmit everything
        sums = points.sums(values, shape)
        shares = np.clip(sums[..., 9:12], 0, 1)
        contact = cv2.GaussianBlur(sums[..., 12], (0, 0), max(1.6 * scale, 0.5))
        shade = (1 - self._light.shadow * dark) * (1 - CONTACT * np.clip(contact, 0, 1))
        return Layers(
            window=window,
            through=np.clip(1 + sums[..., :3], 0, 1),
            added=sums[..., 3:6],
            mirrored=sums[..., 6:9],
            shift=sums[..., 13:] / np.maximum(sums[..., 10:11], 1e-3),
            shade=shade.astype(np.float32),
            rim=shares[..., 0],
            lens=shares[..., 1],
            opacity=shares[..., 2],
        )

    def _at(self, scene: Scene, hit: Hits, rotation: np.ndarray):
        """Of hits: head coordinates, normals towards the viewer in camera coordinates, uv, side, edge distance."""
        values = hit.interpolate(scene.triangles, self._values)
        normal: np.ndarray = values[:, 3:6] @ rotation.T.astype(np.float32)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        normal *= np.where(normal[:, 2:] > 0, -1, 1).astype(np.float32)
        side = self._mesh.side[scene.triangles[hit.triangle, 0]].astype(int)
        return values[:, :3], normal, values[:, 6:8], side, values[:, 8]

    def _frame_colour(self, hit: Hits, rotation: np.ndarray, t: int):
        """Linear colour ``[S, 3]`` of the frame at hits, its opacity ``[S]``, and 1 for the front or 0 for temples."""
        position, normal, _, side, _ = self._at(self._frame, hit, rotation)
        part = self._mesh.part[self._frame.triangles[hit.triangle, 0]]
        colour = np.zeros((len(position), 3), np.float32)
        alpha = np.ones(len(position), np.float32)
        for surface, of_surface in self._materials:
            own = np.flatnonzero(of_surface[part])
            if len(own):
                colour[own], alpha[own] = surface.shaded(self._light, t, normal[own], position[own], rotation)
        temple = part == TEMPLE
        end = np.where(side < 0, self._ends[-1], self._ends[1])
        alpha[temple] *= np.clip((end - position[:, 2]) / FADE + 0.5, 0, 1)[temple]
        return colour, alpha, (~temple).astype(np.float32)


def _window(pixels: np.ndarray, margin: float, size: tuple[int, ...]) -> Window | None:
    low = np.floor(pixels[:, :2].min(axis=0) - margin)
    high = np.ceil(pixels[:, :2].max(axis=0) + margin)
    x0, y0 = np.clip(low, 0, size[::-1]).astype(int)
    x1, y1 = np.clip(high, 0, size[::-1]).astype(int)
    return (int(x0), int(y0), int(x1), int(y1)) if x1 - x0 > 1 and y1 - y0 > 1 else None
