"""Compares a file's size with the size that its container states, to detect a missing end."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> int:
    """Number of bytes missing at the end of an MP4, MOV, Matroska, WebM or AVI file.

    0 if the file is complete, states no size (as live recordings do) or has another format.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            stated = int.from_bytes(head[4:8], "little")
            return 0 if stated == 0xFFFFFFFF else max(0, 8 + stated - size)
        if head[:4] == EBML:
            return max(0, _matroska_end(file) - size)
        return max(0, _mp4_end(file, size) - size)


def _matroska_end(file: BinaryIO) -> int:
    """Position of the segment's end (RFC 8794: an identifier, then a length of 1 to 8 bytes)."""
    file.seek(4)
    file.seek(_length(file) or 0, 1)
    if file.read(4) != SEGMENT:
        return 0
    length = _length(file)
    return 0 if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """An EBML length; None if it is unknown, as in a live recording."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more))
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Position of the end of the last box that holds pictures or an index (ISO 14496-12, 4.2)."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length < 8:
            return 0
        position += length
        if position > size:
            return position if kind in (b"mdat", b"moov", b"moof") else 0
    return 0
