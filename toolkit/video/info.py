"""Describes a video from its packets and its first frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path

import av

from toolkit.video.color import has_alpha, hdr_transfer
from toolkit.video.container import DAMAGE, open_video
from toolkit.video.decode import decode, frame_rate, pixel_aspect
from toolkit.video.geometry import display_of
from toolkit.video.timing import Timeline
from toolkit.video.types import VideoInfo


def probe(path: str | PathLike) -> VideoInfo:
    """Describe a video. Decodes its first frame and counts its packets.

    Raises:
        InputError: the file is missing, a folder, unreadable, empty, not a video, without frames, or too damaged to
            open.
    """
    path = Path(path)
    timing = _Timing()
    with open_video(path) as (container, stream):
        packets = timing.watch(Timeline(container, stream).packets(stream))
        first, _ = next(decode(path, container, stream, packets))
        with suppress(*DAMAGE):  # what can be read counts
            for _ in packets:
                pass
        display = display_of(first, pixel_aspect(stream), None)
        fps = timing.rate(stream)
        width, height = display.shown_size
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            fps=fps,
            frame_count=timing.count,
            duration=timing.count / fps,
            rotation=display.turns * 90,
            codec=stream.codec_context.codec.canonical_name,
            pix_fmt=first.format.name,
            hdr=hdr_transfer(first),
            has_alpha=has_alpha(first),
            has_audio=bool(container.streams.audio),
            variable_frame_rate=timing.variable,
        )


class _Timing:
    """Computes frame count, rate and regularity from packet times, without storing them."""

    def __init__(self):
        self.count = 0
        self._timed = 0
        self._first: int | None = None
        self._last: int | None = None
        self._previous: int | None = None
        self._shortest: int | None = None
        self._longest: int | None = None

    def watch(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Pass packets on and count those that are displayed."""
        for packet in packets:
            if packet.size and not packet.is_discard:
                self._add(packet)
            yield packet

    def _add(self, packet: av.Packet) -> None:
        self.count += 1
        if packet.pts is not None:
            self._timed += 1
            self._first = packet.pts if self._first is None else min(self._first, packet.pts)
            self._last = packet.pts if self._last is None else max(self._last, packet.pts)
        # Decoding times are in file order and have the same steps as presentation times.
        if packet.dts is not None:
            if self._previous is not None and packet.dts > self._previous:
                step = packet.dts - self._previous
                self._shortest = step if self._shortest is None else min(self._shortest, step)
                self._longest = step if self._longest is None else max(self._longest, step)
            self._previous = packet.dts

    def rate(self, stream: av.VideoStream) -> float:
        timed = self._timed == self.count > 1 and stream.time_base is not None
        if timed and self._first is not None and self._last is not None and self._last > self._first:
            rate = (self.count - 1) / float((self._last - self._first) * stream.time_base)
            if 0 < rate <= 1000:
                return rate
        return frame_rate(stream)

    @property
    def variable(self) -> bool:
        if self._longest is None or self._shortest is None:
            return False
        # Allow two ticks, because coarse time bases such as milliseconds make even steps uneven.
        return self._longest - self._shortest > max(2, 0.1 * self._longest)
