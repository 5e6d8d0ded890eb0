"""Seeded damage: of any bytes, and of the formats that the toolkit reads. Each function returns the new content."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from typing import Any

HOSTILE = (
    *(None, True, -1, 0, 1, 7, 2**31 - 1, 2**31, 2**63, 10**30, -(10**9), 1e308, 0.5, float("nan"), float("inf")),
    *("", "x", "../../canary", "/etc/passwd", "a/b", "\x00", "é\ud800", "<script>alert(1)</script>", "\x1b[31mred"),
    *("y" * 5000, "os.system", "__import__('os')", "https://example.invalid/x", "~", ".", "..", "CON", "%s%n", "{0.x}"),
    *([], {}, [[]], [None], {"a": {}}, [1, 2, 3], ["x"], [-1, -1], {"__class__": "os.system"}, [0] * 3000),
)
"""Values that a file from a stranger may hold."""
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change a few bits, bytes or stretches of any file."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        _damage_once(changed, rng)
    return bytes(changed)


def _damage_once(data: bytearray, rng: random.Random) -> None:
    # Headers matter most.
    length = len(data)
    at = rng.randrange(max(1, rng.choice((64, 512, 4096, length))) if length else 1) % max(1, length)
    size = rng.choice((1, 2, 4, 16, 188, 1000, 5000))
    match rng.randrange(9):
        case 0 if length:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at : at + size] = rng.randbytes(size)
        case 2:
            data[at : at + size] = bytes(min(size, length - at))
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size]
        case 5:
            del data[rng.randrange(length + 1) :]
        case 6:
            number = rng.choice(_NUMBERS)
            width = rng.choice((1, 2, 4, 8))
            packed = (number & (1 << 8 * width) - 1).to_bytes(width, rng.choice(("big", "little")))
            data[at : at + width] = packed
        case 7:
            data += rng.randbytes(size)
        case _:
            other = rng.randrange(length + 1)
            data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]


def boxes(data: bytes, rng: random.Random) -> bytes:
    """Change the boxes of an MP4 or MOV file: sizes, kinds, order, numbers in small ones."""
    found = list(_boxes(data, 0, len(data)))
    if not found:
        return damage(data, rng)
    changed = bytearray(data)
    start, size, kind, _ = rng.choice(found)
    match rng.randrange(7):
        case 0:
            changed[start : start + 4] = struct.pack(
                ">I", rng.choice((0, 1, 7, 8, 9, size - 1, size + 1, 2**31, 2**32 - 1))
            )
        case 1:
            changed[start + 4 : start + 8] = rng.choice(found)[2]
        case 2:
            del changed[start : start + size]
        case 3:
            changed[start:start] = data[start : start + size]
        case 4:
            other = rng.choice(found)
            changed[start : start + size] = data[other[0] : other[0] + other[1]]
        case 5:
            small = [box for box in found if box[1] < 2000] or found
            start, size, _, _ = rng.choice(small)
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(start + 8, max(start + 9, start + size - 3))
                changed[at : at + 4] = struct.pack(">I", rng.choice(_NUMBERS) & 0xFFFFFFFF)
        case _:
            deep = struct.pack(">I4s", size + 8, kind) * rng.choice((1, 50, 3000))
            changed[start:start] = deep
    return bytes(changed)


_HOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf", b"moof", b"traf", b"mvex"}


def _boxes(data: bytes, start: int, end: int, depth: int = 0):
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            return
        yield start, size, kind, depth
        if kind in _HOLDERS:
            yield from _boxes(data, start + 8, start + size, depth + 1)
        start += size


def png(data: bytes, rng: random.Random) -> bytes:
    """Change the chunks of a PNG, with right checksums, so that readers look further."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    if not chunks:
        return damage(data, rng)
    match rng.randrange(7):
        case 0:
            size = rng.choice((0, 1, 3, 63, 65, 5000, 20000, 65535, 2**31 - 1, 2**31))
            head = bytearray(chunks[0][1])
            where = rng.choice((0, 4))
            head[where : where + 4] = struct.pack(">I", size)
            chunks[0][1] = bytes(head)
        case 1:
            head = bytearray(chunks[0][1])
            head[rng.randrange(8, 13)] = rng.randrange(256)
            chunks[0][1] = bytes(head)
        case 2:
            chunk = rng.choice(chunks)
            chunk[1] = damage(chunk[1], rng)
        case 3:
            del chunks[rng.randrange(len(chunks))]
        case 4:
            chunks.insert(
                1,
                [rng.choice((b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"acTL")), rng.randbytes(rng.choice((0, 3, 6, 768)))],
            )
        case 5:
            text = b"k\0\0" + zlib.compress(bytes(60_000_000))
            chunks.insert(1, [rng.choice((b"zTXt", b"iCCP")), text])
        case _:
            bomb = zlib.compress(bytes(60_000_000))
            chunks = [[kind, bomb if kind == b"IDAT" else body] for kind, body in chunks]
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def json_value(value: Any, rng: random.Random) -> Any:
    """Change one value of a JSON document, wherever it lies."""
    paths = list(_paths(value))
    path = rng.choice(paths)
    match rng.randrange(5):
        case 0 | 1 | 2:
            return _changed(value, path, lambda _: rng.choice(HOSTILE))
        case 3:
            return _changed(value, path, None)
        case _:
            return _changed(value, path, lambda found: _grown(found, rng))


