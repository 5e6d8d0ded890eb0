"""File names of a remover, and the models of `remover.json`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from toolkit.dataset.layout import is_safe

SCHEMA_VERSION: Literal[1] = 1
"""Format version, saved in `remover.json`."""

CONTROLNET, RECORD, CARD, IMAGES = "controlnet", "remover.json", "README.md", "images"
GRID, CURVE = "grid.jpg", "curve.png"
"""Files in `IMAGES`: held-out pairs (input, output, target), and the curve that shows why training ended."""

LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
"""File in `CONTROLNET` of a remover that adds low-rank layers to the tile ControlNet; diffusers' name."""

WRITING, WRITTEN = ".remover-writing", ".remover-written"
"""Staging folders: of a remover being written, and of a complete one whose files are being moved into place."""

COMPARED_PARTS = ("unet", "vae", "text_encoder")
"""Backbone parts that a remover depends on."""

PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of pickle files, which could run code when loaded."""


class DatasetUse(BaseModel):
    """A dataset used to train a remover."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the dataset's folder.")
    task: str = Field(description="Task that built the dataset.")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 of manifest.json, which holds the checksums of the shards."
    )
    pairs: int = Field(ge=0, description="Pairs used for training.")
    clips: int = Field(ge=0, description="Clips that these pairs come from.")
    perfect: bool = Field(description="Whether images without the attribute are real, not inpainted.")


class RemoverRecord(BaseModel):
    """Content of `remover.json`: what a remover does and how it was trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    tasks: list[str] = Field(min_length=1, description="Tasks whose attributes the remover removes.")
    prompts: dict[str, str] = Field(description="Prompt of each task.")
    backbone: dict[str, Any] = Field(description="Frozen models, as described by `toolkit.backbones.identity`.")
    resolution: int = Field(ge=16, le=2048, multiple_of=8, description="Side of the training images in pixels.")
    region: tuple[int, int] | None = Field(
        None,
        description="Width and height in pixels of the parts around the masks that it was trained on; null if it was "
        "trained on whole pictures.",
    )
    filled: Literal["none", "thin", "all"] | None = Field(
        None,
        description="Parts of the attribute that were filled from their surroundings in some of the training pictures: "
        "`none`, `thin` opaque ones such as rims, or `all`, as in the second pass of an edit. null in older records.",
    )
    lora_rank: int | None = Field(
        None,
        ge=1,
        description="Rank of the low-rank layers that the remover adds to the tile ControlNet; null if it is a whole "
        "ControlNet.",
    )
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(description="Target that the UNet predicts.")
    step: int = Field(ge=0, description="Training steps behind these weights.")
    held_out: dict[str, FiniteFloat | None] = Field(description="Metrics on held-out pairs, or null if not measured.")
    stopped: str = Field(description="Reason why training ended.")
    datasets: list[DatasetUse] = Field(min_length=1, description="Datasets used for training.")
    config: dict[str, Any] = Field(description="Settings of the training.")
    versions: dict[str, str] = Field(description="Versions of the toolkit and its libraries.")
    licence: str = Field(description="Licence of the backbone's weights, which training started from.")
    files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of each other file, by path. `write_remover` fills it in."
    )

    @model_validator(mode="after")
    def _consistent(self) -> RemoverRecord:
        if set(self.prompts) != set(self.tasks):
            raise ValueError(f"expected one prompt for each of {sorted(self.tasks)}, found {sorted(self.prompts)}")
        parts = self.backbone.get("parts")
        for name in COMPARED_PARTS:
            if not isinstance(parts, dict) or not isinstance(parts.get(name), dict):
                raise ValueError(f"backbone.parts must describe the {name}")
        if self.lora_rank is not None and not isinstance((parts or {}).get("controlnet_tile"), dict):
            raise ValueError("backbone.parts must describe the controlnet_tile, to which the low-rank layers belong")
        return self


def is_remover(folder: Path) -> bool:
    """Whether the folder holds a remover. A training folder does once training has ended."""
    return (folder / RECORD).is_file()


def problem_with_files(names: list[str]) -> str | None:
    """Describe the first problem with the paths in a record's `files`, or return None.

    Each must be a plain relative path to the card or into ``controlnet/`` or ``images/``. Pickles are refused. A
    ControlNet must be among the files.
    """
    for name in names:
        path = PurePosixPath(name)
        known = name == CARD or (len(path.parts) > 1 and path.parts[0] in (CONTROLNET, IMAGES))
        if not is_safe(name) or path.as_posix() != name or not known:
            return f"names {name!r}, which is no safe path in a remover"
        if path.suffix.lower() in PICKLES:
            return f"names {name}, a pickle, which could run code; only safetensors are loaded"
    if f"{CONTROLNET}/config.json" not in names or not any(_is_weights(name) for name in names):
        return f"names no {CONTROLNET}/config.json with safetensors beside it"
    return None


def _is_weights(name: str) -> bool:
    return name.startswith(f"{CONTROLNET}/") and name.endswith(".safetensors")
