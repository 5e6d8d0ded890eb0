"""Notes on a video: what a reader or a writer noticed and went on from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoteKind = Literal[
    "late start",
    "damaged frames",
    "damaged sound",
    "cut off",
    "times repaired",
    "stream dropped",
    "stream converted",
    "stream ignored",
]

OF_SOURCE: frozenset[NoteKind] = frozenset({"late start", "damaged frames", "cut off"})
"""Kinds that describe the source, so that they also hold for a plain copy of it."""


@dataclass(frozen=True)
class VideoNote:
    """Something in a video that differs from what a user may expect of the result.

    Attributes:
        kind: what it is about.
        sentence: names the time, the frames or the track, and what was done.
        start, stop: first frame and the frame after the last; None if the note concerns the whole video.
    """

    kind: NoteKind
    sentence: str
    start: int | None = None
    stop: int | None = None
