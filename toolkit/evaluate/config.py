"""Settings of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from toolkit.faces.config import FaceConfig
from toolkit.video.reading import ReadingConfig


def named_paths(values: Sequence[str]) -> dict[str, Path]:
    """Parse arguments such as ``ours=edited/`` into name -> path, in order.

    Raises:
        ValueError: an argument is not NAME=PATH, or a name occurs twice.
    """
    found: dict[str, Path] = {}
    for value in values:
        name, _, path = value.partition("=")
        if not name.strip() or not path:
            raise ValueError(f"must be NAME=PATH, such as ours=edited/, found {value!r}")
        if not name.strip().isprintable():
            raise ValueError(f"must have a name without control characters, found {name!r}")
        if name.strip() in found:
            raise ValueError(f"must name every method once, found {name.strip()} twice")
        found[name.strip()] = Path(path)
    return found


class MeasuringConfig(BaseModel):
    """How videos are measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Path | None = Field(
        None, description="Video that never had the attribute, to compare with, or a folder of such videos."
    )
    mask: Literal["task", "difference"] = Field(
        "difference",
        description="With a target, the region that counts as inside: where target and original differ, or the task's "
        "mask.",
    )
    flow: Literal["auto", "raft", "dis"] = Field(
        "auto",
        description="Optical flow for the warp error; `auto` uses RAFT if its weights are installed, otherwise DIS.",
    )
    flow_weights: Path | None = Field(
        None, description="RAFT weights. If unset, those that `toolkit fetch raft` downloaded."
    )
    identity: bool = Field(True, description="Measure identity if an ArcFace model is installed.")
    arcface: Path | None = Field(None, description="ArcFace model (.onnx). If unset, one from the insightface cache.")
    faces: FaceConfig = Field(FaceConfig(), description="How faces are found.")
    reading: ReadingConfig = Field(ReadingConfig(), description="How videos are read.")
    device: str | None = Field(
        None, description="Torch device for optical flow and facer, such as `cuda`. If unset, the best available."
    )
    clip_length: int = Field(16, ge=1, le=256, description="Number of frames to hold in memory at a time.")
    clips: bool = Field(True, description="Add small copies of the videos to the report for playback.")
    workers: int | None = Field(
        None, ge=1, le=256, description="Worker processes. If unset, one per CPU core, or one if a GPU is used."
    )


class EvaluateConfig(MeasuringConfig):
    """Settings of `toolkit evaluate`."""

    original: Path = Field(description="Original video, or a folder of videos.")
    edited: list[str] = Field(
        min_length=1,
        description="NAME=PATH of a method's edited video, or a folder with the same file names as the originals; "
        "repeatable.",
    )
    task: str = Field(
        description="Task whose attribute was removed; `toolkit tasks list` shows all. It defines the fidelity measure."
    )
    options: dict[str, Any] = Field(default={}, description="Options of the task, as JSON.")
    output: Path = Field(description="Folder for the report.")
    allow_failures: bool = Field(False, description="Exit with 0 even if a video could not be measured.")

    @field_validator("edited")
    @classmethod
    def _named(cls, values: list[str]) -> list[str]:
        named_paths(values)
        return values

    @property
    def methods(self) -> dict[str, Path]:
        """Method -> path, in the order of the arguments."""
        return named_paths(self.edited)
