"""Decodes a video as a stream of RGB frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toolkit.errors import InputError
from toolkit.video.color import RGBConverter
from toolkit.video.container import ADVICE, DAMAGE, open_video, reason
from toolkit.video.geometry import Display, display_of
from toolkit.video.truncation import missing_bytes
from toolkit.video.types import Frame


def read_frames(
    path: str | PathLike, start: int = 0, stop: int | None = None, max_side: int | None = None
) -> Iterator[Frame]:
    """Decode a video frame by frame; memory does not depend on its length.

    Frames are rotated and scaled to square pixels as the metadata says. Colours are converted with the matrix and range
    that the stream states, HDR is tone mapped and transparency composited on black. All frames are as large as the
    first.

    Args:
        path: a file in any format that FFmpeg reads.
        start: index of the first frame to yield; earlier frames are decoded but not converted.
        stop: index after the last frame to yield; None for all.
        max_side: larger frames are shrunk so that their larger side has this many pixels.

    Raises:
        InputError: during iteration: the file cannot be used, is damaged or ends early; the message names the frame.
            Damage after `stop` goes unnoticed.
        ValueError: `start`, `stop` or `max_side` is out of range.
    """
    path = Path(path)
    if start < 0 or (stop is not None and stop < start) or (max_side is not None and max_side < 1):
        raise ValueError(f"start={start}, stop={stop}, max_side={max_side}: expected 0 <= start <= stop, max_side >= 1")
    if stop == start:
        return
    with open_video(path) as (container, stream):
        for _, _, frame in shown_frames(path, container, stream, start, stop, max_side):
            yield frame


def shown_frames(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    start: int = 0,
    stop: int | None = None,
    max_side: int | None = None,
) -> Iterator[tuple[VideoFrame, Display, Frame]]:
    """Like `read_frames` for an open video; yields each frame with its decoded form and its display."""
    converter, clock = RGBConverter(), Clock(stream)
    display: Display | None = None
    for index, decoded in enumerate(decode(path, container, stream, container.demux(stream))):
        time = clock.time(decoded)
        if index < start:
            continue
        display = display or display_of(decoded, pixel_aspect(stream), max_side)
        try:
            image = converter.convert(decoded, display.width, display.height)
        except DAMAGE as error:
            why = reason(error)
            raise InputError(f"frame {index} of {path} cannot be converted to RGB ({why}); {ADVICE}") from None
        yield decoded, display, Frame(index, time, display.turn(image))
        if stop is not None and index + 1 >= stop:
            return


def decode(
    path: Path, container: InputContainer, stream: VideoStream, demuxed: Iterable[av.Packet]
) -> Iterator[VideoFrame]:
    """Decode all frames of a stream; incomplete or damaged streams raise an error.

    Args:
        path: the file, for messages.
        container, stream: from `open_video`.
        demuxed: the stream's packets, ending with the empty packet that flushes the decoder.

    Raises:
        InputError: the stream is damaged or ends early; the message names the frame.
    """
    decoder = _decoder(stream)
    stored = packets = frames = 0
    try:
        for packet in demuxed:
            stored += packet.size > 0
            # Frames that an edit list hides are decoded but never shown.
            packets += packet.size > 0 and not packet.is_discard
            if packet.is_corrupt:
                raise InputError(f"{path} is damaged or cut off at frame {frames}; {ADVICE}")
            for frame in decoder.decode(packet if packet.size else None):
                if frame.is_corrupt:
                    raise InputError(f"{path} is damaged at frame {frames}; {ADVICE}")
                yield frame
                frames += 1
    except DAMAGE as error:
        raise InputError(f"{path} is damaged at frame {frames} ({reason(error)}); {ADVICE}") from None
    if not frames:
        raise InputError(f"Expected at least one frame in {path}, but it holds none; {ADVICE}")
    missing = missing_bytes(path)
    # An MP4 or MOV file can be complete and still list frames that it lacks.
    unlisted = "mp4" in container.format.name and stored < stream.frames
    if missing or unlisted:
        lack = f"{missing} bytes are missing" if missing else f"its index lists {stream.frames} frames"
        raise InputError(f"{path} is cut off at frame {frames}: {lack}; {ADVICE}")
    if frames < packets / 2:
        raise InputError(f"{path} is damaged: only {frames} of its {packets} frames can be decoded; {ADVICE}")


def pixel_aspect(stream: VideoStream) -> float | None:
    """Width of a stored pixel divided by its height; None if the file does not state it."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio else None


class Clock:
    """Assigns strictly increasing times: the frame's own, or if it has none, the next at the frame rate."""

    def __init__(self, stream: VideoStream):
        self._step = 1 / frame_rate(stream)
        self._base = stream.time_base
        self._last: float | None = None

    def time(self, frame: VideoFrame) -> float:
        """Presentation time of the next frame in seconds."""
        ticks = frame.pts if frame.pts is not None else frame.dts
        expected = 0.0 if self._last is None else self._last + self._step
        base = frame.time_base or self._base  # missing in the last frames, which the decoder held back
        time = expected if ticks is None or not base else float(ticks * base)
        if self._last is not None and time <= self._last:
            time = expected
        self._last = time
        return time


def frame_rate(stream: VideoStream) -> float:
    """Frames per second as stated by the container or guessed by FFmpeg; 25 if both are unknown."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate <= 1000 else 25.0


def _decoder(stream: VideoStream) -> av.VideoCodecContext:
    """The stream's decoder; for VP8 and VP9 with transparency, the only decoder that supports it."""
    context = stream.codec_context
    wrapper = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(context.codec.name)
    if wrapper and stream.metadata.get("alpha_mode") == "1" and wrapper in av.codecs_available:
        context = av.CodecContext.create(wrapper, "r")
        context.thread_count = 1
    return context
