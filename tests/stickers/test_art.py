"""Sticker art: the embedded looks, a user's folder, and the source that chooses between them."""

import collections
import pickle
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from attributes.stickers.art import ArtBox, Sticker, draw, embedded_art, load_art, open_art
from attributes.stickers.art.canvas import Canvas
from attributes.stickers.art.drawn import _looks
from attributes.stickers.art.folder import read_sticker
from toolkit.errors import InputError, UsageError
from toolkit.seeds import generator


@pytest.fixture(scope="module")
def drawn():
    return {name: draw(name, generator("art", name)) for name in embedded_art()}


def dot(size=(40, 30), colour=(200, 30, 60, 255)):
    """A coloured rectangle with a transparent border, RGBA."""
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    picture.paste(colour, (10, 10, size[0] - 10, size[1] - 10))
    return picture


def test_set_is_large_and_of_every_kind(drawn):
    kinds = collections.Counter(s.kind for s in drawn.values())
    least = {"shape": 14, "emoji": 16, "label": 8, "tattoo": 10, "translucent": 6, "glitter": 6, "text": 8}
    assert len(embedded_art()) == len(set(embedded_art())) >= 72
    assert set(kinds) == set(least)
    assert all(kinds[kind] >= count for kind, count in least.items()), kinds
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in embedded_art())


@pytest.mark.parametrize("name", embedded_art())
def test_look_is_a_proper_sticker(drawn, name):
    sticker = drawn[name]
    alpha = sticker.rgba[..., 3]
    assert sticker.name == name and 0 <= sticker.gloss <= 1
    assert sticker.rgba.dtype == np.uint8 and sticker.rgba.shape[2] == 4
    assert 200 <= max(alpha.shape) <= 256
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert not border.any()
    assert min(alpha[1].max(), alpha[-2].max(), alpha[:, 1].max(), alpha[:, -2].max()) > 0, "not trimmed"
    assert ((alpha > 0) & (alpha < 255)).any(), "edge is not antialiased"
    assert (alpha > 25).mean() > 0.04, "next to nothing is drawn"


@pytest.mark.parametrize("name", embedded_art())
def test_look_lies_within_the_canvas(name):
    canvas = Canvas()
    _looks()[name].paint(canvas, generator("edge", name))
    edge = np.concatenate([canvas.alpha[0], canvas.alpha[-1], canvas.alpha[:, 0], canvas.alpha[:, -1]])
    assert edge.max() < 0.02, "cut off at the edge"


@pytest.mark.parametrize("name", embedded_art()[::5])
def test_same_generator_same_bytes_and_others_differ(drawn, name):
    again = draw(name, generator("art", name))
    assert again.rgba.tobytes() == drawn[name].rgba.tobytes()
    others = [draw(name, generator("other", i)).rgba.tobytes() for i in range(3)]
    assert any(other != again.rgba.tobytes() for other in others)


def test_looks_differ_from_each_other(drawn):
    assert len({s.rgba.tobytes() for s in drawn.values()}) == len(drawn)


def test_kinds_have_the_alpha_of_their_material(drawn):
    def middle_alpha(s):
        alpha = s.rgba[..., 3]
        return float(np.median(alpha[alpha > 40]))

    assert all(middle_alpha(s) > 250 for s in drawn.values() if s.kind in ("shape", "emoji", "glitter"))
    assert all(20 < middle_alpha(s) < 215 for s in drawn.values() if s.kind == "translucent")
    for s in drawn.values():
        if s.kind == "tattoo":
            ink = s.rgba[s.rgba[..., 3] > 128]
            assert ink[:, :3].mean() < 60, f"{s.name} has a light backing"
            assert s.rgba[..., 3].max() < 250 and s.gloss == 0


def test_unknown_look_is_refused():
    with pytest.raises(UsageError, match=r"'unicorn'.*choose from star, heart"):
        draw("unicorn", generator(0))


def test_folder_is_sorted_flat_and_lazy(tmp_path):
    for name in ("b.png", "a.webp", "C.PNG"):
        dot().save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a sticker")
    (tmp_path / ".hidden.png").write_text("not a sticker")
    (tmp_path / "sub").mkdir()
    dot().save(tmp_path / "sub" / "d.png")
    (tmp_path / "z.png").write_bytes(b"broken")
    art = load_art(tmp_path)
    assert len(art) == 4
    assert [art[i].name for i in range(3)] == ["C", "a", "b"]
    assert [s.name for s in art[1:3]] == ["a", "b"]
    with pytest.raises(InputError, match=r"z\.png"):
        art[3]


def test_picture_is_trimmed_and_keeps_its_colours(tmp_path):
    dot().save(tmp_path / "a.png")
    sticker = read_sticker(tmp_path / "a.png")
    assert sticker.rgba.shape == (10 + 2, 20 + 2, 4)
    assert (sticker.rgba[1:-1, 1:-1] == (200, 30, 60, 255)).all()
    assert not sticker.rgba[[0, -1], :, 3].any() and not sticker.rgba[:, [0, -1], 3].any()
    assert sticker.kind == "file"


