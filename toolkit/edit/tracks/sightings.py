"""The first pass over a video: which faces are where, and where shots start."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass, field
from pathlib import Path

import numpy as np

from toolkit.edit.config import CropConfig
from toolkit.edit.tracks.entering import FRAMES, SAME_IOU, at_border, earlier_faces
from toolkit.faces.plausible import iou
from toolkit.faces.types import Face, FaceAnalyser
from toolkit.files import atomic, sync
from toolkit.prefetching import prefetched
from toolkit.video.notes import VideoNote
from toolkit.video.types import Frame

MAX_SIDE = 1920
"""Larger frames are shrunk to this side before faces are searched for."""

_ARRAYS, _LANDMARKS = "faces.npz", "landmarks"


@dataclass(frozen=True, eq=False)
class Sightings:
    """All faces of a video, frame by frame.

    Attributes:
        times: float64 ``[T]`` seconds, of all frames.
        cuts: int64 ``[K]``, first frames of new shots.
        size: height and width of a frame in pixels.
        frames: int64 ``[M]``, the frame of each sighting, in order.
        tracks: int64 ``[M]``, which face it is.
        boxes: float32 ``[M, 4]``, in pixels of the video.
        scores: float32 ``[M]``, in 0..1.
        small: number of faces that were too small.
        landmarks: float32 ``[M, N, 3]`` in pixels of the video, on disk.
        notes: what was noticed while the video was read.
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
    notes: list[VideoNote] = field(default_factory=list)


def find_faces(
    path: Path,
    analyser: FaceAnalyser,
    crop: CropConfig,
    folder: Path,
    seconds: float | None = None,
    on_frame: Callable[[int], object] = lambda count: None,
    strict: bool = False,
    backwards: FaceAnalyser | None = None,
) -> Sightings:
    """Decode a video once and follow its faces. The result is kept in `folder`, and read from there the next time.

    Args:
        path: the video.
        analyser: finds faces in frames.
        crop: smallest face and longest gap.
        folder: for the results.
        seconds: stop after this time, for a preview; None for the whole video.
        on_frame: called with the number of frames that were searched.
        strict: refuse a video that is damaged or cut off.
        backwards: finds one face; follows those that come in at the border back to where they do. None does not.

    Raises:
        InputError: the video cannot be decoded, or is damaged or cut off and `strict` is set.
    """
    from toolkit.faces.tracking import FaceTracker
    from toolkit.video import SceneCutDetector, probe, read_frames

    if (folder / _ARRAYS).is_file():
        return _load(folder, analyser.topology.count)
    info = probe(path)
    detector, tracker = SceneCutDetector(), FaceTracker(max_gap=round(crop.max_gap * info.fps))
    analyser.reset()
    times: list[float] = []
    cuts: list[int] = []
    rows: list[tuple[int, int, np.ndarray, float]] = []
    recent: deque[tuple[Frame, list[tuple[int, Face]]]] = deque()
    known = -1
    notes: list[VideoNote] = []
    small = 0
    video = read_frames(path, max_side=MAX_SIDE, strict=strict, on_note=notes.append)
    if seconds is None:  # else there would be notes on frames that were read ahead, more or fewer
        video = prefetched(video)

    def keep(count: int) -> None:
        """Write all but the last frames."""
        while len(recent) > count:
            frame, tracked = recent.popleft()
            scale = np.float32(info.width / frame.image.shape[1])
            for track, face in sorted(tracked, key=lambda item: item[0]):
                rows.append((frame.index, track, face.box * scale, face.score))
                file.write((face.landmarks * scale).astype(np.float32).tobytes())

    with open(folder / _LANDMARKS, "wb") as file, closing(video) as frames:
        for frame in frames:
            if seconds is not None and times and frame.time - times[0] >= seconds:
                break
            times.append(frame.time)
            if detector.update(frame.image):
                cuts.append(frame.index)
                keep(0)
                analyser.reset()
                tracker.reset()
            scale = np.float32(info.width / frame.image.shape[1])
            faces = analyser.analyse(frame.image)
            usable = [face for face in faces if _side(face) * scale >= crop.min_face]
            small += len(faces) - len(usable)
            tracked = tracker.update(frame.index, usable)
            for track, face in tracked:
                if backwards is not None and track > known and recent and at_border(face.box, frame.image.shape):
                    before = [(earlier, others) for earlier, others in reversed(recent)]
                    found = earlier_faces(face, frame.image, (earlier.image for earlier, _ in before), backwards)
                    for (_, others), seen in zip(before, found):
                        if any(iou(seen.box, other.box) > SAME_IOU for _, other in others):
                            break
                        others.append((track, seen))
            known = max([known, *(track for track, _ in tracked)])
            recent.append((frame, tracked))
            keep(FRAMES if backwards is not None else 0)
            on_frame(len(times))
        keep(0)
    sync(folder / _LANDMARKS)  # the arrays count for both files
    with atomic(folder / _ARRAYS, durable=True) as staged, open(staged, "wb") as file:
        np.savez(
            file,
            times=np.array(times, np.float64),
            cuts=np.array(cuts, np.int64),
            size=np.array([info.height, info.width], np.int64),
            frames=np.array([row[0] for row in rows], np.int64),
            tracks=np.array([row[1] for row in rows], np.int64),
            boxes=np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
            scores=np.array([row[3] for row in rows], np.float32),
            small=np.array(small, np.int64),
            notes=np.array(json.dumps([astuple(note) for note in notes])),
        )
    return _load(folder, analyser.topology.count)


def _load(folder: Path, points: int) -> Sightings:
    with np.load(folder / _ARRAYS) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    height, width = (int(side) for side in values.pop("size"))
    small = int(values.pop("small"))
    notes = [VideoNote(*note) for note in json.loads(str(values.pop("notes")))]
    shape = len(values["frames"]), points, 3
    landmarks = np.memmap(folder / _LANDMARKS, np.float32, "r", shape=shape) if shape[0] else np.empty(shape, "f4")
    return Sightings(size=(height, width), small=small, landmarks=landmarks, notes=notes, **values)


def _side(face: Face) -> float:
    return float(min(face.box[2] - face.box[0], face.box[3] - face.box[1]))
