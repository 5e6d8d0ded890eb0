"""Settings of `toolkit build-dataset`, and their resolved form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.dataset.layout import Format
from toolkit.errors import UsageError
from toolkit.executor import available_cores
from toolkit.faces.config import FaceConfig
from toolkit.presets import PresetConfig, Stage
from toolkit.video.reading import ReadingConfig

if TYPE_CHECKING:
    from toolkit.backbones import BackboneSpec

NUM_INFERENCE_STEPS = 50
"""Denoising steps if neither the user nor the backbone names a number."""

SEGMENT_FRAMES, SEGMENT_FRAMES_INPAINTED = 1000, 200
"""Frames of a source that become one shard; inpainting is slow, so its shards are shorter and less work is lost."""


class InpaintConfig(BaseModel):
    """Settings of inpainting, for tasks that mask and inpaint.

    The defaults are the paper's (V-LASIK, section C.1), as far as it names values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        "nano",
        min_length=1,
        description="Diffusion models to use: a name (`toolkit fetch` lists them) or a folder in diffusers' format.",
    )
    pipeline: Path | None = Field(
        None,
        description="Folder of an inpainting pipeline of diffusers, such as SDXL's, FLUX Fill or Qwen-Image-Edit. It "
        "inpaints in place of the backbone, frame by frame; of the settings below it uses the steps, `strength`, "
        "`shared_noise` and `dtype`.",
    )
    pipeline_arguments: dict[str, Any] = Field(
        default={},
        description="More arguments of that pipeline's call, as JSON, such as "
        '`{"guidance_scale": 30, "height": 1024, "width": 1024}`.',
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Number format of the backbone; `auto` picks the fastest one on the device."
    )
    num_inference_steps: int | None = Field(
        None, ge=1, le=1000, description="Denoising steps. If unset, the backbone's own number, else 50."
    )
    guidance_scale: float = Field(7.5, ge=1, le=50, description="Classifier-free guidance; 1 turns it off.")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=2, description="Weight of the inpainting ControlNet.")
    strength: float = Field(
        1.0, gt=0, le=1, description="Share of the noise schedule to run; 1 starts from pure noise."
    )
    blend_ratio: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="Weight of the noised original outside the mask at each step; `none` inpaints as diffusers does.",
    )
    blend_source: Literal["frame", "masked"] = Field(
        "frame",
        description="What is blended in: the encoded frame, or, as in the paper, the encoded frame with the masked "
        "pixels grey.",
    )
    keep_in_latents: bool = Field(
        True,
        description="Keep eyes, and whatever else a task keeps inside its masks, in latents too. Without it, the "
        "widened masks of latents close such small holes, as in the paper; pixels are kept in any case.",
    )
    reference_frames: str | None = Field(
        "first+middle",
        description="Frames that all frames attend to: `first+middle`, `first`, `uniform:K`, or indices such as "
        "`0,7,15`. With `none`, each frame attends only to itself.",
    )
    shared_noise: Literal["auto", "inversion", "seed", "none"] = Field(
        "auto",
        description="Noise that all frames of a clip start from: the inverted first reference frame (`inversion`), one "
        "random draw (`seed`), or a draw for each frame (`none`). `auto` inverts if the backbone can be inverted, "
        "which `nano` cannot.",
    )
    frame_batch_size: int = Field(
        4, ge=1, le=512, description="Frames that pass through the models together; lower it if memory runs out."
    )

    @model_validator(mode="after")
    def _pipeline_fits(self) -> Self:
        if self.pipeline is None and self.pipeline_arguments:
            raise ValueError("pipeline_arguments are for a pipeline; name its folder with --pipeline")
        if self.pipeline is not None and self.shared_noise == "inversion":
            raise ValueError("a pipeline of diffusers is not inverted; choose shared_noise seed or none")
        return self

    def resolved(self, spec: BackboneSpec, device: str | None = None) -> ResolvedInpaint:
        """Replace `auto` and unset values for this backbone and device.

        Args:
            spec: the backbone.
            device: torch device, such as ``cuda``; the best one available if None.

        Raises:
            UsageError: the device is not available, or the backbone cannot be inverted.
        """
        from toolkit.device import choose_device

        values = self.model_dump()
        own = spec.num_inference_steps if self.pipeline is None else None
        values["num_inference_steps"] = self.num_inference_steps or own or NUM_INFERENCE_STEPS
        values["dtype"] = choose_device(device, None if self.dtype == "auto" else self.dtype).dtype
        invertible = spec.prediction_type != "sample" and self.pipeline is None
        if self.shared_noise == "inversion" and not invertible:
            raise UsageError(f"the backbone {spec.name} cannot be inverted: add --shared-noise seed")
        if self.shared_noise == "auto":
            values["shared_noise"] = "inversion" if invertible else "seed"
        return ResolvedInpaint(**values)


class ResolvedInpaint(InpaintConfig):
    """Settings of inpainting without `auto`: the same values give the same pictures."""

    dtype: Literal["float32", "float16", "bfloat16"]
    num_inference_steps: int
    shared_noise: Literal["inversion", "seed", "none"]


