"""Data models of a backbone: the class and location of each part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PART_CLASSES: dict[str, tuple[str, ...]] = {
    "vae": ("AutoencoderKL", "AutoencoderTiny", "PixelUnshuffleCoder"),
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel", "ConstantTextEncoder"),
    "tokenizer": ("CLIPTokenizer",),
    "scheduler": (
        *("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler"),
        *("EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"),
        *("DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler", "LCMScheduler"),
        "TCDScheduler",
    ),
    "controlnet_inpaint": ("ControlNetModel",),
    "controlnet_tile": ("ControlNetModel",),
    "motion_adapter": ("MotionAdapter",),
}
"""Parts of a backbone, and the classes of diffusers, transformers or this package that each may have."""

REQUIRED = ("vae", "unet", "text_encoder", "scheduler")
"""Parts that every backbone needs. `CLIPTextModel` also needs the tokenizer."""


class Lora(BaseModel):
    """A LoRA that is added to the weights of a part when it is loaded: one safetensors file.

    Its layers may have kohya's names (``lora_unet_...``), or those of diffusers and peft (``unet.....lora_A.weight``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    repository: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="Repository ID on the Hub.")
    folder: Path | None = Field(None, description="Folder of the file, instead of a repository.")
    subfolder: str = Field("", pattern=r"^([\w-][\w.-]*)?$", description="Folder inside the repository.")
    revision: str = Field("main", description="Commit, tag or branch of the repository.")
    file: str = Field(pattern=r"^[\w-][\w.-]*\.safetensors$", description="Name of the file.")
    weight: float = Field(1.0, description="Factor of what it adds.")

    @model_validator(mode="after")
    def _one_location(self) -> Lora:
        if (self.repository is None) == (self.folder is None):
            raise ValueError("a LoRA is either in a repository or in a folder: set one of the two")
        return self

    @property
    def inside(self) -> str:
        """Path of the file in the repository."""
        return f"{self.subfolder}/{self.file}" if self.subfolder else self.file


class Part(BaseModel):
    """One part of a backbone, in a repository of the Hugging Face Hub or in a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: str = Field(description="Class of the part, one of `PART_CLASSES`.")
    repository: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="Repository ID on the Hub.")
    folder: Path | None = Field(None, description="Folder of the part, instead of a repository.")
    subfolder: str = Field("", pattern=r"^([\w-][\w.-]*)?$", description="Folder inside the repository.")
    revision: str = Field("main", description="Commit, tag or branch of the repository.")
    variant: str | None = Field(None, pattern=r"^\w+$", description="Variant of the weights file, such as `fp16`.")
    weights_format: Literal["safetensors", "bin"] = Field(
        "safetensors",
        description="Format of the weights. `bin`, read as tensors only, is for built-in backbones.",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of a part in a folder. Files that differ are refused."
    )

    loras: tuple[Lora, ...] = Field((), description="LoRAs that are added to the weights.")

    @model_validator(mode="after")
    def _one_location(self) -> Part:
        if (self.repository is None) == (self.folder is None):
            raise ValueError("a part is either in a repository or in a folder: set one of the two")
        return self

    @property
    def weights(self) -> str | None:
        """Name of the weights file, or None for a tokenizer or a scheduler."""
        if self.class_name == "CLIPTokenizer" or self.class_name.endswith("Scheduler"):
            return None
        name = "model" if self.class_name == "CLIPTextModel" else "diffusion_pytorch_model"
        suffix = f".{self.variant}" if self.variant else ""
        return f"{name}{suffix}.{self.weights_format}"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the required files, without the subfolder. The first is the configuration."""
        if self.class_name == "CLIPTokenizer":
            return ("tokenizer_config.json", "vocab.json", "merges.txt")
        if self.class_name.endswith("Scheduler"):
            return ("scheduler_config.json",)
        return ("config.json", self.weights) if self.weights else ("config.json",)

    @property
    def local(self) -> Path:
        """The part's folder.

        Raises:
            ValueError: the part is in a repository.
        """
        if self.folder is None:
            raise ValueError(f"the part is in the repository {self.repository}, not in a folder")
        return self.folder


