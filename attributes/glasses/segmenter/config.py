"""Settings of the segmenter's training, declared once: the command line is made from them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class TrainConfig(BaseModel):
    """How the segmenter is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portraits: Path = Field(description="folder with portraits of people without glasses (.jpg, .png)")
    output: Path = Field(description="weights file to write, .safetensors")
    work: Path = Field(description="folder for samples and checkpoints; a killed run goes on from it")
    manifest: Path | None = Field(None, description="CSV that lists portraits in a column 'file'")
    only: str | None = Field(None, description="take only rows of the manifest with this text in the column 'use'")
    samples: int = Field(12_000, ge=16, description="made regions to train on")
    held_out: int = Field(480, ge=8, description="made regions of other people, which choose the best weights")
    held_out_people: float = Field(0.12, gt=0, lt=1, description="share of portraits that only those are made of")
    worn: float = Field(0.7, ge=0, le=1, description="share of samples with glasses")
    sunglasses: float = Field(0.14, ge=0, le=1, description="share of the glasses whose lenses are dark")
    scene_size: int = Field(320, ge=96, le=1024, description="px; side of the pictures that glasses are drawn into")
    steps: int = Field(4_000, ge=1, description="optimiser steps")
    batch_size: int = Field(32, ge=2, description="regions per step")
    learning_rate: float = Field(2e-3, gt=0, description="highest learning rate of AdamW, one cycle")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    average: float = Field(0.995, ge=0, lt=1, description="decay of the running mean of the weights, which is kept")
    evaluate_every: int = Field(250, ge=1, description="steps between checkpoints and measurements")
    threads: int = Field(3, ge=1, description="threads of torch, and processes that make samples")
    seed: int = Field(0, description="seed of people, glasses, initial weights and order")