class BuildConfig(PresetConfig):
    """Settings of `toolkit build-dataset`.

    The defaults are the paper's (V-LASIK, section C.1), as far as it names values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    PRESET_STAGE: ClassVar[Stage] = "build-dataset"

    task: str = Field(description="Task to make pairs for, such as `glasses`; `toolkit tasks list` shows all.")
    options: dict[str, Any] = Field(
        default={}, description="Options of the task; `toolkit tasks show NAME` lists them."
    )
    videos: list[Path] = Field(min_length=1, description="Video files, and folders to search for videos.")
    output: Path = Field(description="Folder of the dataset. Interrupted builds resume.")
    resolution: int | None = Field(
        None,
        ge=64,
        le=2048,
        multiple_of=8,
        description="Width and height of the stored face crops in pixels. If unset, the backbone's resolution.",
    )
    clip_length: int = Field(40, ge=1, le=512, description="Frames in a clip.")
    min_clip_length: int = Field(
        8, ge=1, description="Shortest clip to keep, in frames; also the fewest pairs that a clip must yield."
    )
    max_clips: int | None = Field(
        None, ge=1, description="Largest number of clips per video, spread over its length. If unset, all."
    )
    crop_scale: float = Field(1.6, ge=1, le=4, description="Width of the crop divided by the width of the face.")
    faces: FaceConfig = Field(FaceConfig(), description="Finding faces.")
    reading: ReadingConfig = Field(ReadingConfig(), description="How videos are read.")
    device: str | None = Field(
        None, description="Torch device for facer and the backbone, such as `cuda`. If unset, the best one available."
    )
    inpainting: InpaintConfig = Field(InpaintConfig(), description="Inpainting, for tasks that use it.")
    min_face: int = Field(48, ge=8, description="Smallest face to use, in pixels of the video.")
    validation_fraction: float = Field(0.1, ge=0, lt=1, description="Share of the videos to hold out for validation.")
    format: Format = Field("imagefolder", description="Storage format of the pairs: PNG folders or tar files.")
    seed: int = Field(0, ge=0, description="Random seed; equal seeds, videos and settings give equal datasets.")
    segment_frames: int | None = Field(
        None,
        ge=1,
        description="Frames of a video in one shard. An interrupted build loses only unfinished shards. If unset, "
        "1000, or 200 for tasks that inpaint.",
    )
    max_frame_side: int = Field(
        3840,
        ge=256,
        description="Larger frames are scaled down to this side in pixels. At 3840, a clip of 40 frames takes 1 GB.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Processes that work in parallel. If unset, one for each core, or one for tasks that inpaint. "
        "The dataset does not depend on it.",
    )
    allow_failures: bool = Field(False, description="Exit with 0 even if a video failed.")

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.min_clip_length > self.clip_length:
            raise ValueError(
                f"min_clip_length must be at most clip_length, {self.clip_length}, found {self.min_clip_length}; "
                f"for clips of {self.clip_length} frames, lower min_clip_length too"
            )
        if self.segment_frames is not None and self.segment_frames < self.clip_length:
            raise ValueError(
                f"segment_frames must be at least clip_length, {self.clip_length}, found {self.segment_frames}"
            )
        return self

    def resolved(self, inpaints: bool = False) -> ResolvedBuild:
        """Replace unset values, once, before the build starts.

        Args:
            inpaints: the task inpaints, so the backbone decides, and shards and workers are fewer and smaller.

        Raises:
            UsageError: the backbone or the device is unknown.
            InputError: the backbone is damaged.
        """
        from toolkit.backbones import describe

        values = {name: getattr(self, name) for name in BuildConfig.model_fields} | {"inpainter": None}
        if inpaints or self.resolution is None:
            spec = describe(self.inpainting.backbone)
            values["resolution"] = self.resolution or spec.resolution
            if inpaints:
                values["inpainter"] = self.inpainting.resolved(spec, self.device)
        shard = SEGMENT_FRAMES_INPAINTED if inpaints else SEGMENT_FRAMES
        values["segment_frames"] = self.segment_frames or max(shard, self.clip_length)
        values["workers"] = self.workers or (1 if inpaints else available_cores())
        return ResolvedBuild(**values)


class ResolvedBuild(BuildConfig):
    """Settings of a build in which nothing is left to decide.

    Attributes:
        inpainter: settings of the inpainting model; None if the task does not inpaint.
    """

    resolution: int
    segment_frames: int
    workers: int
    inpainter: ResolvedInpaint | None

    def content(self) -> dict[str, Any]:
        """The settings that decide what is in the dataset, as JSON values with the names of `BuildConfig`.

        Where videos and output are and how the work is shared out is not part of it.
        """
        left_out = {"videos", "output", "workers", "allow_failures", "inpainting", "inpainter"}
        content = self.model_dump(mode="json", exclude=left_out)
        if self.inpainter is not None:
            content["inpainting"] = self.inpainter.model_dump(mode="json")
        if self.preset is None:
            del content["preset"]  # builds of earlier releases do not have it, and they can go on
        return content
