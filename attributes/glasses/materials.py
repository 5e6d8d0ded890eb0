"""Derive the optical properties of surfaces and lenses from a design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.design import GlassesDesign, SurfaceDesign
from attributes.glasses.geometry import PARTS
from attributes.glasses.lenses import Lens
from attributes.glasses.shading import GAMMA, HEAD_MIDDLE, Illumination, fresnel


@dataclass(frozen=True, eq=False)
class Surface:
    """Metal or plastic.

    Attributes:
        colour: float32 ``[3]``, linear; the reflection at normal incidence for metal, the diffuse colour for plastic.
        second: the second colour, or None.
        fading: y in head coordinates above which the colour is the second one, and below which it is the first;
            None for the blotches of tortoiseshell.
        phases: float32 ``[K, 4]``, waves in radians per millimetre, and their phase, which form the blotches.
        roughness: 0..1.
        metal: bool.
        opacity: 0..1.
    """

    colour: np.ndarray
    second: np.ndarray | None
    fading: tuple[float, float] | None
    phases: np.ndarray
    roughness: float
    metal: bool
    opacity: float

    def shaded(
        self, light: Illumination, t: int, normal: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Linear colour ``[S, 3]`` and opacity ``[S]`` of points.

        Args:
            normal: ``[S, 3]`` in camera coordinates.
            position: ``[S, 3]`` in head coordinates.
            rotation: ``[3, 3]``, head to camera.
        """
        to_head = (HEAD_MIDDLE - position) @ rotation.T.astype(np.float32)
        mirrored, cosine = light.mirrored(normal, self.roughness, to_head)
        diffuse = light.diffuse(t, normal)[:, None] * light.white[t]
        if self.metal:
            share = fresnel(cosine[:, None], self.colour)
            return share * (mirrored + 0.12 * diffuse), np.full(len(position), self.opacity, np.float32)
        colour = np.broadcast_to(self.colour, (len(position), 3))
        opacity = np.full(len(position), self.opacity, np.float32)
        if self.second is not None:
            blotch = (self._blotches(position) if self.fading is None else self._above(position))[:, None]
            colour = colour + (self.second - colour) * blotch
            opacity = np.clip(opacity + (1 - opacity) * blotch[:, 0] * 0.8, 0, 1)
        share = fresnel(cosine[:, None], 0.04)
        return colour * diffuse * (1 - share) + share * mirrored / np.maximum(opacity, 0.3)[:, None], opacity

    def _above(self, position: np.ndarray) -> np.ndarray:
        """Share of the second colour at points ``[S, 3]`` of a front that fades downwards: ``[S]`` in 0..1."""
        assert self.fading is not None
        top, bottom = self.fading
        share = np.clip((bottom - position[:, 1]) / max(bottom - top, 1e-3), 0, 1)
        return (share * share * (3 - 2 * share)).astype(np.float32)

    def _blotches(self, position: np.ndarray) -> np.ndarray:
        """Share of the second colour at points ``[S, 3]``: ``[S]`` in 0..1."""
        waves = position @ self.phases[:, :3].T + self.phases[:, 3]
        warped = np.sin(waves + 1.3 * np.sin(np.roll(waves, 1, axis=1))).mean(axis=1) * np.sqrt(len(self.phases))
        return np.clip(warped * 1.6 + 0.45, 0, 1).astype(np.float32)


def _waves(scale: float, rng: np.random.Generator) -> np.ndarray:
    direction = rng.standard_normal((7, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    frequency = 2 * np.pi / scale * rng.uniform(0.5, 1.4, (7, 1))
    return np.concatenate([direction * frequency, rng.uniform(0, 2 * np.pi, (7, 1))], axis=1).astype(np.float32)


def surfaces_of(
    design: GlassesDesign, rng: np.random.Generator, fading: tuple[float, float]
) -> tuple[Surface | None, ...]:
    """The surface of each of `PARTS`, None for the lens.

    Args:
        fading: `Surface.fading` of fronts that fade.
    """
    front, temples = _surface(design.front, rng, fading), _surface(design.temples, rng, fading)
    silicone = Surface(_linear((0.9, 0.88, 0.84)), None, None, _waves(6, rng), 0.3, False, 0.35)
    pads = silicone if design.nose_pads else front
    bridge = temples if design.accents else front
    by_part = {"rim": front, "bridge": bridge, "hinge": temples, "temple": temples, "nose_pad": pads, "lens": None}
    return tuple(by_part[name] for name in PARTS)


def lens_of(design: GlassesDesign) -> Lens:
    """The lenses of a design."""
    lens = design.lens
    return Lens(
        tint=np.array(lens.tint, np.float32),
        transmission=(lens.transmission_top, lens.transmission_bottom),
        reflectance=lens.reflectance,
        coating=np.array(lens.coating, np.float32),
        mirror=lens.mirror,
        power=lens.power,
        haze=lens.haze,
    )


def _surface(design: SurfaceDesign, rng: np.random.Generator, fading: tuple[float, float]) -> Surface:
    return Surface(
        colour=_linear(design.colour),
        second=None if design.second_colour is None else _linear(design.second_colour),
        fading=fading if design.pattern == "fade" else None,
        phases=_waves(design.blotch, rng),
        roughness=design.roughness,
        metal=design.kind == "metal",
        opacity=design.opacity,
    )


def _linear(colour: tuple[float, float, float]) -> np.ndarray:
    return np.array(colour, np.float32) ** GAMMA