def test_large_picture_is_reduced_without_fringe(tmp_path):
    picture = Image.new("RGBA", (1500, 700), (0, 255, 0, 0))
    picture.paste((250, 250, 250, 255), (100, 50, 1400, 650))
    picture.save(tmp_path / "a.png")
    rgba = read_sticker(tmp_path / "a.png").rgba
    assert rgba.shape[1] == 512 and rgba.shape[0] == 2 + round(600 * 510 / 1300)
    seen = rgba[rgba[..., 3] > 0]
    assert (np.abs(seen[:, :3].astype(int) - 250) <= 2).all(), "hidden green bleeds into the edge"


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_animation_gives_its_first_frame(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [dot(colour=(250, 0, 0, 255)), dot(colour=(0, 0, 250, 255))]
    for frame in frames:
        frame.putpixel((15, 12), (250, 250, 250, 90))
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(read_sticker(path).rgba[5, 5]) == (250, 0, 0, 255)


def test_palette_and_grey_with_transparency(tmp_path):
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.paste(1, (5, 5, 15, 15))
    palette.save(tmp_path / "palette.png", transparency=0)
    assert tuple(read_sticker(tmp_path / "palette.png").rgba[5, 5]) == (10, 200, 30, 255)
    dot().convert("LA").save(tmp_path / "grey.png")
    red, green, blue, alpha = read_sticker(tmp_path / "grey.png").rgba[5, 5]
    assert red == green == blue > 0 and alpha == 255


def png(width, height, depth, colour_type, rows, *chunks):
    """A PNG file written by hand, for what Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = b"".join(chunk(kind, data) for kind, data in chunks)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_sixteen_bits(tmp_path):
    pixel = struct.pack(">HHHH", 0x8000, 0x4000, 0xFFFF, 0xFFFF)
    (tmp_path / "rgba.png").write_bytes(png(4, 4, 16, 6, [pixel * 4] * 4))
    assert tuple(read_sticker(tmp_path / "rgba.png").rgba[2, 2]) == (0x80, 0x40, 0xFF, 0xFF)
    grey = [struct.pack(">4H", 0, 0x8000, 0x8000, 0)] * 4
    (tmp_path / "grey.png").write_bytes(png(4, 4, 16, 0, grey, (b"tRNS", struct.pack(">H", 0))))
    rgba = read_sticker(tmp_path / "grey.png").rgba
    assert rgba.shape == (6, 4, 4) and tuple(rgba[2, 1]) == (0x80, 0x80, 0x80, 255)


def test_decompression_bomb_is_refused_from_its_header(tmp_path):
    (tmp_path / "a.png").write_bytes(png(50_000, 50_000, 8, 6, [b""]))
    with pytest.raises(InputError, match=r"at most 64 megapixels.*a\.png"):
        read_sticker(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(9_000, 9_000, 8, 6, [b""]))
    with pytest.raises(InputError, match=r"found 9000x9000"):
        read_sticker(tmp_path / "b.png")


@pytest.mark.parametrize(
    "picture, sentence",
    [
        (Image.new("RGB", (8, 8)), "save it with transparency"),
        (Image.new("L", (8, 8)), "save it with transparency"),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "found only transparent pixels"),
    ],
)
def test_picture_without_use_is_refused(tmp_path, picture, sentence):
    picture.save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png.*{sentence}|{sentence}.*a\.png"):
        read_sticker(tmp_path / "a.png") if "only" not in sentence else load_art(tmp_path)[0]


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_damaged_files_never_escape_as_anything_else(tmp_path, suffix):
    rng = generator("damage", suffix)
    texture = rng.integers(0, 256, (64, 64, 4), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(texture).save(path, lossless=True)
    whole = path.read_bytes()
    for length in (0, 1, 7, 20, 40, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"a\.{suffix}"):
            read_sticker(path)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole) if rng.random() < 0.5 else 60, 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert isinstance(read_sticker(path), Sticker)
        except InputError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 30


def test_other_format_under_a_png_name_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", format="BMP")
    with pytest.raises(InputError, match="expected a PNG or WebP picture"):
        read_sticker(tmp_path / "a.png")


def test_folder_without_use_is_refused(tmp_path):
    with pytest.raises(InputError, match="found none; put pictures"):
        load_art(tmp_path)
    with pytest.raises(InputError, match="cannot read the sticker folder"):
        load_art(tmp_path / "absent")
    dot().save(tmp_path / "a.png")
    with pytest.raises(InputError, match="found a file"):
        open_art(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").mkdir()
    with pytest.raises(InputError, match="found none"):
        load_art(tmp_path)


def test_box_of_the_embedded_set(drawn):
    box = pickle.loads(pickle.dumps(open_art()))
    assert len(box) == len(drawn) == len(open_art("embedded"))
    chosen = [box.choose(generator("box", i)) for i in range(12)]
    assert len({s.name for s in chosen}) > 6
    assert chosen[3].rgba.tobytes() == ArtBox().choose(generator("box", 3)).rgba.tobytes()


def test_box_of_a_folder(tmp_path):
    for name in "abc":
        dot().save(tmp_path / f"{name}.png")
    box = pickle.loads(pickle.dumps(open_art(str(tmp_path))))
    assert {box.choose(generator(i)).name for i in range(30)} == {"a", "b", "c"}


def test_real_stickers(shared):
    art = load_art(shared("stickers/noto"))
    assert len(art) > 100
    for sticker in art:
        assert 30 < max(sticker.rgba.shape[:2]) <= 512
        assert (sticker.rgba[..., 3] > 128).mean() > 0.05
        assert sticker.name.startswith("emoji_u")
