"""What a finetuning can be told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.backbones.spec import BackboneSpec
from toolkit.errors import InputError, UsageError
from toolkit.finetune.recipes import find_recipe, over_recipe
from toolkit.validation import validated

LEARNING_RATE, NUM_INFERENCE_STEPS = 1e-5, 20
"""Where neither the user nor the backbone says anything; the first is the paper's."""


class OptimisationConfig(BaseModel):
    """How the weights are moved; names and defaults are those of diffusers' `train_controlnet.py`, or the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    train_batch_size: int = Field(8, ge=1, description="pairs per step and device")
    gradient_accumulation_steps: int = Field(1, ge=1, description="batches whose gradients make one step")
    learning_rate: float | None = Field(
        None, gt=0, description="of AdamW; without it the one that the backbone asks for, else the paper's 1e-5"
    )
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial"] = Field(
        "constant", description="how the learning rate moves; all but the constant ones end at max_train_steps"
    )
    lr_warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate rises; not with constant")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="decay of AdamW's first moment")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="decay of AdamW's second moment")
    adam_weight_decay: float = Field(1e-2, ge=0, description="weight decay of AdamW")
    adam_epsilon: float = Field(1e-8, gt=0, description="epsilon of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    use_8bit_adam: bool = Field(False, description="keep AdamW's moments in 8 bits; needs bitsandbytes and CUDA")
    gradient_checkpointing: bool = Field(False, description="less memory for about a third more time")
    torch_compile: bool = Field(False, description="compile the models; pays after some hundred steps")
    mixed_precision: Literal["no", "fp16", "bf16"] | None = Field(
        None, description="number format of the computation; without it what `accelerate launch` says, else no"
    )


class LossConfig(BaseModel):
    """The denoising loss; with the defaults that of `train_controlnet.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mask_weight: float = Field(
        1.0, ge=0, le=100, description="weight of the mask's inside relative to its outside; 1 weighs all alike"
    )
    contrast_power: float = Field(
        0.0,
        ge=0,
        le=1,
        description="0: errors inside the mask count as they are; 1: relative to what the attribute changed there, so "
        "that faint ones are taken off as well as strong ones",
    )
    snr_gamma: float | None = Field(
        None, gt=0, description="min-SNR weighting of the timesteps (arXiv 2303.09556), 5 in that paper; none: off"
    )
    proportion_empty_prompts: float = Field(
        0.0, ge=0, le=1, description="share of the pairs that train without a prompt, for guidance later"
    )
    use_ema: bool = Field(False, description="validate and keep the moving average of the weights")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of that average")


class AugmentationConfig(BaseModel):
    """Variants of the pairs, drawn once per clip so that its frames stay consistent, and encoded once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    variants: int = Field(
        1, ge=1, le=64, description="versions of each clip in the cache: the first is as it is, the others augmented"
    )
    flip: bool = Field(True, description="augmented versions may be mirrored")
    min_crop: float = Field(0.85, gt=0.25, le=1, description="side of the smallest crop, as a share of the picture's")
    video_degradation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the augmented versions that are sharpened, and of those that are compressed, as videos "
        "are: sharpening leaves bright edges along dark rims",
    )
    fade: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the pairs, drawn anew each time, in which the attribute is made fainter or its opposite: "
        "what a remover that guesses leaves behind",
    )
    fill: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the pairs, drawn anew each time, in which parts of the attribute are filled in from "
        "around them, as editing does",
    )
    fill_parts: Literal["thin", "all"] = Field(
        "thin",
        description="which: thin opaque ones, such as rims, or all, as at a second look (`toolkit edit --second-look`)",
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="largest change of brightness, contrast and saturation")


class ValidationConfig(BaseModel):
    """How the remover is tried on held-out sources, and when training stops."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    validation_steps: int = Field(250, ge=1, description="steps between two validations")
    validation_samples: int = Field(16, ge=1, le=1024, description="held-out pairs, spread over the sources")
    num_inference_steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="denoising steps of a trial; without it what the backbone was made for, else 20",
    )
    strength: float = Field(1.0, gt=0, le=1, description="share of the schedule in a trial, from the noised input")
    early_stopping: bool = Field(True, description="stop when the removal gains no more than artefacts do")
    patience: int = Field(5, ge=1, description="validations without a better one before training stops")
    min_delta: float = Field(0.005, ge=0, lt=1, description="by how much a validation must be better to count")
    artefact_weight: float = Field(1.0, ge=0, description="removal that one unit of artefact costs")

    @model_validator(mode="after")
    def _some_steps_are_run(self):
        if self.num_inference_steps is not None and int(self.strength * self.num_inference_steps) < 1:
            raise ValueError(
                f"a strength of {self.strength} runs none of {self.num_inference_steps} num_inference_steps; raise one"
            )
        return self


class FinetuneConfig(BaseModel):
    """Settings of `toolkit finetune`. The defaults are the paper's where it names a value (V-LASIK, section 4.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    data: list[Path] = Field(min_length=1, description="dataset folders; several teach one remover several attributes")
    output: Path = Field(description="folder of the remover; checkpoints and logs of the training lie in it too")
    recipe: str | None = Field(
        None,
        min_length=1,
        description="Settings that a task brings, as NAME or TASK/NAME; your own settings win over them.",
    )
    backbone: str = Field("nano", min_length=1, description="the frozen models: a name, or a folder")
    init: str = Field(
        "tile",
        min_length=1,
        description="where the ControlNet starts: tile (the backbone's), unet (a copy of the UNet's encoder), or the "
        "folder of a remover",
    )
    resolution: int | None = Field(
        None, ge=64, le=2048, multiple_of=8, description="side of the datasets' pictures; without it the backbone's own"
    )
    balance: Literal["size", "equal"] = Field(
        "size", description="several datasets: each as often as it has pairs, or all equally often"
    )
    pairs: Literal["auto", "perfect", "imperfect"] = Field(
        "auto", description="whether the pictures without the attribute are true; auto: they are if none was inpainted"
    )
    check: bool = Field(True, description="validate the datasets first, as `toolkit dataset check` does")
    optimisation: OptimisationConfig = Field(OptimisationConfig(), description="how the weights are moved")
    loss: LossConfig = Field(LossConfig(), description="the denoising loss")
    augmentation: AugmentationConfig = Field(AugmentationConfig(), description="variants of the pairs")
    validation: ValidationConfig = Field(ValidationConfig(), description="trials on held-out pairs")
    max_train_steps: int = Field(10_000, ge=1, description="training ends here if it was not stopped before")
    checkpointing_steps: int = Field(500, ge=1, description="steps between two checkpoints")
    checkpoints_total_limit: int = Field(2, ge=1, description="checkpoints that are kept")
    resume_from_checkpoint: str | None = Field(None, description="latest, or a checkpoint-N in the output, to go on")
    report_to: Literal["tensorboard", "wandb", "none"] = Field("tensorboard", description="where curves are shown")
    cache_dir: Path | None = Field(
        None, description="where encoded pictures are kept, for later runs too; without it in the output, until the end"
    )
    cache: Literal["auto", "on", "off"] = Field(
        "auto", description="whether encoded pictures are kept on disk; auto: where they are smaller than the pictures"
    )
    cache_batch_size: int = Field(8, ge=1, description="pictures that are encoded at a time")
    dataloader_num_workers: int | None = Field(
        None, ge=0, le=64, description="processes that read pictures; without it 4 beside a GPU, none on a CPU"
    )
    save_dtype: Literal["float32", "float16"] = Field(
        "float32", description="number format of the remover's weights on disk; float16 halves them"
    )
    cpu: bool = Field(False, description="train on the CPU; GPUs are chosen by CUDA_VISIBLE_DEVICES")
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed, data and settings give the same training")

    @model_validator(mode="before")
    @classmethod
    def _over_recipe(cls, values: Any) -> Any:
        """Put the values over those of their recipe, so that Python, a file and flags work alike.

        Raises:
            UsageError: there is no such recipe.
            InputError: the recipe is no valid config.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("recipe"), str):
            return values
        recipe = find_recipe(values["recipe"])
        settings = recipe.read()
        try:
            validated(cls, {"data": [Path()], "output": Path(), **settings})
        except UsageError as error:
            raise InputError(f"the recipe {recipe} in {recipe.path} is not valid: {error}") from error
        return over_recipe(settings, values) | {"recipe": str(recipe)}

    def resolved(self, spec: BackboneSpec) -> FinetuneConfig:
        """With what the backbone decides, where nothing else was asked for.

        Raises:
            UsageError: fewer than one step of a trial.
        """
        steps = self.validation.num_inference_steps or spec.num_inference_steps or NUM_INFERENCE_STEPS
        rate = self.optimisation.learning_rate or spec.learning_rate or LEARNING_RATE
        validation = validated(ValidationConfig, self.validation.model_dump() | {"num_inference_steps": steps})
        optimisation = self.optimisation.model_copy(update={"learning_rate": rate})
        return self.model_copy(update={"validation": validation, "optimisation": optimisation})

    def content(self) -> dict[str, Any]:
        """The settings that decide the course of the training, as JSON values.

        Where things lie does not belong to it, nor how often they are saved and shown.
        """
        running = {"data", "output", "backbone", "init", "check", "checkpointing_steps", "checkpoints_total_limit"}
        running |= {"resume_from_checkpoint", "report_to", "cache", "cache_dir", "cache_batch_size"}
        running |= {"dataloader_num_workers", "cpu", "resolution", "pairs", "save_dtype", "recipe"}
        content = self.model_dump(mode="json", exclude=running)
        if self.optimisation.lr_scheduler.startswith("constant"):
            del content["max_train_steps"]  # it moves nothing then, so a finished run can be prolonged
        for name in ("early_stopping", "patience"):
            del content["validation"][name]  # nor do these: they only say when to end
        return content


GROUPS = {
    "optimisation": (OptimisationConfig, "optimisation"),
    "loss": (LossConfig, "loss"),
    "augmentation": (AugmentationConfig, "augmentation, the same for all frames of a clip"),
    "validation": (ValidationConfig, "validation and early stopping"),
}
"""Fields of `FinetuneConfig` that are groups of options: their models and headings."""
