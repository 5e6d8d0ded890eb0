"""Enters a long video at a key frame before the wanted picture, instead of decoding everything from the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from toolkit.video.bitstream import begins_anew, is_shown
from toolkit.video.container import DAMAGE, open_video
from toolkit.video.timing import BACK, FORWARD, Timeline
from toolkit.video.truncation import missing_bytes

NEAR = 100
"""Frames from the start up to which a video is simply decoded."""
LEADING = 32
"""Pictures after a key frame that may be shown before it: twice as many as codecs allow."""
FAR = 1000
"""Packets that may lie between the place to which a container leads and the one that is asked for."""
SEEKABLE = {"mp4", "matroska"}
"""Formats whose index leads to the packet that is asked for. In others, packets are read from the start, which costs
about a hundredth of decoding them."""
CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "prores", "ffv1"}
"""Codecs whose key frames forget all pictures before them."""
FIELDS = {"h264", "mpeg2video", "mpeg1video"}
"""Codecs that may store the two fields of a picture in two packets, unless the container is one of `SEEKABLE`."""
EMPTY = 20
"""Bytes below which a packet of MPEG-4 may only repeat the picture before it."""


class NoEntry(Exception):
    """What a key frame leads to is not what was expected; the video must be decoded from the start."""


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The packets of a video in the order of the file.

    Attributes:
        keys: bool ``[N]``: those of key frames.
        shown: bool ``[N]``: those of pictures that are shown; an edit list hides others.
        places: int64 ``[N]``: their positions in the file.
        ticks: int64 ``[N]``: their decoding times, to seek to; None if packets are read from the start.
    """

    keys: np.ndarray
    shown: np.ndarray
    places: np.ndarray
    ticks: np.ndarray | None

    def entry(self, frame: int) -> Entry | None:
        """The latest key frame that surely comes before a picture; None if there is none after the start."""
        before = np.cumsum(self.shown) - self.shown  # pictures before each packet
        keys = np.flatnonzero(self.keys & self.shown)
        usable = keys[before[keys] + LEADING <= frame]
        if len(usable) < 2:
            return None
        back, key = (int(packet) for packet in usable[-2:])
        seek = None if self.ticks is None else int(self.ticks[back])
        return Entry(back, key, int(before[key]), int(self.places[back]), seek)


@dataclass(eq=False)
class Entry:
    """A key frame at which decoding begins.

    Attributes:
        back: number of the packet with which reading begins, the key frame before this one.
        packet: number of its packet, from 0.
        shown: pictures that are shown whose packets come before.
        place: position in the file of the packet `back`.
        seek: decoding time of that packet, in ticks; None reads from the start.
        frame: its index in the video, once its packet was read.
        last: ticks of the frame before it.
    """

    back: int
    packet: int
    shown: int
    place: int
    seek: int | None
    frame: int = 0
    last: int = 0
    _first: int = 0
    _due: list[int] = field(default_factory=list)
    _begun: bool = False
    _finished: bool = False

    def packets(self, container: InputContainer, stream: VideoStream, timeline: Timeline) -> Iterator[av.Packet]:
        """The packets from the key frame on.

        Raises:
            NoEntry: they are not the ones that were expected.
        """
        try:
            if self.seek is not None:
                container.seek(self.seek, stream=stream, backward=True)
            packets = timeline.packets(stream)
            before = self._before(packets)
            key = next(packets, None)
            if key is None or not key.size or key.pts is None or not begins_anew(key, stream.codec_context):
                raise NoEntry
            following = []
            for packet in packets:
                following.append(packet)
                if len(following) == LEADING or packet.is_keyframe:
                    break
        except DAMAGE:
            raise NoEntry from None
        leading = [one.pts for one in following if one.pts is not None and one.pts < key.pts and not one.is_discard]
        past = before + leading
        if not before or len(set(past)) < len(past) or max(before) >= key.pts or len(leading) == LEADING:
            raise NoEntry
        self._first, self.last, self.frame = key.pts, max(past), self.shown + len(leading)
        for packet in chain([key], following, packets):
            if packet.size and not self._finished and not packet.is_discard:
                if packet.pts is None:
                    raise NoEntry
                if packet.pts >= self._first:
                    heappush(self._due, packet.pts)
            yield packet

    def _before(self, packets: Iterator[av.Packet]) -> list[int]:
        """Read up to the key frame; the times of the pictures before it that are shown."""
        if self.seek is None:
            found = list(islice(packets, self.back, self.packet))
        else:
            first = next((packet for packet in islice(packets, FAR) if packet.pos == self.place), None)
            found = [] if first is None else [first, *islice(packets, self.packet - self.back - 1)]
        if len(found) < self.packet - self.back or any(not one.size or one.pts is None for one in found):
            raise NoEntry
        return [packet.pts for packet in found if not packet.is_discard]

    def leads(self, ticks: int | None) -> bool:
        """Whether a packet or a frame comes before the key frame, and may not be decodable."""
        return ticks is not None and ticks < self._first

    def finish(self) -> None:
        """The frame that is asked for was reached: no more checks."""
        self._finished = True
        self._due.clear()

    def check(self, frame: VideoFrame) -> None:
        """Check a frame that was decoded: the first ones must be those that decoding from the start gives.

        Raises:
            NoEntry: they are not.
        """
        if self._finished:
            return
        if not self._due or frame.pts != heappop(self._due) or frame.is_corrupt:
            raise NoEntry
        if not self._begun and frame.pict_type not in (PictureType.I, PictureType.NONE):
            raise NoEntry
        self._begun = True


