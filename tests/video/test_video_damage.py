"""Reading goes on over damage, says where it is, and gives the same frames every time."""

import av
import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.video import probe, read_frames
from toolkit.video.notes import VideoNote


def read(path, **options):
    notes: list[VideoNote] = []
    frames = list(read_frames(path, on_note=notes.append, **options))
    return frames, notes


def decoded(path):
    """Number of frames that FFmpeg's decoder gives without any care."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture(scope="module")
def transport(tmp_path_factory, picture, make_video):
    """Bytes of a transport stream with 30 frames and a key frame at every tenth; 188 bytes each from position 564."""
    rng = np.random.default_rng(0)
    noisy = [picture(128, 96, t) + rng.normal(0, 6, (96, 128, 3)) for t in range(30)]
    frames = [np.clip(image, 0, 255).astype(np.uint8) for image in noisy]
    path = make_video(tmp_path_factory.mktemp("transport") / "a.ts", frames, g=10, sc_threshold=0)
    return path.read_bytes()


@pytest.fixture(scope="module")
def with_longer_sound(mux):
    """``with_longer_sound(path)``: 8 pictures in 0.32 s and 0.6 s of sound."""

    def make(path):
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 28800), np.float32), "fltp", "mono")
        tone.sample_rate = 48000
        return mux(path, 8, "libx264", tone, "ac3")

    return make


def packets(data):
    """Positions of the video's packets, and whether each one begins a picture."""
    found = []
    for start in range(0, len(data), 188):
        if int.from_bytes(data[start + 1 : start + 3]) & 0x1FFF == 256:
            found.append((start, bool(data[start + 1] & 0x40)))
    return found


@pytest.fixture
def place(transport):
    """Position of a packet in the middle of the second key frame, picture 10."""
    starts = [number for number, (_, begins) in enumerate(packets(transport)) if begins]
    return packets(transport)[starts[10] + 3][0]


def test_a_lost_packet_is_damage(tmp_path, transport, place):
    (tmp_path / "a.ts").write_bytes(transport[:place] + transport[place + 188 :])
    frames, notes = read(tmp_path / "a.ts")
    assert len(frames) == 30 == decoded(tmp_path / "a.ts")
    assert [(note.kind, note.start, note.stop) for note in notes] == [("damaged frames", 10, 20)]
    assert notes[0].sentence.startswith("frames 10 to 19 (0.40 s to 0.76 s)")
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "a.ts", strict=True)
    # A stretch without the damage has no note, and may be read strictly if the damage comes later.
    assert read(tmp_path / "a.ts", start=20)[1] == [] and len(read(tmp_path / "a.ts", stop=5, strict=True)[0]) == 5


def test_a_lost_picture_is_damage(tmp_path, transport):
    starts = [start for start, begins in packets(transport) if begins]
    lost = [start for start, _ in packets(transport) if starts[13] <= start < starts[14]]
    kept = (transport[start : start + 188] for start in range(0, len(transport), 188) if start not in lost)
    (tmp_path / "a.ts").write_bytes(b"".join(kept))
    frames, notes = read(tmp_path / "a.ts")
    assert len(frames) == 29 and [note.kind for note in notes] == ["damaged frames"]
    assert 11 <= notes[0].start <= 15 and notes[0].stop == 19


def test_a_wrong_counter_alone_is_no_damage(tmp_path, transport, place):
    changed = bytearray(transport)
    changed[place + 3] ^= 5
    (tmp_path / "one.ts").write_bytes(changed)
    for start in range(0, len(changed), 188):
        changed[start + 3] &= 0xF0
    (tmp_path / "all.ts").write_bytes(changed)
    (tmp_path / "joined.ts").write_bytes(2 * transport)  # the second part counts from its own start
    for name, count in (("one.ts", 30), ("all.ts", 30), ("joined.ts", 60)):
        frames, notes = read(tmp_path / name, strict=True)
        assert len(frames) == count and {note.kind for note in notes} <= {"times repaired"}


def test_overwritten_packets_are_damage(tmp_path, transport, place):
    changed = bytearray(transport)
    changed[place : place + 3000] = np.random.default_rng(1).bytes(3000)
    (tmp_path / "a.ts").write_bytes(changed)
    frames, notes = read(tmp_path / "a.ts")
    assert 20 < len(frames) < 30 and "damaged frames" in {note.kind for note in notes}


def test_a_recording_that_begins_between_key_frames(tmp_path, transport):
    starts = [start for start, begins in packets(transport) if begins]
    (tmp_path / "a.ts").write_bytes(transport[:564] + transport[starts[4] :])
    frames, notes = read(tmp_path / "a.ts")
    assert len(frames) == 20 and frames[0].time == pytest.approx(0.28) and probe(tmp_path / "a.ts").width == 128
    assert [note.kind for note in notes] == ["late start"]
    assert "first 6 pictures" in notes[0].sentence and "0.28 s" in notes[0].sentence
    (tmp_path / "short.ts").write_bytes(transport[:564] + transport[starts[4] : starts[14]])
    frames, notes = read(tmp_path / "short.ts")  # most pictures are not damaged but from before the recording
    assert len(frames) == 4 and [note.kind for note in notes] == ["late start"]


