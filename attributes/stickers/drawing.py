"""Draw a sticker on a clip, with the geometry of the mesh, the light of the skin and the sharpness of the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from attributes.rendering.lighting import light
from attributes.rendering.mesh import FaceMesh
from attributes.rendering.renderer import Fragments, UVRenderer, Window
from attributes.stickers.spots import GRID, Spot

RAYS = 1200
"""Approximate number of rays per sticker and frame. Larger stickers get one ray per 2x2, 3x3, ... pixels, and the
pixels between are interpolated. The surface is smooth over many more pixels, except at silhouettes, which this
antialiases."""

DETAIL = 0.3
"""How much of the fine detail of the skin (pores, grain) shows on a sticker."""

SHADOW = {"tattoo": 0.0, "translucent": 0.1}
"""Strength of the thin shadow at the edge, by kind. Other kinds have thickness and use `SHADOW_DEFAULT`."""
SHADOW_DEFAULT = 0.3

FAINT = 0.02
"""Shadows weaker than this are dropped."""

Degrade = Callable[[np.ndarray], np.ndarray]
"""uint8 ``[h, w, 3]`` -> the same shape, with the same effect for every frame of a clip."""


@dataclass(frozen=True, eq=False)
class Texture:
    """The picture of a sticker, ready for sampling.

    Attributes:
        rgba: float32 ``[h, w, 4]``, alpha in 0..1, and colour in 0..255 premultiplied by alpha; with a transparent rim.
        kind: `Sticker.kind`.
        gloss: 0..1.
    """

    rgba: np.ndarray
    kind: str
    gloss: float

    @classmethod
    def of(cls, rgba: np.ndarray, kind: str, gloss: float, opacity: float) -> Texture:
        """From straight-alpha uint8 ``[h, w, 4]``: make it square, add a rim and multiply alpha by `opacity`."""
        height, width = rgba.shape[:2]
        side = max(height, width) + 2 * max(2, max(height, width) // 32)
        square = np.zeros((side, side, 4), np.float32)
        y, x = (side - height) // 2, (side - width) // 2
        square[y : y + height, x : x + width] = rgba
        square[..., 3] *= opacity / 255
        square[..., :3] *= square[..., 3:]
        return cls(square, kind, gloss)

    def footprint(self, cells: int) -> np.ndarray:
        """Cells of the square that the sticker covers: bool ``[cells, cells]``."""
        import cv2

        return cv2.resize(self.rgba[..., 3], (cells, cells), interpolation=cv2.INTER_AREA) > 0.04

    def sized(self, side: int) -> Texture:
        """Reduced to `side` pixels; smaller textures stay as they are."""
        import cv2

        if side >= self.rgba.shape[0]:
            return self
        return Texture(cv2.resize(self.rgba, (side, side), interpolation=cv2.INTER_AREA), self.kind, self.gloss)


class Drawn(NamedTuple):
    """A frame with a sticker.

    Attributes:
        frame: uint8 ``[H, W, 3]``, unchanged outside the window.
        window: x0, y0, x1, y1.
        cover: float32 ``[y1 - y0, x1 - x0]`` in 0..1, how much of the skin the sticker and its shadow hide.
    """

    frame: np.ndarray
    window: Window
    cover: np.ndarray


def draw(
    frames: Sequence[np.ndarray],
    mesh: FaceMesh,
    spot: Spot,
    texture: Texture,
    renderer: UVRenderer,
    scale: float,
    degrade: Degrade | None = None,
) -> Iterator[Drawn]:
    """Yield each frame with the sticker drawn.

    Args:
        frames: uint8 ``[T, H, W, 3]``, RGB; left unchanged.
        mesh: mesh of the clip, present in every frame.
        spot: position of the sticker on the mesh.
        texture: picture of the sticker.
        renderer: finds the visible surface.
        scale: pixels of `frames` per pixel of the camera; limits the sharpness of the sticker.
        degrade: applied to the drawn part, to match the blur, noise and compression of videos.
    """
    reach = _reach(spot.texcoords, mesh.triangles)
    patch = np.unique(mesh.triangles[reach])
    triangles = mesh.triangles[_matters(mesh, reach, patch)]
    lit = light(frames, mesh, patch)
    track = np.einsum("pk,tpkc->tpc", spot.weights, mesh.vertices[:, spot.corners][..., :2])
    texture = texture.sized(max(4, round(_side(track, scale))))
    texture = replace(texture, rgba=texture.rgba * np.append(lit.tint, np.float32(1)))
    spread = 0.6 + 0.02 * texture.rgba.shape[0] * max(scale, 1.0)
    values = np.empty((len(mesh.rest), 4), np.float32)
    values[:, :2] = spot.texcoords
    values[:, 2:] = 1, 0
    windows = [_window(points, frame.shape, spread) for points, frame in zip(track, frames)]
    visible = {t: window for t, window in enumerate(windows) if window}
    shown = list(visible)
    step = _step(list(visible.values()))
    fragments = renderer.fragments(mesh.vertices[shown], triangles, list(visible.values()), step)
    seen = dict(zip(shown, fragments))
    for t, (frame, window) in enumerate(zip(frames, windows)):
        if window is None:
            yield Drawn(frame, (0, 0, 0, 0), np.zeros((0, 0), np.float32))
            continue
        values[patch, 2] = lit.shading[t] * lit.white[t]
        values[patch, 3] = lit.gloss[t] * (127 * texture.gloss * lit.white[t])
        sticker = _lit_sticker(seen[t], triangles, values, texture, window)
        drawn, cover = _composite(frame, sticker, window, texture.kind, spread, scale, degrade)
        yield Drawn(drawn, window, cover)


def _step(windows: list[Window]) -> int:
    """Pixels per ray, for about `RAYS` rays in the median window."""
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in windows] or [1]
    return max(1, round((float(np.median(areas)) / RAYS) ** 0.5))


def _reach(texcoords: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Indices of the triangles that the square may touch."""
    corners = texcoords[triangles]
    return np.flatnonzero(((corners.max(axis=1) > -0.1) & (corners.min(axis=1) < 1.1)).all(axis=1))


