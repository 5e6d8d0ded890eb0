"""Datasets from strangers: nothing runs, nothing outside is read, and memory stays small; each is one sentence."""

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pytest

from toolkit.dataset.check import check_dataset
from toolkit.dataset.png import SIGNATURE, _chunk, decode_png, encode_png
from toolkit.dataset.reader import read_samples
from toolkit.errors import InputError

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs Linux's /proc")


def first_shard(root):
    return root / json.loads((root / "manifest.json").read_text())["shards"][0]["path"]


def refused(root):
    """The sentence of reading everything. The check must list problems, not fall over."""
    with pytest.raises(InputError) as caught:
        for sample in read_samples(root):
            for name in ("image", "conditioning_image", "mask"):
                sample.picture(name)
    problems = check_dataset(root).problems
    assert problems and all("\n" not in text and len(text) < 2000 for text in [*problems, str(caught.value)])
    return str(caught.value)


def header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = "/etc/hostname" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    data = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    data[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(data))[0]
    return bytes(data)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"S", b"\x7f"]
)
def test_members_that_are_no_files(copy, kind):
    root = copy("webdataset")
    first_shard(root).write_bytes(header("a.image.png", 0, kind) + bytes(1024))
    assert "is damaged" in refused(root)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [-512, -(2**40), 2**33, 2**62, 2**70])
def test_members_that_state_absurd_sizes(copy, kind, size):
    root = copy("webdataset")
    before = first_shard(root).read_bytes().rstrip(b"\0")
    before += bytes(-len(before) % 512)
    for data in (header("a.json", size, kind) + before, before + header("a.json", size, kind) + bytes(1024)):
        first_shard(root).write_bytes(data)
        assert "is damaged" in refused(root)


def test_long_rows_in_a_tar(copy):
    root = copy("webdataset")
    first_shard(root).write_bytes(header("a.json", 2_000_000) + b" " * 2_000_384 + bytes(1024))
    assert "longer than" in refused(root)


@pytest.mark.parametrize("packed", ["gzip", "bz2", "xz"])
def test_packed_tars_are_not_unpacked(copy, packed):
    import bz2
    import gzip
    import lzma

    root = copy("webdataset")
    pack = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[packed]
    first_shard(root).write_bytes(pack(bytes(5_000_000)))
    assert "is damaged" in refused(root)


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
@pytest.mark.parametrize("level", ["data", "split", "shard"])
def test_links_to_elsewhere(copy, originals, tmp_path, format, level):
    root = copy(format)
    shard = first_shard(root)
    path = {"data": root / "data", "split": shard.parent, "shard": shard}[level]
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "is a link, but a dataset must consist of plain files" in refused(root)


def test_pictures_that_are_links_pipes_or_devices(copy):
    root = copy("imagefolder")
    picture = sorted(first_shard(root).glob("*_mask.png"))[0]
    picture.unlink()
    picture.symlink_to("/etc/hostname")
    assert "is a link" in refused(root)
    picture.unlink()
    os.mkfifo(picture)
    assert "regular file" in refused(root)


@needs_proc
def test_shards_that_cannot_be_read(copy):
    root = copy("webdataset")
    shard = first_shard(root)
    shard.unlink()
    shard.symlink_to("/proc/self/mem")  # a plain file, whose first byte is an input/output error
    problems = check_dataset(root).problems
    assert f"{shard.relative_to(root).as_posix()} cannot be read: Input/output error" in problems


def test_rows_that_are_no_json(copy):
    root = copy("imagefolder")
    metadata = first_shard(root) / "metadata.jsonl"
    row, *rest = metadata.read_text().splitlines()
    for old, new, words in (
        ('"time": 0.0', '"time": NaN', "NaN is no number"),
        ('"time": 0.0', '"time": -Infinity', "-Infinity is no number"),
        ('"seed": 0', f'"seed": {"9" * 5000}', "is not JSON"),
        ('"seed": 0', '"seed": ' + "[" * 200_000, "nested too deeply"),
        ('"task": "blot"', '"task": "\\ud800"', "is not JSON"),
    ):
        assert old in row
        metadata.write_text("\n".join([row.replace(old, new), *rest]))
        assert words in refused(root)


def test_values_that_a_terminal_would_obey(copy):
    root = copy("imagefolder")
    metadata = first_shard(root) / "metadata.jsonl"
    row, *rest = metadata.read_text().splitlines()
    changed = json.loads(row) | {"clip_id": "\x1b]0;x\x07\n" * 999, "face_box": "x" * 100_000, "seed": 10**400}
    metadata.write_text("\n".join([json.dumps(changed), *rest]))
    problems = check_dataset(root).problems
    assert any("face_box must be list" in problem for problem in problems)
    assert any("seed must be int" in problem for problem in problems)
    assert all(problem.isprintable() and len(problem) < 2000 for problem in problems)


def png(width, height, depth=8, color=2, interlace=0, body=b"", extra=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return SIGNATURE + _chunk(b"IHDR", head) + extra + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


SQUARE = zlib.compress(bytes(64 * (1 + 64 * 3)))


@pytest.mark.parametrize(
    "data",
    [
        png(0, 0, body=SQUARE),
        png(2**31 - 1, 2**31 - 1, body=SQUARE),
        png(4097, 1, body=SQUARE),
        png(64, 64, depth=16, body=SQUARE),
        png(64, 64, color=3, body=SQUARE),
        png(64, 64, color=6, body=SQUARE),
        png(64, 64, interlace=1, body=b""),
        png(64, 64, body=b"no zlib"),
        SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR" + bytes(30),
        b"GIF89a" + bytes(50),
        b"",
    ],
)
def test_pictures_of_other_kinds(data):
    with pytest.raises(ValueError, match="not a readable"):
        decode_png(data)


def test_animations_are_refused():
    """Some decoders show another picture than others."""
    data = encode_png(np.full((64, 64, 3), 7, np.uint8))
    with pytest.raises(ValueError, match="not a readable"):
        decode_png(data[:33] + _chunk(b"acTL", struct.pack(">II", 2, 0)) + data[33:])


BOMBS = """
import sys
from pathlib import Path
from toolkit.dataset.png import decode_png
for path in sys.argv[1:]:
    try:
        print(decode_png(Path(path).read_bytes()).shape)
    except ValueError as error:
        print(error)
# Not ru_maxrss, which begins at the peak of the parent.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def zeros(size):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


@needs_proc
def test_bombs(tmp_path):
    """Small files that unpack to much: pixels, text and colour profiles."""
    much = zeros(200 << 20)
    bombs = {
        "pixels": png(64, 64, body=much),
        "text": png(64, 64, body=SQUARE, extra=_chunk(b"zTXt", b"k\0\0" + much)),
        "profile": png(64, 64, body=SQUARE, extra=_chunk(b"iCCP", b"k\0\0" + much)),
        "side": png(4096, 4096, body=zeros(4096 * (1 + 4096 * 3))),
    }
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, *(tmp_path / name for name in bombs)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) < 400  # MiB


def test_nothing_is_written(copy, tmp_path):
    root = copy("webdataset")
    with tarfile.open(first_shard(root), "w") as tar:
        for name in ("../escaped.png", "/tmp/escaped.png", "a/../../escaped.png", "c:\\escaped.png"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    before = set(tmp_path.rglob("*"))
    assert "is not a plain file" in refused(root)
    assert set(tmp_path.rglob("*")) == before
