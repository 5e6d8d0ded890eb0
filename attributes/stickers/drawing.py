"""Draw a sticker on a clip: geometry from the mesh, light from the skin, sharpness and noise from the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attributes.rendering.lighting import light
from attributes.rendering.mesh import FaceMesh
from attributes.rendering.renderer import Fragments, UVRenderer, Window
from attributes.stickers.placement import GRID, Placement

RAYS = 1200
"""Rays per sticker and frame, about: larger ones get one per 2x2, 3x3, ... pixels, the rest is interpolated. Between
silhouettes the surface is smooth over far more pixels than that; across them the blend is the antialiasing."""

DETAIL = 0.3
"""How much of the skin's own fine light and dark (pores, grain) shows on a sticker."""

SHADOW = {"tattoo": 0.0, "translucent": 0.1}
"""Strength of the thin shadow at the edge by kind; everything else has thickness and gets `SHADOW_DEFAULT`."""
SHADOW_DEFAULT = 0.3

FAINT = 0.02
"""A shadow weaker than this is none."""

Degrade = Callable[[np.ndarray], np.ndarray]
"""uint8 ``[h, w, 3]`` -> the same shape; the same draw for every frame of a clip."""


@dataclass(frozen=True, eq=False)
class Texture:
    """A sticker's picture, ready to be sampled at the size that it will have.

    Attributes:
        rgba: float32 ``[h, w, 4]``, alpha in 0..1, colour in 0..255 premultiplied by it, with a transparent rim.
        kind: `Sticker.kind`.
        gloss: 0..1.
    """

    rgba: np.ndarray
    kind: str
    gloss: float

    @classmethod
    def of(cls, rgba: np.ndarray, kind: str, gloss: float, opacity: float) -> Texture:
        """From straight-alpha uint8 ``[h, w, 4]``, made square with a rim, `opacity` times its alpha."""
        height, width = rgba.shape[:2]
        side = max(height, width) + 2 * max(2, max(height, width) // 32)
        square = np.zeros((side, side, 4), np.float32)
        y, x = (side - height) // 2, (side - width) // 2
        square[y : y + height, x : x + width] = rgba
        square[..., 3] *= opacity / 255
        square[..., :3] *= square[..., 3:]
        return cls(square, kind, gloss)

    def footprint(self, cells: int) -> np.ndarray:
        """bool ``[cells, cells]``: the parts of the square that the sticker covers."""
        import cv2

        return cv2.resize(self.rgba[..., 3], (cells, cells), interpolation=cv2.INTER_AREA) > 0.04

    def sized(self, side: int) -> Texture:
        """Reduced so that the square has `side` pixels; a smaller one is kept."""
        import cv2

        if side >= self.rgba.shape[0]:
            return self
        return Texture(cv2.resize(self.rgba, (side, side), interpolation=cv2.INTER_AREA), self.kind, self.gloss)


def draw(
    frames: Sequence[np.ndarray],
    mesh: FaceMesh,
    place: Placement,
    texture: Texture,
    renderer: UVRenderer,
    scale: float,
    degrade: Degrade | None = None,
) -> Iterator[tuple[np.ndarray, Window]]:
    """Yield one frame after another with the sticker on it, and the window outside which it is the same.

    Args:
        frames: uint8 ``[T, H, W, 3]``, RGB; not changed.
        mesh: present in every frame.
        scale: pixels of `frames` per pixel of the camera; the sticker is no sharper than the camera saw.
        degrade: applied to the drawn part, so that it has the video's blur, noise and compression.
    """
    reach = _reach(place.texcoords, mesh.triangles)
    patch = np.unique(mesh.triangles[reach])
    triangles = mesh.triangles[_matters(mesh, reach, patch)]
    lit = light(frames, mesh, patch)
    track = np.einsum("pk,tpkc->tpc", place.weights, mesh.vertices[:, place.corners][..., :2])
    texture = texture.sized(max(4, round(_side(track, scale))))
    texture = replace(texture, rgba=texture.rgba * np.append(lit.tint, np.float32(1)))
    spread = 0.6 + 0.02 * texture.rgba.shape[0] * max(scale, 1.0)
    values = np.empty((len(mesh.rest), 4), np.float32)
    values[:, :2] = place.texcoords
    values[:, 2:] = 1, 0
    windows = [_window(points, frame.shape, spread) for points, frame in zip(track, frames)]
    shown = [t for t, window in enumerate(windows) if window]
    step = _step([windows[t] for t in shown])
    fragments = renderer.fragments(mesh.vertices[shown], triangles, [windows[t] for t in shown], step)
    seen = dict(zip(shown, fragments))
    for t, (frame, window) in enumerate(zip(frames, windows)):
        if window is None:
            yield frame, (0, 0, 0, 0)
            continue
        values[patch, 2] = lit.shading[t] * lit.white[t]
        values[patch, 3] = lit.gloss[t] * (127 * texture.gloss * lit.white[t])
        layer = _layer(seen[t], triangles, values, texture, window)
        yield _composite(frame, layer, window, texture.kind, spread, scale, degrade), window


def _step(windows: list[Window]) -> int:
    """Pixels per ray, so that the usual window gets about `RAYS`."""
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in windows] or [1]
    return max(1, round((float(np.median(areas)) / RAYS) ** 0.5))


