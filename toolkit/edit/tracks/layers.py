"""Which of two faces is in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.edit.tracks.track import BLOCK, FaceTrack
from toolkit.faces.plausible import misfits

CLEARLY_MISSED = 0.1
"""Difference between two faces' shares of missed frames from which the one that was missed is the hidden one."""

CLEARLY_BENT = 1.2
"""Ratio of the misfits of two faces from which the worse one is the hidden one, whose landmarks are guesses."""


@dataclass(frozen=True)
class Touch:
    """A stretch of frames in which the boxes of two faces overlap.

    Attributes:
        start, stop: first frame in the video, and the one after the last.
        first: whether the first of the two faces is in front.
    """

    start: int
    stop: int
    first: bool


class Layers:
    """The order of depth of the faces of a video.

    A face that is missed in a frame is behind one that is found. Otherwise the order is decided once for each stretch
    in which two faces touch, so that it never flickers: in front is the face that was missed less often or that does
    not appear or vanish there; else the one whose landmarks look more like a face; else the larger one.
    """

    def __init__(self) -> None:
        self._touches: dict[tuple[int, int], list[Touch]] = {}

    def in_front(self, one: FaceTrack, other: FaceTrack, frame: int) -> bool:
        """Whether a face is in front of another one in a frame of the video that has both."""
        found = one.found[frame - one.start], other.found[frame - other.start]
        if found[0] != found[1]:
            return bool(found[0])
        if one.number > other.number:
            return not self.in_front(other, one, frame)
        pair = one.number, other.number
        if pair not in self._touches:
            self._touches[pair] = touches_of(one, other)
        return min(self._touches[pair], key=lambda touch: max(touch.start - frame, frame - touch.stop + 1, 0)).first

    def from_back(self, tracks: Sequence[FaceTrack], frame: int) -> list[FaceTrack]:
        """Faces that a frame of the video has, the hindmost first."""

        def covered(track: FaceTrack) -> int:
            return sum(self.in_front(other, track, frame) for other in tracks if other is not track)

        return sorted(tracks, key=covered, reverse=True)


def touches_of(one: FaceTrack, other: FaceTrack) -> list[Touch]:
    """The stretches in which two faces that share frames touch, in order; all shared frames if they never do."""
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    boxes = [track.boxes[start - track.start : stop - track.start] for track in (one, other)]
    low, high = np.maximum(*(b[:, :2] for b in boxes)), np.minimum(*(b[:, 2:] for b in boxes))
    touching = (low < high).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], touching, [0]]))) + start
    stretches = edges.reshape(-1, 2) if len(edges) else [(start, stop)]
    return [Touch(int(a), int(b), _first_in_front(one, other, int(a), int(b))) for a, b in stretches]


def _first_in_front(one: FaceTrack, other: FaceTrack, start: int, stop: int) -> bool:
    missed = [_missed(*pair, start, stop) for pair in ((one, other), (other, one))]
    if abs(missed[0] - missed[1]) > CLEARLY_MISSED:
        return missed[0] < missed[1]
    bent = [_misfit(track, start, stop) for track in (one, other)]
    if max(bent) > CLEARLY_BENT * min(bent):
        return bent[0] < bent[1]
    sizes = [_size(track, start, stop) for track in (one, other)]
    return sizes[0] >= sizes[1]


def _missed(track: FaceTrack, other: FaceTrack, start: int, stop: int) -> float:
    """Share of frames in which a face was missed; 1 is added where it appears or vanishes beside the other one."""
    appears = track.start == start > other.start
    vanishes = track.stop == stop < other.stop
    return float(1 - track.found[start - track.start : stop - track.start].mean() + appears + vanishes)


def _misfit(track: FaceTrack, start: int, stop: int) -> float:
    """Median misfit of the found landmarks in a stretch of the video; infinite if there are none."""
    rows = track.rows[start - track.start : stop - track.start]
    rows = rows[rows >= 0]
    if not len(rows):
        return np.inf
    landmarks = track.sightings.landmarks
    blocks = (rows[k : k + BLOCK] for k in range(0, len(rows), BLOCK))
    return float(np.median(np.concatenate([misfits(landmarks[block], track.topology.mean) for block in blocks])))


def _size(track: FaceTrack, start: int, stop: int) -> float:
    boxes = track.boxes[start - track.start : stop - track.start]
    return float((boxes[:, 2:] - boxes[:, :2]).prod(axis=1).mean())
