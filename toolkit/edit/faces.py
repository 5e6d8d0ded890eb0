"""The first pass over a video: where are which faces, and where does a shot begin."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from toolkit.edit.config import RegionConfig
from toolkit.faces.types import Face, FaceAnalyser

SIDE = 1920
"""Larger frames are shrunk to this side to look for faces."""

_ARRAYS, _LANDMARKS = "faces.npz", "landmarks"


@dataclass(frozen=True, eq=False)
class Sightings:
    """All faces of a video.

    Attributes:
        times: float64 ``[T]`` seconds, of all frames.
        cuts: int64 ``[K]``, first frames of new shots.
        size: height and width of a frame in pixels.
        frames: int64 ``[M]``, the frame of each sighting, in order.
        tracks: int64 ``[M]``, which face it is.
        boxes: float32 ``[M, 4]``, in pixels of the video.
        scores: float32 ``[M]``, in 0..1.
        small: faces that were left out because they are too small.
        landmarks: float32 ``[M, N, 3]`` in pixels of the video, on disk.
    """

    times: np.ndarray
    cuts: np.ndarray
    size: tuple[int, int]
    frames: np.ndarray
    tracks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    small: int
    landmarks: np.ndarray


def find_faces(
    path: Path,
    analyser: FaceAnalyser,
    config: RegionConfig,
    folder: Path,
    seconds: float | None = None,
    watch: Callable[[int], None] = lambda count: None,
) -> Sightings:
    """Decode a video once and follow its faces; what is found is kept in `folder` and read from there next time.

    Args:
        seconds: only the first ones, for a preview.
        watch: is told how many frames were looked at.

    Raises:
        InputError: the video cannot be decoded.
    """
    from toolkit.faces.tracking import FaceTracker
    from toolkit.video import SceneCutDetector, probe, read_frames

    if (folder / _ARRAYS).is_file():
        return _load(folder, analyser.topology.count)
    info = probe(path)
    detector, tracker = SceneCutDetector(), FaceTracker(max_gap=round(config.max_gap * info.fps))
    analyser.reset()
    times, cuts, rows, small = [], [], [], 0
    with open(folder / _LANDMARKS, "wb") as file:
        for frame in read_frames(path, max_side=SIDE):
            if seconds is not None and times and frame.time - times[0] >= seconds:
                break
            times.append(frame.time)
            if detector.update(frame.image):
                cuts.append(frame.index)
                analyser.reset()
                tracker.reset()
            scale = np.float32(info.width / frame.image.shape[1])
            faces = analyser.analyse(frame.image)
            usable = [face for face in faces if _side(face) * scale >= config.min_face]
            small += len(faces) - len(usable)
            for track, face in sorted(tracker.update(frame.index, usable), key=lambda item: item[0]):
                rows.append((frame.index, track, face.box * scale, face.score))
                file.write((face.landmarks * scale).astype(np.float32).tobytes())
            watch(len(times))
    arrays = {
        "times": np.array(times, np.float64),
        "cuts": np.array(cuts, np.int64),
        "size": np.array([info.height, info.width], np.int64),
        "frames": np.array([row[0] for row in rows], np.int64),
        "tracks": np.array([row[1] for row in rows], np.int64),
        "boxes": np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        "scores": np.array([row[3] for row in rows], np.float32),
        "small": np.array(small, np.int64),
    }
    np.savez(folder / f"part-{_ARRAYS}", **arrays)
    os.replace(folder / f"part-{_ARRAYS}", folder / _ARRAYS)
    return _load(folder, analyser.topology.count)


def _load(folder: Path, points: int) -> Sightings:
    with np.load(folder / _ARRAYS) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    size, small = tuple(int(side) for side in values.pop("size")), int(values.pop("small"))
    shape = len(values["frames"]), points, 3
    landmarks = np.memmap(folder / _LANDMARKS, np.float32, "r", shape=shape) if shape[0] else np.empty(shape, "f4")
    return Sightings(size=size, small=small, landmarks=landmarks, **values)


def _side(face: Face) -> float:
    return float(min(face.box[2] - face.box[0], face.box[3] - face.box[1]))


@dataclass(frozen=True, eq=False)
class FaceRun:
    """One face in consecutive frames of one shot.

    Attributes:
        number: of the run in its video.
        start, stop: first frame, and the one after the last.
        found: bool ``[T]``; elsewhere the face was missed, and box and landmarks are interpolated.
        boxes: float64 ``[T, 4]`` in pixels of the video.
        scores: float32 ``[T]``; 0 where the face was missed.
        rows: int64 ``[T]``: which sighting it is; -1 where the face was missed.
    """

    number: int
    start: int
    stop: int
    found: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return self.stop - self.start

    def landmarks(self, sightings: Sightings, start: int, stop: int) -> np.ndarray:
        """float32 ``[K, N, 3]`` of the run's own frames `start` to `stop`; missed ones lie between their neighbours."""
        known = np.flatnonzero(self.found)
        result = np.empty((stop - start, *sightings.landmarks.shape[1:]), np.float32)
        for k in range(start, stop):
            after = known[np.searchsorted(known, k)]  # the first and last frame of a run are always found
            before = known[np.searchsorted(known, k, "right") - 1]
            share = 0.0 if after == before else (k - before) / (after - before)
            one, other = sightings.landmarks[self.rows[before]], sightings.landmarks[self.rows[after]]
            result[k - start] = one + np.float32(share) * (other - one)
        return result


def runs_of(sightings: Sightings) -> list[FaceRun]:
    """The runs of a video, in the order of their first frames."""
    runs: list[FaceRun] = []
    for track in np.unique(sightings.tracks):
        rows = np.flatnonzero(sightings.tracks == track)
        frames = sightings.frames[rows]
        length = int(frames[-1] - frames[0]) + 1
        place = frames - frames[0]
        found, scores, index = np.zeros(length, bool), np.zeros(length, np.float32), np.full(length, -1, np.int64)
        found[place], scores[place], index[place] = True, sightings.scores[rows], rows
        every = np.arange(length)
        boxes = np.stack([np.interp(every, place, side) for side in sightings.boxes[rows].T], axis=1)
        runs.append(FaceRun(0, int(frames[0]), int(frames[-1]) + 1, found, boxes, scores, index))
    runs.sort(key=lambda run: (run.start, run.stop, run.boxes[0, 0]))
    return [replace(run, number=number) for number, run in enumerate(runs)]


def groups_of(runs: list[FaceRun]) -> list[list[FaceRun]]:
    """Runs that share frames, together; in the order of the video, so that one pass meets them one after the other."""
    groups: list[list[FaceRun]] = []
    end = -1
    for run in runs:
        if run.start < end:
            groups[-1].append(run)
        else:
            groups.append([run])
        end = max(end, run.stop)
    return groups