def _reach(texcoords: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Indices of the triangles that the sticker's square may touch."""
    corners = texcoords[triangles]
    return np.flatnonzero(((corners.max(axis=1) > -0.1) & (corners.min(axis=1) < 1.1)).all(axis=1))


def _matters(mesh: FaceMesh, reach: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """bool ``[F]``: the sticker's own triangles, and those that come nearer than its farthest point and may hide it."""
    farthest = mesh.vertices[:, patch, 2].max(axis=1, keepdims=True)
    nearer = mesh.vertices[..., 2] < farthest
    corners = [nearer[:, mesh.triangles[:, k]] for k in range(3)]
    matters = (corners[0] | corners[1] | corners[2]).any(axis=0)
    matters[reach] = True
    return matters


def _side(track: np.ndarray, scale: float) -> float:
    """Side of the square in pixels of the camera, where it is seen largest."""
    spread = track.max(axis=1) - track.min(axis=1)
    return float(np.percentile(spread.max(axis=1), 90)) / max(scale, 1.0)


def _window(points: np.ndarray, shape: tuple[int, ...], spread: float) -> Window | None:
    """The pixels of the square and its shadow, or None outside the frame.

    Args:
        points: ``[P, 2]``, the middles of GRID x GRID parts of the square: it reaches half a part further.
        spread: standard deviation of the shadow, which ends where it falls under `FAINT`.
    """
    height, width = shape[:2]
    pad = 2.1 * spread + float(np.ptp(points, axis=0).max()) / (2 * (GRID - 1))
    x0, y0 = (max(0, int(low - pad)) for low in points.min(axis=0))
    x1, y1 = (min(side, int(high + pad) + 1) for high, side in zip(points.max(axis=0), (width, height)))
    return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None


def _layer(
    fragments: Fragments, triangles: np.ndarray, values: np.ndarray, texture: Texture, window: Window
) -> np.ndarray:
    """The lit sticker over the window, float32 ``[h, w, 4]``: colour in 0..255 premultiplied, alpha in 0..1."""
    import cv2

    x0, y0, x1, y1 = window
    height, width = y1 - y0, x1 - x0
    seen = fragments.interpolate(triangles, values)
    # A sample beyond the sticker's rim still tells where the rim is; one on another part of the face does not.
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
    layer: np.ndarray,
    window: Window,
    kind: str,
    spread: float,
    scale: float,
    degrade: Degrade | None,
) -> np.ndarray:
    """The frame with the layer on it; untouched outside the layer and its shadow."""
    import cv2

    x0, y0, x1, y1 = window
    alpha = np.ascontiguousarray(layer[..., 3])
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
    under += layer[..., :3] * cv2.merge([fine, fine, fine])
    drawn = cv2.convertScaleAbs(np.minimum(under, 255, out=under))
    if degrade is not None:
        degraded = degrade(drawn)
        drawn = cv2.copyTo(degraded, (through < 1).astype(np.uint8), drawn)
    below[:] = drawn
    return out