def json_text(data: bytes, rng: random.Random) -> bytes:
    """Change a JSON file: its values, or its text."""
    if rng.random() < 0.75:
        try:
            changed = json.loads(data)
            for _ in range(rng.choice((1, 1, 1, 3))):
                changed = json_value(changed, rng)
            return json.dumps(changed).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError):
            pass
    match rng.randrange(6):
        case 0:
            return b"[" * 100_000 + b"]" * 100_000
        case 1:
            return b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        case 2:
            return rng.choice(
                (b"", b"null", b"[]", b"0", b'"x"', b"\xff\xfe{\0}\0", b"\xef\xbb\xbf" + data, b"1" * 5000)
            )
        case 3:
            return data.replace(b":", b': 1e999, "x":', 1)
        case 4:
            return b"!!python/object/apply:os.system ['touch canary']\n" + data
        case _:
            return damage(data, rng)


def _grown(found: Any, rng: random.Random) -> Any:
    if isinstance(found, dict):
        return {
            **found,
            rng.choice(("x", "_class_name", "__proto__", "auto_map", "custom_pipeline")): rng.choice(HOSTILE),
        }
    if isinstance(found, list):
        return found + [rng.choice(HOSTILE)] * rng.choice((1, 5))
    if isinstance(found, bool) or found is None:
        return rng.choice(HOSTILE)
    if isinstance(found, int | float):
        return found * rng.choice((-1, 0, 2, 1000, 10**9, 10**20)) + rng.choice((0, 1, 0.5))
    return found + rng.choice((" ", "/..", "\n", "é", "\0", "x" * 300))


def _paths(value: Any, path: tuple = ()):
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in list(enumerate(value))[:20]:
            yield from _paths(item, (*path, index))


def _changed(value: Any, path: tuple, change: Callable[[Any], Any] | None) -> Any:
    """The value with one place changed; removed if `change` is None."""
    if not path:
        return change(value) if change else None
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and change is None:
        del copy[path[0]]
    else:
        copy[path[0]] = _changed(value[path[0]], path[1:], change)
    return copy


def safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file, or its length, or the numbers."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header, body = dict(json.loads(data[8 : 8 + length])), data[8 + length :]
    except (struct.error, ValueError, TypeError):  # it was changed before
        return damage(data, rng)
    match rng.randrange(6):
        case 0:
            return (
                struct.pack("<Q", rng.choice((0, 1, max(0, length - 1), length + 1, 2**31, 2**40, 2**63, 2**64 - 1)))
                + data[8:]
            )
        case 1 if header:
            name = rng.choice(list(header))
            entry = header[name]
            if isinstance(entry, dict) and "shape" in entry:
                entry[rng.choice(("shape", "data_offsets", "dtype"))] = rng.choice(
                    ([2**40], [2**32, 2**32], [0], [-1], [], [1, 2**62], "F64", "BOOL", "Q9", [0, 2**50], [10, 5])
                )
        case 2 if header:
            name = rng.choice(list(header))
            header[rng.choice(("x", "", "../x", name + ".y"))] = header.pop(name)
        case 3:
            header = json_value(header, rng)
        case 4:
            number = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38, -1e38)))
            body = number * (len(body) // 4)
        case _:
            return damage(data, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def tar(data: bytes, rng: random.Random) -> bytes:
    """Change the members of a tar file: names that climb, links, kinds, sizes, missing and double ones."""
    members = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            members.append((member, file.read() if file else b""))
    if not members:
        return damage(data, rng)
    at = rng.randrange(len(members))
    member, content = members[at]
    match rng.randrange(8):
        case 0:
            member.name = rng.choice(
                ("../../canary", "/tmp/canary", "a/../../canary", "x" * 300, "é.png", "a\nb.json", "nodot")
            )
        case 1:
            member.type, member.linkname = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), "/etc/passwd"
        case 2:
            member.type = rng.choice((tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE))
        case 3:
            del members[at]
        case 4:
            members.insert(at, (member, content))
        case 5:
            change = json_text if member.name.endswith("json") else png
            content = change(content, rng)
            member.size = len(content)
            members[at] = member, content
        case 6:
            rng.shuffle(members)
        case _:
            return damage(data, rng)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as archive:
        for member, content in members:
            if not member.isreg():
                member.size = 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return packed.getvalue()
