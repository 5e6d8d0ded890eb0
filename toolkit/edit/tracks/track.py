"""One face in consecutive frames of one shot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from toolkit.edit.tracks.sightings import Sightings
from toolkit.edit.tracks.squares import Squares, follow, scale_of
from toolkit.faces.topology import Topology
from toolkit.faces.turning import apart, rolls

BLOCK = 32
"""Frames whose landmarks are in memory at a time."""

MAX_LEAN, LEANING = 60.0, 3
"""Degrees by which a face leans to the side, and number of such frames, from which its crops are turned by quarters."""

_SMOOTHING_REACH = 10
"""Frames that the smoothing of landmarks looks at on either side."""


@dataclass(frozen=True)
class SourceVideo:
    """The video to be edited.

    Attributes:
        path: the file.
        digest: its SHA-256.
    """

    path: Path
    digest: str


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face in consecutive frames of one shot, with everything that is known of it before the edit.

    Attributes:
        number: of the track in its video.
        start, stop: first frame in the video, and the one after the last.
        times: float64 ``[T]`` seconds.
        found: bool ``[T]``; false if the face was missed, so that box and landmarks are interpolated.
        boxes: float64 ``[T, 4]`` in pixels of the video.
        scores: float32 ``[T]``; 0 if the face was missed.
        squares: the square that is cut out of each frame.
        side: side of the crops in pixels.
        topology: of the landmarks.
        source: the video.
        sightings: all faces of the video.
        rows: int64 ``[T]``, index of the sighting; -1 if the face was missed.
    """

    number: int
    start: int
    stop: int
    times: np.ndarray
    found: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    squares: Squares
    side: int
    topology: Topology
    source: SourceVideo
    sightings: Sightings
    rows: np.ndarray

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """Name that is unique in the video, for folders."""
        return f"track-{self.number}"

    @property
    def seed_name(self) -> str:
        """Name from which random numbers are drawn. Another text would give every edit other pictures."""
        return f"run-{self.number}"

    def to_crop(self, index: int) -> np.ndarray:
        """float64 ``[2, 3]``: from pixels of the video to pixels of the crop, in the track's frame `index`."""
        return self.squares.to_crop(index, self.side)

    def landmarks(self, start: int, stop: int) -> np.ndarray:
        """float32 ``[K, N, 3]``: smoothed landmarks in pixels of the crops, of the track's frames `start` to `stop`."""
        from toolkit.faces.smoothing import smooth_landmarks

        low, high = max(0, start - _SMOOTHING_REACH), min(len(self), stop + _SMOOTHING_REACH)
        points = smooth_landmarks(self.sighted_landmarks(low, high), self.times[low:high])
        return landmarks_in_crops(points[start - low : stop - low], self.squares, start, self.side)

    def sighted_landmarks(self, start: int, stop: int) -> np.ndarray:
        """float32 ``[K, N, 3]`` in pixels of the video; missed frames are interpolated between their neighbours."""
        known = np.flatnonzero(self.found)
        result = np.empty((stop - start, *self.sightings.landmarks.shape[1:]), np.float32)
        for k in range(start, stop):
            after = known[np.searchsorted(known, k)]  # the first and last frame of a track are always found
            before = known[np.searchsorted(known, k, "right") - 1]
            share = 0.0 if after == before else (k - before) / (after - before)
            one, other = (self.sightings.landmarks[self.rows[index]] for index in (before, after))
            result[k - start] = one + np.float32(share) * (other - one)
        return result

    @cached_property
    def turns(self) -> np.ndarray:
        """``[T]`` degrees by which the head is turned or tilted from the camera."""
        from toolkit.faces.turning import turns

        blocks = ((start, min(start + BLOCK, len(self))) for start in range(0, len(self), BLOCK))
        return np.concatenate([turns(self.landmarks(*block), self.topology.mean) for block in blocks])