def entry_before(path: Path, frame: int) -> Entry | None:
    """The key frame at which to enter a video so that a frame and all after it are those of decoding from the start.

    None if the frame is near the start, or if it is not sure that each packet gives one picture, in the order of their
    times. Damage that only decoding shows is not noticed: a picture before the key frame that cannot be decoded counts.

    Args:
        path: the video.
        frame: index of a frame.

    Raises:
        InputError: the file cannot be used.
    """
    if frame < NEAR:
        return None
    status = path.stat()
    try:
        index = _index(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except DAMAGE:
        return None
    return None if index is None else index.entry(frame)


@lru_cache(maxsize=8)
def _index(path: Path, *_state: int) -> PacketIndex | None:
    """The index of a file, kept as long as the file stays the same; None if it cannot be relied on."""
    with open_video(path) as (container, stream):
        codec = stream.codec_context.codec.canonical_name
        formats = set(container.format.name.split(","))
        if codec not in CODECS or missing_bytes(path):
            return None
        if not SEEKABLE & formats:
            interlaced = codec in FIELDS and stream.codec_context.field_order > 1
            return None if interlaced else _read(container, stream, codec)
        listed = _listed(stream) if "mp4" in formats else None
        return listed or _read(container, stream, codec, seekable=True)


def _listed(stream: VideoStream) -> PacketIndex | None:
    """The index that an MP4 or MOV file brings, without reading its packets."""
    entries = stream.index_entries
    if not stream.frames or len(entries) != stream.frames or stream.codec_context.codec.canonical_name == "mpeg4":
        return None
    rows = np.array([(one.is_keyframe, one.is_discard, one.pos, one.timestamp) for one in entries], np.int64)
    if _jumps(rows[:, 3][rows[:, 1] == 0], stream):
        return None
    return PacketIndex(rows[:, 0] > 0, rows[:, 1] == 0, rows[:, 2], rows[:, 3])


def _read(container: InputContainer, stream: VideoStream, codec: str, seekable: bool = False) -> PacketIndex | None:
    """The index of a file that must be read to the end."""
    if seekable:
        streams: list[Stream] = [stream, *container.streams.audio]
        packets = container.demux(*streams)
    else:
        streams, packets = [stream], Timeline(container, stream).packets(stream)
    ticks: dict[int, list[int]] = {one.index: [] for one in streams}
    rows: list[tuple[bool, bool, int, int]] = []
    times: list[int] = []
    for packet in packets:
        if not packet.size:
            continue
        if packet.dts is not None and not packet.is_discard:
            ticks[packet.stream_index].append(packet.dts)
        if packet.stream_index != stream.index:
            continue
        if packet.pts is None or packet.is_corrupt or (seekable and packet.pos is None) or not is_shown(packet, codec):
            return None
        if codec == "mpeg4" and packet.size < EMPTY:
            return None
        rows.append(
            (packet.is_keyframe, packet.is_discard, packet.pos or 0, packet.pts if packet.dts is None else packet.dts)
        )
        times.append(packet.pts)
    if not rows or not rows[0][0] or len(set(times)) < len(times):
        return None
    if seekable and any(_jumps(np.array(found), container.streams[index]) for index, found in ticks.items()):
        return None
    table, pts = np.array(rows, np.int64), np.array(times, np.int64)
    # A key frame after which an earlier picture is still to be shown is none to enter at.
    latest = np.maximum.accumulate(np.concatenate([[pts[0] - 1], pts[:-1]]))
    keys = (table[:, 0] > 0) & (pts > latest)
    return PacketIndex(keys, table[:, 1] == 0, table[:, 2], table[:, 3] if seekable else None)


def _jumps(ticks: np.ndarray, stream: Stream) -> bool:
    """Whether a clock makes steps that `Timeline` examines."""
    steps = np.diff(ticks)
    if not len(steps) or stream.time_base is None:
        return bool(len(steps))
    low, high = (int(step) * stream.time_base for step in (steps.min(), steps.max()))
    return not (low >= -BACK and high <= FORWARD)
