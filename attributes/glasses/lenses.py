"""What spectacle lenses do to light: tint, mirror reflections of both surfaces, shift of what lies behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.shading import Illumination, fresnel

SURFACE = 0.045
"""Share of light that one uncoated surface of the lens mirrors head-on (index about 1.54)."""

BACKGROUND = 45.0
"""Millimetres behind the lens that count where it sees past the head; farther things would only shift more."""


@dataclass(frozen=True, eq=False)
class Lens:
    """A pair of lenses.

    Attributes:
        tint: float32 ``[3]``, linear colour of the light that passes, its largest component 1.
        transmission: share of the light that passes at the top and at the bottom.
        reflectance: factor on the mirror reflection of glass; below 1 with an anti-reflection coating.
        coating: float32 ``[3]``, colour of the reflection, linear.
        mirror: share of light that a mirror coating sends back.
        power: dioptres; positive magnifies.
    """

    tint: np.ndarray
    transmission: tuple[float, float]
    reflectance: float
    coating: np.ndarray
    mirror: float
    power: float

    @property
    def edge(self) -> float:
        """Breadth in millimetres in which the ground edge shows; edges of minus lenses are thick."""
        return 0.6 + 0.12 * max(-self.power, 0)

    def passed(self, v: np.ndarray) -> np.ndarray:
        """Light that passes, ``[S, 3]``, at heights `v` from -1 (top) to 1."""
        share = np.clip(v * 0.5 + 0.5, 0, 1)
        share = share * share * (3 - 2 * share)
        top, bottom = self.transmission
        return ((top + (bottom - top) * share)[:, None] * self.tint).astype(np.float32)

    def mirrored(
        self, light: Illumination, rotation: np.ndarray, normal: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mirror image of the surroundings.

        Args:
            rotation: ``[3, 3]``, head to camera.
            normal: float32 ``[S, 3]`` of the front surface, towards the viewer, in the camera's directions.
            offset: float32 ``[S, 3]``, millimetres from the lens' middle in head coordinates.

        Returns:
            Reflected light ``[S, 3]`` and the share of the light behind that is not reflected ``[S]``.
        """
        # The two surfaces differ in curvature by the power, so their images slide apart away from the middle.
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

    def shift(self, offset: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Where light comes from, relative to where it is seen, in millimetres ``[S, 2]`` (Prentice's rule).

        A ray through a lens of D dioptres, y millimetres from its middle, turns by y D / 1000 radians.

        Args:
            offset: ``[S, 2]``, millimetres from the lens' middle across the line of sight.
            gap: ``[S]``, millimetres from the lens to what lies behind it.
        """
        return offset * (-self.power / 1000 * np.minimum(gap, BACKGROUND))[:, None]
