"""Other pictures, and everything else as it was."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.errors import ToolkitError, UsageError
from toolkit.video import probe, read_frames
from toolkit.video.rewrite import VideoRewriter


@pytest.fixture
def talkie(tmp_path, picture):
    """A function that makes a video with a tone, of even or uneven frame times, and maybe subtitles."""

    def make(name="in.mp4", ticks=tuple(range(0, 2000, 40)), start=0.0, subtitles=False):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            container.metadata["title"] = "A face"
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 1000)
            audio = container.add_stream("aac", rate=44100)
            for number, tick in enumerate(ticks):
                frame = av.VideoFrame.from_ndarray(picture(64, 48, number), "rgb24")
                frame.pts, frame.time_base = tick, Fraction(1, 1000)
                container.mux(video.encode(frame))
            for k in range(80):
                tone = np.sin(np.arange(k * 1024, (k + 1) * 1024) / 9)[None].astype(np.float32)
                sound = av.AudioFrame.from_ndarray(np.concatenate([tone, tone]), "fltp", "stereo")
                sound.sample_rate, sound.pts, sound.time_base = 44100, k * 1024, Fraction(1, 44100)
                container.mux(audio.encode(sound))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
        return path

    return make


def packets(path, kind):
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [
            (bytes(packet), float(packet.pts * packet.time_base))
            for packet in container.demux(streams)
            if packet.size and packet.pts is not None
        ]


def rewrite(source, target, change=lambda image: image, **options):
    with VideoRewriter(source, target, **options) as writer:
        for frame in read_frames(source):
            writer.write(change(frame.image), frame.time)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_bit_for_bit_and_stays_in_step(talkie, tmp_path, suffix):
    source = talkie()
    target = rewrite(source, tmp_path / f"out{suffix}")
    before, after = packets(source, "audio"), packets(target, "audio")
    assert len(before) >= 80
    assert [data for data, _ in before] == [data for data, _ in after]
    # Against the pictures, whatever the container does with the beginning.
    shift = next(read_frames(target)).time - next(read_frames(source)).time
    assert np.allclose([time for _, time in before], [time - shift for _, time in after], atol=2e-3)


def test_frames_keep_their_uneven_times(talkie, tmp_path):
    ticks = (0, 33, 80, 90, 200, 233, 500, 501, 900)
    source = talkie(ticks=ticks)
    target = rewrite(source, tmp_path / "out.mp4")
    before, after = ([frame.time for frame in read_frames(path)] for path in (source, target))
    assert np.allclose(np.diff(before), np.diff(after), atol=1e-4)
    assert np.allclose(np.diff(after), np.diff(ticks) / 1000, atol=1e-4)
    assert probe(target).variable_frame_rate


def test_lossless_gives_back_every_value(talkie, tmp_path):
    source = talkie("in.mkv")

    def blot(image):
        image = image.copy()
        image[10:20, 20:30] = (255, 0, 0)
        return image

    target = rewrite(source, tmp_path / "out.mkv", blot, lossless=True)
    pairs = list(zip(read_frames(source), read_frames(target), strict=True))
    assert len(pairs) == 50
    assert all(np.array_equal(blot(one.image), other.image) for one, other in pairs)


def test_metadata_is_kept_and_added(talkie, tmp_path):
    target = rewrite(talkie(), tmp_path / "out.mp4", metadata={"comment": "edited"})
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "A face"
        assert container.metadata["comment"] == "edited"


def test_error_in_the_block_leaves_what_was_there(talkie, tmp_path):
    source, target = talkie(), tmp_path / "out.mp4"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError), VideoRewriter(source, target) as writer:
        writer.write(next(read_frames(source)).image, 0.0)
        raise RuntimeError
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_bad_requests(talkie, tmp_path):
    source = talkie()
    with pytest.raises(UsageError, match="is the video itself"):
        VideoRewriter(source, source)
    link = tmp_path / "link.mp4"
    os.link(source, link)
    with pytest.raises(UsageError, match="is the video itself"):
        VideoRewriter(source, link)
    with pytest.raises(UsageError, match="ends in"):
        VideoRewriter(source, tmp_path / "out.avi")
    with pytest.raises(UsageError, match="make it first"):
        VideoRewriter(source, tmp_path / "no" / "out.mp4")
    with pytest.raises(UsageError, match="at least one frame"), VideoRewriter(source, tmp_path / "out.mp4"):
        pass
    with pytest.raises(ValueError, match="times must increase"), VideoRewriter(source, tmp_path / "out.mp4") as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 1.0)
        writer.write(np.zeros((48, 64, 3), np.uint8), 1.0)
    assert not (tmp_path / "out.mp4").exists()


def test_video_without_sound(small_mp4, tmp_path):
    target = rewrite(small_mp4, tmp_path / "out.mp4")
    assert probe(target).frame_count == 20
    assert not probe(target).has_audio


def test_real_clips(shared, tmp_path):
    for name in ("media/faces/talking_Audio_Source_00015.mp4", "media/faces/lia_vox_driving3.mov"):
        source = shared(name)
        target = rewrite(source, tmp_path / f"out{source.suffix}")
        assert probe(target).frame_count == probe(source).frame_count
        assert [data for data, _ in packets(source, "audio")] == [data for data, _ in packets(target, "audio")]


def test_full_disk_is_one_sentence(talkie, tmp_path):
    import resource

    source, before = talkie(), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(ToolkitError, match="expected to write"):
            rewrite(source, tmp_path / "out.mp4", crf=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out.mp4").exists()
