"""What a backbone is made of, as typed data: where each part lies and of which class it is."""

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
"""The parts of a backbone, with the classes of diffusers, transformers or this package that each may have."""

REQUIRED = ("vae", "unet", "text_encoder", "scheduler")
"""Parts without which nothing can be generated; `CLIPTextModel` also needs the tokenizer."""


class Part(BaseModel):
    """Where one part lies: in a repository of the Hugging Face Hub, or in a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: str = Field(description="Class of the part, one of `PART_CLASSES`.")
    repository: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="Repository id on the Hub.")
    folder: Path | None = Field(None, description="Folder with the part, instead of a repository.")
    subfolder: str = Field("", pattern=r"^([\w-][\w.-]*)?$", description="Folder inside the repository.")
    revision: str = Field("main", description="Commit, tag or branch of the repository.")
    variant: str | None = Field(None, pattern=r"^\w+$", description="Variant of the weights' file, such as fp16.")
    weights_format: Literal["safetensors", "bin"] = Field(
        "safetensors", description="`bin`, read as tensors only, is for built-in backbones that have nothing else."
    )

    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="Digest of a folder's part; other files than these are refused."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Part:
        if (self.repository is None) == (self.folder is None):
            raise ValueError("a part lies either in a repository or in a folder: name one of the two")
        return self

    @property
    def weights(self) -> str | None:
        """Name of the file with the weights; None for a tokenizer or a scheduler."""
        if self.class_name == "CLIPTokenizer" or self.class_name.endswith("Scheduler"):
            return None
        name = "model" if self.class_name == "CLIPTextModel" else "diffusion_pytorch_model"
        suffix = f".{self.variant}" if self.variant else ""
        return f"{name}{suffix}.{self.weights_format}"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the part needs, without its subfolder; the first is its configuration."""
        if self.class_name == "CLIPTokenizer":
            return ("tokenizer_config.json", "vocab.json", "merges.txt")
        if self.class_name.endswith("Scheduler"):
            return ("scheduler_config.json",)
        return ("config.json", self.weights)


class BackboneSpec(BaseModel):
    """A backbone: the frozen models around a remover."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="Name for people and for the dataset's config.")
    resolution: int = Field(gt=0, description="Side in px of the squares that it was trained on.")
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(
        "epsilon", description="What the UNet predicts, in diffusers' terms; must equal the scheduler's."
    )
    motion_beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] | None = Field(
        "linear",
        description="Noise schedule that the motion adapter was trained with, AnimateDiff's where nothing is said; "
        "none: the scheduler's own.",
    )
    num_inference_steps: int | None = Field(
        None, ge=1, le=1000, description="Denoising steps that it was made for; without it whoever samples chooses."
    )
    training_timesteps: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=1,
        description="Timesteps that it was trained on, to be drawn evenly; one named twice weighs double. Without it "
        "all of them.",
    )
    learning_rate: float | None = Field(
        None, gt=0, description="With which removers are finetuned on it; without it whoever trains chooses."
    )
    licence: str = Field("", description="Licence of the weights.")
    download_size: str = Field("", description="Size of all files that `toolkit fetch` brings, for people.")
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
            raise ValueError("the text_encoder is a CLIPTextModel, so a tokenizer must be there too")
        return self

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that it has, by name."""
        return {name: part for name in PART_CLASSES if (part := getattr(self, name)) is not None}


def _sd15(class_name: str, subfolder: str, variant: str | None = "fp16") -> Part:
    return Part(
        class_name=class_name,
        repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
        subfolder=subfolder,
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        variant=variant,
    )


BACKBONES = {
    "sd15": BackboneSpec(
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
        # The branch has no safetensors: only a pull request of a stranger has.
        controlnet_tile=Part(
            class_name="ControlNetModel",
            repository="lllyasviel/control_v11f1e_sd15_tile",
            revision="3f877705c37010b7221c3d10743307d6b5b6efac",
            weights_format="bin",
        ),
        # The variant fp16 of this repository is as large as the plain file.
        motion_adapter=Part(
            class_name="MotionAdapter",
            repository="guoyww/animatediff-motion-adapter-v1-5-2",
            revision="6167b88ffe39b4441fdf2113e77b99a6f56b7906",
        ),
    )
}
"""Backbones that are known by name; the commits are pinned, so that a dataset can be made again."""