def tracks_of(
    sightings: Sightings, source: SourceVideo, crop_scale: float, side: int, topology: Topology
) -> list[FaceTrack]:
    """The tracks of a video, in the order of their first frames.

    Args:
        sightings: its faces.
        source: the video.
        crop_scale: side of the crop relative to the face's box.
        side: side of the crops in pixels.
        topology: of the landmarks.
    """
    tracks: list[FaceTrack] = []
    for sighted, quarters in _upright_parts(sightings, topology):
        frames = sightings.frames[sighted]
        start, stop = int(frames[0]), int(frames[-1]) + 1
        every, indices = np.arange(stop - start), frames - frames[0]
        found, scores = np.zeros(stop - start, bool), np.zeros(stop - start, np.float32)
        rows = np.full(stop - start, -1, np.int64)
        found[indices], scores[indices], rows[indices] = True, sightings.scores[sighted], sighted
        boxes = np.stack([np.interp(every, indices, edge) for edge in sightings.boxes[sighted].T], axis=1)
        times = sightings.times[start:stop]
        squares = replace(follow(boxes, times, crop_scale), quarters=quarters)
        tracks.append(
            FaceTrack(
                number=0,
                start=start,
                stop=stop,
                times=times,
                found=found,
                boxes=boxes,
                scores=scores,
                squares=squares,
                side=side,
                topology=topology,
                source=source,
                sightings=sightings,
                rows=rows,
            )
        )
    tracks.sort(key=lambda track: (track.start, track.stop, track.boxes[0, 0]))
    return [replace(track, number=number) for number, track in enumerate(tracks)]


def _upright_parts(sightings: Sightings, topology: Topology) -> Iterator[tuple[np.ndarray, int]]:
    """The sightings of each face, divided where it rolls so far that another way to turn it makes it upright.

    Yields:
        int64 ``[K]``, indices of the sightings, and the quarters by which crops are turned.
    """
    for number in np.unique(sightings.tracks):
        sighted = np.flatnonzero(sightings.tracks == number)
        blocks = (sightings.landmarks[sighted[k : k + BLOCK]] for k in range(0, len(sighted), BLOCK))
        quarters = quarters_of(np.concatenate([rolls(block, topology.mean) for block in blocks]))
        for part in np.split(np.arange(len(sighted)), np.flatnonzero(np.diff(quarters)) + 1):
            yield sighted[part], int(quarters[part[0]])


def quarters_of(angles: np.ndarray) -> np.ndarray:
    """By how many quarters to turn a face's crops, int ``[T]`` in 0..3; an upright face is not turned.

    The turn changes only where the face leans to the side by more than `MAX_LEAN` for some frames.

    Args:
        angles: ``[T]`` degrees by which the face leans, as from `rolls`.
    """
    quarters = np.zeros(len(angles), int)
    start = 0
    for k, angle in enumerate(angles):
        quarters[k] = quarters[k - 1] if k else 0
        if apart(angle, 90.0 * quarters[k]) <= MAX_LEAN:
            start = k + 1
        elif k + 1 - start >= min(LEANING, len(angles)):
            quarters[start : k + 1] = round(angle / 90) % 4
            start = k + 1
    return quarters


def groups_of(tracks: list[FaceTrack]) -> Iterator[list[FaceTrack]]:
    """Tracks that share frames, together, in the order of the video: one pass over it meets the groups in turn."""
    group: list[FaceTrack] = []
    end = -1
    for track in tracks:
        if group and track.start >= end:
            yield group
            group = []
        group.append(track)
        end = max(end, track.stop)
    if group:
        yield group


def landmarks_in_crops(landmarks: np.ndarray, squares: Squares, start: int, side: int) -> np.ndarray:
    """Landmarks in pixels of the crops.

    Args:
        landmarks: float32 ``[K, N, 3]`` in pixels of the video.
        squares: of the track.
        start: the track's frame that the landmarks start with.
        side: of the crops in pixels.

    Returns:
        float32 ``[K, N, 3]``.
    """
    result = np.empty_like(landmarks)
    for k, points in enumerate(landmarks):
        matrix = squares.to_crop(start + k, side)
        scale = np.float64(scale_of(matrix))
        turn = np.rint(matrix[:, :2] / scale).astype(np.float32)
        # Landmarks count from the corner of the first pixel, squares from its centre.
        result[k, :, :2] = (points[:, :2] - 0.5) @ turn.T * scale + matrix[:, 2] + 0.5
        result[k, :, 2] = points[:, 2] * scale
    return result
