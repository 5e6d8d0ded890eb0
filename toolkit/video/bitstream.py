"""Looks into packets of compressed video: whether decoding can begin there, and whether they are shown."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.video.codeccontext import VideoCodecContext

SLICE_IDR, SEI, RECOVERY_POINT = 5, 6, 6
"""H.264 (ITU-T H.264, tables 7-1 and D.1): types of units, and of messages in an SEI."""
IRAP = range(16, 24)
"""H.265 (ITU-T H.265, table 7-1): types of units at which decoding can begin."""
SHOWN = 0x10
"""VP8 (RFC 6386, 9.1): bit of a frame that is shown."""


def is_shown(packet: av.Packet, codec: str) -> bool:
    """Whether a packet holds a picture to be shown; VP8 stores others in packets of their own."""
    return codec != "vp8" or bool(memoryview(packet)[0] & SHOWN)


def begins_anew(packet: av.Packet, context: VideoCodecContext) -> bool:
    """Whether pictures from a packet on, in the order in which they are shown, need none before it.

    Containers also mark pictures as key frames from which decoding only recovers bit by bit.
    """
    codec = context.codec.canonical_name
    if not packet.is_keyframe or codec not in ("h264", "hevc"):
        return packet.is_keyframe
    units = list(_units(bytes(packet), bytes(context.extradata or b""), codec))
    if codec == "hevc":
        return any(unit[0] >> 1 & 0x3F in IRAP for unit in units)
    if any(unit[0] & 0x1F == SLICE_IDR for unit in units):
        return True
    return any(unit[0] & 0x1F == SEI and _recovers_at_once(unit) for unit in units)


def _units(data: bytes, extradata: bytes, codec: str) -> Iterator[bytes]:
    """The units of a packet, after lengths (ISO 14496-15) or start codes (ITU-T H.264, annex B)."""
    if extradata[:1] != b"\x01":
        for part in data.split(b"\x00\x00\x01")[1:]:
            if part:
                yield part
        return
    size = (extradata[4 if codec == "h264" else 21] & 3) + 1
    position = 0
    while position + size < len(data):
        length = int.from_bytes(data[position : position + size])
        unit = data[position + size : position + size + length]
        if unit:
            yield unit
        position += size + length


def _recovers_at_once(unit: bytes) -> bool:
    """Whether a SEI says that all pictures from its own on can be decoded (recovery_frame_cnt is 0)."""
    data, position = unit[1:].replace(b"\x00\x00\x03", b"\x00\x00"), 0
    while position + 2 < len(data):
        kind, position = _number(data, position)
        size, position = _number(data, position)
        if kind == RECOVERY_POINT and position < len(data):
            return bool(data[position] & 0x80)
        position += size
    return False


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A number of an SEI, stored as a sum of bytes, and the position after it."""
    value = 0
    while position < len(data) and data[position] == 0xFF:
        value, position = value + 255, position + 1
    last = data[position] if position < len(data) else 0
    return value + last, position + 1
