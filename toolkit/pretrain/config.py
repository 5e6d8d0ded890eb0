"""What a pretraining can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from toolkit.pretrain.recipe import Stage


class PretrainConfig(BaseModel):
    """Settings of `toolkit pretrain`. What decides the weights is in the recipe, the data and the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage = Field(description="backbone first; the others add their part to what it wrote")
    data: list[Path] = Field(min_length=1, description="dataset folders, each seen equally often")
    output: Path = Field(description="folder of the backbone, for --backbone; a run that was killed goes on in it")
    recipe: Path | None = Field(None, description="a recipe file; without it that of the shipped weights")
    held_out: list[Path] = Field([], description="datasets that are only measured, at each checkpoint")
    checkpointing_steps: int = Field(500, ge=1, description="steps between two checkpoints")
    dataloader_num_workers: int = Field(1, ge=0, le=64, description="processes that read and draw")
    device: str | None = Field(None, description="torch device, such as cuda; the best one without it")
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed, data and recipe give the same training")
