"""Settings of `toolkit edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.backbones.spec import PART_CLASSES
from toolkit.faces.config import FaceConfig
from toolkit.presets import PresetConfig, Stage
from toolkit.registry import bare_name
from toolkit.video.reading import ReadingConfig


class DenoisingConfig(BaseModel):
    """How a clip is denoised. Finetuning tries a remover with the same steps and strength."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    num_inference_steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Denoising steps of the whole schedule. If unset, the number that the backbone was made for, or "
        "20.",
    )
    strength: float = Field(1.0, gt=0, le=1, description="Share of the schedule to run; 1 starts from pure noise.")
    guidance_scale: float = Field(
        1.0, ge=1, le=50, description="Scale of classifier-free guidance; values above 1 double the cost."
    )
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=2, description="Weight of the remover.")
    scheduler: str | None = Field(
        None,
        description="Scheduler class of diffusers, such as `EulerDiscreteScheduler`, or `LCMScheduler` for distilled "
        "removers. If unset, DDIM; if the backbone's own scheduler is LCM or TCD, that one.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Number format of the models; `auto` picks the fastest one for the device."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.num_inference_steps is not None and int(self.strength * self.num_inference_steps) < 1:
            raise ValueError(
                f"a strength of {self.strength} runs none of {self.num_inference_steps} num_inference_steps; raise one"
            )
        if self.scheduler is not None and self.scheduler not in PART_CLASSES["scheduler"]:
            raise ValueError(f"scheduler must be one of {', '.join(PART_CLASSES['scheduler'])}")
        return self


class MotionConfig(BaseModel):
    """How frames are kept consistent. The defaults are the paper's (section C.2) where motion layers are used."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    motion_layers: Literal["auto", "paper", "all", "none"] | list[str] = Field(
        "auto",
        description="Motion layers to use: `paper` (all but the first five of the output blocks), `all`, `none`, or "
        "a JSON list of the layers to remove. `auto` is `paper` if the backbone's are worth their cost at this number "
        "of steps, else `none`.",
    )
    context_length: int = Field(
        16, ge=1, le=128, description="Frames that are denoised together; fewer need less memory."
    )
    context_overlap: int = Field(
        4, ge=0, description="Frames that consecutive windows share if motion layers are used."
    )
    shared_noise: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Start all frames of a shot from the same noise; `auto` does so if no motion layers are used or "
        "there is only one step.",
    )
    reference_frames: str | None = Field(
        None,
        description="Frames that all frames of a shot attend to (cross-frame attention): `first+middle` (used by the "
        "paper to make pairs), `first` (as in Text2Video-Zero) or `uniform:K`. If unset, each frame attends to itself.",
    )
    beta_schedule: Literal["auto", "linear", "scaled_linear", "squaredcos_cap_v2"] = Field(
        "auto", description="Noise schedule; `auto` takes the motion adapter's, or the backbone's without an adapter."
    )

    @model_validator(mode="after")
    def _windows_move(self) -> Self:
        if self.context_overlap >= self.context_length:
            raise ValueError(
                f"context_overlap must be below context_length, {self.context_length}, found {self.context_overlap}"
            )
        return self


class MaskConfig(BaseModel):
    """How the rest of the picture is preserved. The defaults are the paper's if it names a value (section C.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    masks: Literal["on", "off"] = Field(
        "on",
        description="`on` blends in the original around the mask at every step and preserves colours. `off` does not "
        "blend and removes more.",
    )
    blend_range: tuple[float, float] = Field(
        (0.0, 0.7), description="Weight of the original in that blend: inside the mask, and far from it."
    )
    blend_width: float = Field(
        0.125, ge=0, le=1, description="Distance over which that weight rises, as a share of the crop's side."
    )
    blend_source: Literal["frame", "masked"] = Field(
        "frame",
        description="What is blended in: the encoded `frame`, or the encoded frame with grey in the `masked` pixels, "
        "as in the paper.",
    )
    fill_opaque: bool | None = Field(
        None,
        description="Fill opaque parts of an attribute, such as rims, from their surroundings before the remover sees "
        "the frame. If unset, it sees what it was trained on. No effect on tasks that cannot find such parts.",
    )
    keep_detail: bool = Field(
        True,
        description="Keep the frame's own fine detail where an attribute is see-through, such as behind clear lenses. "
        "No effect on tasks whose attribute is not.",
    )
    second_pass: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Apply each remover twice. With exact masks, once to the frame and once to the frame with opaque "
        "parts filled; the result is the mean. With search areas, what the first pass removed is filled for the second "
        "one. `auto` does so at one or two steps, for search areas, if the remover was trained on such fills.",
    )
    normalisation: Literal["auto", "ion", "ion-ring", "adain", "none"] = Field(
        "auto",
        description="Match colours inside the mask to everything outside (`ion`, eq. 2 of the paper), to a ring around "
        "the mask (`ion-ring`) or to the original (`adain`), or leave them (`none`). `auto` is `none`, with and "
        "without masks.",
    )
    region: Literal["auto", "crop", "masks"] = Field(
        "auto",
        description="What removers see: the whole `crop`, or only the `masks` and their surroundings, which is faster. "
        "If masks only show where the attribute may be, `masks` is for the second pass: it sees what the "
        "first one removed. `auto` is `masks` if the remover was trained on such pictures, else `crop`.",
    )
    dilation: float = Field(0.015, ge=0, le=0.25, description="How far to widen masks, as a share of the crop's side.")
    composite: Literal["auto", "mask", "crop"] = Field(
        "auto",
        description="Paste the inside of the mask or the whole crop; `auto` is `mask` with `--masks on`, else `crop`.",
    )
    feather: float = Field(
        0.015, ge=0, le=0.25, description="Width of the paste's soft edge, as a share of the crop's side."
    )
    min_change: float = Field(
        0.04,
        ge=0,
        le=1,
        description="Smallest change to paste, as a share of the full range; elsewhere the original stays. 0 pastes "
        "everything.",
    )
    min_peak_change: float = Field(
        0.12,
        ge=0,
        le=1,
        description="If masks only show where the attribute may be: ignore parts whose strongest change is "
        "below this, so that freckles survive.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.blend_range
        if not 0 <= low <= high <= 1:
            raise ValueError(f"blend_range must be two numbers in order within 0..1, found {low} and {high}")
        return self


class CropConfig(BaseModel):
    """Which faces are edited, and how they are cut out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    crop_scale: float = Field(1.6, ge=1, le=4, description="Side of the crop relative to the side of the face's box.")
    min_face: int = Field(48, ge=8, description="Side of the smallest face to edit, in pixels of the video.")
    max_turn: float = Field(
        60.0,
        gt=0,
        le=180,
        description="Largest turn or tilt of a head away from the camera, in degrees. Beyond it, the head stays as it "
        "is, because an edit could only invent the hidden parts.",
    )
    hidden_eyes: Literal["keep", "remove"] = Field(
        "keep",
        description="Attributes that hide the eyes, such as sunglasses.",
    )
    face_paint: Literal["keep", "remove"] = Field(
        "keep",
        description="What to do if a remover of stickers takes make-up or face paint around both eyes for them: `keep` "
        "the face as it is, because paint comes off unevenly, or `remove` what comes off.",
    )
    max_gap: float = Field(
        0.2, ge=0, le=2, description="Longest gap in which a face was not found and is interpolated, in seconds."
    )


class WritingConfig(BaseModel):
    """Which files are written, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    crf: float = Field(16, ge=0, le=51, description="Quality of x264; 0 is best.")
    audio: Literal["copy", "convert"] = Field(
        "copy",
        description="What to do with sound that the container cannot hold: `copy` leaves it out, `convert` encodes it "
        "anew (AAC in `.mp4` and `.mov`, FLAC in `.mkv`). All other sound is copied bit for bit.",
    )
    lossless: bool = Field(False, description="Write FFV1 into `.mkv` or `.mp4`; unedited pixels stay bit-identical.")
    compare: Literal["side", "slider", "toggle"] | None = Field(
        None,
        description="Also write a comparison of original and edit: side by side, with a moving divider, or in turn.",
    )
    preview: float | None = Field(
        None, gt=0, description="Edit only this many seconds from the start, into NAME.preview."
    )
    provenance: bool = Field(True, description="Note in the metadata that the video was edited.")
    c2pa_certificate: Path | None = Field(None, description="PEM file with your certificate chain, to sign the video.")
    c2pa_key: Path | None = Field(None, description="PEM file with the certificate's private key.")
    c2pa_algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = Field(
        "es256", description="Signature algorithm of the key."
    )
    c2pa_timestamp_url: str | None = Field(
        None, description="URL of a timestamp authority, which is contacted over the network."
    )

    @model_validator(mode="after")
    def _signed_or_not(self) -> Self:
        if (self.c2pa_certificate is None) != (self.c2pa_key is None):
            raise ValueError("c2pa_certificate and c2pa_key belong together: set both or neither")
        if self.c2pa_certificate is not None and not self.provenance:
            raise ValueError("a signed manifest is provenance: drop either no_provenance or the certificate")
        return self


class EditConfig(PresetConfig):
    """Settings of `toolkit edit`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    PRESET_STAGE: ClassVar[Stage] = "edit"

    task: list[str] = Field(
        [], description="Attributes to remove, in this order, with the removers that come with their tasks."
    )
    remover: list[Path] = Field(
        [],
        description="Folders of removers to apply, in this order. With `--task`, each one replaces the remover that "
        "comes with its task, and the order is that of the tasks. `inpaint:TASK` fills the task's masks with the "
        "backbone's own inpainting and needs no training.",
    )
    backbone: str | None = Field(
        None,
        min_length=1,
        description="Name or folder of the models that the removers were trained on. If unset, that of the first "
        "remover, or nano.",
    )
    options: dict[str, dict[str, Any]] = Field(
        default={}, description='Options of the tasks, which find the masks: {"TASK": {"OPTION": VALUE}}.'
    )
    denoising: DenoisingConfig = Field(DenoisingConfig(), description="How a clip is denoised.")
    motion: MotionConfig = Field(MotionConfig(), description="How frames are kept consistent.")
    masking: MaskConfig = Field(MaskConfig(), description="How the rest of the picture is preserved.")
    crop: CropConfig = Field(CropConfig(), description="Which faces are edited, and how they are cut out.")
    faces: FaceConfig = Field(FaceConfig(), description="How faces are found.")
    reading: ReadingConfig = Field(ReadingConfig(), description="How videos are read.")
    writing: WritingConfig = Field(WritingConfig(), description="Which files are written, and how.")
    device: str | None = Field(None, description="Torch device, such as cuda. If unset, the fastest one.")
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Threads that work on a video, or processes that work on a folder. If unset, one for each core "
        "where that pays. The result does not depend on it.",
    )
    work_dir: Path | None = Field(
        None, description="Folder for intermediate files. If unset, a hidden folder beside the output."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed, video and settings give the same result.")

    @model_validator(mode="after")
    def _something_to_remove(self) -> Self:
        if not self.task and not self.remover:
            raise ValueError("name what to remove: a task, such as glasses, or the folder of a remover")
        names = [bare_name(task) for task in self.task]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the task {twice} is named twice")
        return self
