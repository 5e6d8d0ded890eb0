"""Settings of comparisons and ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toolkit.edit.config import (
    CropConfig,
    DenoisingConfig,
    EditConfig,
    MaskConfig,
    MotionConfig,
    WritingConfig,
)
from toolkit.evaluate.config import MeasuringConfig, named_paths
from toolkit.faces.config import FaceConfig
from toolkit.presets import PresetConfig, Stage
from toolkit.video.reading import ReadingConfig

OURS = "ours"

Baseline = Literal["unedited", "telea", "navier-stokes", "cn-inpaint", "first-frame"]
Variant = Literal[
    "cross-frame",
    "ion",
    "ion-ring",
    "adain",
    "no-normalisation",
    "masks-on",
    "masks-off",
    "papers-motion-layers",
    "all-motion-layers",
    "no-motion",
]


class RunConfig(PresetConfig):
    """Settings shared by `toolkit compare` and `toolkit ablate`: the videos, an edit's settings and an evaluation's."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    PRESET_STAGE: ClassVar[Stage] = "edit"

    videos: Path = Field(description="Original video, or a folder of videos.")
    task: str = Field(description="Attribute to remove; `toolkit tasks list` shows all.")
    output: Path = Field(description="Folder for the edited videos and the report.")
    options: dict[str, Any] = Field(default={}, description="Options of the task, as JSON.")
    backbone: str | None = Field(
        None,
        min_length=1,
        description="Backbone of the remover: a name or a folder. If unset, the one that the remover was trained "
        "on, or the embedded nano.",
    )
    denoising: DenoisingConfig = Field(DenoisingConfig(), description="How a clip is denoised.")
    motion: MotionConfig = Field(MotionConfig(), description="How frames are kept consistent.")
    masking: MaskConfig = Field(MaskConfig(), description="How the rest of the picture is preserved.")
    crop: CropConfig = Field(
        CropConfig(hidden_eyes="remove", face_paint="remove"),
        description="Which faces are edited, and how they are cut out. Methods are compared by what they remove, so "
        "nothing is kept by default.",
    )
    faces: FaceConfig = Field(FaceConfig(), description="How faces are found, for editing and measuring alike.")
    reading: ReadingConfig = Field(ReadingConfig(), description="How videos are read, for editing and measuring alike.")
    writing: WritingConfig = Field(WritingConfig(), description="How videos are written.")
    measuring: MeasuringConfig = Field(MeasuringConfig(), description="How the results are measured.")
    device: str | None = Field(None, description="Torch device, such as `cuda`. If unset, the best available.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed; the same seed, videos and settings give the same results.")
    allow_failures: bool = Field(False, description="Exit with 0 even if a video could not be made or measured.")

    @model_validator(mode="after")
    def _whole_videos_only(self):
        if self.writing.preview is not None or self.writing.compare is not None:
            raise ValueError("writing.preview and writing.compare are for `toolkit edit` only; leave them out")
        return self

    def edit(self, remover: list[Path], **groups: BaseModel) -> EditConfig:
        """Build the settings of an edit.

        Args:
            remover: removers to apply; if empty, the one that the task ships.
            groups: settings that replace this config's groups.
        """
        names = ("denoising", "motion", "masking", "crop", "faces", "reading", "writing")
        own = {name: getattr(self, name) for name in names}
        return EditConfig(
            preset=self.preset,
            task=[] if remover else [self.task],
            remover=remover,
            backbone=self.backbone,
            options={self.task: self.options} if self.options or ":" in self.task else {},
            device=self.device,
            workers=self.measuring.workers,
            seed=self.seed,
            **(own | groups),
        )


class CompareConfig(RunConfig):
    """Settings of `toolkit compare`."""

    remover: list[Path] = Field(
        [], description="Remover folders of the method `ours`, applied in this order. If unset, the task's own remover."
    )
    baselines: list[Baseline] | None = Field(
        None,
        description="Built-in methods to run next to ours. If unset, all that can run; with no value, none.",
    )
    outputs: list[str] = Field(
        [], description="NAME=PATH of videos that another method already made, only to be measured."
    )
    checkouts: list[str] = Field(
        [], description="NAME=PATH of a checkout of propainter, fgt, tokenflow or rave to run."
    )
    pythons: list[str] = Field(
        [],
        description="NAME=PATH of the Python interpreter for a checkout. If unset, the one that runs this command.",
    )
    masks_of: Literal["task", "target"] = Field(
        "task",
        description="Masks that OpenCV, ProPainter and FGT fill: the task's, or the region where original and target "
        "differ.",
    )

    @field_validator("outputs", "checkouts", "pythons")
    @classmethod
    def _named(cls, values: list[str]) -> list[str]:
        named_paths(values)
        return values

    @model_validator(mode="after")
    def _fits(self):
        from toolkit.compare.tools import TOOLS

        unknown = [name for name in named_paths(self.checkouts) if name not in TOOLS]
        if unknown:
            raise ValueError(f"checkouts must be of {', '.join(TOOLS)}, found {', '.join(unknown)}")
        alone = sorted(set(named_paths(self.pythons)) - set(named_paths(self.checkouts)))
        if alone:
            raise ValueError(f"every interpreter in pythons needs a checkout, but there is none of {', '.join(alone)}")
        baselines = get_args(Baseline) if self.baselines is None else self.baselines
        taken = [OURS, *baselines, *named_paths(self.checkouts)]
        twice = sorted(set(named_paths(self.outputs)) & set(taken))
        if twice:
            raise ValueError(f"outputs need names that no other method has, found {', '.join(twice)}")
        if self.masks_of == "target" and self.measuring.target is None:
            raise ValueError("masks_of target needs target videos; name them with --target")
        return self


class AblateConfig(RunConfig):
    """Settings of `toolkit ablate`."""

    remover: list[Path] = Field(min_length=1, description="Remover folders, applied in this order.")
    variants: list[Variant] | None = Field(
        None,
        description="Variants to run, each with one changed setting. If unset, all that the backbone and the task "
        "support.",
    )


HIDDEN = {
    "writing": tuple(name for name in WritingConfig.model_fields if name not in ("crf", "lossless")),
    "measuring": ("faces", "device"),
}
"""Fields of groups without a flag: they do not apply here, or another flag sets them."""
