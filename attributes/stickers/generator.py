"""Generate training pairs and masks for the `stickers` task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attributes.rendering.landmark_mesh import LandmarkMesher
from attributes.rendering.lighting import normals
from attributes.rendering.mesh import FaceMesh, Mesher
from attributes.rendering.renderer import create_renderer
from attributes.stickers.degradation import ClipDegradation
from attributes.stickers.drawing import Texture, draw
from attributes.stickers.options import StickersOptions
from attributes.stickers.spots import GRID, Chart
from toolkit.task import FaceClip, Masker, Pair, Tools


def create_mesher(options: StickersOptions) -> Mesher:
    """A mesher of the morphable model in the options, or of the analyser's mesh if there is none."""
    if options.face_model is None:
        return LandmarkMesher()
    from attributes.stickers.morphable import MorphableMesher, TddfaPredictor, load_morphable_model

    predictor = None
    if options.coefficient_weights is not None and options.coefficient_stats is not None:
        predictor = TddfaPredictor(options.coefficient_weights, options.coefficient_stats)
    return MorphableMesher(load_morphable_model(options.face_model), predictor)


class _Charts:
    """Keeps the chart of a mesh, because UV and triangles stay the same from clip to clip."""

    def __init__(self, forbidden: tuple[str, ...]):
        self._forbidden = forbidden
        self._known: dict[bytes, Chart] = {}

    def of(self, mesh: FaceMesh) -> Chart:
        key = mesh.uv.tobytes() + mesh.triangles.tobytes() + mesh.rest.tobytes()
        if key not in self._known:
            self._known = {key: Chart(mesh, self._forbidden)}
        return self._known[key]


class StickerPairs:
    """Pair generator that draws stickers, spots, opacity and degradation once per clip."""

    def __init__(self, options: StickersOptions):
        from attributes.stickers.art import open_art

        self._options = options
        self._art = open_art(options.art)
        self._mesher = create_mesher(options)
        self._renderer = create_renderer(options.renderer)
        self._charts = _Charts(options.forbidden)

    def __call__(self, clip: FaceClip, rng: np.random.Generator, tools: Tools) -> Iterator[Pair]:
        present = np.flatnonzero(clip.present)
        if not len(present):
            return
        options = self._options
        seen = clip.select(present)
        mesh = self._mesher.mesh(seen)
        chart = self._charts.of(mesh)
        sampled = mesh.vertices[:: max(1, len(mesh.vertices) // 4)]
        facing = -normals(sampled, mesh.triangles, np.arange(len(mesh.rest)))[..., 2].mean(axis=0)
        frames, names = list(seen.frames), []
        masks = np.zeros(seen.frames.shape[:3], bool)
        where: dict[str, float] = {}
        for _ in range(int(rng.integers(options.number[0], options.number[1] + 1))):
            sticker = self._art.choose(rng)
            opacity = float(rng.uniform(*options.opacity))
            texture = Texture.of(sticker.rgba, sticker.kind, sticker.gloss, opacity)
            degrade = ClipDegradation(rng) if rng.random() < options.degradation else None
            spot = chart.random(rng, options.size, options.rotation, texture.footprint(GRID), facing)
            if spot is None:
                continue
            for t, drawn in enumerate(draw(frames, mesh, spot, texture, self._renderer, clip.scale, degrade)):
                x0, y0, x1, y1 = drawn.window
                changed = drawn.frame[y0:y1, x0:x1] != seen.frames[t, y0:y1, x0:x1]
                masks[t, y0:y1, x0:x1] = changed[..., 0] | changed[..., 1] | changed[..., 2]
                frames[t] = drawn.frame
            names.append(sticker.name)
            where = {"u": spot.centre[0], "v": spot.centre[1], "size": spot.size, "angle": spot.angle}
        if not names:
            return
        info: dict[str, float | int | str] = {"sticker": "+".join(names)}
        info |= {key: round(value, 5) for key, value in where.items()}
        for k, drawn, mask in zip(present, frames, masks):
            yield Pair(clip.frames[k], drawn, mask, int(k), info)


class SkinMasker(Masker):
    """Masks the search area of stickers: the skin that faces the viewer, without the forbidden regions."""

    def __init__(self, options: StickersOptions):
        self._mesher = create_mesher(options)
        self._charts = _Charts(options.forbidden)

    def __call__(self, clip: FaceClip) -> np.ndarray:
        """The search area: bool ``[T, H, W]``."""
        import cv2

        masks = np.zeros(clip.frames.shape[:3], np.uint8)
        present = np.flatnonzero(clip.present)
        if not len(present):
            return masks.astype(bool)
        seen = clip.select(present)
        mesh = self._mesher.mesh(seen)
        chart = self._charts.of(mesh)
        cells = np.clip((mesh.uv * len(chart.allowed)).astype(int), 0, len(chart.allowed) - 1)
        allowed = chart.allowed[cells[:, 1], cells[:, 0]]
        triangles = mesh.triangles[allowed[mesh.triangles].all(axis=1)]
        for t, k in enumerate(present):
            corners = mesh.vertices[t][triangles]
            a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
            facing = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) < 0
            for triangle in np.round(corners[facing][..., :2]).astype(np.int32):
                cv2.fillConvexPoly(masks[k], triangle, 1)
        return masks.astype(bool)
