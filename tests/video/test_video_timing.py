"""Times begin where the source begins, and pictures and sound share one origin."""

from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.video.container import open_video
from toolkit.video.timing import start_of


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
