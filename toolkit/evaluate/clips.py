"""Makes small copies of videos for the report's players."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.files import atomic

ORIGINAL = ""
"""Stands for the original among the methods. It cannot clash: a method's name is never empty."""

SIDE = 512
"""px; longer side of a copy, as in the paper's videos."""

CRF = 23
PRESET = "veryfast"
"""x264's quality and speed; copies are only for viewing."""

KEYFRAMES = 12
"""Frames between keyframes; few enough that a step back is quick."""

CLOCK = Fraction(1, 90_000)
APART = 90
"""Ticks between two frames, at least: MP4 stores the total duration in milliseconds."""


@dataclass(frozen=True)
class Clip:
    """A copy to make; sent to worker processes.

    Attributes:
        source: the video.
        target: the new ``.mp4``; its folder must exist.
        times: presentation times of the frames in seconds. The copy starts at 0 and keeps the intervals.
    """

    source: Path
    target: Path
    times: tuple[float, ...]


def make_clip(clip: Clip) -> None:
    """Write an H.264 copy that every browser plays, with one frame for each time.

    Raises:
        InputError: the source cannot be read.
        ToolkitError: the copy cannot be written.
    """
    import av

    from toolkit.video import read_frames
    from toolkit.video.upright import UprightPictures

    ticks = _ticks(clip.times)
    rate = Fraction(len(ticks) - 1, ticks[-1]) / CLOCK if len(ticks) > 1 else Fraction(25)
    ends = [*ticks[1:], ticks[-1] + round(1 / (rate * CLOCK))]
    pictures, stream = UprightPictures(CRF, lossless=False), None
    try:
        with (
            atomic(clip.target, shared=True, durable=True) as part,
            av.open(f"file:{part}", "w", options={"movflags": "+faststart"}) as container,
        ):
            frames = read_frames(clip.source, stop=len(ticks), max_side=SIDE)
            for start, end, frame in zip(ticks, ends, frames, strict=False):
                if stream is None:
                    height, width, _ = frame.image.shape
                    stream = container.add_stream("libx264", rate=rate.limit_denominator(1001))
                    stream.codec_context.time_base, stream.codec_context.thread_count = CLOCK, 1
                    pictures.configure(stream.codec_context, width, height)
                    stream.codec_context.gop_size = KEYFRAMES
                    # MP4 stores durations in decoding order, and browsers seek by them.
                    stream.codec_context.max_b_frames = 0
                    stream.codec_context.options |= {"preset": PRESET}
                picture = pictures.frame(frame.image)
                picture.pts, picture.duration, picture.time_base = start, end - start, CLOCK
                container.mux(stream.encode(picture))
            if stream is not None:
                container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        raise ToolkitError(
            f"{clip.target} cannot be written: {error.strerror}; check the disk's free space and permissions"
        ) from error


def _ticks(times: tuple[float, ...]) -> list[int]:
    """Convert times to ticks of `CLOCK`, starting at 0 and strictly increasing."""
    order = APART * np.arange(len(times))
    ticks = np.round((np.array(times) - times[0]) / float(CLOCK)).astype(np.int64)
    return (np.maximum.accumulate(ticks - order) + order).tolist()
