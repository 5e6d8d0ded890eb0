"""Tells whether a transport stream lacks data, or whether only its counters are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

SYNC = 0x47
LONGEST = 1 << 23
"""Bytes of a picture that are examined."""


def lost_after(path: Path, position: int, pid: int) -> int | None:
    """Where a transport stream lacks data, after FFmpeg marked a packet as damaged.

    FFmpeg marks packets whose continuity counter (ISO 13818-1, 2.4.3.3) is not the expected one. If the counter goes on
    from the wrong value within a picture, data is missing. At the start of a picture, recordings may have been joined.

    Args:
        path: the file.
        position: of the packet in the file.
        pid: identifier of the stream.

    Returns:
        0 if this picture lacks data, 1 if the next one does, None if all data is there.
    """
    picture, previous = -1, None
    jumped: tuple[int, int] | None = None  # the counter before a jump, and the picture
    for packet in _packets(path, position):
        if packet[0] != SYNC:  # other data, or data whose end is missing
            return min(max(picture, 0), 1)
        if int.from_bytes(packet[1:3]) & 0x1FFF != pid or not packet[3] & 0x10:
            continue
        starts, counter = bool(packet[1] & 0x40), packet[3] & 0x0F
        if starts and picture == 1 and jumped is None:
            return None
        picture += starts
        if packet[1] & 0x80:  # the receiver could not repair this packet
            return min(max(picture, 0), 1)
        if jumped is not None:
            before, damaged = jumped
            if counter == (previous or 0) + 1 & 0x0F and counter != before + 2 & 0x0F:
                return damaged
            jumped = None
        elif previous is not None and counter not in (previous, previous + 1 & 0x0F) and not starts:
            jumped = previous, min(max(picture, 0), 1)
        previous = counter
    return None if jumped is None else jumped[1]


def _packets(path: Path, position: int) -> Iterator[bytes]:
    """Packets of 188 bytes from a position on, each with the bytes that Blu-ray and DVB put between them."""
    with path.open("rb") as file:
        file.seek(position)
        head = file.read(4 + 204 + 1)
        # The position is that of the packet or, in Blu-ray, of the time before it.
        begin, size = next(
            (
                (begin, size)
                for begin in (0, 4)
                for size in (188, 192, 204)
                if head[begin : begin + 1] == head[begin + size : begin + size + 1] == bytes([SYNC])
            ),
            (0, 188),
        )
        file.seek(position + begin)
        for _ in range(LONGEST // size):
            data = file.read(size)[:188]
            if len(data) < 188:
                return
            yield data
