"""The recipe of an embedded backbone: a file with every number that its training depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import InputError
from toolkit.pretrain.shape import NanoShape

Stage = Literal["backbone", "inpaint", "tile", "motion"]

RECIPES = Path(__file__).parent / "recipes"
"""Package data: ``NAME.json`` for each backbone that can be pretrained."""


class HintShares(BaseModel):
    """What a ControlNet is shown, as shares of all samples; they need not sum to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pair: float = Field(0, ge=0, description="the dataset's picture with the attribute")
    drawn: float = Field(0, ge=0, description="the picture with random shapes drawn over it")
    masked: float = Field(0, ge=0, description="the picture with a part cut out, -1 as diffusers' inpainting has it")
    degraded: float = Field(0, ge=0, description="the picture small, blurred or noisy, as the tile ControlNet's")
    clean: float = Field(0, ge=0, description="the picture itself")

    @model_validator(mode="after")
    def _something(self):
        if not sum(self.model_dump().values()):
            raise ValueError("one of the shares must be over 0")
        return self


class Phase(BaseModel):
    """A stretch of a stage. It starts from the averaged weights of the one before, with a new optimizer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(ge=1, description="of the optimizer")
    learning_rate: float = Field(gt=0, description="of AdamW, at its highest")
    train_batch_size: int = Field(8, ge=1, description="pictures of a step; for motion, clips")
    half_size: bool = Field(
        False, description="pictures of half the side, of which four times as many are seen in the same time"
    )
    training_timesteps: list[int] | None = Field(
        None, min_length=1, description="timesteps that are drawn in this phase, in the place of the recipe's"
    )
    contrast_power: float = Field(
        0.0,
        ge=0,
        le=1,
        description="0: errors inside masks count as they are; 1: relative to what the attribute changed there, so "
        "that faint ones are taken off as well as strong ones",
    )
    video_degradation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the samples that are sharpened and compressed as videos are: sharpening leaves bright "
        "edges along dark rims",
    )
    fade: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the pairs in which the attribute is made fainter, or its opposite: what a network that "
        "guesses leaves behind",
    )
    fill: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the pairs in which parts of the attribute are filled in from around them, as editing "
        "does, in each frame a little differently: that flickers",
    )
    lr_warmup_steps: int = Field(100, ge=0, description="steps in which the learning rate rises")
    lr_decay: float = Field(0.0, ge=0, le=1, description="share of the steps at the end in which it falls to zero")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from the phase's first one."""
        rise = min(1.0, (step + 1) / max(self.lr_warmup_steps, 1))
        left = (self.steps - step) / max(self.steps * self.lr_decay, 1e-9)
        return self.learning_rate * min(rise, left, 1.0)


class StageRecipe(BaseModel):
    """How one stage is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    phases: list[Phase] = Field(min_length=1, description="one after the other")
    adam_weight_decay: float = Field(1e-3, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the average of the weights, which is kept")
    mask_weight: float = Field(6.0, ge=1, description="weight of the masks' inside in the loss, relative to outside")
    hints: HintShares = Field(description="what the ControlNet is shown")
    clip_length: int = Field(1, ge=1, le=64, description="frames of a sample; over 1 for motion")
    difference_weight: float = Field(
        0.0, ge=0, description="weight of the differences of consecutive frames in the loss, for motion"
    )

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[int, int, int]:
        """Number of the phase that a step is in, the phase's first step, and its first position in the stream."""
        first = position = 0
        for number, phase in enumerate(self.phases):
            if step < first + phase.steps or number == len(self.phases) - 1:
                return number, first, position
            first += phase.steps
            position += phase.steps * phase.train_batch_size
        raise AssertionError("there is a phase at least")


class Recipe(BaseModel):
    """A backbone's shape and stages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="of the backbone")
    version: int = Field(ge=1, description="rises when a retrained one is no longer the same backbone")
    licence: str = Field(description="of the weights")
    num_inference_steps: int = Field(ge=1, description="steps of an edit, where nothing else is asked for")
    training_timesteps: list[int] = Field(
        min_length=1, description="timesteps that it is trained on, drawn evenly; one named twice weighs double"
    )
    learning_rate: float = Field(gt=0, description="with which removers are finetuned, where no other one is asked for")
    shape: NanoShape = Field(NanoShape(), description="sizes of the networks")
    stages: dict[Stage, StageRecipe] = Field(description="each stage's training")


def recipe_names() -> list[str]:
    """Backbones that can be pretrained."""
    return sorted(path.stem for path in RECIPES.glob("*.json"))


def read_recipe(path: Path) -> Recipe:
    """A recipe from a file.

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
