"""What a build of a dataset can be told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.dataset.layout import Format

if TYPE_CHECKING:
    from toolkit.backbones import BackboneSpec


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


NUM_INFERENCE_STEPS = 50
"""Of the inpainting, where neither the user nor the backbone says anything."""


class InpaintConfig(BaseModel):
    """How tasks that mask and inpaint do it. The defaults are the paper's where it names a value (section 4.1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        "nano", min_length=1, description="the models: a name, see `toolkit fetch`, or a folder in diffusers' format"
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="number format of the backbone; auto: what is fastest on the device"
    )
    num_inference_steps: int | None = Field(
        None, ge=1, le=1000, description="denoising steps; without it what the backbone was made for, else 50"
    )
    guidance_scale: float = Field(7.5, ge=1, le=50, description="classifier-free guidance; 1 turns it off")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=2, description="weight of the inpainting ControlNet")
    strength: float = Field(1.0, gt=0, le=1, description="share of the schedule; 1 starts from noise alone")
    blend_ratio: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="weight of the noised original outside the mask at each step; none: as diffusers does",
    )
    reference_frames: str | None = Field(
        "first+middle",
        description="frames that all others attend to: first+middle, first, uniform:K or indices such as 0,7,15; "
        "none: each frame attends to itself",
    )
    shared_noise: Literal["auto", "inversion", "seed", "none"] = Field(
        "auto",
        description="start all frames from one noise: the inverted first reference frame, or a random one; auto: "
        "inversion, but seed with a backbone that predicts the picture, such as nano, which cannot be inverted",
    )
    frame_batch_size: int = Field(4, ge=1, le=512, description="frames that go through the models at a time")

    def resolved(self, spec: BackboneSpec) -> InpaintConfig:
        """With the defaults that depend on the backbone."""
        steps = self.num_inference_steps or spec.num_inference_steps or NUM_INFERENCE_STEPS
        noise = self.shared_noise
        if noise == "auto":
            noise = "seed" if spec.prediction_type == "sample" else "inversion"
        return self.model_copy(update={"num_inference_steps": steps, "shared_noise": noise})


class BuildConfig(BaseModel):
    """Settings of `toolkit build-dataset`. The defaults are the paper's where it names a value (V-LASIK, section 4)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(description="name of the attribute task, see `toolkit tasks list`")
    options: dict[str, Any] = Field(default={}, description="options of the task, see `toolkit tasks show NAME`")
    videos: list[Path] = Field(min_length=1, description="video files, and folders that are searched for them")
    output: Path = Field(description="folder of the dataset; an interrupted build in it is continued")
    resolution: int | None = Field(
        None,
        ge=64,
        le=2048,
        multiple_of=8,
        description="side of the stored face crops in pixels; without it the backbone's own",
    )
    clip_length: int = Field(40, ge=1, le=512, description="frames of a clip")
    min_clip_length: int = Field(
        8, ge=1, description="a shorter clip, or one with fewer frames that show the attribute, is left out"
    )
    max_clips: int | None = Field(None, ge=1, description="at most so many clips from one source, spread over it")
    padding: float = Field(1.6, ge=1, le=4, description="side of the crop over the side of the face's box")
    analyser: str = Field("mediapipe", description="face analyser, see `toolkit doctor`")
    model_file: Path | None = Field(None, description="mediapipe: a face_landmarker.task file")
    detector_file: Path | None = Field(None, description="facer: weights of the RetinaFace detector")
    parser_file: Path | None = Field(None, description="facer: TorchScript of the FaRL parser")
    aligner_file: Path | None = Field(None, description="facer: TorchScript of the FaRL aligner")
    device: str | None = Field(
        None, description="torch device of facer and the backbone, such as cuda; the best one without it"
    )
    inpainting: InpaintConfig = Field(InpaintConfig(), description="settings of tasks that mask and inpaint")
    max_faces: int = Field(4, ge=1, le=32, description="faces that are followed in one frame")
    min_face: int = Field(48, ge=8, description="side of the smallest face in pixels of the source")
    validation_fraction: float = Field(0.1, ge=0, lt=1, description="share of the sources that is held out")
    format: Format = Field("imagefolder", description="how the pairs are stored")
    seed: int = Field(0, ge=0, description="the same seed, sources and settings give the same dataset")
    segment_frames: int | None = Field(
        None,
        ge=1,
        description="frames of a source per shard, rounded down to whole clips; what is unfinished when a build is "
        "interrupted is lost; without it 1000, or 200 if the task inpaints",
    )
    max_frame_side: int = Field(
        3840, ge=256, description="larger frames are scaled down to this side; a clip of 40 such frames takes 1 GB"
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="processes; the result does not depend on it; without it one per core, or one if the task inpaints",
    )
    allow_failures: bool = Field(False, description="exit with 0 although a source failed")

    @model_validator(mode="after")
    def _lengths_fit(self):
        if self.min_clip_length > self.clip_length:
            raise ValueError(
                f"min_clip_length must be at most clip_length, {self.clip_length}, found {self.min_clip_length}"
            )
        if self.segment_frames is not None and self.segment_frames < self.clip_length:
            raise ValueError(
                f"segment_frames must be at least clip_length, {self.clip_length}, found {self.segment_frames}"
            )
        return self

    def resolved(self, inpaints: bool = False) -> BuildConfig:
        """With the defaults that depend on the backbone, and on whether the task inpaints, which is slow and fills
        the memory.

        Raises:
            UsageError, InputError: the backbone is needed and unknown or damaged.
        """
        from toolkit.backbones import describe

        inpainting, resolution = self.inpainting, self.resolution
        if inpaints or resolution is None:
            spec = describe(inpainting.backbone)
            resolution = resolution or spec.resolution
            inpainting = inpainting.resolved(spec)
        changes = {
            "inpainting": inpainting,
            "resolution": resolution,
            "segment_frames": self.segment_frames or max(200 if inpaints else 1000, self.clip_length),
            "workers": self.workers or (1 if inpaints else cores()),
        }
        return self.model_copy(update=changes)

    def content(self) -> dict[str, Any]:
        """The settings that decide the dataset's content, as JSON values.

        Where the sources and the output lie does not belong to it, nor how the run is carried out.
        """
        return self.model_dump(mode="json", exclude={"videos", "output", "workers", "allow_failures"})