def test_pictures_that_the_decoder_drops_without_an_error_are_counted(tmp_path, picture, make_video):
    path = make_video(tmp_path / "a.mp4", [picture(64, 48, t) for t in range(12)], g=6, bf=2, sc_threshold=0)
    with av.open(str(path)) as container:
        found = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in found[2:5]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    frames, notes = read(path)
    missing = 12 - len(frames)
    assert missing and [note.kind for note in notes] == ["damaged frames"]
    assert f"{missing} picture" in notes[0].sentence


def test_missing_pictures_at_the_end_are_said(tmp_path, picture, make_video):
    path = make_video(tmp_path / "a.mov", [picture(64, 48, t) for t in range(12)], "mjpeg", "yuvj420p")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][11]
    data = bytearray(path.read_bytes())
    data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    assert "1 picture after frame 10 (0.40 s)" in read(path)[1][0].sentence


@pytest.mark.parametrize("suffix", ["ts", "m2ts"])
def test_a_gap_of_pictures_at_a_join_is_no_damage(tmp_path, with_longer_sound, suffix):
    part = with_longer_sound(tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"joined.{suffix}").write_bytes(3 * part)
    frames, notes = read(tmp_path / f"joined.{suffix}", strict=True)
    assert len(frames) == 24 and [note.kind for note in notes] == ["times repaired"]


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_a_late_or_slow_clock_is_no_missing_end(tmp_path, picture, make_video, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    images = [picture(64, 48, t) for t in range(10)]
    late = [5_000_000 + 40 * number for number in range(10)]
    slow = [40 * number + (60_000 if number > 7 else 0) for number in range(10)]
    for name, ticks in (("late", late), ("slow", slow)):
        assert read(make_video(tmp_path / f"{name}.{suffix}", images, codec, ticks=ticks))[1] == []


def test_pictures_that_cannot_be_decoded_are_left_out(tmp_path, picture, make_video):
    path = make_video(tmp_path / "a.mov", [picture(64, 48, t) for t in range(12)], "mjpeg", "yuvj420p")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][5]
    data = bytearray(path.read_bytes())
    data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    frames, notes = read(path)
    assert [round(frame.time / 0.04) for frame in frames] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [(note.start, note.stop) for note in notes] == [(5, 6)] and "1 picture before frame 5" in notes[0].sentence
    with pytest.raises(InputError, match="damaged at frame 5"):
        read(path, strict=True)


def test_a_video_that_is_mostly_damaged_is_refused(tmp_path, picture, make_video):
    path = make_video(tmp_path / "a.mov", [picture(64, 48, t) for t in range(12)], "mjpeg", "yuvj420p")
    with av.open(str(path)) as container:
        found = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in found[3:11]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(InputError, match="only 4 of its 12 frames"):
        read(path)


def test_many_places_are_summed_up(tmp_path, picture, make_video):
    path = make_video(tmp_path / "a.mov", [picture(64, 48, t) for t in range(60)], "mjpeg", "yuvj420p", fps=2)
    with av.open(str(path)) as container:
        found = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in found[2::4]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    notes = read(path)[1]
    assert len(notes) == 11 and notes[-1].sentence.startswith("5 more places")


def test_a_second_video_stream_is_said(tmp_path, small_mp4):
    with av.open(str(small_mp4)) as source, av.open(str(tmp_path / "a.mkv"), "w") as target:
        copies = [target.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for stream in copies:
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    assert [note.kind for note in read(tmp_path / "a.mkv")[1]] == ["stream ignored"]


REAL = [
    ("dvr_one_lost_packet.ts", 32, [("damaged frames", 12, 24)]),
    ("dvr_bitrot.mp4", 32, [("damaged frames", 19, 24)]),
    ("concat_two.vob", 20, [("times repaired", None, None)]),
    ("multi_two_video.mkv", 10, [("stream ignored", None, None)]),
    ("edl_trim_end.mp4", 5, []),
    ("ts_late.ts", 10, []),
]


@pytest.mark.parametrize("name, count, expected", REAL)
def test_real_cases(shared, name, count, expected):
    path = shared(f"cases/{name}")
    frames, notes = read(path)
    assert [(note.kind, note.start, note.stop) for note in notes] == expected
    assert len(frames) == count and (np.diff([frame.time for frame in frames]) > 0).all()
    assert 0 <= frames[0].time < 0.1 and frames[-1].time < 1.5
    again = [frame.image for frame in read(path)[0]]
    assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, again, strict=True))
