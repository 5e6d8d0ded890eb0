"""Times begin where the source begins, and pictures and sound share one origin."""

from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.video.container import open_video
from toolkit.video.timing import Timeline, start_of


def start(path):
    with open_video(path) as (container, video):
        return float(start_of(container, video))


@pytest.fixture(scope="module")
def with_sound(picture, small_mp4):
    """``with_sound(path, picture_start, sound_start)``: 20 frames at 25 a second and 0.8 s of AAC sound."""

    def make(path, picture_start=0, sound_start=0, **options):
        with av.open(str(small_mp4)) as source, av.open(str(path), "w", **options) as target:
            video = target.add_stream_from_template(source.streams.video[0])
            sound = target.add_stream("aac", rate=48000)
            packets = []
            for packet in source.demux(video=0):
                if packet.size:
                    shift = round(picture_start / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, video
                    packets.append(packet)
            tone = np.sin(np.arange(38400) / 20).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(0.2 * tone[None], "fltp", "mono")
            frame.sample_rate, frame.pts = 48000, round(sound_start * 48000)
            packets += [*sound.encode(frame), *sound.encode(None)]
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                target.mux(packet)
        return path

    return make


LATE = {"output_ts_offset": "40000"}


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.m2ts"])
def test_a_late_clock_begins_with_the_earliest_stream(tmp_path, with_sound, name):
    assert start(with_sound(tmp_path / name, options=LATE)) == pytest.approx(40000, abs=0.2)


def test_a_clock_that_turns_over_begins_at_zero(tmp_path, with_sound):
    """A transport stream's clock has 33 bits, which last for 26.5 hours."""
    pictures, sound, _ = read(with_sound(tmp_path / "a.ts", options={"output_ts_offset": "95443.3"}))
    assert sound[0] == 0 and pictures[0] == pytest.approx(0.02, abs=0.03) and max(np.diff(pictures)) < 0.05


def test_a_clock_that_begins_at_zero_stays(tmp_path, with_sound, small_mp4):
    assert start(small_mp4) == 0
    assert start(with_sound(tmp_path / "a.mp4")) == 0
    assert start(with_sound(tmp_path / "b.mp4", picture_start=Fraction(3, 10))) == 0  # sound first
    assert start(with_sound(tmp_path / "c.mp4", sound_start=Fraction(3, 10))) == 0  # pictures first


CASES = [
    ("ts_late.ts", 40001.376778),
    ("frag_segment3.mp4", 1.055465),
    ("concat_two.vob", 0.529089),
    ("dvr_bitrot.mp4", 0),
    ("edl_trim_end.mp4", 0),
    ("multi_two_video.mkv", 0),
    ("pcm_cam.mxf", 0),
]


@pytest.mark.parametrize("name, seconds", CASES)
def test_real_clocks(shared, name, seconds):
    assert start(shared(f"cases/{name}")) == pytest.approx(seconds, abs=1e-6)


def read(path):
    """Presentation times of pictures, decoding times of sound, both in seconds, and the joins."""
    with open_video(path) as (container, video):
        timeline, times = Timeline(container, video), {"video": [], "audio": []}
        for packet in timeline.packets(video, *container.streams.audio):
            if packet.size:
                kind = packet.stream.type
                ticks = packet.pts if kind == "video" else packet.dts
                times[kind].append(float(ticks * packet.time_base))
        return sorted(times["video"]), times["audio"], [float(join) for join in timeline.joins]


@pytest.mark.parametrize("name", ["a.ts", "a.m2ts"])
@pytest.mark.parametrize("offset", ["0", "5000"])
def test_joined_recordings_go_on_without_a_gap(tmp_path, with_sound, name, offset):
    parts = [with_sound(tmp_path / name), with_sound(tmp_path / f"2{name}", options={"output_ts_offset": offset})]
    (tmp_path / f"3{name}").write_bytes(b"".join(part.read_bytes() for part in [*parts, parts[0]]))
    pictures, sound, joins = read(tmp_path / f"3{name}")
    assert len(joins) == 2 and len(pictures) == 60
    single, heard, _ = read(parts[0])
    per_part = len(heard)
    assert min(np.diff(pictures)) >= 0.039 and max(np.diff(pictures)) < 0.2
    assert min(np.diff(sound)) > 0.02 and max(np.diff(sound)) < 0.12
    for part in (0, 1, 2):  # sound is as far from the pictures as in the part alone
        lead = pictures[20 * part] - sound[per_part * part]
        assert lead == pytest.approx(single[0] - heard[0], abs=1 / 48000)


def test_a_join_without_sound(tmp_path, picture, make_video):
    path = make_video(tmp_path / "a.ts", [picture(64, 48, t) for t in range(10)])
    (tmp_path / "b.ts").write_bytes(2 * path.read_bytes())
    pictures, _, joins = read(tmp_path / "b.ts")
    assert len(joins) == 1 and np.diff(pictures) == pytest.approx(0.04, abs=1e-4)


def test_a_long_picture_is_not_a_join(tmp_path, picture, make_video, with_sound):
    ticks = [0, 40, 80, 30_000, 30_040]
    path = make_video(tmp_path / "a.mkv", [picture(64, 48, t) for t in range(5)], ticks=ticks, bf=0)
    pictures, _, joins = read(path)
    assert pictures == pytest.approx([0, 0.04, 0.08, 30, 30.04]) and not joins


def ts_with_a_wrong_time(data, number, seconds):
    """The bytes of a transport stream in which the times of a picture are moved (ISO 13818-1, 2.4.3.7)."""
    data, count = bytearray(data), -1
    for start in range(0, len(data), 188):
        pid = int.from_bytes(data[start + 1 : start + 3]) & 0x1FFF
        count += pid == 256 and bool(data[start + 1] & 0x40)
        if pid == 256 and count == number:
            header = data.index(b"\x00\x00\x01\xe0", start)
            for place in (header + 9, header + 14)[: 2 if data[header + 7] & 0x40 else 1]:
                field = int.from_bytes(data[place : place + 5])
                ticks = (field >> 3 & 7 << 30 | field >> 2 & 0x7FFF << 15 | field >> 1 & 0x7FFF) + seconds * 90000
                parts = (ticks >> 30 & 7) << 33 | (ticks >> 15 & 0x7FFF) << 17 | (ticks & 0x7FFF) << 1
                data[place : place + 5] = (field & 0xF1_0001_0001 | parts).to_bytes(5)
            return bytes(data)
    raise AssertionError(f"there is no picture {number}")


@pytest.mark.parametrize("seconds", [20, -9])
def test_a_single_wrong_time_is_corrected(tmp_path, with_sound, seconds):
    whole = with_sound(tmp_path / "a.ts", 20, 20)
    (tmp_path / "b.ts").write_bytes(ts_with_a_wrong_time(whole.read_bytes(), 12, seconds))
    (pictures, sound, joins), (expected, heard, _) = read(tmp_path / "b.ts"), read(whole)
    assert pictures == pytest.approx(expected, abs=0.05) and sound == heard and not joins


REAL_JOINS = [("concat_two.vob", 20), ("concat_two_cc.ts", 20)]


@pytest.mark.parametrize("name, count", REAL_JOINS)
def test_real_joins(shared, name, count):
    pictures, sound, joins = read(shared(f"cases/{name}"))
    assert len(pictures) == count and len(joins) == 1
    assert min(np.diff(pictures)) > 0.039 and max(np.diff(pictures)) < 0.09 and min(np.diff(sound)) > 0.02
