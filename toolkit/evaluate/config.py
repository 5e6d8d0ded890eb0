"""What an evaluation can be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


def named_paths(values: Sequence[str]) -> dict[str, Path]:
    """Name -> path, in order, of words such as ``ours=edited/``.

    Raises:
        ValueError: a word is none, or a name is there twice.
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
        None, description="the true video without the attribute, or the folder of them, where there is one"
    )
    mask: Literal["task", "difference"] = Field(
        "difference",
        description="with a target, what is inside: where target and original differ, or the task's mask",
    )
    flow: Literal["auto", "raft", "dis"] = Field(
        "auto", description="optical flow of the warp error; auto: RAFT if its weights are here, else DIS"
    )
    flow_weights: Path | None = Field(None, description="RAFT's weights, see `toolkit fetch raft`")
    identity: bool = Field(True, description="measure identity, if an embedder is here")
    arcface: Path | None = Field(None, description="an ArcFace model (.onnx); without it the insightface cache")
    analyser: str = Field("mediapipe", description="face analyser, see `toolkit doctor`")
    model_file: Path | None = Field(None, description="mediapipe: a face_landmarker.task file")
    device: str | None = Field(None, description="torch device of the flow, such as cuda; the best one without it")
    clip_length: int = Field(16, ge=1, le=256, description="frames that are held at a time")
    clips: bool = Field(True, description="put small copies of the videos into the report, for its players")
    workers: int | None = Field(None, ge=1, le=256, description="processes; without it one per core, one beside a GPU")


class EvaluateConfig(MeasuringConfig):
    """Settings of `toolkit evaluate`."""

    original: Path = Field(description="the original video, or the folder of them")
    edited: list[str] = Field(
        min_length=1, description="NAME=PATH: a method's edited video, or the folder with the same names; several"
    )
    task: str = Field(description="the attribute that was removed, see `toolkit tasks list`; it brings its fidelity")
    options: dict[str, Any] = Field(default={}, description="options of the task, as JSON")
    output: Path = Field(description="folder of the report")
    allow_failures: bool = Field(False, description="exit with 0 although a video could not be measured")

    @field_validator("edited")
    @classmethod
    def _named(cls, values: list[str]) -> list[str]:
        named_paths(values)
        return values

    @property
    def methods(self) -> dict[str, Path]:
        """Method -> path, in the order in which they were given."""
        return named_paths(self.edited)
