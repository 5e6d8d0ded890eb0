"""Results of an edit for each face and each stretch of frames."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.video.notes import NoteKind, VideoNote

Kept = Literal["eyes hidden", "face paint"]
"""Why a face that shows the attribute was kept as it is."""


class FaceReport(BaseModel):
    """One face in one frame; shares are of the crop's pixels."""

    model_config = ConfigDict(extra="forbid")

    track: int = Field(description="Number of the face's track: one face in consecutive frames.")
    found: bool = Field(description="False if the face was missed in this frame and its position was interpolated.")
    confidence: float = Field(description="Confidence of the face analyser, 0..1.")
    box: list[float] = Field(description="x0 y0 x1 y1 in pixels of the video.")
    turn: float = Field(description="Degrees between head and camera, without those in `orientation`.")
    orientation: int = Field(
        0, description="Degrees, in steps of 90, by which the face leans to the picture's right: it was edited upright."
    )
    mask: float | None = Field(description="Share of the crop that the masks cover; null if no masks were needed.")
    kept: Kept | None = Field(description="Why the face was kept as it is; null if it was not.")
    edited: float = Field(description="Share of the crop that was pasted; soft edges count in part.")
    change: float = Field(description="Mean absolute change of the pasted pixels, 0..255.")
    tint_before: float | None = Field(
        description="How far the strongest colours where the attribute is are from the skin around it, in CIELAB "
        "without lightness; null if masks do not show the attribute itself, or too little is seen. Measured every "
        "0.15 s, and in each frame near a clear tint; between, the last value."
    )
    tint: float | None = Field(description="The same in the result.")
    flicker: float = Field(
        description="Change of the pasted pixels from frame to frame, relative to the original's; 1 is as steady."
    )
    landmark_shift: float | None = Field(
        description="Mean distance of the landmarks before and after, relative to the distance of the eyes; null if "
        "no face was found after the edit. Measured every 0.15 s, and in each frame near a conspicuous one; between, "
        "the last value."
    )
    eyes_edited: float | None = Field(
        description="Share of the eyes that was replaced; null if they are too small, or nothing was pasted."
    )
    eyes_hidden: bool = Field(description="Whether the attribute hides the eyes in the original.")
    eye_contrast_before: float | None = Field(
        description="Contrast within the clearer eye of the original, 0..1; null if the eyes are too small, or nothing "
        "was pasted."
    )
    eye_contrast: float | None = Field(description="Contrast within the clearer eye of the result, 0..1.")


class RemoverFindings(BaseModel):
    """What a remover's masks and output say about a track."""

    model_config = ConfigDict(extra="forbid")

    hidden: list[bool] = Field(description="For each frame, whether the attribute hides the eyes.")
    painted: bool = Field(False, description="Whether the remover takes face paint for the attribute.")
    kept: Kept | None = Field(None, description="Why the face was kept as it is; null if it was not.")


class EditWarning(BaseModel):
    """A stretch of frames that looks bad, or something about the whole video that the result does not keep."""

    model_config = ConfigDict(extra="forbid")

    kind: (
        Literal[
            "identity moved",
            "flicker",
            "eyes hidden",
            "eyes invented",
            "eyes lost",
            "face lost",
            "face paint",
            "tint left",
            "turned away",
        ]
        | NoteKind
    )
    track: int | None = Field(description="Number of the face's track; null if the whole video is concerned.")
    start: int = Field(description="First frame.")
    stop: int = Field(description="Frame after the last.")
    sentence: str


def warning_of(note: VideoNote, frames: int) -> EditWarning:
    """A note on a video as a warning of its edit.

    Args:
        note: from reading or writing the video.
        frames: number of frames, for notes on the whole video.
    """
    start = note.start or 0
    stop = frames if note.stop is None else note.stop
    return EditWarning(kind=note.kind, track=None, start=start, stop=stop, sentence=note.sentence)


class TrackResult(BaseModel):
    """A finished track: one entry in `faces` for each of its frames, and the warnings."""

    model_config = ConfigDict(extra="forbid")

    faces: list[FaceReport]
    warnings: list[EditWarning]
    seconds: float
