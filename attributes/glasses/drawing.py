"""Draw 3D glasses on a clip, with its pose, light, sharpness and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.camera import measured_blur, measured_noise
from attributes.glasses.design import GlassesDesign
from attributes.glasses.geometry import glasses_mesh
from attributes.glasses.hair import uncovered
from attributes.glasses.layers import Layers, Wearing
from attributes.glasses.placement import seat, track_head
from attributes.glasses.shading import GAMMA, illuminate
from attributes.rendering.renderer import EmbreeRenderer
from toolkit.task import FaceClip

LEAST_CHANGE = 2
"""Pixels keep their value if every channel would change by fewer grey levels."""

LEAST_SHADOW = 5
"""The same limit for pixels that only the shadow reaches."""


@dataclass(frozen=True, eq=False)
class DrawnGlasses:
    """A clip with glasses.

    Attributes:
        frames: uint8 ``[T, H, W, 3]``.
        mask: bool ``[T, H, W]``, exactly the pixels that differ from the clip's frames.
        rim: float32 ``[T, H, W]``, coverage in 0..1 by rims, bridge, hinges, pads and the visible part of the temples,
            and by the ground edge of a lens that has no rim.
        lens: float32 ``[T, H, W]``, coverage in 0..1 by lenses.
        opacity: float32 ``[T, H, W]``, share of the light that the lens blocks; 0 outside lenses.
        reflection: float32 ``[T, H, W]``, share of the pixel's light that the lens reflects; 0 outside lenses.
    """

    frames: np.ndarray
    mask: np.ndarray
    rim: np.ndarray
    lens: np.ndarray
    opacity: np.ndarray
    reflection: np.ndarray


class GlassesDrawer:
    """Draws glasses by ray casting on the CPU.

    Args:
        renderer: supplies the Embree device; by default a new one.
    """

    def __init__(self, renderer: EmbreeRenderer | None = None):
        self._renderer = renderer or EmbreeRenderer()

    def draw(self, clip: FaceClip, design: GlassesDesign, rng: np.random.Generator) -> DrawnGlasses:
        """Draw `design` on the face of a clip. The same clip, design and state of `rng` give the same result.

        Args:
            clip: a clip with the face in every frame and the landmarks of mediapipe.
            rng: draws the position on the nose, the lights of the room and the grain.

        Raises:
            InputError: a frame does not show the face, or the landmarks are of another analyser.
        """
        import cv2

        track = track_head(clip)
        mesh = seat(glasses_mesh(design), track.shape, rng)
        ends = uncovered(clip, track, ear=float(rng.uniform(4, 14)))
        light = illuminate(clip, track, rng)
        middle = clip.frames[len(clip) // 2]
        blur = max(measured_blur(middle), 0.45 * clip.scale)
        noise = measured_noise(middle)
        wearing = Wearing(self._renderer, mesh, design, light, ends, blur, rng)
        count, height, width = clip.frames.shape[:3]
        frames = clip.frames.copy()
        mask = np.zeros((count, height, width), bool)
        planes = np.zeros((4, count, height, width), np.float32)
        for t in range(count):
            layers = wearing.layers(clip, track, t)
            if layers is None:
                continue
            x0, y0, x1, y1 = layers.window
            part = np.s_[t, y0:y1, x0:x1]
            below = clip.frames[part]
            drawn, shares = _composite(below, layers, blur, noise, rng)
            changed = _changed(cv2.absdiff(drawn, below).max(axis=-1), shares[0] + shares[1])
            frames[part] = np.where(changed[..., None], drawn, below)
            mask[part] = changed
            planes[(slice(None), *part)] = shares
        return DrawnGlasses(frames, mask, *planes)


def _changed(change: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Pixels to replace, bool ``[h, w]``. Shadows that are too faint or too small to see are dropped."""
    import cv2

    shadow = ((change >= LEAST_SHADOW) & (covered < 0.02)).astype(np.uint8)
    shadow = cv2.morphologyEx(shadow, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return ((change >= LEAST_CHANGE) & (covered >= 0.02)) | shadow


def _composite(below: np.ndarray, layers: Layers, blur: float, noise: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """The window with glasses; and coverage by rim and lens, opacity and reflection, float32 ``[4, h, w]``."""
    import cv2

    behind = _LINEAR[below] * layers.shade[..., None]
    height, width = below.shape[:2]
    if layers.shift.any():
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        behind = cv2.remap(
            behind,
            x + layers.shift[..., 0],
            y + layers.shift[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    through, added, mirrored = (
        cv2.GaussianBlur(a, (0, 0), blur) for a in (layers.through, layers.added, layers.mirrored)
    )
    rim, lens, opacity = (cv2.GaussianBlur(a, (0, 0), blur) for a in (layers.rim, layers.lens, layers.opacity))
    passed = behind * through
    light = passed + added + mirrored
    reflection = mirrored @ _MEAN / np.maximum(light @ _MEAN, 1e-4) * np.minimum(lens * 4, 1)
    picture = _ENCODED[np.clip(light * 16383, 0, 16383).astype(np.uint16)]
    grain = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 0.6)
    own = 1 - through @ _MEAN
    picture += (grain * (noise * 2.1) * own)[..., None]
    drawn = cv2.convertScaleAbs(np.clip(picture, 0, 255))
    return drawn, np.stack([rim, lens, opacity, np.clip(reflection, 0, 1)])


_MEAN = np.full(3, 1 / 3, np.float32)
_ENCODED = (np.linspace(0, 1, 16384) ** (1 / GAMMA) * 255).astype(np.float32)
_LINEAR = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)
