"""What becomes of other tracks: tried on the real muxer, then copied, converted or left out, and said."""

import errno
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.video import read_frames
from toolkit.video.carrying import FORMATS, best_plan, plan_carrying, plan_copying
from toolkit.video.copying import PacketCopier, SoundConverter
from toolkit.video.retouch import VideoRetoucher
from toolkit.video.target import UnwritableStreams, write_errors

RATE = 48000


def noise(layout="mono"):
    """int32 ``[channels, samples]``: 0.8 s of low noise, which survives lossy codecs."""
    samples = np.random.default_rng(3).normal(size=38400 + 40)
    samples = np.convolve(samples, np.hanning(41) / 20, "valid") * 2**27
    return np.repeat(samples.astype(np.int32)[None], av.AudioLayout(layout).nb_channels, axis=0)


@pytest.fixture(scope="module")
def with_sound(mux):
    """``with_sound(path, codec, ...)``: 20 frames at 25 a second and `noise`; the clock begins at `late` seconds."""

    def make(path, codec, layout="mono", late=0):
        data = noise(layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data.T.reshape(1, -1)), "s32", layout)
        frame.sample_rate = RATE
        options = {"output_ts_offset": str(late)} if late else {}
        return mux(path, 20, "mpeg4", frame, codec, 128_000 if codec == "wmav2" else 0, **options)

    return make


def retouch(source, target, **options):
    with VideoRetoucher(source, target, **options) as video:
        for frame in video:
            video.put(frame.image)
    return video


