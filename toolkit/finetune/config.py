"""Settings of `toolkit finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.backbones.spec import BackboneSpec
from toolkit.errors import InputError, UsageError
from toolkit.finetune.recipes import find_recipe
from toolkit.presets import PresetConfig, Stage, over
from toolkit.validation import validated

LEARNING_RATE, NUM_INFERENCE_STEPS = 1e-5, 20
"""Defaults if neither the user nor the backbone sets a value; the learning rate is the paper's."""


LORA_SPEED = 10
"""Low-rank layers learn at this many times the learning rate of a whole model (Schulman et al., "LoRA Without Regret",
2025)."""


class OptimisationConfig(BaseModel):
    """Optimiser and number formats. Names and defaults are those of diffusers' `train_controlnet.py` or the paper."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    train_batch_size: int = Field(8, ge=1, description="Pairs per step and device.")
    gradient_accumulation_steps: int = Field(1, ge=1, description="Batches whose gradients are summed into one step.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Learning rate of AdamW. If unset, the backbone's recommendation or the paper's 1e-5; with "
        "`lora_rank` ten times that.",
    )
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial"] = Field(
        "constant", description="Schedule of the learning rate. All but the constant ones end at `max_train_steps`."
    )
    lr_warmup_steps: int = Field(
        0, ge=0, description="Steps over which the learning rate rises. Has no effect with `constant`."
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="Decay of AdamW's first moment.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="Decay of AdamW's second moment.")
    adam_weight_decay: float = Field(1e-2, ge=0, description="Weight decay of AdamW.")
    adam_epsilon: float = Field(1e-8, gt=0, description="Epsilon of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Clip gradients to this norm.")
    use_8bit_adam: bool = Field(False, description="Keep AdamW's moments in 8 bits. Needs bitsandbytes and CUDA.")
    gradient_checkpointing: bool = Field(False, description="Save memory at the cost of about a third more time.")
    torch_compile: bool = Field(False, description="Compile the models. Pays off after a few hundred steps.")
    mixed_precision: Literal["no", "fp16", "bf16"] | None = Field(
        None,
        description="Number format of the computation. If unset, that of `accelerate launch`; otherwise `bf16` on GPUs "
        "of compute capability 8.0 and later, `fp16` on those of 7.x, and `no` elsewhere.",
    )


class LossConfig(BaseModel):
    """The denoising loss; the defaults give that of `train_controlnet.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mask_weight: float = Field(
        1.0, ge=0, le=100, description="Weight of errors inside the mask relative to those outside."
    )
    contrast_power: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Divide errors inside the mask by the attribute's contrast to this power. 1 removes faint "
        "attributes as well as strong ones; 0 does not divide.",
    )
    snr_gamma: float | None = Field(
        None,
        gt=0,
        description="Min-SNR weighting of the timesteps (arXiv 2303.09556, where it is 5). If unset, no weighting.",
    )
    proportion_empty_prompts: float = Field(
        0.0, ge=0, le=1, description="Share of the pairs trained with an empty prompt, for classifier-free guidance."
    )
    use_ema: bool = Field(False, description="Validate and keep the moving average of the weights.")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="Decay of that average.")


class AugmentationConfig(BaseModel):
    """Variants of the pairs. All frames of a clip get the same one, so the clip stays consistent."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    variants: int = Field(
        1, ge=1, le=64, description="Versions of each clip: the original, and the rest augmented. Each is encoded once."
    )
    flip: bool = Field(True, description="Mirror augmented versions at random.")
    min_crop: float = Field(0.85, gt=0.25, le=1, description="Side of the smallest crop, as a share of the picture's.")
    video_degradation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the augmented versions to sharpen, and the same share to compress like videos. "
        "Sharpening leaves bright edges along dark rims.",
    )
    fade: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of pairs whose attribute is made fainter or inverted, against ghosts in the output. "
        "Drawn again each time a pair is shown.",
    )
    fill: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of pairs in which parts of the attribute are filled from their surroundings, as in edits. "
        "Drawn again each time a pair is shown.",
    )
    fill_parts: Literal["thin", "all"] = Field(
        "thin",
        description="Parts that `fill` covers: `thin` opaque ones, such as rims, or `all`, as in the second pass of an "
        "edit.",
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="Largest change of brightness, contrast and saturation.")


class ValidationConfig(BaseModel):
    """Trials on held-out sources, and when training stops."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    validation_steps: int = Field(250, ge=1, description="Steps between two validations.")
    validation_samples: int = Field(16, ge=1, le=1024, description="Held-out pairs per validation, from all sources.")
    num_inference_steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Denoising steps of a trial. If unset, the backbone's own number, otherwise 20.",
    )
    strength: float = Field(
        1.0, gt=0, le=1, description="Share of the denoising schedule that a trial runs from the noised input."
    )
    early_stopping: bool = Field(True, description="Stop when artefacts grow faster than removal.")
    patience: int = Field(5, ge=1, description="Validations without improvement before training stops.")
    min_delta: float = Field(0.005, ge=0, lt=1, description="Smallest gain in score that counts as an improvement.")
    artefact_weight: float = Field(1.0, ge=0, description="Weight of artefacts against removal in the score.")

    @model_validator(mode="after")
    def _some_steps_are_run(self) -> ValidationConfig:
        if self.num_inference_steps is not None and int(self.strength * self.num_inference_steps) < 1:
            raise ValueError(
                f"a strength of {self.strength} runs none of {self.num_inference_steps} num_inference_steps; raise one"
            )
        return self


class FinetuneConfig(PresetConfig):
    """Settings of `toolkit finetune`. Defaults are the paper's where it states a value (V-LASIK, section 2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    PRESET_STAGE: ClassVar[Stage] = "finetune"

    data: list[Path] = Field(min_length=1, description="Dataset folders. Several teach one remover several attributes.")
    output: Path = Field(description="Folder of the remover, and of the training's checkpoints and logs.")
    recipe: str | None = Field(
        None,
        min_length=1,
        description="Tested settings of a task, as NAME or TASK/NAME; `toolkit tasks show TASK` lists them. Your own "
        "settings win over them.",
    )
    backbone: str = Field(
        "nano",
        min_length=1,
        description="Models to train the remover for: a name (`toolkit fetch` lists them) or a folder.",
    )
    init: str = Field(
        "tile",
        min_length=1,
        description="Initial weights of the ControlNet: `tile` (the backbone's), `unet` (a copy of the UNet's "
        "encoder), or the folder of a remover.",
    )
    lora_rank: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Train low-rank layers of this rank beside the layers of the tile ControlNet, and none of its own "
        "weights. The remover takes a few MB. If unset, the whole ControlNet is trained.",
    )
    resolution: int | None = Field(
        None,
        ge=64,
        le=2048,
        multiple_of=8,
        description="Side of the datasets' pictures in pixels. If unset, the backbone's.",
    )
    region: tuple[int, int] | None = Field(
        None,
        description="Width and height in pixels of the parts around the masks to train on, instead of whole pictures. "
        "Edits with the remover then show it only the surroundings of the masks.",
    )
    balance: Literal["size", "equal"] = Field(
        "size",
        description="How often training uses each of several datasets: in proportion to its `size`, or all `equal`.",
    )
    pairs: Literal["auto", "perfect", "imperfect"] = Field(
        "auto",
        description="Whether the pictures without the attribute are real (`perfect`) or inpainted (`imperfect`). "
        "`auto` reads it from the dataset.",
    )
    check: bool = Field(True, description="Validate the datasets first, as `toolkit dataset check` does.")
    optimisation: OptimisationConfig = Field(
        OptimisationConfig(), title="Optimisation", description="Optimiser and number formats."
    )
    loss: LossConfig = Field(LossConfig(), title="Loss", description="The denoising loss.")
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), title="Augmentation, the same for a whole clip", description="Variants of the pairs."
    )
    validation: ValidationConfig = Field(
        ValidationConfig(), title="Validation and early stopping", description="Trials on held-out pairs."
    )
    max_train_steps: int = Field(10_000, ge=1, description="Step at which training ends, if it does not stop earlier.")
    checkpointing_steps: int = Field(500, ge=1, description="Steps between two checkpoints.")
    checkpoints_total_limit: int = Field(2, ge=1, description="Number of checkpoints to keep.")
    resume_from_checkpoint: str | None = Field(
        None, description="Resume from `latest`, or from a `checkpoint-N` in the output."
    )
    report_to: Literal["tensorboard", "wandb", "none"] = Field(
        "tensorboard", description="Program that shows the curves."
    )
    cache_dir: Path | None = Field(
        None,
        description="Folder that keeps encoded pictures for later runs. If unset, they stay in the output until "
        "training ends.",
    )
    cache: Literal["auto", "on", "off"] = Field(
        "auto", description="Keep encoded pictures on disk. `auto` keeps them if they are smaller than the pictures."
    )
    cache_batch_size: int = Field(8, ge=1, description="Pictures encoded at a time.")
    dataloader_num_workers: int | None = Field(
        None, ge=0, le=64, description="Processes that read pictures. If unset, 4 with a GPU and none on a CPU."
    )
    save_dtype: Literal["float32", "float16"] = Field(
        "float32", description="Number format of the remover's weights on disk. `float16` halves their size."
    )
    cpu: bool = Field(False, description="Train on the CPU. CUDA_VISIBLE_DEVICES chooses among GPUs.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed, data and settings give the same weights.")

    @model_validator(mode="before")
    @classmethod
    def _over_recipe(cls, values: Any) -> Any:
        """Put the values over those of their recipe, so that Python, a file and flags work alike.

        Raises:
            UsageError: there is no such recipe, or there is a preset too.
            InputError: the recipe is no valid config.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("recipe"), str):
            return values
        if values.get("preset") is not None:
            raise UsageError("a recipe and a preset both choose how to train: name one of them")
        recipe = find_recipe(values["recipe"])
        settings = recipe.read()
        try:
            validated(cls, {"data": [Path()], "output": Path(), **settings})
        except UsageError as error:
            raise InputError(f"the recipe {recipe} in {recipe.path} is not valid: {error}") from error
        return over(settings, values) | {"recipe": str(recipe)}

    def resolved(self, spec: BackboneSpec) -> FinetuneConfig:
        """Fill unset values with those of the backbone.

        Raises:
            UsageError: a trial would run less than one step.
        """
        steps = self.validation.num_inference_steps or spec.num_inference_steps or NUM_INFERENCE_STEPS
        usual = spec.learning_rate or LEARNING_RATE
        rate = self.optimisation.learning_rate or (usual if self.lora_rank is None else LORA_SPEED * usual)
        validation = validated(ValidationConfig, self.validation.model_dump() | {"num_inference_steps": steps})
        optimisation = self.optimisation.model_copy(update={"learning_rate": rate})
        return self.model_copy(update={"validation": validation, "optimisation": optimisation})

    def content(self) -> dict[str, Any]:
        """The settings that determine the trained weights, as JSON values.

        Paths are left out, and so is what only decides how often progress is saved and shown.
        """
        running = {"data", "output", "recipe", "preset", "backbone", "init", "check", "checkpointing_steps"}
        running |= {"checkpoints_total_limit", "resume_from_checkpoint", "report_to", "cache", "cache_dir"}
        running |= {"cache_batch_size", "dataloader_num_workers", "cpu", "resolution", "pairs", "save_dtype"}
        content = self.model_dump(mode="json", exclude=running)
        if self.lora_rank is None:
            del content["lora_rank"]  # trainings of earlier releases do not have it, and they can go on
        if self.optimisation.lr_scheduler.startswith("constant"):
            del content["max_train_steps"]  # no schedule depends on it, so a finished run can be extended
        for name in ("early_stopping", "patience"):
            del content["validation"][name]  # they only decide when to end
        return content
