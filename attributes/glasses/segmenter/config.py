"""Declare the settings of the segmenter's training, which also define its command line."""

from __future__ import annotations

from pydantic import Field

from attributes.segmenting import config


class TrainConfig(config.TrainConfig):
    """Settings of the segmenter's training."""

    worn: float = Field(0.7, ge=0, le=1, description="Share of samples with glasses.")
    sunglasses: float = Field(0.14, ge=0, le=1, description="Share of the glasses with dark lenses.")
    thin: float = Field(0.3, ge=0, le=1, description="Share of the glasses whose rims are chosen to be hard to see.")
    scene_size: int = Field(448, ge=96, le=1024, description="Side of the rendered pictures, in pixels.")
