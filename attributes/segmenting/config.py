"""Declare the settings that the training of every segmenter has, which also define its command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from toolkit.validation import validated


class TrainConfig(BaseModel):
    """Settings of a segmenter's training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portraits: Path = Field(description="Folder with portraits of people without the attribute (.jpg, .png).")
    output: Path = Field(description="Weights file to write, .safetensors.")
    work: Path = Field(description="Folder for samples and checkpoints. Interrupted runs resume from it.")
    manifest: Path | None = Field(None, description="CSV that lists portraits in the column 'file'.")
    only: str | None = Field(None, description="Use only rows of the manifest with this text in the column 'use'.")
    samples: int = Field(12_000, ge=16, description="Number of synthetic regions to train on.")
    held_out: int = Field(480, ge=8, description="Synthetic regions of other people; they select the best weights.")
    held_out_people: float = Field(0.12, gt=0, lt=1, description="Share of people held out for that.")
    photos: float = Field(0.35, ge=0, le=1, description="Share of samples that show a portrait as it is.")
    init: Path | None = Field(None, description="Weights file to start from. If unset, random weights.")
    scene_size: int = Field(320, ge=96, le=1024, description="Side of the rendered pictures, in pixels.")
    steps: int = Field(4_000, ge=1, description="Number of optimiser steps.")
    batch_size: int = Field(32, ge=2, description="Regions per step.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest learning rate of AdamW, in one cycle.")
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay of AdamW.")
    average: float = Field(0.995, ge=0, lt=1, description="Decay of the moving average of the weights, which is saved.")
    evaluate_every: int = Field(250, ge=1, description="Steps between checkpoints and evaluations.")
    bfloat16: bool = Field(
        False, description="Multiply in bfloat16, which is faster on processors that have instructions for it."
    )
    threads: int = Field(3, ge=1, description="Threads of torch, and processes that render samples.")
    seed: int = Field(0, description="Seed of people, attributes, initial weights and order.")


ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def read_config(kind: type[ConfigT], module: str, description: str | None, words: list[str] | None = None) -> ConfigT:
    """Parse a command line. Every field of the settings is an option.

    Args:
        kind: class of the settings.
        module: name of the module that is run.
        description: what it does.
        words: the command line; if None, the process's own.

    Raises:
        UsageError: a value is wrong.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    for name, info in kind.model_fields.items():
        default = "" if info.is_required() or info.default is None else f" ({info.default})"
        needed = info.is_required() and name != "work"
        parser.add_argument(f"--{name.replace('_', '-')}", required=needed, help=f"{info.description}{default}")
    settings = {name: value for name, value in vars(parser.parse_args(words)).items() if value is not None}
    settings.setdefault("work", str(Path(settings["output"]).with_suffix(".work")))
    return validated(kind, settings, lambda name: f"--{name.replace('_', '-')}")
