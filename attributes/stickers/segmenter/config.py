"""Declare the settings of the segmenter's training, which also define its command line."""

from __future__ import annotations

from pydantic import Field

from attributes.segmenting import config


class TrainConfig(config.TrainConfig):
    """Settings of the segmenter's training."""

    stuck: float = Field(0.7, ge=0, le=1, description="Share of samples with stickers.")