class BackboneSpec(BaseModel):
    """A backbone: the frozen models around a remover."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="Name, shown in messages and saved in dataset configs.")
    resolution: int = Field(gt=0, description="Side of the training images in pixels.")
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(
        "epsilon", description="Target that the UNet predicts, as in diffusers. Must equal the scheduler's."
    )
    motion_beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] | None = Field(
        "linear",
        description="Noise schedule that the motion adapter was trained with. The default is AnimateDiff's. If null, "
        "the scheduler's own.",
    )
    num_inference_steps: int | None = Field(
        None, ge=1, le=1000, description="Denoising steps that the backbone is made for. If unset, the caller chooses."
    )
    min_motion_steps: int = Field(
        1,
        ge=1,
        description="Fewest denoising steps at which the motion layers are worth their cost. Edits with fewer steps "
        "leave them out by default.",
    )
    training_timesteps: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=1,
        description="Timesteps that the backbone was trained on, drawn uniformly. Repeat one to raise its weight. If "
        "unset, all timesteps.",
    )
    learning_rate: float | None = Field(
        None, gt=0, description="Learning rate for finetuning removers. If unset, the caller chooses."
    )
    licence: str = Field("", description="Licence of the weights.")
    download_size: str = Field("", description="Size of the download with `toolkit fetch`, as text.")
    vae: Part
    unet: Part
    text_encoder: Part
    tokenizer: Part | None = None
    scheduler: Part
    controlnet_inpaint: Part | None = None
    controlnet_tile: Part | None = None
    motion_adapter: Part | None = None

    @model_validator(mode="after")
    def _known_classes(self) -> BackboneSpec:
        for name, part in self.parts.items():
            if part.class_name not in PART_CLASSES[name]:
                known = ", ".join(PART_CLASSES[name])
                raise ValueError(f"the {name} is a {part.class_name}, but it must be one of {known}")
        if self.text_encoder.class_name == "CLIPTextModel" and self.tokenizer is None:
            raise ValueError("the text_encoder is a CLIPTextModel, which needs a tokenizer: add one")
        return self

    @property
    def parts(self) -> dict[str, Part]:
        """Parts of this backbone, by name."""
        return {name: part for name in PART_CLASSES if (part := getattr(self, name)) is not None}


def _sd15(class_name: str, subfolder: str, variant: str | None = "fp16") -> Part:
    return Part(
        class_name=class_name,
        repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
        subfolder=subfolder,
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        variant=variant,
    )


_SD15 = BackboneSpec(
    name="sd15",
    resolution=512,
    licence="CreativeML OpenRAIL-M; motion adapter: Apache-2.0",
    download_size="6.1 GB",
    vae=_sd15("AutoencoderKL", "vae"),
    unet=_sd15("UNet2DConditionModel", "unet"),
    text_encoder=_sd15("CLIPTextModel", "text_encoder"),
    tokenizer=_sd15("CLIPTokenizer", "tokenizer", None),
    scheduler=_sd15("PNDMScheduler", "scheduler", None),
    controlnet_inpaint=Part(
        class_name="ControlNetModel",
        repository="lllyasviel/control_v11p_sd15_inpaint",
        revision="c96e03a807e64135568ba8aecb66b3a306ec73bd",
        variant="fp16",
    ),
    # The branch has no safetensors; only an unmerged pull request does.
    controlnet_tile=Part(
        class_name="ControlNetModel",
        repository="lllyasviel/control_v11f1e_sd15_tile",
        revision="3f877705c37010b7221c3d10743307d6b5b6efac",
        weights_format="bin",
    ),
    # The fp16 variant of this repository is as large as the plain file.
    motion_adapter=Part(
        class_name="MotionAdapter",
        repository="guoyww/animatediff-motion-adapter-v1-5-2",
        revision="6167b88ffe39b4441fdf2113e77b99a6f56b7906",
    ),
)

_LCM = {"repository": "wangfuyun/AnimateLCM", "revision": "6d12735b542978f8e83b36c5e7f92bdb8433e58f"}

BACKBONES = {
    "sd15": _SD15,
    # Wang et al. 2024, arXiv 2402.00769, with the weight and the scheduler of its model card.
    "sd15-lcm": _SD15.model_copy(
        update={
            "name": "sd15-lcm",
            "num_inference_steps": 6,
            "licence": "CreativeML OpenRAIL-M; AnimateLCM: no licence stated on its card",
            "download_size": "5.4 GB; 1.0 GB if sd15 is there",
            "unet": _SD15.unet.model_copy(
                update={"loras": (Lora(file="AnimateLCM_sd15_t2v_lora.safetensors", weight=0.8, **_LCM),)}
            ),
            "scheduler": _sd15("LCMScheduler", "scheduler", None),
            "motion_adapter": Part(class_name="MotionAdapter", variant="fp16", **_LCM),
        }
    ),
}
"""Downloadable backbones by name, pinned to commits so that datasets are reproducible."""
