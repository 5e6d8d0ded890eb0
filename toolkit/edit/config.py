"""What an edit can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.backbones.spec import PART_CLASSES


class DenoisingConfig(BaseModel):
    """How a clip is denoised. Steps and strength are those with which finetuning tries a remover and stops."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    num_inference_steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="denoising steps of the whole schedule; without it what the backbone was made for, else 20",
    )
    strength: float = Field(1.0, gt=0, le=1, description="share of the schedule that is run; 1 starts from noise")
    guidance_scale: float = Field(1.0, ge=1, le=50, description="classifier-free guidance; over 1 costs a second pass")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=2, description="weight of the remover")
    scheduler: str | None = Field(
        None,
        description="class of diffusers, such as EulerDiscreteScheduler or, for distilled removers, LCMScheduler; "
        "without it DDIM, or the backbone's own if that is LCM or TCD",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="number format of the models; auto: what is fastest on the device"
    )

    @model_validator(mode="after")
    def _makes_sense(self):
        if self.num_inference_steps is not None and int(self.strength * self.num_inference_steps) < 1:
            raise ValueError(
                f"a strength of {self.strength} runs none of {self.num_inference_steps} num_inference_steps; raise one"
            )
        if self.scheduler is not None and self.scheduler not in PART_CLASSES["scheduler"]:
            raise ValueError(f"scheduler must be one of {', '.join(PART_CLASSES['scheduler'])}")
        return self


class MotionConfig(BaseModel):
    """What keeps frames consistent. The defaults are the paper's (section 4.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    motion: bool = Field(True, description="use the backbone's motion adapter, if it has one")
    context_length: int = Field(16, ge=1, le=128, description="frames that see each other; fewer need less memory")
    context_overlap: int = Field(4, ge=0, description="frames that a window shares with the one before")
    removed_motion_layers: list[str] = Field(
        ["paper"],
        description="motion layers to leave out, by name; paper: the first five of the output blocks; no word: none",
    )
    shared_noise: Literal["auto", "on", "off"] = Field(
        "auto",
        description="start all frames of a shot from one noise; auto: where no motion layers keep them alike, or one "
        "step is all they have for it",
    )
    reference_frames: str | None = Field(
        None,
        description="cross-frame attention: frames of a shot to which all attend, such as first+middle (the paper's "
        "for making pairs) or first (as in Text2Video-Zero); without it each attends to itself",
    )
    beta_schedule: Literal["auto", "linear", "scaled_linear", "squaredcos_cap_v2"] = Field(
        "auto", description="noise schedule; auto: that of the motion adapter, else of the backbone"
    )

    @model_validator(mode="after")
    def _windows_move(self):
        if self.context_overlap >= self.context_length:
            raise ValueError(
                f"context_overlap must be below context_length, {self.context_length}, found {self.context_overlap}"
            )
        return self


class MaskConfig(BaseModel):
    """What keeps the rest as it is. The defaults are the paper's where it names a value (section 4.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    masks: Literal["on", "off"] = Field(
        "on",
        description="on: the original is blended in around the mask at each step, which keeps colours; off: "
        "nothing is, which removes more",
    )
    blend_range: tuple[float, float] = Field(
        (0.0, 0.7), description="weight of the original in that blend: inside the mask, and far from it"
    )
    blend_width: float = Field(
        0.125, ge=0, le=1, description="distance over which that weight rises, as a share of the crop's side"
    )
    fill: bool = Field(
        True,
        description="fill the opaque parts of an attribute, such as rims, in from around them before the remover sees "
        "the frame, if the task can tell them",
    )
    second_look: Literal["auto", "on", "off"] = Field(
        "auto",
        description="apply a remover twice: what it changed at the first look is filled in from around before the "
        "second, so that no shade of it stays; auto: where masks only say where the attribute may be, as for stickers, "
        "and one or two denoising steps are enough",
    )
    normalisation: Literal["auto", "ion", "adain", "none"] = Field(
        "auto",
        description="of the latents inside the mask: ion, by those outside (eq. 2); adain, by the original's inside; "
        "auto: none, but with masks off ion, if the tasks' masks show the attribute itself",
    )
    dilation: float = Field(
        0.015, ge=0, le=0.25, description="by how much masks are widened, as a share of the crop's side"
    )
    composite: Literal["auto", "mask", "crop"] = Field(
        "auto", description="what is pasted back: the mask's inside, or the whole crop; auto: the mask with masks on"
    )
    feather: float = Field(0.015, ge=0, le=0.25, description="width of the paste's soft edge, as a share of the side")
    min_change: float = Field(
        0.04, ge=0, le=1, description="where the remover changed the picture by less, the original stays; 0: nowhere"
    )

    certain_change: float = Field(
        0.12,
        ge=0,
        le=1,
        description="where masks only say where the attribute may be, as for stickers, a changed part counts if it "
        "changed by so much somewhere",
    )

    @model_validator(mode="after")
    def _ordered(self):
        low, high = self.blend_range
        if not 0 <= low <= high <= 1:
            raise ValueError(f"blend_range must be two numbers in order within 0..1, found {low} and {high}")
        return self

    @property
    def pastes(self) -> Literal["mask", "crop"]:
        """What `composite` means here."""
        if self.composite == "auto":
            return "mask" if self.masks == "on" else "crop"
        return self.composite

    @property
    def needed(self) -> bool:
        """Whether masks have to be found at all."""
        return self.masks == "on" or self.normalisation != "none" or self.pastes == "mask"


