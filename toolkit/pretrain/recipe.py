"""The recipe of an embedded backbone: a file with every number that its training depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from toolkit.errors import InputError
from toolkit.pretrain.shape import NanoShape

Stage = Literal["backbone", "regions", "inpaint", "tile", "motion"]

RECIPES = Path(__file__).parent / "recipes"
"""The folder of the shipped recipes, ``NAME.json`` for each backbone."""


class HintShares(BaseModel):
    """Kinds of hints that a ControlNet is shown, as shares of all samples; they need not sum to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pair: float = Field(0, ge=0, description="The dataset's picture with the attribute.")
    drawn: float = Field(0, ge=0, description="The picture with random shapes drawn on it.")
    masked: float = Field(0, ge=0, description="The picture with a part cut out, -1 as in diffusers' inpainting.")
    degraded: float = Field(0, ge=0, description="The picture shrunk, blurred or noisy, as for the tile ControlNet.")
    clean: float = Field(0, ge=0, description="The picture itself.")

    @model_validator(mode="after")
    def _something(self) -> HintShares:
        if not sum(self.model_dump().values()):
            raise ValueError("one of the shares must be above 0")
        return self


class Phase(BaseModel):
    """A part of a stage. It starts from the averaged weights of the phase before, with a new optimizer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(ge=1, description="Steps of the optimizer.")
    learning_rate: float = Field(gt=0, description="Highest learning rate of AdamW.")
    train_batch_size: int = Field(8, ge=1, description="Pictures per step; clips in the motion stage.")
    half_size: bool = Field(
        False, description="Train on pictures of half the side; four times as many are seen in the same time."
    )
    region: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Width and height of the part around the mask that is seen. If unset, the whole picture."
    )
    training_timesteps: list[int] | None = Field(
        None, min_length=1, description="Timesteps to draw from. If unset, those of the recipe."
    )
    contrast_power: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Weigh errors inside masks by the attribute's contrast: 0 not at all, 1 in full, so that faint "
        "attributes are removed as well as strong ones.",
    )
    video_degradation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of samples that are sharpened and compressed as videos are. Sharpening leaves bright edges "
        "along dark rims.",
    )
    fade: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of pairs whose attribute is made fainter or inverted, against ghosts in the output.",
    )
    fill: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of pairs in which parts of the attribute are filled from their surroundings, as in edits. "
        "Each frame is filled a little differently, which flickers.",
    )
    lr_warmup_steps: int = Field(100, ge=0, description="Steps over which the learning rate rises.")
    lr_decay: float = Field(
        0.0, ge=0, le=1, description="Share of the steps, at the end, over which the learning rate falls to zero."
    )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from the phase's first."""
        rise = min(1.0, (step + 1) / max(self.lr_warmup_steps, 1))
        left = (self.steps - step) / max(self.steps * self.lr_decay, 1e-9)
        return self.learning_rate * min(rise, left, 1.0)


class StageRecipe(BaseModel):
    """How one stage is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    phases: list[Phase] = Field(min_length=1, description="Phases, in order.")
    resolution: PositiveInt | None = Field(
        None, description="Side of the datasets' pictures in pixels. If unset, the backbone's."
    )
    bfloat16: bool = Field(
        False, description="Multiply in bfloat16, which is faster on devices that have instructions for it."
    )
    adam_weight_decay: float = Field(1e-3, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Clip gradients to this norm.")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="Decay of the weights' moving average, which is kept.")
    mask_weight: float = Field(6.0, ge=1, description="Weight of errors inside masks relative to those outside.")
    hints: HintShares = Field(description="Kinds of hints.")
    clip_length: int = Field(1, ge=1, le=64, description="Frames per sample; more than 1 for motion.")
    difference_weight: float = Field(
        0.0, ge=0, description="Weight of the differences of consecutive frames in the loss, for motion."
    )

    @property
    def steps(self) -> int:
        """The steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[int, int, int]:
        """The number of the phase of a step, the phase's first step, and its first position in the stream."""
        first = position = 0
        for number, phase in enumerate(self.phases):
            if step < first + phase.steps or number == len(self.phases) - 1:
                return number, first, position
            first += phase.steps
            position += phase.steps * phase.train_batch_size
        raise AssertionError("a stage has at least one phase")


class Recipe(BaseModel):
    """The shape and stages of a backbone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the backbone.")
    version: int = Field(ge=1, description="Increase it when retraining makes a different backbone.")
    licence: str = Field(description="Licence of the weights.")
    num_inference_steps: int = Field(ge=1, description="Default denoising steps of an edit.")
    min_motion_steps: int = Field(
        1, ge=1, description="Fewest denoising steps at which edits use the motion layers by default."
    )
    training_timesteps: list[int] = Field(
        min_length=1, description="Timesteps to train on, drawn with equal probability; repeat one to weigh it more."
    )
    learning_rate: float = Field(gt=0, description="Default learning rate for finetuning removers.")
    shape: NanoShape = Field(NanoShape(), description="Sizes of the networks.")
    stages: dict[Stage, StageRecipe] = Field(description="Training of each stage.")


def recipe_names() -> list[str]:
    """The backbones that have a shipped recipe."""
    return sorted(path.stem for path in RECIPES.glob("*.json"))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a file.

    Raises:
        InputError: it cannot be read, or is no recipe.
    """
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"the recipe {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"the recipe {path}: {where}: {first['msg']}") from None
