"""Options of the `stickers` task."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from toolkit.task import TaskOptions

Region = Literal["eyes", "mouth", "brows", "nose"]
Range = tuple[float, float]


class StickersOptions(TaskOptions):
    """What is drawn, where, and on which mesh."""

    art: Path | None = Field(None, description="folder of RGBA pictures (PNG, WebP); the embedded set without it")
    number: tuple[int, int] = Field((1, 1), description="fewest and most stickers per clip; the paper has one")
    size: Range = Field(
        (0.3, 0.75), description="smallest and largest side, in distances between the outer eye corners (about 9 cm)"
    )
    rotation: Range = Field((-45.0, 45.0), description="range of the rotation on the face, degrees clockwise")
    opacity: Range = Field((0.9, 1.0), description="range of the opacity")
    forbidden: tuple[Region, ...] = Field(("eyes", "mouth"), description="regions that a sticker never covers")
    degradation: float = Field(
        0.5, ge=0, le=1, description="share of clips whose sticker gets blur, noise, compression and colour shifts"
    )
    face_model: Path | None = Field(
        None,
        description="morphable model: Basel 2017/2019 .h5, Basel 2009 .mat or ICT .npz; the mediapipe mesh without it",
    )
    coefficient_weights: Path | None = Field(
        None, description="3DDFA-style network (.pth or .safetensors) that starts the fit of face_model"
    )
    coefficient_stats: Path | None = Field(None, description="mean and deviation of that network's 62 outputs (.npz)")
    renderer: Literal["embree", "pytorch3d"] = Field("embree", description="what finds the surface under each pixel")

    @model_validator(mode="after")
    def _ordered(self) -> StickersOptions:
        limits = {"number": (1, 20), "size": (0.02, 2.0), "rotation": (-360.0, 360.0), "opacity": (0.05, 1.0)}
        for name, (low, high) in limits.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(f"{name} must be two numbers in order within {low}..{high}, found {first} and {last}")
        if self.coefficient_weights and not self.face_model:
            raise ValueError("coefficient_weights starts the fit of a morphable model: name one with face_model")
        if bool(self.coefficient_weights) != bool(self.coefficient_stats):
            raise ValueError("coefficient_weights and coefficient_stats belong together: name both or neither")
        return self