class RegionConfig(BaseModel):
    """Which faces are edited, and what is cut out around them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    padding: float = Field(1.6, ge=1, le=4, description="side of the crop over the side of the face's box")
    max_faces: int = Field(4, ge=1, le=32, description="faces that are followed in one frame")
    min_face: int = Field(48, ge=8, description="side of the smallest face in pixels of the video")
    max_turn: float = Field(
        60.0,
        gt=0,
        le=180,
        description="degrees by which a head may be turned or tilted from the camera; further away it stays as it is, "
        "since what would be seen could only be made up",
    )
    max_gap: float = Field(
        0.2, ge=0, le=2, description="seconds for which a face may be missed and is still followed, by interpolation"
    )
    analyser: str = Field("mediapipe", description="face analyser, see `toolkit doctor`")
    model_file: Path | None = Field(None, description="mediapipe: a face_landmarker.task file")
    detector_file: Path | None = Field(None, description="facer: weights of the RetinaFace detector")
    parser_file: Path | None = Field(None, description="facer: TorchScript of the FaRL parser")
    aligner_file: Path | None = Field(None, description="facer: TorchScript of the FaRL aligner")


class WritingConfig(BaseModel):
    """What is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    crf: float = Field(16, ge=0, le=51, description="x264's quality, 0 (best) to 51")
    lossless: bool = Field(False, description="FFV1, in .mkv or .mp4: what was not edited is equal to the bit")
    compare: Literal["side", "slider", "toggle"] | None = Field(
        None, description="also write a comparison video: side by side, with a moving divider, or taking turns"
    )
    preview: float | None = Field(None, gt=0, description="edit only so many seconds, into NAME.preview")
    provenance: bool = Field(True, description="say in the file that it was edited")
    c2pa_certificate: Path | None = Field(None, description="PEM file with your certificate chain, to sign with")
    c2pa_key: Path | None = Field(None, description="PEM file with its private key")
    c2pa_algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = Field(
        "es256", description="signature algorithm of the key"
    )
    c2pa_timestamp_url: str | None = Field(None, description="a timestamp authority to ask over the network")

    @model_validator(mode="after")
    def _signed_or_not(self):
        if (self.c2pa_certificate is None) != (self.c2pa_key is None):
            raise ValueError("c2pa_certificate and c2pa_key belong together: name both or neither")
        if self.c2pa_certificate is not None and not self.provenance:
            raise ValueError("a signed manifest is provenance: leave no_provenance out, or the certificate")
        return self


class EditConfig(BaseModel):
    """Settings of `toolkit edit`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    task: list[str] = Field(
        [], description="attributes to remove, in this order, by the removers that their tasks bring for the backbone"
    )
    remover: list[Path] = Field(
        [],
        description="folders of removers: in the place of those that the tasks bring, or, without a task, applied in "
        "this order; inpaint:TASK stands for the backbone's own inpainting of that task's masks, without training",
    )
    backbone: str | None = Field(
        None,
        min_length=1,
        description="the models that the removers were trained on: a name, or a folder; without it the one that the "
        "first remover names, or the embedded nano",
    )
    options: dict[str, dict[str, Any]] = Field(
        default={}, description='options of the tasks, which find the masks: {"TASK": {"OPTION": VALUE}}'
    )
    denoising: DenoisingConfig = Field(DenoisingConfig(), description="how a clip is denoised")
    motion: MotionConfig = Field(MotionConfig(), description="what keeps frames consistent")
    masking: MaskConfig = Field(MaskConfig(), description="what keeps the rest as it is")
    region: RegionConfig = Field(RegionConfig(), description="which faces are edited")
    writing: WritingConfig = Field(WritingConfig(), description="what is written")
    device: str | None = Field(None, description="torch device, such as cuda; the best one without it")
    work_dir: Path | None = Field(
        None, description="where intermediate files lie; without it in a hidden folder beside the output"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed, video and settings give the same video")

    @model_validator(mode="after")
    def _something_to_remove(self):
        if not self.task and not self.remover:
            raise ValueError("name what to remove: a task, such as glasses, or the folder of a remover")
        if twice := next((task for task in self.task if self.task.count(task) > 1), None):
            raise ValueError(f"the task {twice} is named twice")
        return self

    def content(self) -> dict[str, Any]:
        """The settings that decide what the edited faces look like, as JSON values; files are named elsewhere."""
        return self.model_dump(mode="json", exclude={"task", "remover", "backbone", "writing", "work_dir", "device"})


GROUPS = {
    "denoising": (DenoisingConfig, "denoising"),
    "motion": (MotionConfig, "consistency over time"),
    "masking": (MaskConfig, "masks, blending and colours"),
    "region": (RegionConfig, "faces"),
    "writing": (WritingConfig, "output"),
}
"""Fields of `EditConfig` that are groups of options: their models and headings."""
