"""The report of an edit, built from its results, and the observer that follows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from toolkit.clock import StageTime
from toolkit.edit.config import EditConfig
from toolkit.edit.results import EditWarning, FaceReport, TrackResult
from toolkit.progress import Observer

Status = Literal["edited", "kept", "no attribute", "turned away", "no face"]
"""What happened to a frame or a video; the first one that applies."""

OF_THIS_MACHINE: Any = {
    "task": True,
    "remover": True,
    "backbone": True,
    "work_dir": True,
    "workers": True,
    "writing": {"c2pa_certificate", "c2pa_key"},
}
"""Settings that name locations on this machine, or say how it shares the work. The report identifies the locations'
content by digests instead."""


class FrameReport(BaseModel):
    """One frame of the video."""

    model_config = ConfigDict(extra="forbid")

    index: int
    time: float = Field(description="Presentation time in seconds.")
    status: Status = Field(description="`edited`, or the reason why the frame was not changed.")
    seconds: float = Field(description="Time that the frame took; work on many frames is divided evenly.")
    faces: list[FaceReport] = []


class StageReport(BaseModel):
    """One stage of the work on a video."""

    model_config = ConfigDict(extra="forbid")

    wall: float = Field(description="Seconds that it took, added over threads that worked side by side.")
    cpu: float = Field(description="Seconds of CPU time.")
    share: float = Field(description="Its part of the CPU time of all stages, 0..1.")


class EditReport(BaseModel):
    """A finished edit, as the JSON file beside the video describes it."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[2] = 2
    fingerprint: str = Field(description="SHA-256 of everything that decides the output: equal means equal output.")
    source: str
    source_sha256: str
    target: str
    outcome: Status = Field(description="`edited`, or the reason why the video was only copied.")
    config: dict[str, Any] = Field(description="The settings of the run, without those that are about the machine.")
    resolved: dict[str, Any] = Field(
        description="The same settings with nothing left open, the removers and the backbone with their digests, the "
        "device and the number format."
    )
    versions: dict[str, str] = Field(description="Versions of the libraries.")
    seconds: dict[str, float] = Field(description="Time of each part of the work.")
    fps: float | None = Field(
        None,
        description="Frames of the video for each second of the whole work; null if an interrupted run was resumed.",
    )
    stages: dict[str, StageReport] = Field({}, description="Where the time went, the longest stage first.")
    resumed: bool = Field(description="Whether an interrupted run was resumed, whose time is not included.")
    counts: dict[str, int] = Field(description="Frames by status, faces that were too small, cuts.")
    warnings: list[EditWarning]
    comparison: str | None = Field(None, description="Name of the comparison video.")
    signed: bool = Field(False, description="Whether the video has a signed manifest.")
    frames: list[FrameReport]


class EditObserver(Observer):
    """Follows an edit; the base class shows nothing."""

    def finished(self, report: EditReport, target: Path) -> None:
        """A video is complete.

        Args:
            report: what was done to it.
            target: the new video.
        """


def stage_reports(times: Mapping[str, StageTime]) -> dict[str, StageReport]:
    """The stages of a clock, the longest first."""
    total = sum(spent.cpu for spent in times.values())
    longest = sorted(times.items(), key=lambda item: -item[1].cpu)
    return {
        name: StageReport(
            wall=round(spent.wall, 3), cpu=round(spent.cpu, 3), share=round(spent.cpu / max(total, 1e-9), 4)
        )
        for name, spent in longest
    }


def frames_per_second(frames: int, seconds: Mapping[str, float], resumed: bool) -> float | None:
    """`EditReport.fps` from the number of frames and the time of each part of the work."""
    total = sum(seconds.values())
    return None if resumed or total <= 0 else round(frames / total, 3)


def saved_config(config: EditConfig) -> dict[str, Any]:
    """The settings as JSON values, without those that are about this machine."""
    return config.model_dump(mode="json", exclude=OF_THIS_MACHINE)


def frame_reports(
    times: np.ndarray,
    tracks: Sequence[tuple[int, TrackResult]],
    writing_seconds: Sequence[float],
    max_turn: float,
) -> list[FrameReport]:
    """The reports of all frames.

    Args:
        times: ``[T]`` seconds.
        tracks: first frame and result of each track, in the order of the tracks.
        writing_seconds: time that writing each frame took; empty if the video was copied.
        max_turn: degrees above which a head is not edited.
    """
    faces: dict[int, list[FaceReport]] = {}
    seconds = np.zeros(len(times))
    seconds[: len(writing_seconds)] = writing_seconds
    for start, result in tracks:
        seconds[start : start + len(result.faces)] += result.seconds / max(len(result.faces), 1)
        for k, face in enumerate(result.faces):
            faces.setdefault(start + k, []).append(face)
    return [
        FrameReport(
            index=index,
            time=round(float(when), 6),
            status=status_of(faces.get(index, []), max_turn),
            seconds=round(float(seconds[index]), 4),
            faces=faces.get(index, []),
        )
        for index, when in enumerate(times)
    ]


def status_of(faces: Sequence[FaceReport], max_turn: float) -> Status:
    """What happened to a frame with these faces."""
    if any(face.edited > 0 for face in faces):
        return "edited"
    if any(face.kept for face in faces):
        return "kept"
    if faces:
        return "no attribute" if any(face.turn <= max_turn for face in faces) else "turned away"
    return "no face"


def outcome_of(frames: Sequence[FrameReport]) -> Status:
    """What happened to a video with these frames."""
    found = {frame.status for frame in frames}
    statuses: tuple[Status, ...] = get_args(Status)
    return next((status for status in statuses if status in found), "no face")


def counts_of(frames: Sequence[FrameReport], small_faces: int, cuts: int) -> Mapping[str, int]:
    """Numbers of frames by status, of faces that were too small, and of cuts."""
    return {**Counter(frame.status for frame in frames), "small faces": small_faces, "cuts": cuts}
