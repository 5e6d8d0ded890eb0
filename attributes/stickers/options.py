"""Options of the `stickers` task."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from toolkit.task import TaskOptions

Region = Literal["eyes", "mouth", "brows", "nose"]
Range = tuple[float, float]


class StickersOptions(TaskOptions):
    """Options of the `stickers` task."""

    art: Path | None = Field(None, description="Folder of RGBA pictures (PNG, WebP). If unset, the embedded set.")
    number: tuple[int, int] = Field((1, 1), description="Fewest and most stickers per clip. The paper uses one.")
    size: Range = Field(
        (0.3, 0.75), description="Smallest and largest side, in distances between the outer eye corners (about 9 cm)."
    )
    rotation: Range = Field((-45.0, 45.0), description="Range of the rotation on the face, in degrees clockwise.")
    opacity: Range = Field((0.9, 1.0), description="Range of the opacity.")
    forbidden: tuple[Region, ...] = Field(("eyes", "mouth"), description="Regions that stickers never cover.")
    degradation: float = Field(
        0.5, ge=0, le=1, description="Share of clips whose stickers get blur, noise, compression and colour shifts."
    )
    face_model: Path | None = Field(
        None,
        description="Morphable model: Basel 2017/2019 .h5, Basel 2009 .mat or ICT .npz. If unset, the analyser's mesh.",
    )
    coefficient_weights: Path | None = Field(
        None, description="3DDFA-style network (.pth or .safetensors) that starts the fit of face_model."
    )
    coefficient_stats: Path | None = Field(None, description="Mean and deviation of that network's 62 outputs (.npz).")
    masker: Literal["embedded", "skin"] = Field(
        "embedded",
        description="How stickers are found: by the embedded segmenter, or not at all: all skin is their search area, "
        "and what the remover changes counts.",
    )
    renderer: Literal["embree", "pytorch3d"] = Field("embree", description="Library that casts the rays.")

    @model_validator(mode="after")
    def _ordered(self) -> StickersOptions:
        limits = {"number": (1, 20), "size": (0.02, 2.0), "rotation": (-360.0, 360.0), "opacity": (0.05, 1.0)}
        for name, (low, high) in limits.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(f"{name} must be two ascending numbers within {low}..{high}, found {first} and {last}")
        if self.coefficient_weights and not self.face_model:
            raise ValueError("coefficient_weights needs a morphable model: set face_model too")
        if bool(self.coefficient_weights) != bool(self.coefficient_stats):
            raise ValueError("coefficient_weights and coefficient_stats belong together: set both or neither")
        return self