def sound(path):
    """Codec, float64 samples ``[T]`` of the first channel and the time of the first sample."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("dblp", "mono", RATE)
        frames = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return stream.codec_context.name, samples, float(frames[0].pts * frames[0].time_base)


def sound_time(path):
    """Samples from the first picture to the beginning of `noise`, told by cross-correlation."""
    _, samples, start = sound(path)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        first = float(picture.pts * picture.time_base)
    size = 1 << 17
    wanted = noise()[0].astype(float)
    match = np.fft.irfft(np.fft.rfft(samples, size) * np.conj(np.fft.rfft(wanted, size)))
    lag = int(match.argmax())
    return round((start - first) * RATE) + (lag - size if lag > size // 2 else lag)


def kinds(video):
    return [note.kind for note in video.notes]


def test_whole_files_are_copied_and_nothing_is_said(tmp_path, with_sound):
    source = with_sound(tmp_path / "in.mp4", "aac")
    for suffix in FORMATS:
        assert plan_carrying(source, suffix).tracks[0].encoder is None
        assert not retouch(source, tmp_path / f"out{suffix}").notes


@pytest.mark.parametrize("codec", ["wmav2", "adpcm_ms"])
def test_sound_that_no_container_takes_is_left_out_or_converted(tmp_path, with_sound, codec):
    source = tmp_path / "in.avi"
    if codec == "adpcm_ms":
        source = with_sound(source, "adpcm_ms")
    else:
        source = with_sound(tmp_path / "in.asf", "wmav2")
    for suffix in FORMATS:
        plan = plan_carrying(source, suffix, "copy", FORMATS)
        (note,) = plan.notes
        assert not plan.tracks and plan.lost == 1 and note.kind == "stream dropped"
        assert f"track 1 (audio, {codec})" in note.sentence and "--audio convert" in note.sentence
        assert "ends in" not in note.sentence  # no container takes it
        video = retouch(source, tmp_path / f"out{suffix}", carrying="convert")
        assert kinds(video) == ["stream converted"]
        assert abs(sound_time(tmp_path / f"out{suffix}") - sound_time(source)) <= (
            RATE / 1000 if suffix == ".mkv" else 8
        )


def test_a_container_that_keeps_everything_is_chosen(tmp_path, with_sound):
    source = with_sound(tmp_path / "in.avi", "pcm_s16le")
    assert best_plan(source, tuple(FORMATS), "copy").suffix == ".mov"
    assert best_plan(source, tuple(FORMATS), "convert").suffix == ".mp4"
    source = with_sound(tmp_path / "in.mkv", "libopus")
    (note,) = plan_carrying(source, ".mov", "copy", (".mp4", ".mkv")).notes
    assert "ends in .mp4 or .mkv" in note.sentence
    for suffix in (".mp4", ".mkv"):  # the advice holds
        assert not plan_carrying(source, suffix).notes


@pytest.mark.parametrize("codec, depth", [("pcm_s16le", 16), ("pcm_s24le", 24), ("pcm_s24be", 24)])
def test_raw_sound_in_mp4_becomes_lossless_because_players_take_it_for_noise(tmp_path, with_sound, codec, depth):
    source = with_sound(tmp_path / "in.mov", codec)
    video = retouch(source, tmp_path / "out.mp4")
    assert kinds(video) == ["stream converted"] and "ALAC" in video.notes[0].sentence
    (name, before, _), (made, after, _) = sound(source), sound(tmp_path / "out.mp4")
    assert (name, made) == (codec, "alac")
    assert np.array_equal(before, after[: len(before)]) and not after[len(before) :].any()
    assert np.abs(before * 2 ** (depth - 1) % 1).max() == 0 < np.abs(before * 2 ** (depth - 2) % 1).max()
    assert sound_time(tmp_path / "out.mp4") == sound_time(source) == 0
    assert not retouch(source, tmp_path / "out.mov").notes
    assert sound(tmp_path / "out.mov")[0] == codec


@pytest.mark.parametrize("layout", ["1 channels", "2 channels"])
def test_sound_without_a_layout_gets_the_usual_one(tmp_path, with_sound, layout):
    source = with_sound(tmp_path / "in.avi", "pcm_s16le", {"1": "mono", "2": "stereo"}[layout[0]])
    with av.open(str(source)) as container:
        assert container.streams.audio[0].codec_context.layout.name == layout
    for suffix in FORMATS:
        retouch(source, tmp_path / f"out{suffix}")
        assert sound_time(tmp_path / f"out{suffix}") == 0


def test_converted_sound_keeps_its_gaps(tmp_path, with_sound):
    """Half a second is missing: silence stands for it, so that what follows stays in step."""
    whole, source = with_sound(tmp_path / "whole.mov", "pcm_s16le"), tmp_path / "in.mkv"
    with av.open(str(whole)) as reader, av.open(str(source), "w") as writer:
        copies = [writer.add_stream_from_template(stream) for stream in reader.streams]
        for packet in reader.demux():
            time = packet.dts is not None and float(packet.dts * packet.time_base)
            if packet.dts is None or (packet.stream.type == "audio" and 0.02 < time < 0.22):
                continue
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)
    retouch(source, tmp_path / "out.mp4")
    assert sound(tmp_path / "out.mp4")[0] == "alac"
    assert abs(sound_time(tmp_path / "out.mp4")) <= RATE / 1000  # Matroska rounds to milliseconds
    assert len(sound(tmp_path / "out.mp4")[1]) == pytest.approx(38400, abs=1200)


def test_pictures_and_tracks_are_copied_together_or_not_at_all(tmp_path, with_sound):
    source = with_sound(tmp_path / "in.mkv", "pcm_s16le")
    assert plan_copying(source, ".mp4") is None
    assert [track.index for track in plan_copying(source, ".mov").tracks] == [0, 1]


@pytest.mark.parametrize("codecs", [("aac", "ac3"), ("ac3", "aac")])
def test_damaged_sound_does_not_end_the_file(tmp_path, with_sound, codecs):
    parts = [with_sound(tmp_path / f"{codec}.ts", codec) for codec in codecs]
    source = tmp_path / "a.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))  # the second sound is noise to the first codec
    made = retouch(source, tmp_path / "b.mp4")
    assert kinds(made) == ["damaged sound"] and codecs[0] in made.notes[0].sentence
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 40
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 30000


@pytest.mark.parametrize("damaged", [True, False])
def test_converted_sound_stays_in_step_after_a_lost_packet(tmp_path, with_sound, damaged):
    source = with_sound(tmp_path / "a.mkv", "mp2")  # packets of 24 ms
    with av.open(str(source)) as reader, av.open(str(tmp_path / "b.mkv"), "w") as writer:
        carrier = SoundConverter(writer, reader.streams.audio[0], "flac")
        for number, packet in enumerate(reader.demux(audio=0)):
            if number == 10 and damaged:
                lost = av.Packet(bytes(packet.size))
                lost.pts, lost.dts, lost.time_base, lost.stream = (
                    packet.pts,
                    packet.dts,
                    packet.time_base,
                    packet.stream,
                )
                packet = lost
            if packet.size and (number != 10 or damaged):
                carrier.carry(packet)
        carrier.finish()
    assert carrier.damaged == damaged
    whole, made = sound(source)[1], sound(tmp_path / "b.mkv")[1]
    assert abs(len(made) - len(whole)) <= 48 and np.corrcoef(whole[20000:30000], made[20000:30000])[0, 1] > 0.9


def test_a_wrong_time_of_sound_does_not_end_the_file(tmp_path, with_sound):
    class Wrong(PacketCopier):
        count = 0

        def carry(self, packet):
            self.count += 1
            packet.dts = packet.pts = packet.dts + (90000 // 4 if self.count == 4 else 0)
            super().carry(packet)

    source = with_sound(tmp_path / "a.mpg", "mp2")
    with av.open(str(source)) as reader, av.open(str(tmp_path / "b.mp4"), "w") as writer:
        carrier = Wrong(writer, reader.streams.audio[0])
        for packet in reader.demux(audio=0):
            if packet.dts is not None:
                carrier.carry(packet)
    with av.open(str(tmp_path / "b.mp4")) as result:
        assert sum(packet.size > 0 for packet in result.demux(audio=0)) == carrier.count > 20


def test_links_are_written_through(tmp_path, with_sound):
    source = with_sound(tmp_path / "in.mp4", "aac")
    (tmp_path / "store").mkdir()
    behind, link = tmp_path / "store" / "blob", tmp_path / "out.mp4"
    link.symlink_to(behind)
    for _ in range(2):  # a link that leads nowhere yet, then one to a file
        retouch(source, link)
        assert link.is_symlink() and len(list(read_frames(behind))) == 20
        assert [path.name for path in (tmp_path / "store").iterdir()] == ["blob"]
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    one.symlink_to(two)
    two.symlink_to(one)
    with pytest.raises(UsageError, match="back to itself"):
        VideoRetoucher(source, one)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_only_the_system_blames_the_disk(tmp_path, code):
    with pytest.raises(ToolkitError, match="free space") as raised, write_errors(tmp_path / "out.mp4"):
        raise OSError(code, os.strerror(code))
    assert not isinstance(raised.value, InputError)


def test_a_refusing_container_is_no_disk(tmp_path):
    with pytest.raises(UnwritableStreams, match="would fail again") as raised, write_errors(tmp_path / "out.mp4"):
        raise av.ArgumentError(errno.EINVAL, "Invalid argument")
    assert "disk" not in str(raised.value)


def test_late_chapters_and_sound_move_with_the_pictures(tmp_path, with_sound):
    early = with_sound(tmp_path / "early.mkv", "flac")
    late = with_sound(tmp_path / "late.mkv", "flac", late=100)
    chapter = {"id": 1, "start": 100200, "end": 100400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}
    source = tmp_path / "in.mkv"
    with av.open(str(late)) as reader, av.open(str(source), "w") as writer:
        copies = [writer.add_stream_from_template(stream) for stream in reader.streams]
        writer.set_chapters([chapter])
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
    retouch(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.chapters()[0]["start"] * container.chapters()[0]["time_base"] == pytest.approx(0.2)
        assert container.start_time < 1e5 and container.duration < 1e6
    assert sound_time(tmp_path / "out.mkv") == sound_time(early) == 0


@pytest.mark.parametrize("name", ["apac_spatial.mov", "dvb_teletext.ts"])
def test_tracks_of_unknown_codecs_are_named(shared, tmp_path, name):
    source = shared(f"cases/{name}")
    for suffix in FORMATS:
        video = retouch(source, tmp_path / f"out{suffix}")
        (note,) = video.notes
        assert note.kind == "stream dropped" and "track 2 (" in note.sentence and "ends in" not in note.sentence
        with av.open(str(tmp_path / f"out{suffix}")) as container:
            assert [stream.type for stream in container.streams if stream.type != "data"] == ["video", "audio"]


def test_raw_sound_of_a_camera_is_kept(shared, tmp_path):
    for suffix in FORMATS:
        retouch(shared("cases/pcm_cam.mxf"), tmp_path / f"out{suffix}")
        _, samples, start = sound(tmp_path / f"out{suffix}")
        before = sound(shared("cases/pcm_cam.mxf"))[1]
        assert start == 0 and np.array_equal(samples[: len(before)], before)


def test_a_playlist_is_not_followed(tmp_path, with_sound):
    with_sound(tmp_path / "in.ts", "aac")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nin.ts\n#EXT-X-ENDLIST\n")
    for plan in (plan_carrying, plan_copying):
        with pytest.raises(InputError):
            plan(tmp_path / "list.mp4", ".mp4")
