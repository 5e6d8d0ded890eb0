"""What a comparison and an ablation can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toolkit.edit.config import (
    DenoisingConfig,
    EditConfig,
    MaskConfig,
    MotionConfig,
    RegionConfig,
    WritingConfig,
)
from toolkit.evaluate.config import MeasuringConfig, named_paths

OURS = "ours"

Baseline = Literal["unedited", "telea", "navier-stokes", "cn-inpaint", "first-frame"]
Variant = Literal[
    "cross-frame", "ion", "adain", "no-normalisation", "masks-on", "masks-off", "all-motion-layers", "no-motion"
]


class RunConfig(BaseModel):
    """What comparing and ablating share: videos, an edit's settings and an evaluation's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    videos: Path = Field(description="the original video, or the folder of them")
    task: str = Field(description="the attribute that is removed, see `toolkit tasks list`")
    output: Path = Field(description="folder of the edited videos and of the report")
    options: dict[str, Any] = Field(default={}, description="options of the task, as JSON")
    backbone: str | None = Field(
        None,
        min_length=1,
        description="the models around the remover: a name, or a folder; without it the one that the remover names, or "
        "the embedded nano",
    )
    denoising: DenoisingConfig = Field(DenoisingConfig(), description="how a clip is denoised")
    motion: MotionConfig = Field(MotionConfig(), description="what keeps frames consistent")
    masking: MaskConfig = Field(MaskConfig(), description="what keeps the rest as it is")
    region: RegionConfig = Field(RegionConfig(), description="which faces are edited")
    writing: WritingConfig = Field(WritingConfig(), description="what is written")
    measuring: MeasuringConfig = Field(MeasuringConfig(), description="how the results are measured")
    device: str | None = Field(None, description="torch device, such as cuda; the best one without it")
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed, videos and settings give the same results")
    allow_failures: bool = Field(False, description="exit with 0 although something could not be made or measured")

    @model_validator(mode="after")
    def _whole_videos_only(self):
        if self.writing.preview is not None or self.writing.compare is not None:
            raise ValueError("writing.preview and writing.compare belong to `toolkit edit`: leave them out")
        return self

    def edit(self, remover: list[Path], **groups: BaseModel) -> EditConfig:
        """The settings of an edit, with the task's own remover where none is named; `groups` take the place of those
        that were given."""
        known = {name: getattr(self, name) for name in ("denoising", "motion", "masking", "region", "writing")}
        return EditConfig(
            task=[] if remover else [self.task],
            remover=remover,
            backbone=self.backbone,
            options={self.task: self.options} if self.options else {},
            device=self.device,
            seed=self.seed,
            **(known | groups),
        )


class CompareConfig(RunConfig):
    """Settings of `toolkit compare`."""

    remover: list[Path] = Field([], description="folders of removers, applied in this order: the method `ours`")
    baselines: list[Baseline] | None = Field(
        None, description="built-in methods beside ours; without it all that can be run, no word: none"
    )
    outputs: list[str] = Field([], description="NAME=PATH: videos that another method made, only to be measured")
    checkouts: list[str] = Field(
        [], description="NAME=PATH: the checkout of propainter, fgt, tokenflow or rave, which is run"
    )
    pythons: list[str] = Field(
        [], description="NAME=PATH: the interpreter of a checkout's environment; without it this one"
    )
    masks_of: Literal["task", "target"] = Field(
        "task",
        description="what OpenCV, ProPainter and FGT fill: the task's masks, or where original and target differ",
    )

    @field_validator("outputs", "checkouts", "pythons")
    @classmethod
    def _named(cls, values: list[str]) -> list[str]:
        named_paths(values)
        return values

    @model_validator(mode="after")
    def _fits(self):
        from toolkit.compare.external import NAMES

        unknown = [name for name in named_paths(self.checkouts) if name not in NAMES]
        if unknown:
            raise ValueError(f"checkouts must be of {', '.join(NAMES)}, found {', '.join(unknown)}")
        alone = sorted(set(named_paths(self.pythons)) - set(named_paths(self.checkouts)))
        if alone:
            raise ValueError(f"pythons must belong to a checkout, and there is none of {', '.join(alone)}")
        baselines = get_args(Baseline) if self.baselines is None else self.baselines
        taken = [OURS, *baselines, *named_paths(self.checkouts)]
        twice = sorted(set(named_paths(self.outputs)) & set(taken))
        if twice:
            raise ValueError(f"outputs must have names of their own, found {', '.join(twice)}")
        if self.masks_of == "target" and self.measuring.target is None:
            raise ValueError("masks_of target needs the target: name it with --target")
        return self


class AblateConfig(RunConfig):
    """Settings of `toolkit ablate`."""

    remover: list[Path] = Field(min_length=1, description="folders of removers, applied in this order")
    variants: list[Variant] | None = Field(
        None, description="changes to the settings, one at a time; without it all that the backbone and task allow"
    )


GROUPS = {
    "denoising": (DenoisingConfig, "denoising"),
    "motion": (MotionConfig, "consistency over time"),
    "masking": (MaskConfig, "masks, blending and colours"),
    "region": (RegionConfig, "faces"),
    "writing": (WritingConfig, "output"),
    "measuring": (MeasuringConfig, "measuring"),
}
"""Fields of `RunConfig` that are groups of options: their models and headings."""

HIDDEN = {
    "writing": tuple(name for name in WritingConfig.model_fields if name not in ("crf", "lossless")),
    "measuring": ("analyser", "model_file", "device"),
}
"""Fields of groups without a flag: of no use here, or the same as another group's."""
