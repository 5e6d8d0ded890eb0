"""Model spectacle lenses: tint, reflections of both surfaces, and refraction of the picture behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.shading import Illumination, fresnel

SURFACE = 0.045
"""Share of light that one uncoated surface reflects at normal incidence (refractive index about 1.54)."""

BACKGROUND = 45.0
"""Greatest distance in millimetres behind the lens for refraction; background farther away shifts no further."""


@dataclass(frozen=True, eq=False)
class Lens:
    """A pair of lenses.

    Attributes:
        tint: float32 ``[3]``, linear colour of the transmitted light; its largest component is 1.
        transmission: share of the light transmitted at the top and at the bottom.
        reflectance: factor on the reflection of bare glass; below 1 with an anti-reflection coating.
        coating: float32 ``[3]``, colour of the reflection, linear.
        mirror: share of light that a mirror coating reflects.
        power: dioptres; positive magnifies.
        haze: light that dust and smudges scatter, where they are thickest.
    """

    tint: np.ndarray
    transmission: tuple[float, float]
    reflectance: float
    coating: np.ndarray
    mirror: float
    power: float
    haze: float = 0.0

    @property
    def edge(self) -> float:
        """Width in millimetres of the visible ground edge; negative lenses have thick edges."""
        return 0.6 + 0.12 * max(-self.power, 0)

    def passed(self, v: np.ndarray) -> np.ndarray:
        """Transmitted light ``[S, 3]`` at heights `v` from -1 (top) to 1."""
        share = np.clip(v * 0.5 + 0.5, 0, 1)
        share = share * share * (3 - 2 * share)
        top, bottom = self.transmission
        return ((top + (bottom - top) * share)[:, None] * self.tint).astype(np.float32)

    def mirrored(
        self, light: Illumination, rotation: np.ndarray, normal: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reflection of the surroundings.

        Args:
            rotation: ``[3, 3]``, head to camera.
            normal: float32 ``[S, 3]``, normals of the front surface towards the viewer, in camera coordinates.
            offset: float32 ``[S, 3]``, millimetres from the middle of the lens, in head coordinates.

        Returns:
            Reflected light ``[S, 3]``, and the share of the light from behind that is not reflected ``[S]``.
        """
        # The curvatures of the two surfaces differ by the power, so their images separate away from the middle.
        bend = offset * np.float32(-self.power / 523)
        bend[:, 2] = 0
        back = normal + bend @ rotation.T.astype(np.float32)
        back /= np.linalg.norm(back, axis=1, keepdims=True)
        front_image, cosine = light.mirrored(normal, 0.0)
        back_image, _ = light.mirrored(back, 0.0)
        share = fresnel(cosine, SURFACE) * self.reflectance
        reflected = share[:, None] * (front_image + 0.8 * back_image) * self.coating
        reflected += self.mirror * front_image * self.coating
        return reflected, np.clip(1 - 2 * share - self.mirror, 0, 1)

    def smudges(self, offset: np.ndarray) -> np.ndarray:
        """Share of the light on the lens that smudges scatter ``[S]``, at millimetres from its middle ``[S, 3]``."""
        x, y = offset[:, 0], offset[:, 1]
        waves = np.sin(0.31 * x + 0.9 * np.sin(0.23 * y)) + np.sin(0.37 * y + 1.1 * np.sin(0.19 * x + 1))
        return (self.haze * np.clip(0.5 + 0.3 * waves, 0, 1)).astype(np.float32)

    def shift(self, offset: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Offset in millimetres ``[S, 2]`` from the seen position to the origin of the light (Prentice's rule).

        A lens of D dioptres deflects a ray y millimetres from its middle by y D / 1000 radians.

        Args:
            offset: ``[S, 2]``, millimetres from the middle of the lens, across the line of sight.
            gap: ``[S]``, millimetres from the lens to the surface behind it.
        """
        return offset * (-self.power / 1000 * np.minimum(gap, BACKGROUND))[:, None]
