"""Estimate the light on glasses, and the surroundings that they reflect.

All colours are linear. 1 is white paper in the brightest light of the picture. Directions are in camera coordinates: x
right, y down, z away from the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter

from attributes.glasses.placement import HeadTrack
from attributes.rendering.landmark_mesh import LandmarkMesher
from attributes.rendering.lighting import harmonics, light, normals
from toolkit.task import FaceClip

GAMMA = 2.2

HEIGHT = 128
"""Rows of the picture of the surroundings, which covers the whole sphere in `HEIGHT` x 2 `HEIGHT` pixels."""

BLURS = (0.0, 3.0, 9.0)
"""Blur, as standard deviations in pixels, of its versions for smooth, satin and rough surfaces."""

HEAD = 72.0
"""Radius in millimetres of the sphere that represents the head in reflections."""

HEAD_MIDDLE = np.array([0, 0, 78.0], np.float32)
"""Middle of that sphere in head coordinates."""

VIEW = np.array([0, 0, 1.0])

_AROUND = ("nearest", "wrap")


@dataclass(frozen=True, eq=False)
class Illumination:
    """Light in a clip.

    Attributes:
        surroundings: float32 ``[len(BLURS), HEIGHT, 2 * HEIGHT, 3]``; columns run from behind the head over the
            picture's left, the viewer (in the middle) and the right.
        harmonics: float32 ``[T, 9]``, coefficients of diffuse light for `attributes.rendering.lighting.harmonics`.
        main: float32 ``[3]``, unit direction towards the main light.
        contrast: share of the light from there, 0..1.
        white: float32 ``[T, 3]``, colour of white paper in the picture, linear 0..1.
        skin: float32 ``[3]``, mean colour of the skin.
    """

    surroundings: np.ndarray
    harmonics: np.ndarray
    main: np.ndarray
    contrast: float
    white: np.ndarray
    skin: np.ndarray
    _blends: dict[float, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @property
    def shadow(self) -> float:
        """Share of the skin's light that is lost in the shadow of the main light."""
        return 0.2 + 0.55 * self.contrast

    @property
    def flicker(self) -> np.ndarray:
        """Light of each frame divided by the mean of the clip: float32 ``[T, 3]``."""
        return self.white / np.maximum(self.white.mean(axis=0), 1e-3)

    def mirrored(
        self, normal: np.ndarray, roughness: float, to_head: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Light ``[S, 3]`` that surfaces reflect, and the cosine of the angle to the viewer ``[S]``.

        Args:
            normal: float32 ``[S, 3]``, unit normals.
            roughness: 0 for a mirror to 1 for a matte surface.
            to_head: float32 ``[S, 3]``, millimetres from the surface to the middle of the head, to reflect it too.
        """
        cosine = -normal[:, 2]
        direction = VIEW - 2 * normal[:, 2:] * normal
        seen = self._looked_up(direction, roughness)
        cosine = np.clip(np.abs(cosine), 0, 1)
        if to_head is None:
            return seen, cosine
        # The head is a sphere; soft test whether the reflected ray hits it.
        away = np.linalg.norm(to_head, axis=1)
        edge = np.sqrt(np.clip(1 - (HEAD / np.maximum(away, HEAD)) ** 2, 0, 1))
        meets = np.clip(((direction * to_head).sum(axis=1) / away - edge) * 6 + 0.3, 0, 1)[:, None]
        return seen * (1 - meets) + 0.6 * self.skin * meets, cosine

    def _blurred(self, roughness: float) -> np.ndarray:
        """The surroundings as surfaces of this roughness reflect them."""
        import cv2

        if roughness not in self._blends:  # a design has few
            level = float(np.clip(roughness, 0, 1)) * (len(BLURS) - 1)
            low = min(int(level), len(BLURS) - 2)
            picture = self.surroundings[low]
            if level > low:
                picture = cv2.addWeighted(picture, low + 1 - level, self.surroundings[low + 1], level - low, 0)
            self._blends[roughness] = picture
        return self._blends[roughness]

    def _looked_up(self, direction: np.ndarray, roughness: float) -> np.ndarray:
        import cv2

        count = len(direction)
        if not count:
            return np.zeros((0, 3), np.float32)
        # cv2.remap accepts no side above 32767.
        side = int(np.ceil(np.sqrt(count)))
        x, y, z = (np.resize(direction[:, k], side * side).astype(np.float32) for k in range(3))
        u = (np.arctan2(x, -z) / (2 * np.pi) + 0.5) * 2 * HEIGHT - 0.5
        v = np.arccos(np.clip(-y, -1, 1)) / np.pi * HEIGHT - 0.5
        u, v = u.reshape(side, side), v.reshape(side, side)
        return cv2.remap(self._blurred(roughness), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(
            -1, 3
        )[:count]

    def diffuse(self, t: int, normal: np.ndarray) -> np.ndarray:
        """Light ``[S]`` on matte surfaces in frame `t`; 1 is the light on the brightest skin."""
        return np.clip(harmonics(normal) @ self.harmonics[t], 0.06, 1.2).astype(np.float32)


def illuminate(clip: FaceClip, track: HeadTrack, rng: np.random.Generator) -> Illumination:
    """Estimate the light from the face, and invent the part of the room that is not visible."""
    mesh = LandmarkMesher().mesh(clip)
    patch = np.arange(0, mesh.vertices.shape[1], 6)
    lit = light(list(clip.frames), mesh, patch)
    n = normals(mesh.vertices, mesh.triangles, patch)
    coefficients = np.stack([_fitted(a, b) for a, b in zip(n, lit.shading**GAMMA)])
    linear = coefficients[:, 1:4].mean(axis=0) + np.array([0, -0.06, -0.08])  # light comes mostly from above
    strength = float(np.linalg.norm(linear))
    main = linear / max(strength, 1e-6)
    main[2] = min(main[2], -0.6)  # shadows of lights far to the side are negligible
    main /= np.linalg.norm(main)
    contrast = float(np.clip(strength / max(coefficients[:, 0].mean(), 0.1), 0.1, 0.8))
    white = (lit.white[:, None] * lit.tint) ** GAMMA
    points = np.rint(clip.landmarks[:, patch, :2]).astype(int)
    height, width = clip.frames.shape[1:3]
    x, y = np.clip(points[..., 0], 0, width - 1), np.clip(points[..., 1], 0, height - 1)
    picked = clip.frames[np.arange(len(clip))[:, None], y, x].astype(np.float32) / 255
    skin = np.median(picked.reshape(-1, 3), axis=0) ** GAMMA
    room = _room(clip.frames[len(clip) // 2], white.mean(axis=0), main, contrast, rng)
    return Illumination(
        room, coefficients.astype("f4"), main.astype("f4"), contrast, white.astype("f4"), skin.astype("f4")
    )


def _fitted(n: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Ridge regression of the light on the harmonics of normals that face the viewer."""
    weight = np.clip(-n[:, 2], 0.01, 1)[:, None]
    basis = harmonics(n)
    ridge = np.diag([1e-3, 0.02, 0.02, 0.02, 0.2, 0.2, 0.2, 0.2, 0.2]) * len(n)
    return np.linalg.solve((basis * weight).T @ basis + ridge, (basis * weight).T @ seen)


def _room(
    frame: np.ndarray, white: np.ndarray, main: np.ndarray, contrast: float, rng: np.random.Generator
) -> np.ndarray:
    """Surroundings in linear light: the blurred picture on all sides, brighter above, with windows and lamps."""
    import cv2

    v, u = np.meshgrid(np.arange(HEIGHT) + 0.5, np.arange(2 * HEIGHT) + 0.5, indexing="ij")
    polar, azimuth = v / HEIGHT * np.pi, (u / HEIGHT - 1) * np.pi
    x, y, z = np.sin(polar) * np.sin(azimuth), -np.cos(polar), -np.sin(polar) * np.cos(azimuth)
    small = cv2.GaussianBlur(cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA), (0, 0), 4)
    small = (small.astype(np.float32) / 255) ** GAMMA
    room = cv2.remap(small, ((x + 1) * 31.5).astype("f4"), ((y + 1) * 31.5).astype("f4"), cv2.INTER_LINEAR)
    room = 0.5 * room + 0.5 * small.mean(axis=(0, 1))
    clutter = gaussian_filter(rng.standard_normal(room.shape[:2]), 9, mode=_AROUND)
    room *= np.clip(1 + 0.5 * clutter / clutter.std(), 0.2, 2)[..., None]
    for _ in range(14):  # walls, doors, furniture
        left, low = rng.uniform(-np.pi, np.pi), rng.uniform(-0.7, 0.9)
        within = (np.abs(azimuth - left) < rng.uniform(0.05, 0.6)) & (np.abs(y - low) < rng.uniform(0.05, 0.5))
        room *= np.where(within, rng.uniform(0.4, 1.5), 1)[..., None]
    room *= (1 - 0.35 * y)[..., None]  # ceilings are brighter than floors
    # The camera and its operator block some of the light.
    room *= (0.75 - 0.35 * np.clip(-z * 1.5 - 0.5, 0, 1))[..., None]
    at_main = np.arctan2(main[0], -main[2]), -np.arcsin(np.clip(main[1], -1, 1))
    lights = [
        (at_main[0], at_main[1], rng.uniform(0.15, 0.4), rng.uniform(0.12, 0.35), rng.uniform(3, 5 + 8 * contrast))
    ]
    for _ in range(rng.integers(1, 5)):
        size = rng.uniform(0.06, 0.4)
        height = size * rng.uniform(0.6, 1.8)
        power = min(0.5 / (size * height), 30) * rng.uniform(0.3, 1)
        lights.append((rng.uniform(-1.9, 1.9), rng.uniform(-0.2, 1.1), size, height, power))
    for where, elevation, half_width, half_height, power in lights:
        dx = (azimuth - where) * np.sin(polar) / half_width
        dy = (np.pi / 2 - polar - elevation) / half_height
        if rng.random() < 0.6:  # a window or a panel; otherwise a lamp
            inside = np.clip((1 - np.maximum(np.abs(dx), np.abs(dy))) * 6, 0, 1)
            if rng.random() < 0.4 and half_width > 0.15:
                inside *= np.clip(np.abs(dx) * 12 - 0.4, 0, 1)  # the bar in its middle
        else:
            inside = np.clip((1 - np.hypot(dx, dy)) * 4, 0, 1)
        warmth = rng.normal(0, 0.06)
        room += (inside * power)[..., None] * white * np.array([1 + warmth, 1, 1 - warmth])
    room = room.astype(np.float32)
    return np.stack([gaussian_filter(room, (blur, blur, 0), mode=(*_AROUND, "nearest")) for blur in BLURS])


def fresnel(cosine: np.ndarray, at_normal: np.ndarray | float) -> np.ndarray:
    """Share of light reflected at an angle (Schlick 1994), in the shape of `cosine`, or with a colour axis added."""
    return at_normal + (1 - at_normal) * (1 - cosine) ** 5
