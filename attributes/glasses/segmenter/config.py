"""Declare the settings of the segmenter's training, which also define its command line."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class TrainConfig(BaseModel):
    """Settings of the segmenter's training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portraits: Path = Field(description="Folder with portraits of people without glasses (.jpg, .png).")
    output: Path = Field(description="Weights file to write, .safetensors.")
    work: Path = Field(description="Folder for samples and checkpoints. Interrupted runs resume from it.")
    manifest: Path | None = Field(None, description="CSV that lists portraits in the column 'file'.")
    only: str | None = Field(None, description="Use only rows of the manifest with this text in the column 'use'.")
    samples: int = Field(12_000, ge=16, description="Number of synthetic regions to train on.")
    held_out: int = Field(480, ge=8, description="Synthetic regions of other people; they select the best weights.")
    held_out_people: float = Field(0.12, gt=0, lt=1, description="Share of people held out for that.")
    worn: float = Field(0.7, ge=0, le=1, description="Share of samples with glasses.")
    sunglasses: float = Field(0.14, ge=0, le=1, description="Share of the glasses with dark lenses.")
    scene_size: int = Field(320, ge=96, le=1024, description="Side of the rendered pictures, in pixels.")
    steps: int = Field(4_000, ge=1, description="Number of optimiser steps.")
    batch_size: int = Field(32, ge=2, description="Regions per step.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest learning rate of AdamW, in one cycle.")
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay of AdamW.")
    average: float = Field(0.995, ge=0, lt=1, description="Decay of the moving average of the weights, which is saved.")
    evaluate_every: int = Field(250, ge=1, description="Steps between checkpoints and evaluations.")
    threads: int = Field(3, ge=1, description="Threads of torch, and processes that render samples.")
    seed: int = Field(0, description="Seed of people, glasses, initial weights and order.")
