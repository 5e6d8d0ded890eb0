"""Settings of `toolkit pretrain`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from toolkit.pretrain.recipe import Stage


class PretrainConfig(BaseModel):
    """Settings of `toolkit pretrain`. The weights depend on the recipe, the data and the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage = Field(description="Stage to train: `backbone` first, then the others in the same folder.")
    data: list[Path] = Field(min_length=1, description="Dataset folders, each seen equally often.")
    output: Path = Field(description="Folder of the backbone, for --backbone. Interrupted runs resume in it.")
    recipe: Path | None = Field(None, description="Recipe file. If unset, the recipe of the shipped weights.")
    held_out: list[Path] = Field([], description="Datasets to measure at each checkpoint, not trained on.")
    checkpointing_steps: int = Field(500, ge=1, description="Steps between two checkpoints.")
    dataloader_num_workers: int = Field(1, ge=0, le=64, description="Processes that read pictures and draw on them.")
    device: str | None = Field(None, description="Torch device, such as `cuda`. If unset, the best one available.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed, data and recipe give the same weights.")
