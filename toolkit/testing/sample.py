"""Render the sample clip: a public-domain portrait that turns, nods, blinks and speaks.

No video is stored. The portrait ships with scikit-image, and the face mesh supplies its depth. The same call returns
the same frames.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from toolkit.task import FaceClip
from toolkit.testing.sample_motion import PERIOD, pose_at
from toolkit.testing.sample_portrait import load_portrait
from toolkit.testing.sample_render import Puppet

FPS = 25


@cache
def _puppet(size: int) -> Puppet:
    return Puppet(load_portrait(size))


@lru_cache(PERIOD)
def _frame(index: int, size: int) -> np.ndarray:
    frame = _puppet(size).draw(pose_at(index))
    frame.flags.writeable = False
    return frame


def sample_frames(frames: int = PERIOD, size: int = 512) -> np.ndarray:
    """Frames of the sample, uint8 ``[T, size, size, 3]``, RGB. The movement repeats after 80 frames.

    Raises:
        ValueError: the size is odd or below 128.
        MissingExtra: the default face analyser cannot be used; the message says how to get it.
    """
    return np.stack([_frame(index % PERIOD, size) for index in range(frames)])


def write_sample_video(
    path: str | Path, frames: int = PERIOD, fps: float = FPS, size: int = 512, mirrored: bool = False
) -> Path:
    """Write the sample as H.264 and return the path. Memory does not grow with `frames`.

    Args:
        mirrored: swap left and right, for a second video that differs.
    """
    from toolkit.video import VideoWriter

    with VideoWriter(path, fps=fps) as writer:
        for index in range(frames):
            frame = _frame(index % PERIOD, size)
            writer.write(frame[:, ::-1] if mirrored else frame)
    return Path(path)


@cache
def sample_clip(frames: int = 8, size: int = 256) -> FaceClip:
    """The sample cropped around its face to `size` x `size`, with smoothed landmarks as in a build. Read only.

    Raises:
        MissingExtra: as for `sample_frames`.
    """
    from toolkit.faces import create_analyser
    from toolkit.faces.smoothing import smooth_landmarks
    from toolkit.video import crop, square_region

    pictures = sample_frames(frames)
    analyser = create_analyser("mediapipe", max_faces=1)
    try:
        faces = [analyser.analyse(picture)[0] for picture in pictures]
    finally:
        analyser.close()
    box = square_region(np.stack([face.box for face in faces]), pictures.shape[1:3], crop_scale=1.6)
    times = np.arange(frames) / FPS
    landmarks = smooth_landmarks(np.stack([face.landmarks for face in faces]), times)
    scale = np.float32(size / (box[2] - box[0]))
    origin = np.array([box[0], box[1], 0], np.float32)
    clip = FaceClip(
        frames=np.stack([crop(picture, box, size) for picture in pictures]),
        landmarks=(landmarks - origin) * scale,
        topology=analyser.topology,
        times=times,
        box=np.asarray(box, np.float32),
        source="sample",
        source_digest="sample",
    )
    clip.frames.flags.writeable = clip.landmarks.flags.writeable = False
    return clip
