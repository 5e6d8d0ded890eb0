"""Times of a source: from its own start, whatever its clock showed then."""

from __future__ import annotations

from fractions import Fraction

from av.container import InputContainer
from av.video.stream import VideoStream

LEAD_IN = Fraction(1, 2)
"""Seconds before zero at which sound may begin in an ordinary file: codecs such as AAC start with a few samples to
warm up."""


def start_of(container: InputContainer, video: VideoStream) -> Fraction:
    """Seconds that the source's clock shows at its start, where the times of a new video begin.

    It is the earliest start of the pictures and of all sound, so that both stay in step. It is 0 for files whose clock
    begins at zero, even if sound begins slightly before.
    """
    streams = [video, *container.streams.audio]
    starts = [
        stream.start_time * stream.time_base
        for stream in streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    start = min(starts, default=Fraction(0))
    return Fraction(0) if -LEAD_IN <= start <= 0 else start
