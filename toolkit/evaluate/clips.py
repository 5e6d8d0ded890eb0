"""Small copies of videos for the report's players."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from toolkit.errors import ToolkitError

ORIGINAL = ""
"""Stands for the original among methods, none of whose names is empty."""

SIDE = 512
"""Larger side in pixels: that of the paper's videos."""

CRF = 23
PRESET = "veryfast"
"""The copies are for looking only."""

KEYFRAMES = 12
"""Frames between those at which a player can begin: so few that a step back is quick."""

CLOCK = Fraction(1, 90_000)
APART = 90
"""Ticks between two frames, at least: MP4 keeps the length of the whole in milliseconds."""


@dataclass(frozen=True)
class Clip:
    """A copy to be made; it travels between processes.

    Attributes:
        source: video.
        target: the new ``.mp4``, in a folder that is there.
        times: when the frames are shown, in seconds; the first one is shown at 0 and the others as much later.
    """

    source: Path
    target: Path
    times: tuple[float, ...]


def make_clip(clip: Clip) -> None:
    """Write an H.264 copy that every browser plays, of as many frames as there are times.

    Raises:
        InputError: the source cannot be read.
        ToolkitError: the copy cannot be written.
    """
    import av

    from toolkit.video import read_frames
    from toolkit.video.upright import UprightPictures

    part = clip.target.with_name(f".{clip.target.stem}.{os.getpid()}.part.mp4")
    ticks = _ticks(clip.times)
    rate = Fraction(len(ticks) - 1, ticks[-1]) / CLOCK if len(ticks) > 1 else Fraction(25)
    ends = [*ticks[1:], ticks[-1] + round(1 / (rate * CLOCK))]
    pictures, stream = UprightPictures(CRF, lossless=False), None
    try:
        with av.open(f"file:{part}", "w", options={"movflags": "+faststart"}) as container:
            frames = read_frames(clip.source, stop=len(ticks), max_side=SIDE)
            for start, end, frame in zip(ticks, ends, frames, strict=False):
                if stream is None:
                    height, width, _ = frame.image.shape
                    stream = container.add_stream("libx264", rate=rate.limit_denominator(1001))
                    stream.codec_context.time_base, stream.codec_context.thread_count = CLOCK, 1
                    pictures.configure(stream.codec_context, width, height)
                    stream.codec_context.gop_size = KEYFRAMES
                    # MP4 keeps how long pictures last in the order of decoding; browsers seek by it.
                    stream.codec_context.max_b_frames = 0
                    stream.codec_context.options |= {"preset": PRESET}
                picture = pictures.frame(frame.image)
                picture.pts, picture.duration, picture.time_base = start, end - start, CLOCK
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        os.replace(part, clip.target)
    except (av.FFmpegError, OSError) as error:
        raise ToolkitError(
            f"expected to write {clip.target}, but: {error.strerror}; check the disk's free space and access rights"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _ticks(times: tuple[float, ...]) -> list[int]:
    """Of `CLOCK`, from 0 and each later than the one before."""
    order = APART * np.arange(len(times))
    ticks = np.round((np.array(times) - times[0]) / float(CLOCK)).astype(np.int64)
    return (np.maximum.accumulate(ticks - order) + order).tolist()
