"""The second pass over a video: faces are cut out along their tracks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from toolkit.edit.tracks.squares import scale_of
from toolkit.edit.tracks.track import FaceTrack
from toolkit.prefetching import prefetched
from toolkit.video.types import Frame


class Cropper:
    """Walks through a video once and cuts out groups of tracks in their order. Close it at the end.

    Args:
        path: the video.
    """

    def __init__(self, path: Path):
        self._path = path
        self._frames: Generator[Frame, None, None] | None = None

    def cut(self, tracks: Sequence[FaceTrack], write: Callable[[FaceTrack, int, np.ndarray], object]) -> None:
        """Cut out tracks that share frames.

        Args:
            tracks: the group.
            write: called with a track, the index of one of its frames, and the crop, uint8 ``[R, R, 3]``.

        Raises:
            InputError: the video cannot be decoded.
        """
        stop = max(track.stop for track in tracks)
        if self._frames is None:
            first = min(tracks, key=lambda track: track.start)
            self._frames = prefetched(frames_from(self._path, first.start, float(first.times[0])))
        for frame in self._frames:
            for track in tracks:
                if track.start <= frame.index < track.stop:
                    index = frame.index - track.start
                    write(track, index, cut(frame.image, track.to_crop(index), track.side))
            if frame.index + 1 >= stop:
                break

    def close(self) -> None:
        """Stop decoding."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None


def frames_from(path: Path, start: int, time: float) -> Iterator[Frame]:
    """The frames of a video from one on that was seen before.

    Pictures that are lost in a damaged file may have been counted differently when it is entered at a key frame; the
    time tells, and the video is then decoded from the start.

    Args:
        path: the video.
        start: index of the first frame.
        time: its time in seconds.
    """
    from toolkit.video import read_frames

    with closing(read_frames(path, start)) as frames:
        first = next(frames, None)
        if first is not None and first.time == time:
            yield first
            yield from frames
            return
    with closing(read_frames(path)) as frames:
        yield from (frame for frame in frames if frame.index >= start)


def cut(frame: np.ndarray, to_crop: np.ndarray, resolution: int) -> np.ndarray:
    """The crop of a frame.

    Args:
        frame: uint8 ``[H, W, 3]``, or float ``[H, W]``, such as a mask.
        to_crop: ``[2, 3]``, as from `Squares.to_crop`.
        resolution: side of the crop in pixels.

    Returns:
        Of the frame's type, ``[resolution, resolution, ...]``; beyond the frame's border its edge is repeated.
    """
    import cv2

    scale = scale_of(to_crop)
    if scale < 1:  # smooth only the pixels that are needed, so that the cost depends on the face's size
        x0, y0, x1, y1 = reach(to_crop, resolution, frame.shape, pad=3 / scale)
        part = cv2.GaussianBlur(frame[y0:y1, x0:x1], (0, 0), 0.5 * np.sqrt(1 / scale**2 - 1) + 1e-3)
        to_crop = to_crop @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
    else:
        part = frame
    flags = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(part, to_crop, (resolution, resolution), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def reach(to_crop: np.ndarray, resolution: int, shape: tuple[int, ...], pad: float) -> tuple[int, int, int, int]:
    """Pixels x0 y0 x1 y1 of the frame that the crop touches, grown by `pad` pixels, within the frame."""
    scale = scale_of(to_crop)
    turn, offset = np.rint(to_crop[:, :2] / scale), to_crop[:, 2]
    corners = [(edge - offset) @ turn / scale for edge in (-0.5, resolution - 0.5)]
    low = np.floor(np.minimum(*corners) - pad).astype(int)
    high = np.ceil(np.maximum(*corners) + pad).astype(int) + 1
    limit = np.array([shape[1], shape[0]])
    # A crop beyond the border still needs the pixel at the edge that is repeated there.
    low, high = np.clip(low, 0, limit - (1 if pad else 0)), np.clip(high, 1 if pad else 0, limit)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
