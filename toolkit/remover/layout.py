"""Names of the files of a remover, and the records of `remover.json`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from toolkit.dataset.layout import is_safe

SCHEMA_VERSION = 1
"""Version of the layout; written into `remover.json`."""

CONTROLNET, RECORD, CARD, IMAGES = "controlnet", "remover.json", "README.md", "images"
GRID, CURVE = "grid.jpg", "curve.png"
"""Pictures in `IMAGES`: held-out pairs (input, output, target), and the curve that shows why training ended."""

WRITING, WRITTEN = ".remover-writing", ".remover-written"
"""Folders of a remover that is being written, and of one that is whole and on its way into its place."""

COMPARED_PARTS = ("unet", "vae", "text_encoder")
"""Parts of the backbone that a remover depends on."""

PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
"""Endings of files that are pickles, which could run code when they are loaded."""


class DatasetUse(BaseModel):
    """One dataset that a remover was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="name of its folder")
    task: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of its manifest.json, which has the shards' checksums")
    pairs: int = Field(ge=0, description="pairs that it was trained on")
    clips: int = Field(ge=0, description="clips that these come from")
    perfect: bool = Field(description="whether its pictures without the attribute are true; else they were inpainted")


class RemoverRecord(BaseModel):
    """What a remover is and where it comes from: `remover.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    tasks: list[str] = Field(min_length=1, description="attributes that it removes")
    prompts: dict[str, str] = Field(description="the prompt of each task")
    backbone: dict[str, Any] = Field(description="what `toolkit.backbones.identity` says of the frozen models")
    resolution: int = Field(
        ge=16, le=2048, multiple_of=8, description="side in px of the pictures that it was trained on"
    )
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(description="what the UNet predicts")
    step: int = Field(ge=0, description="training steps behind these weights")
    held_out: dict[str, FiniteFloat | None] = Field(description="metrics on held-out pairs; None: not measured")
    stopped: str = Field(description="why training ended")
    datasets: list[DatasetUse] = Field(min_length=1)
    config: dict[str, Any] = Field(description="settings of the training")
    versions: dict[str, str] = Field(description="versions of the toolkit and of the libraries below it")
    licence: str = Field(description="licence of the backbone's weights, from which it was trained")
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of each file besides this one, by its path; filled by `write_remover`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> RemoverRecord:
        if set(self.prompts) != set(self.tasks):
            raise ValueError(f"there must be a prompt for each of {sorted(self.tasks)}, found {sorted(self.prompts)}")
        parts = self.backbone.get("parts")
        for name in COMPARED_PARTS:
            if not isinstance(parts, dict) or not isinstance(parts.get(name), dict):
                raise ValueError(f"backbone.parts must describe the {name}")
        return self


def is_remover(folder: Path) -> bool:
    """Whether the folder has a remover in it; a training's folder has one once it has ended."""
    return (folder / RECORD).is_file()


def problem_with_files(names: list[str]) -> str | None:
    """What is wrong with the paths of a record's `files`, in words; None if nothing is.

    They must be plain relative paths to the card or into ``controlnet/`` and ``images/``, no pickles among them, and
    enough for a ControlNet.
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
