"""The PNG writer: every reader gives back the pixels that went in."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toolkit.dataset.png import decode_png, encode_png


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    grey=st.booleans(),
    smooth=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_in_every_reader(height, width, grey, smooth, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((height, width)) < 0.5 if grey else rng.integers(0, 256, (height, width, 3), np.uint8)
    if smooth and not grey:
        image = np.cumsum(image % 3, axis=0, dtype=np.uint8)
    data = encode_png(image)
    wanted = image.astype(np.uint8) * 255 if grey else image
    with Image.open(io.BytesIO(data)) as opened:
        opened.verify()
    opened = Image.open(io.BytesIO(data))
    assert (opened.format, opened.mode) == ("PNG", "L" if grey else "RGB")
    assert np.array_equal(np.asarray(opened), wanted)
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read if grey else read[..., ::-1], wanted)
    assert np.array_equal(decode_png(data), wanted)


def test_views_and_read_only_pictures():
    base = np.arange(20 * 30 * 4, dtype=np.uint8).reshape(20, 30, 4)
    base.flags.writeable = False
    for view in (base[::2, ::3, :3], base[::-1, :, 2::-1], base.transpose(1, 0, 2)[..., 1:]):
        assert np.array_equal(decode_png(encode_png(view)), view)
    mask = (base[..., 0] > 99)[::2, ::2]
    assert np.array_equal(decode_png(encode_png(mask)) > 127, mask)


def test_the_same_picture_gives_the_same_bytes_in_one_chunk_of_data():
    image = np.random.default_rng(1).integers(0, 9, (64, 64, 3), np.uint8)
    data = encode_png(image)
    assert data == encode_png(image.copy())
    length, kind = struct.unpack(">I4s", data[33:41])
    assert kind == b"IDAT"
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(64, -1)
    assert (rows[:, 0] == 2).all()  # every row has the filter "up"


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), bool),
    ],
    ids=["float", "grey bytes", "alpha", "no rows", "no columns"],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, 3\] or bool \[H, W\]"):
        encode_png(image)


def deep():
    return cv2.imencode(".png", np.full((8, 8), 40000, np.uint16))[1].tobytes()


def alpha():
    return cv2.imencode(".png", np.zeros((8, 8, 4), np.uint8))[1].tobytes()


@pytest.mark.parametrize("data", [b"", b"dear diary", deep(), alpha()], ids=["empty", "text", "16 bit", "alpha"])
def test_what_is_no_such_png_is_an_error(data):
    with pytest.raises(ValueError, match="not a readable"):
        decode_png(data)


def test_a_bomb_is_refused_before_it_is_unpacked():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ValueError, match="at most 4096"):
        decode_png(b"\x89PNG\r\n\x1a\n" + chunk)
