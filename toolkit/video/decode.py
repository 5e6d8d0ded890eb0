"""Decodes a video as a stream of RGB frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from os import PathLike
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toolkit.errors import InputError
from toolkit.video.color import RGBConverter
from toolkit.video.container import ADVICE, DAMAGE, left_out, open_video, reason
from toolkit.video.damage import Damage
from toolkit.video.geometry import Display, display_of
from toolkit.video.keyframes import Entry, NoEntry, entry_before
from toolkit.video.notes import VideoNote
from toolkit.video.timing import Timeline
from toolkit.video.truncation import missing_bytes
from toolkit.video.types import Frame


def read_frames(
    path: str | PathLike,
    start: int = 0,
    stop: int | None = None,
    max_side: int | None = None,
    *,
    strict: bool = False,
    on_note: Callable[[VideoNote], object] = lambda note: None,
) -> Iterator[Frame]:
    """Decode a video frame by frame; memory does not depend on its length.

    Frames are rotated and scaled to square pixels as the metadata says. Colours are converted with the matrix and range
    that the stream states, HDR is tone mapped and transparency composited on black. All frames are as large as the
    first. Times begin with the source, and go on where recordings were joined; see `Timeline`.

    Damaged frames are yielded as they decode, and those that cannot be decoded are left out; a file that is cut off
    ends with its last frame. The same file always gives the same frames.

    Args:
        path: a file in any format that FFmpeg reads.
        start: index of the first frame to yield. The video is entered at a key frame before it, where it is sure that
            this gives the same frames as decoding from the start; else earlier frames are decoded but not converted.
            In a file that is damaged in a way that only decoding tells, pictures that are lost before it may count.
        stop: index after the last frame to yield; None for all.
        max_side: larger frames are shrunk so that their larger side has this many pixels.
        strict: refuse a video that is damaged or cut off.
        on_note: called at the end, or when the iterator is closed, with what was noticed in the frames that were
            yielded; with `start` at 0 also with what concerns the whole video.

    Raises:
        InputError: during iteration: the file cannot be used, most of it cannot be decoded, or it is damaged or ends
            early and `strict` is set; the message names the frame. Damage after `stop` goes unnoticed.
        ValueError: `start`, `stop` or `max_side` is out of range.
    """
    path = Path(path)
    if start < 0 or (stop is not None and stop < start) or (max_side is not None and max_side < 1):
        raise ValueError(f"start={start}, stop={stop}, max_side={max_side}: expected 0 <= start <= stop, max_side >= 1")
    if stop == start:
        return
    # A strict reader must see the damage before its first frame too.
    entry = None if strict or not start else entry_before(path, start)
    if entry is not None:
        try:
            yield from _read(path, start, stop, max_side, strict, on_note, entry)
            return
        except NoEntry:  # before the first frame
            pass
    yield from _read(path, start, stop, max_side, strict, on_note)


def _read(
    path: Path,
    start: int,
    stop: int | None,
    max_side: int | None,
    strict: bool,
    on_note: Callable[[VideoNote], object],
    entry: Entry | None = None,
) -> Iterator[Frame]:
    with open_video(path) as (container, stream):
        timeline = Timeline(container, stream)
        damage = Damage(path, strict, timeline.joins)
        begin, entered = 0.0 if start == 0 else math.inf, True
        try:
            frames = shown_frames(path, container, stream, start, stop, max_side, timeline, damage, entry)
            for _, _, frame in frames:
                begin = min(begin, frame.time)
                yield frame
        except NoEntry:
            entered = False
            raise
        finally:
            whole = left_out(container, stream) if start == 0 else ()
            for note in (*whole, *timeline.notes(begin), *damage.notes(start, stop)) if entered else ():
                on_note(note)


def shown_frames(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    start: int = 0,
    stop: int | None = None,
    max_side: int | None = None,
    timeline: Timeline | None = None,
    damage: Damage | None = None,
    entry: Entry | None = None,
) -> Iterator[tuple[VideoFrame, Display, Frame]]:
    """Like `read_frames` for an open video; yields each frame with its decoded form and its display.

    Raises:
        NoEntry: before the first frame: the video cannot be entered at `entry`.
    """
    converter, timeline = RGBConverter(), timeline or Timeline(container, stream)
    damage = damage or Damage(path, joins=timeline.joins)
    display: Display | None = None
    end = 0.0
    packets = timeline.packets(stream) if entry is None else entry.packets(container, stream, timeline)
    for number, (decoded, time) in enumerate(decode(path, container, stream, packets, damage, entry)):
        end, index = time, number if entry is None else entry.frame + number
        if index < start:
            continue
        if entry is not None and index == start:
            entry.finish()
        display = display or display_of(decoded, pixel_aspect(stream), max_side)
        try:
            image = converter.convert(decoded, display.width, display.height)
        except DAMAGE as error:
            why = reason(error)
            raise InputError(f"frame {index} of {path} cannot be converted to RGB ({why}); {ADVICE}") from None
        yield decoded, display, Frame(index, time, display.turn(image))
        if stop is not None and index + 1 >= stop:
            return
    if "matroska" in container.format.name and container.duration is not None:
        stated = container.duration / av.time_base - float(timeline.origin)
        end = max(end, float(timeline.end))
        if end < 0.9 * stated and end < stated - 0.5:
            damage.cut_off(f"its header states {stated:.2f} s")


def decode(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    demuxed: Iterable[av.Packet],
    damage: Damage | None = None,
    entry: Entry | None = None,
) -> Iterator[tuple[VideoFrame, float]]:
    """Decode all frames of a stream, each with its time in seconds.

    Args:
        path: the file, for messages.
        container, stream: from `open_video`.
        demuxed: the stream's packets from a `Timeline`.
        damage: learns what is damaged or missing.
        entry: the key frame at which the packets begin; None at the start.

    Raises:
        NoEntry: frames are not those that the key frame should lead to.
        InputError: no frame, or less than half of them, can be decoded, or `damage` is strict and the stream is damaged
            or ends early; the message names the frame.
    """
    decoder, clock, damage = _decoder(stream), Clock(stream), damage or Damage(path)
    stored = packets = frames = 0
    for packet in chain(_readable(demuxed, damage), [None]):
        if entry is not None and not stored:
            stored = entry.packet
            clock.resume(entry.last)
            damage.resume(entry.frame)
        leads = entry is not None and packet is not None and entry.leads(packet.pts)
        stored += packet is not None
        if packet is not None and not leads:
            # Frames that an edit list hides are decoded but never shown.
            packets += not packet.is_discard
            damage.packet(packet)
        try:
            decoded = decoder.decode(packet)
        except DAMAGE as error:
            if not leads:
                damage.undecodable(packet, reason(error))
            continue
        for frame in decoded:
            if entry is not None:
                if entry.leads(frame.pts):
                    continue
                entry.check(frame)
            time = clock.time(frame)
            damage.frame(frame, time)
            yield frame, time
            frames += 1
    if not frames and entry is not None:
        raise NoEntry
    if not frames:
        raise InputError(f"Expected at least one frame in {path}, but it holds none; {ADVICE}")
    packets -= damage.early
    if frames < packets / 2:
        raise InputError(f"{path} is damaged: only {frames} of its {packets} frames can be decoded; {ADVICE}")
    missing = missing_bytes(path)
    # An MP4 or MOV file can be complete and still list frames that it lacks.
    unlisted = "mp4" in container.format.name and stored < stream.frames
    if missing or unlisted:
        damage.cut_off(f"{missing} bytes are missing" if missing else f"its index lists {stream.frames} frames")
    damage.finish()


def _readable(packets: Iterable[av.Packet], damage: Damage) -> Iterator[av.Packet]:
    """The packets up to where the file cannot be read further."""
    try:
        yield from (packet for packet in packets if packet.size)
    except DAMAGE as error:
        damage.cut_off(f"the file cannot be read further ({reason(error)})")


def pixel_aspect(stream: VideoStream) -> float | None:
    """Width of a stored pixel divided by its height; None if the file does not state it."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio else None


LONGEST = 86_400.0
"""Seconds for which a picture may be shown; beyond them, the time of the next one is damaged."""


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
        if (self._last is not None and time <= self._last) or abs(time - expected) > LONGEST:
            time = expected
        self._last = time
        return time

    def resume(self, ticks: int) -> None:
        """Go on after a frame that was shown at a time in ticks of the stream."""
        self._last = float(ticks * (self._base or 0))


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
