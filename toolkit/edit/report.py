"""What an edit tells while it runs, and what it says of each frame when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Status = Literal["edited", "no attribute", "turned away", "no face"]
"""What became of a frame or of a video; of several the first one counts."""


class EditObserver:
    """Follows an edit; the base class says nothing. A command line or a notebook overrides what it shows."""

    def video(self, source: Path, target: Path, number: int, count: int) -> None:
        """The edit of a video begins, the `number`-th of `count`."""

    def phase(self, name: str, total: int, unit: str) -> None:
        """A part of the work begins: so many units of it are to be done."""

    def advance(self, done: int) -> None:
        """So many units of the part are done."""

    def warning(self, sentence: str) -> None:
        """Something that the user should know."""

    def finished(self, report: EditReport, target: Path) -> None:
        """A video is done and lies at `target`."""

    def failed(self, source: Path, error: Exception) -> None:
        """A video of several could not be edited."""


class FaceReport(BaseModel):
    """One face in one frame.

    Attributes are described by the schema; shares are of the crop's pixels.
    """

    model_config = ConfigDict(extra="forbid")

    run: int = Field(description="which face, and in which stretch of frames")
    found: bool = Field(description="false: it was missed here, and its place interpolated")
    confidence: float = Field(description="the analyser's, 0..1")
    box: list[float] = Field(description="x0 y0 x1 y1 in pixels of the video")
    turn: float = Field(description="degrees by which the head is turned or tilted from the camera")
    mask: float | None = Field(description="share of the crop that the masks cover; null: no masks were needed")
    edited: float = Field(description="share of the crop that was pasted, soft edges in part")
    change: float = Field(description="mean absolute change there, 0..255")
    flicker: float = Field(description="change from frame to frame there over the original's; 1: as steady as it was")
    landmark_shift: float | None = Field(
        description="mean distance of the landmarks before and after, over that of the eyes; null: not found after"
    )
    eyes_edited: float | None = Field(description="share of the eyes that was made anew; null: too small to say")
    eye_contrast: float | None = Field(description="contrast within the clearer eye of the result, 0..1")


class FrameReport(BaseModel):
    """One frame of the video."""

    model_config = ConfigDict(extra="forbid")

    index: int
    time: float = Field(description="presentation time in seconds")
    status: Status = Field(description="only edited frames were changed; see `EditReport.outcome` for the others")
    seconds: float = Field(description="that its editing took, its share of what was done for many at once")
    faces: list[FaceReport] = []


class Warned(BaseModel):
    """A stretch of frames that looks bad."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["identity moved", "flicker", "eyes hidden", "face lost", "turned away"]
    run: int
    start: int = Field(description="first frame")
    stop: int = Field(description="frame after the last")
    sentence: str


class EditReport(BaseModel):
    """A finished edit: what the JSON beside the video holds."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    fingerprint: str = Field(description="sha256 over all that decides the output: the same one means the same output")
    source: str
    source_sha256: str
    target: str
    outcome: Status = Field(
        description="edited, or else why the video was only copied: no attribute, all faces turned away, or no face"
    )
    removers: list[dict[str, Any]] = Field(description="name, tasks and checksum of each remover")
    backbone: dict[str, Any] = Field(description="what `toolkit.backbones.identity` says of it")
    config: dict[str, Any]
    motion_layers_left_out: list[str]
    versions: dict[str, str]
    seconds: dict[str, float] = Field(description="of each part of the work")
    resumed: bool = Field(description="whether a run that was stopped was gone on with; its seconds are not known")
    counts: dict[str, int] = Field(description="frames by status, faces that were too small, cuts")
    warnings: list[Warned]
    comparison: str | None = None
    signed: bool = False
    frames: list[FrameReport]
