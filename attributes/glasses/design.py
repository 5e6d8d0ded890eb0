"""Describe glasses by typed parameters in millimetres, and draw random designs as people wear them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Style = Literal[
    "round",
    "oval",
    "panto",
    "rectangle",
    "square",
    "wayfarer",
    "aviator",
    "cat-eye",
    "hexagonal",
    "oversized",
    "narrow",
]
Rim = Literal["full", "half", "under", "rimless"]
Bridge = Literal["saddle", "keyhole", "bar", "double"]
Colour = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SurfaceDesign(_Part):
    """Material of a surface. Colours are sRGB in 0..1."""

    kind: Literal["metal", "plastic"] = Field(
        "plastic", description="Metal reflects in its own colour; plastic has a clear coat."
    )
    colour: Colour = Field((0.03, 0.03, 0.03), description="Colour of the surface, sRGB.")
    second_colour: Colour | None = Field(
        None, description="Colour of the tortoiseshell's blotches, or of the top, sRGB. If unset, plain."
    )
    pattern: Literal["blotches", "fade"] = Field(
        "blotches", description="Where the second colour is: in blotches, or at the top, fading downwards."
    )
    blotch: float = Field(6.0, gt=0, le=40, description="Size of the blotches, in mm.")
    roughness: float = Field(0.25, ge=0.02, le=1, description="0 is a mirror, 1 is matte.")
    opacity: float = Field(1.0, gt=0, le=1, description="Below 1 for translucent plastic.")


class LensDesign(_Part):
    """Optical properties of the lenses. Colours are linear factors on transmitted or reflected light."""

    tint: Colour = Field((1.0, 1.0, 1.0), description="Colour of the transmitted light; its largest component is 1.")
    transmission_top: float = Field(0.96, ge=0, le=1, description="Share of the light transmitted at the top.")
    transmission_bottom: float = Field(0.96, ge=0, le=1, description="Share of the light transmitted at the bottom.")
    reflectance: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Factor on the reflection of bare glass; about 0.1 with an anti-reflection coating.",
    )
    mirror: float = Field(0.0, ge=0, le=0.8, description="Share of the light reflected by a mirror coating.")
    coating: Colour = Field((1.0, 1.0, 1.0), description="Colour of the reflection.")
    haze: float = Field(0.0, ge=0, le=0.2, description="Light that dust and smudges scatter; 1 is white paper.")
    power: float = Field(0.0, ge=-12, le=8, description="Dioptres; negative lenses shrink the image behind them.")


class GlassesDesign(_Part):
    """One pair of glasses. Lengths are in millimetres."""

    style: Style = Field("rectangle", description="Outline of the lenses.")
    rim: Rim = Field("full", description="full; half: above only; under: below only; rimless.")
    lens_width: float = Field(51.0, ge=38, le=64, description="Width of a lens.")
    lens_height: float = Field(34.0, ge=18, le=58, description="Height of a lens.")
    bridge_width: float = Field(18.0, ge=12, le=26, description="Distance between the lenses.")
    bridge: Bridge = Field("saddle", description="Form of the bridge between the lenses; aviators have a double one.")
    rim_width: float = Field(
        3.5, ge=0.6, le=9, description="Width of the rim beside and below the lens, seen from the front."
    )
    rim_top: float = Field(4.5, ge=0.6, le=12, description="Width of the rim above the lens.")
    rim_depth: float = Field(4.0, ge=0.8, le=6, description="Thickness of the rim from front to back.")
    temple_height: float = Field(5.0, ge=0.8, le=20, description="Height of a temple at the hinge.")
    temple_thickness: float = Field(3.5, ge=0.8, le=6, description="Sideways thickness of a temple.")
    temple_length: float = Field(142.0, ge=120, le=160, description="Length of a temple, including the bend.")
    hinge_height: float = Field(
        0.55, ge=-0.2, le=1, description="Height of the hinge: 0 is the middle of the lens, 1 its top."
    )
    spread: float = Field(0.03, ge=-0.05, le=0.12, description="Outward slope of the temples.")
    ear_bend: float = Field(98.0, ge=85, le=115, description="Distance from the hinge to the bend behind the ear.")
    base_curve: float = Field(4.0, ge=0.5, le=9, description="Front curvature in dioptres; the radius is 523 / value.")
    wrap: float = Field(4.0, ge=0, le=16, description="Face-form angle of each lens, in degrees.")
    tilt: float = Field(
        8.0, ge=0, le=16, description="Pantoscopic tilt: angle by which the bottom leans towards the cheek, in degrees."
    )
    accents: bool = Field(False, description="Whether the bridge has the material of the temples.")
    nose_pads: bool = Field(False, description="Nose pads on arms; otherwise they are moulded to the rim.")
    front: SurfaceDesign = Field(SurfaceDesign(), description="Material of rims and bridge.")
    temples: SurfaceDesign = Field(SurfaceDesign(), description="Material of the temples.")
    lens: LensDesign = Field(LensDesign(), description="Properties of both lenses.")

    @property
    def material(self) -> str:
        """Material of the front: ``metal`` or ``plastic``."""
        return self.front.kind

    @property
    def hides_eyes(self) -> bool:
        """Whether the lenses are so dark that the eyes are barely visible."""
        return (self.lens.transmission_top + self.lens.transmission_bottom) / 2 < 0.35


# Ranges of lens width and height in opticians' catalogues.
_SIZES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "round": ((44, 51), (42, 49)),
    "oval": ((46, 53), (30, 38)),
    "panto": ((45, 51), (39, 46)),
    "rectangle": ((49, 56), (28, 37)),
    "square": ((49, 56), (38, 46)),
    "wayfarer": ((48, 54), (37, 43)),
    "aviator": ((52, 59), (42, 51)),
    "cat-eye": ((49, 56), (34, 43)),
    "hexagonal": ((47, 53), (40, 47)),
    "oversized": ((55, 62), (46, 55)),
    "narrow": ((46, 52), (20, 27)),
}

_METALS: tuple[tuple[Colour, float], ...] = (
    ((0.83, 0.69, 0.42), 0.24),  # gold
    ((0.78, 0.78, 0.79), 0.22),  # silver
    ((0.33, 0.33, 0.35), 0.2),  # gunmetal
    ((0.06, 0.06, 0.06), 0.22),  # black lacquer
    ((0.82, 0.58, 0.5), 0.06),  # rose gold
    ((0.35, 0.24, 0.16), 0.06),  # brown
)
_PLASTICS: tuple[tuple[Colour, float], ...] = (
    ((0.02, 0.02, 0.025), 0.5),
    ((0.12, 0.07, 0.045), 0.14),
    ((0.07, 0.1, 0.2), 0.1),
    ((0.25, 0.03, 0.05), 0.07),
    ((0.22, 0.22, 0.23), 0.06),
    ((0.75, 0.72, 0.68), 0.05),
    ((0.05, 0.17, 0.12), 0.04),
    ((0.45, 0.2, 0.35), 0.04),
)


def random_design(rng: np.random.Generator, sunglasses: float = 0.1) -> GlassesDesign:
    """Draw random glasses as people in videos wear them: wire and black plastic often, bright colours rarely.

    Args:
        rng: source of all randomness.
        sunglasses: share of designs whose lenses hide the eyes.
    """
    dark = rng.random() < sunglasses
    family = _one_of(rng, {"metal": 0.42, "plastic": 0.38, "rimless": 0.08, "half": 0.08, "browline": 0.04})
    make = {"metal": _metal, "plastic": _plastic, "rimless": _rimless, "half": _half, "browline": _browline}[family]
    values = make(rng)
    style = values["style"]
    (narrow, wide), (low, high) = _SIZES[style]
    size = rng.random()
    values |= {
        "lens_width": narrow + (wide - narrow) * size,
        "lens_height": low + (high - low) * np.clip(size + rng.normal(0, 0.25), 0, 1),
        "bridge_width": rng.uniform(15, 21) if style != "narrow" else rng.uniform(17, 22),
        "temple_length": rng.uniform(135, 150),
        "ear_bend": rng.uniform(92, 105),
        "spread": rng.uniform(0.0, 0.06),
        "wrap": rng.uniform(2, 7) + (4 if dark else 0),
        "tilt": rng.uniform(4, 12),
        "base_curve": rng.uniform(2, 6) + (2 if dark else 0),
        "hinge_height": rng.uniform(0.35, 0.75),
        "lens": _dark_lens(rng) if dark else _clear_lens(rng),
    }
    values |= _touches(rng, values)
    plain = {key: round(float(v), 3) if isinstance(v, float | np.floating) else v for key, v in values.items()}
    return GlassesDesign(**plain)


def _touches(rng: np.random.Generator, values: dict) -> dict:
    """Changes that some glasses have: a front of two colours, a bridge in another metal, smudges, strong coatings."""
    front, temples, lens = values["front"], values["temples"], values["lens"]
    changes: dict = {"accents": front.kind == "metal" == temples.kind and bool(rng.random() < 0.3)}
    if changes["accents"] and front == temples:
        changes["temples"] = _metal_surface(rng)
    if front.kind == "plastic" and front.second_colour is None and rng.random() < 0.15:
        clear = bool(rng.random() < 0.6)
        faded = {"pattern": "fade", "second_colour": front.colour, "colour": _rgb(rng.uniform(0.55, 0.9, 3))}
        changes["front"] = front.model_copy(
            update=faded | {"opacity": round(float(rng.uniform(0.25, 0.6)), 3) if clear else 1.0}
        )
    dirty = rng.uniform(0.005, 0.05) if rng.random() < 0.3 else 0.0
    strong = lens.coating != (1.0, 1.0, 1.0) and not lens.mirror and rng.random() < 0.25
    changes["lens"] = lens.model_copy(
        update={
            "haze": round(float(dirty), 4),
            "reflectance": round(float(lens.reflectance * (rng.uniform(1.5, 4) if strong else 1)), 4),
        }
    )
    return changes


def _one_of(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    shares = np.array(list(weights.values()))
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _colour(rng: np.random.Generator, table: tuple[tuple[Colour, float], ...], spread: float) -> Colour:
    shares = np.array([share for _, share in table])
    base = np.array(table[int(rng.choice(len(table), p=shares / shares.sum()))][0])
    return _rgb(base * rng.uniform(1 - spread, 1 + spread) + rng.normal(0, 0.012, 3))


def _rgb(values: np.ndarray) -> Colour:
    r, g, b = np.clip(values, 0.005, 0.98)
    return round(float(r), 4), round(float(g), 4), round(float(b), 4)


def _metal_surface(rng: np.random.Generator) -> SurfaceDesign:
    return SurfaceDesign(
        kind="metal", colour=_colour(rng, _METALS, 0.12), roughness=round(float(rng.uniform(0.08, 0.45)), 3)
    )


def _plastic_surface(rng: np.random.Generator) -> SurfaceDesign:
    kind = _one_of(rng, {"plain": 0.66, "tortoise": 0.24, "clear": 0.1})
    roughness = round(float(rng.uniform(0.08, 0.55)), 3)
    if kind == "tortoise":
        light = _rgb(np.array([0.52, 0.3, 0.12]) * rng.uniform(0.6, 1.2))
        dark = _rgb(np.array([0.1, 0.05, 0.03]) * rng.uniform(0.5, 1.5))
        return SurfaceDesign(
            colour=dark, second_colour=light, blotch=round(float(rng.uniform(3, 10)), 2), roughness=roughness
        )
    if kind == "clear":
        tone = np.array([0.85, 0.83, 0.8]) * rng.uniform(0.7, 1.05) + rng.normal(0, 0.05, 3)
        return SurfaceDesign(colour=_rgb(tone), opacity=round(float(rng.uniform(0.25, 0.6)), 3), roughness=roughness)
    return SurfaceDesign(colour=_colour(rng, _PLASTICS, 0.3), roughness=roughness)


def _metal(rng: np.random.Generator) -> dict:
    style = _one_of(
        rng,
        {
            "round": 0.2,
            "panto": 0.16,
            "oval": 0.14,
            "rectangle": 0.22,
            "aviator": 0.14,
            "hexagonal": 0.05,
            "narrow": 0.05,
        }
        | {"square": 0.04},
    )
    surface = _metal_surface(rng)
    wire = rng.uniform(0.9, 1.9)
    tips = surface if rng.random() < 0.7 else _plastic_surface(rng)
    return {
        "style": style,
        "bridge": "double" if style == "aviator" and rng.random() < 0.8 else "bar",
        "rim_width": wire,
        "rim_top": wire * rng.uniform(1, 1.25),
        "rim_depth": rng.uniform(1.2, 2.4),
        "temple_height": rng.uniform(1.2, 4.5),
        "temple_thickness": rng.uniform(1.0, 1.8),
        "nose_pads": True,
        "front": surface,
        "temples": tips,
    }


def _plastic(rng: np.random.Generator) -> dict:
    style = _one_of(
        rng,
        {
            "rectangle": 0.26,
            "wayfarer": 0.2,
            "square": 0.16,
            "round": 0.1,
            "panto": 0.1,
            "cat-eye": 0.1,
            "oversized": 0.05,
        }
        | {"oval": 0.03},
    )
    surface = _plastic_surface(rng)
    width = rng.uniform(2.2, 5.0)
    return {
        "style": style,
        "bridge": "keyhole" if rng.random() < 0.4 else "saddle",
        "rim_width": width,
        "rim_top": width * rng.uniform(1.1, 1.6),
        "rim_depth": rng.uniform(3, 4.5),
        "temple_height": rng.uniform(4, 11),
        "temple_thickness": rng.uniform(2.5, 4),
        "nose_pads": rng.random() < 0.15,
        "front": surface,
        "temples": surface if rng.random() < 0.85 else _metal_surface(rng),
    }


def _rimless(rng: np.random.Generator) -> dict:
    values = _metal(rng) | {"rim": "rimless", "bridge": "bar"}
    values["style"] = _one_of(rng, {"rectangle": 0.5, "oval": 0.3, "narrow": 0.1, "hexagonal": 0.1})
    return values


def _half(rng: np.random.Generator) -> dict:
    values = _metal(rng) if rng.random() < 0.65 else _plastic(rng)
    values["rim"] = "under" if rng.random() < 0.08 else "half"
    values["style"] = _one_of(rng, {"rectangle": 0.55, "oval": 0.2, "narrow": 0.15, "square": 0.1})
    values["bridge"] = "bar" if values["nose_pads"] else "saddle"
    return values


def _browline(rng: np.random.Generator) -> dict:
    metal, brow = _metal(rng), _plastic_surface(rng)
    return metal | {
        "style": _one_of(rng, {"wayfarer": 0.6, "panto": 0.4}),
        "rim": "full",
        "bridge": "bar",
        "rim_top": rng.uniform(5, 7.5),
        "front": brow,
        "temples": brow,
        "temple_height": rng.uniform(4, 8),
        "temple_thickness": rng.uniform(2.2, 3.2),
    }


def _clear_lens(rng: np.random.Generator) -> LensDesign:
    coated = rng.random() < 0.6
    coating = (1.0, 1.0, 1.0)
    if coated:  # the faint green, blue or violet of anti-reflection coatings
        coating = ((0.35, 1.0, 0.55), (0.35, 0.55, 1.0), (0.7, 0.4, 1.0))[int(rng.integers(3))]
    tinted = rng.random() < 0.08
    tint, through = (1.0, 1.0, 1.0), rng.uniform(0.93, 0.99)
    if tinted:
        tint = ((1.0, 0.75, 0.45), (1.0, 0.35, 0.45), (0.6, 0.75, 1.0), (1.0, 0.9, 0.5))[int(rng.integers(4))]
        through = rng.uniform(0.55, 0.85)
    power = np.clip(rng.normal(-1.8, 2.0), -8, 4) if rng.random() < 0.8 else 0.0
    return LensDesign(
        tint=tint,
        transmission_top=round(float(through), 3),
        transmission_bottom=round(float(min(through * (rng.uniform(1, 1.4) if tinted else 1), 0.99)), 3),
        reflectance=round(float(rng.uniform(0.08, 0.35) if coated else rng.uniform(0.7, 1.3)), 4),
        coating=coating,
        power=round(float(power), 2),
    )


def _dark_lens(rng: np.random.Generator) -> LensDesign:
    tint = ((1.0, 1.0, 1.0), (0.85, 1.0, 0.85), (1.0, 0.82, 0.6), (0.75, 0.85, 1.0))[int(rng.integers(4))]
    top = rng.uniform(0.04, 0.2)
    mirror = rng.random() < 0.15
    return LensDesign(
        tint=tint,
        transmission_top=round(float(top), 3),
        transmission_bottom=round(float(top if rng.random() < 0.6 else min(top * rng.uniform(1.5, 4), 0.45)), 3),
        reflectance=round(float(rng.uniform(0.6, 1.3)), 4),
        mirror=round(float(rng.uniform(0.2, 0.55)), 3) if mirror else 0.0,
        coating=((1.0, 0.7, 0.35), (0.5, 0.7, 1.0), (1.0, 1.0, 1.0))[int(rng.integers(3))]
        if mirror
        else (1.0, 1.0, 1.0),
        power=0.0,
    )
