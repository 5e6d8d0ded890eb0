"""The settings of an edit with nothing left open."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.backbones import BackboneSpec
from toolkit.backbones.spec import Part
from toolkit.device import ComputeDevice
from toolkit.edit.config import CropConfig
from toolkit.edit.removers import Hint
from toolkit.faces.config import FaceConfig
from toolkit.registry import bare_name

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")

OWN_FRAME = "self"
BACKBONES_SCHEDULE = "backbone"

Normalisation = Literal["ion", "ion-ring", "adain", "none"]


class _Resolved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResolvedRemover(_Resolved):
    """A remover, and how it is applied."""

    name: str = Field(description="Name of its folder, or `inpaint:TASK`.")
    tasks: tuple[str, ...] = Field(
        description="Attributes that it removes, each with its distribution if the user named that."
    )
    origin: dict[str, Any] = Field(description="Digest or repository that identifies it.")
    prompt: str = Field(description="Text that describes the edited clip.")
    negative_prompt: str = Field(description="Text that describes what it must not show.")
    resolution: int = Field(description="Side of its pictures in pixels.")
    hint: Hint = Field(description="Input of its ControlNet: the frame, or the frame without the masked part.")
    exact_masks: bool = Field(description="Whether masks find the attribute itself; else they are search areas.")
    spares_eyes: bool = Field(description="Whether the attribute never surrounds both eyes.")
    fill_opaque: bool = Field(description="Whether opaque parts are filled before it sees a frame.")
    keep_detail: bool = Field(description="Whether the frame's own detail stays in see-through parts.")
    second_pass: bool = Field(description="Whether it is applied twice.")
    region: Literal["crop", "masks"] = Field(
        description="What it sees: crops, or regions around exact masks and around what its first pass removed."
    )
    normalisation: Normalisation = Field(description="How the masked latents' colours are matched.")
    controlnet: Part = Field(exclude=True, description="Location of its weights.")


class ResolvedDenoising(_Resolved):
    """How a clip is denoised."""

    num_inference_steps: int
    strength: float
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: str = Field(description="Class of diffusers.")
    beta_schedule: str = Field(description=f"Noise schedule; `{BACKBONES_SCHEDULE}`: the backbone's, unchanged.")


class ResolvedMotion(_Resolved):
    """How frames are kept consistent."""

    motion_adapter: bool = Field(description="Whether motion layers are used.")
    removed_motion_layers: tuple[str, ...] = Field(description="Layers of the motion adapter that are removed.")
    context_length: int
    context_overlap: int = Field(description="0 without motion layers.")
    shared_noise: bool
    reference_frames: str = Field(description=f"`{OWN_FRAME}`: each frame attends to itself.")

    @property
    def across_frames(self) -> bool:
        """Whether anything in the networks looks across frames: motion layers or reference frames."""
        return self.motion_adapter or self.reference_frames != OWN_FRAME


class ResolvedMasking(_Resolved):
    """How the rest of the picture is preserved."""

    finds_masks: bool = Field(description="Whether masks are searched for at all.")
    blend_original: bool = Field(description="Whether the original is blended in around the mask at every step.")
    blend_range: tuple[float, float]
    blend_width: float
    blend_source: Literal["frame", "masked"] = Field(description="What is blended in.")
    dilation: float
    composite: Literal["mask", "crop"]
    feather: float
    min_change: float
    min_peak_change: float


class ResolvedEdit(_Resolved):
    """Settings of an edit with nothing left open: no `auto`, nothing unset. The report saves them."""

    removers: tuple[ResolvedRemover, ...] = Field(description="In the order in which they are applied.")
    backbone: dict[str, Any] = Field(description="Name and digests of the backbone's parts.")
    compute: ComputeDevice = Field(description="Device, number format and memory format.")
    denoising: ResolvedDenoising
    motion: ResolvedMotion
    masking: ResolvedMasking
    crop: CropConfig
    faces: FaceConfig
    options: dict[str, dict[str, Any]] = Field(description="Options of the tasks, by name without distribution.")
    seed: int
    spec: BackboneSpec = Field(exclude=True, description="The backbone's description, with its locations.")
    work_dir: Path = Field(exclude=True, description="Folder for intermediate files, relative to the output's.")

    @property
    def resolution(self) -> int:
        """Side of the crops in pixels: the largest that a remover was trained on."""
        return max(remover.resolution for remover in self.removers)

    @property
    def passes(self) -> int:
        """How often removers are applied to a track, at most."""
        return sum(2 if remover.second_pass else 1 for remover in self.removers)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the backbone's parts that are used."""
        return used_parts(self.spec, self.motion.motion_adapter)

    @property
    def tasks(self) -> list[str]:
        """Names of all attributes that are removed, in alphabetical order."""
        return sorted({bare_name(task) for remover in self.removers for task in remover.tasks})


def used_parts(spec: BackboneSpec, motion_adapter: bool) -> tuple[str, ...]:
    """Names of the backbone's parts that an edit uses, with or without its motion adapter."""
    wanted = (*PARTS, "motion_adapter") if motion_adapter else PARTS
    return tuple(name for name in wanted if name in spec.parts)