def _matters(mesh: FaceMesh, reach: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Triangles of the sticker, and triangles in front of its farthest point that may occlude it: bool ``[F]``."""
    farthest = mesh.vertices[:, patch, 2].max(axis=1, keepdims=True)
    nearer = mesh.vertices[..., 2] < farthest
    corners = [nearer[:, mesh.triangles[:, k]] for k in range(3)]
    matters = (corners[0] | corners[1] | corners[2]).any(axis=0)
    matters[reach] = True
    return matters


def _side(track: np.ndarray, scale: float) -> float:
    """Side of the square in pixels of the camera, in the frames in which it is largest."""
    spread = track.max(axis=1) - track.min(axis=1)
    return float(np.percentile(spread.max(axis=1), 90)) / max(scale, 1.0)


def _window(points: np.ndarray, shape: tuple[int, ...], spread: float) -> Window | None:
    """Pixels of the square and its shadow, or None if they are outside the frame.

    Args:
        points: ``[P, 2]``, the middles of GRID x GRID parts of the square, which extends half a part further.
        spread: standard deviation of the shadow, which is cut below `FAINT`.
    """
    height, width = shape[:2]
    pad = 2.1 * spread + float(np.ptp(points, axis=0).max()) / (2 * (GRID - 1))
    x0, y0 = (max(0, int(low - pad)) for low in points.min(axis=0))
    x1, y1 = (min(side, int(high + pad) + 1) for high, side in zip(points.max(axis=0), (width, height)))
    return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None


def _lit_sticker(
    fragments: Fragments, triangles: np.ndarray, values: np.ndarray, texture: Texture, window: Window
) -> np.ndarray:
    """The lit sticker in the window, float32 ``[h, w, 4]``: premultiplied colour in 0..255, alpha in 0..1."""
    import cv2

    x0, y0, x1, y1 = window
    height, width = y1 - y0, x1 - x0
    seen = fragments.interpolate(triangles, values)
    # Samples slightly outside the sticker help to locate its rim; samples on other parts of the face do not.
    known = (fragments.triangle >= 0) & (np.abs(seen[..., :2] - 0.5) < 0.8).all(axis=-1)
    broken = not known.all()
    if broken:
        seen = np.dstack([seen, np.ones_like(seen[..., 0])]) * known[..., None]
    if fragments.step > 1:
        whole = (seen.shape[1] * fragments.step, seen.shape[0] * fragments.step)
        seen = cv2.resize(seen, whole, interpolation=cv2.INTER_LINEAR)[:height, :width]
    elif broken:
        seen = cv2.blur(seen, (2, 2))
    if broken:
        coverage = seen[..., 4]
        seen = seen[..., :4] / np.maximum(coverage, 1e-3)[..., None]
    side = texture.rgba.shape[0]
    where = seen[..., :2] * side - 0.5
    rgba = cv2.remap(
        texture.rgba, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0)
    )
    if broken:
        rgba *= np.clip(coverage * 2 - 0.5, 0, 1)[..., None]
    shade, alpha = np.ascontiguousarray(seen[..., 2]), rgba[..., 3].copy()
    rgba *= cv2.merge([shade, shade, shade, np.ones_like(shade)])
    if texture.gloss:
        glint = seen[..., 3] * alpha
        rgba += cv2.merge([glint, glint, glint, np.zeros_like(glint)])
    return rgba


def _composite(
    frame: np.ndarray,
    sticker: np.ndarray,
    window: Window,
    kind: str,
    spread: float,
    scale: float,
    degrade: Degrade | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The frame with the sticker drawn, unchanged outside the sticker and its shadow, and what these cover."""
    import cv2

    x0, y0, x1, y1 = window
    alpha = np.ascontiguousarray(sticker[..., 3])
    out = frame.copy()
    below = out[y0:y1, x0:x1]
    under = below.astype(np.float32)
    luma = cv2.cvtColor(under, cv2.COLOR_RGB2GRAY) + 5
    detail = luma / cv2.GaussianBlur(luma, (0, 0), 2.5 * max(scale, 1.0))
    fine = np.clip(1 + DETAIL * (detail - 1), 1 - DETAIL / 4, 1 + DETAIL / 4)
    through = 1 - alpha
    strength = SHADOW.get(kind, SHADOW_DEFAULT)
    if strength:
        shadow = cv2.GaussianBlur(alpha, (0, 0), spread)
        shadow[shadow < FAINT] = 0
        through *= 1 - strength * shadow
    under *= cv2.merge([through, through, through])
    under += sticker[..., :3] * cv2.merge([fine, fine, fine])
    drawn = cv2.convertScaleAbs(np.minimum(under, 255, out=under))
    if degrade is not None:
        degraded = degrade(drawn)
        drawn = cv2.copyTo(degraded, (through < 1).astype(np.uint8), drawn)
    below[:] = drawn
    return out, 1 - through
