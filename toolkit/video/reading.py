"""Settings of reading videos, for every command that reads some."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ReadingConfig(BaseModel):
    """How videos are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strict: bool = Field(
        False,
        description="Refuse damaged or cut-off videos. Without it, what can be decoded is used, and a warning names "
        "the frames.",
    )
