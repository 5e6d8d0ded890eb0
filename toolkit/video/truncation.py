"""How long a file says it is: containers that state their size reveal that the end is missing."""

from __future__ import annotations

from pathlib import Path

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> int:
    """Bytes that the outermost structure of an MP4, MOV, Matroska, WebM or AVI file states and the file lacks.

    0 for a whole file, for one whose size is not stated (a live recording) and for other kinds.
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


def _matroska_end(file) -> int:
    """Where the segment ends (RFC 8794: an identifier, then a length of 1 to 8 bytes)."""
    file.seek(4)
    file.seek(_length(file) or 0, 1)
    if file.read(4) != SEGMENT:
        return 0
    length = _length(file)
    return 0 if length is None else file.tell() + length


def _length(file) -> int | None:
    """An EBML length; None where it is left open, as in a live recording."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more))
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _mp4_end(file, size: int) -> int:
    """Where the last box with pictures or an index ends (ISO 14496-12, 4.2)."""
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
