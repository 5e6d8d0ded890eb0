"""Reads clips of single faces from a segment of a video: decodes, finds cuts and faces, tracks and crops them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from toolkit.faces.types import Face, FaceAnalyser
from toolkit.synthesis.config import ResolvedBuild
from toolkit.synthesis.plan import Segment
from toolkit.task import FaceClip
from toolkit.video.notes import VideoNote

SMALL, SHORT = "face smaller than min_face", "track shorter than min_clip_length"


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """A clip, the boxes of its face float32 ``[T, 4]`` in pixels of the source, and the number of its track."""

    clip: FaceClip
    boxes: np.ndarray
    track: int


@dataclass
class ReadCounts:
    """Counts of a reader: frames, frames with a usable face, and faces and tracks that it left out, by reason.

    `notes` are what it noticed in the video; complete when `read_clips` ends or is closed.
    """

    frames: int = 0
    frames_with_face: int = 0
    dropped: Counter = field(default_factory=Counter)
    notes: list[VideoNote] = field(default_factory=list)


@dataclass
class _Track:
    """Consecutive frames of one face, collected until they fill a clip."""

    number: int
    frames: list = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)


def read_clips(
    segment: Segment, analyser: FaceAnalyser, config: ResolvedBuild, counts: ReadCounts
) -> Generator[TrackedClip]:
    """Yield the clips of the faces in a segment, in the order in which they end.

    A track is cut into clips of `clip_length` frames; a rest of at least `min_clip_length` is also a clip. A track ends
    at a scene cut and at a frame without the face. The result depends only on the segment. Memory holds at most
    `clip_length` frames.

    Raises:
        InputError: the video cannot be decoded.
    """
    from toolkit.faces.tracking import FaceTracker
    from toolkit.video import SceneCutDetector, read_frames

    cuts, tracker = SceneCutDetector(), FaceTracker()
    analyser.reset()
    tracks: dict[int, _Track] = {}

    def end(numbers) -> Generator[TrackedClip]:
        for number in sorted(numbers):
            track = tracks.pop(number)
            if len(track.frames) >= config.min_clip_length:
                yield _clip(track, analyser, segment, config)
            elif track.frames:
                counts.dropped[SHORT] += 1

    path, side, strict = segment.source.path, config.max_frame_side, config.reading.strict
    video = read_frames(path, segment.start, segment.stop, side, strict=strict, on_note=counts.notes.append)
    with closing(video):
        for frame in video:
            counts.frames += 1
            if cuts.update(frame.image):
                yield from end(list(tracks))
                analyser.reset()
                tracker.reset()
            scale = segment.source.width / frame.image.shape[1]
            faces = analyser.analyse(frame.image)
            usable = [face for face in faces if _side(face) * scale >= config.min_face]
            counts.dropped[SMALL] += len(faces) - len(usable)
            counts.frames_with_face += bool(usable)
            tracked = tracker.update(frame.index, usable)
            yield from end(tracks.keys() - {number for number, _ in tracked})
            for number, face in sorted(tracked, key=lambda item: item[0]):
                track = tracks.setdefault(number, _Track(number))
                track.frames.append(frame)
                track.faces.append(face)
                if len(track.frames) == config.clip_length:
                    tracks[number] = _Track(number)
                    yield _clip(track, analyser, segment, config)
    yield from end(list(tracks))


def _side(face: Face) -> float:
    return float(min(face.box[2] - face.box[0], face.box[3] - face.box[1]))


def _clip(track: _Track, analyser: FaceAnalyser, segment: Segment, config: ResolvedBuild) -> TrackedClip:
    """Crop the frames of a track to one square and move its landmarks there."""
    from toolkit.faces.smoothing import smooth_landmarks
    from toolkit.video import crop, square_region

    times = np.array([frame.time for frame in track.frames], np.float64)
    boxes = np.stack([face.box for face in track.faces]).astype(np.float32)
    smoothed = smooth_landmarks(np.stack([face.landmarks for face in track.faces]).astype(np.float32), times)
    height, width = track.frames[0].image.shape[:2]
    region = square_region(boxes, (height, width), config.crop_scale)
    factor = config.resolution / float(region[2] - region[0])
    landmarks = np.multiply(smoothed - np.array([region[0], region[1], 0], np.float32), np.float32(factor))
    frames = np.stack([crop(frame.image, region, config.resolution) for frame in track.frames])
    frames.flags.writeable = False
    scale = np.float32(segment.source.width / width)
    clip = FaceClip(
        frames=frames,
        landmarks=landmarks.astype(np.float32, copy=False),
        topology=analyser.topology,
        times=times,
        start_frame=track.frames[0].index,
        box=region.astype(np.float32) * scale,
        source=segment.source.name,
        source_digest=segment.source.digest,
    )
    return TrackedClip(clip, boxes * scale, track.number)
