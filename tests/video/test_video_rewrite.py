"""Rewritten videos: new pictures, everything else unchanged."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.errors import ToolkitError, UsageError
from toolkit.video import probe, read_frames
from toolkit.video.retouch import VideoRetoucher
from toolkit.video.rewrite import VideoRewriter


@pytest.fixture
def talkie(tmp_path, picture):
    """A function that writes a video with a tone, even or uneven frame times and optional subtitles."""

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


def retouch(source, target, **options):
    with VideoRetoucher(source, target, **options) as retoucher:
        for frame in retoucher:
            retoucher.put(frame.image)
    return target


@pytest.fixture
def film(tmp_path, talkie):
    """A Matroska file with a tone, subtitles in two languages, chapters, a font and a disposition."""
    path = tmp_path / "film.mkv"
    with av.open(str(talkie())) as source, av.open(str(path), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        titles = [container.add_mux_stream("subrip") for _ in range(2)]
        for stream, language in zip(titles, ("eng", "deu"), strict=True):
            stream.metadata["language"], stream.time_base = language, Fraction(1, 1000)
        titles[1].disposition = av.stream.Disposition.forced
        container.streams.audio[0].metadata.update({"language": "fra", "title": "Voice"})
        container.add_attachment("face.ttf", "font/ttf", b"not a font")
        chapters = [("One", 0, 1000), ("Two", 1000, 2000)]
        container.set_chapters(
            [
                {"id": n, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (title, start, end) in enumerate(chapters)
            ]
        )
        for stream in titles:
            for start in (100, 1500):
                packet = av.Packet(f"at {start}".encode())
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts, packet.dts, packet.duration = start, start, 400
                container.mux(packet)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    return path


def contents(path):
    with av.open(str(path)) as container:
        streams = [
            (stream.type, stream.language, stream.metadata.get("title"), stream.disposition)
            for stream in container.streams
            if stream.type != "attachment"
        ]
        fonts = [(stream.name, stream.mimetype, stream.data) for stream in container.streams.attachments]
        chapters = [
            (chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"], chapter["metadata"])
            for chapter in container.chapters()
        ]
        return streams, fonts, chapters, container.metadata.get("title")


@pytest.mark.parametrize("copy", [rewrite, retouch])
@pytest.mark.parametrize("lossless", [False, True])
def test_subtitles_chapters_fonts_and_languages_are_kept(film, tmp_path, copy, lossless):
    target = copy(film, tmp_path / "out.mkv", lossless=lossless)
    assert contents(film) == contents(target)
    streams, fonts, chapters, _ = contents(target)
    assert [language for _, language, _, _ in streams] == [None, "fra", "eng", "deu"]
    assert len(fonts) == 1 and len(chapters) == 2
    for kind in ("audio", "subtitle"):
        assert packets(film, kind) == packets(target, kind)
    assert len(packets(film, "subtitle")) == 4


@pytest.mark.parametrize("copy", [rewrite, retouch])
def test_streams_that_a_container_cannot_hold_are_left_out(film, tmp_path, copy):
    target = copy(film, tmp_path / "out.mp4")
    # The data stream holds the chapters.
    assert [kind for kind, *_ in contents(target)[0]] == ["video", "audio", "data"] and len(contents(target)[2]) == 2


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_retouched_video_sounds_the_same(talkie, tmp_path, suffix):
    source = talkie()
    target = retouch(source, tmp_path / f"out{suffix}", metadata={"comment": "edited"})
    before, after = packets(source, "audio"), packets(target, "audio")
    assert [data for data, _ in before] == [data for data, _ in after]
    shift = next(read_frames(target)).time - next(read_frames(source)).time
    assert np.allclose([time for _, time in before], [time - shift for _, time in after], atol=2e-3)
    with av.open(str(target)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        assert metadata["title"] == "A face" and metadata["comment"] == "edited"
        assert metadata.get("major_brand") == {".mp4": "isom", ".mov": "qt  "}.get(suffix)


def test_a_preview_ends_with_its_last_frame(film, tmp_path):
    target = retouch(film, tmp_path / "out.mkv", stop=20)
    frames = list(read_frames(target))
    assert [frame.time for frame in frames] == [frame.time for frame in read_frames(film, stop=20)]
    end = frames[-1].time + 0.04
    for kind in ("audio", "subtitle"):
        before, after = packets(film, kind), packets(target, kind)
        assert 0 < len(after) < len(before)
        assert after == [packet for packet in before if packet[1] < end]
    assert contents(target)[2] == []
    # An index beyond the end means the end.
    whole = retouch(film, tmp_path / "whole.mkv", stop=1000)
    assert packets(whole, "audio") == packets(film, "audio") and probe(whole).frame_count == 50


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_chapters_and_timecode_survive_repeated_edits(picture, tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    chapter = {"start": 200, "end": 1500, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}}
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.metadata["timecode"] = "01:00:00:00"
        container.set_chapters([{**chapter, "id": 0, "start": 0, "end": 200}, {**chapter, "id": 1}])
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(picture(64, 48, number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    again = retouch(retouch(source, tmp_path / f"1{suffix}"), tmp_path / f"2{suffix}")
    assert contents(source)[2] == contents(again)[2] and len(contents(again)[2]) == 2
    with av.open(str(again)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"


def test_other_streams_end_at_the_stop_time(film, tmp_path):
    target = tmp_path / "out.mkv"
    with VideoRewriter(film, target, stop_time=0.8) as writer:
        for frame in read_frames(film, stop=20):
            writer.write(frame.image, frame.time)
    before, after = packets(film, "audio"), packets(target, "audio")
    assert after == before[: len(after)] and after[-1][1] < 0.8 <= before[len(after)][1]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_bit_for_bit_and_stays_in_step(talkie, tmp_path, suffix):
    source = talkie()
    target = rewrite(source, tmp_path / f"out{suffix}")
    before, after = packets(source, "audio"), packets(target, "audio")
    assert len(before) >= 80
    assert [data for data, _ in before] == [data for data, _ in after]
    # Relative to the pictures, because containers may shift the start.
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


def test_lossless_keeps_every_value(talkie, tmp_path):
    source = talkie("in.mkv")

    def blot(image):
        image = image.copy()
        image[10:20, 20:30] = (255, 0, 0)
        return image

    target = rewrite(source, tmp_path / "out.mkv", blot, lossless=True)
    pairs = list(zip(read_frames(source), read_frames(target), strict=True))
    assert len(pairs) == 50
    assert all(np.array_equal(blot(one.image), other.image) for one, other in pairs)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_same_edit_gives_the_same_bytes(talkie, tmp_path, suffix):
    source = talkie()
    first, second = retouch(source, tmp_path / f"a{suffix}"), retouch(source, tmp_path / f"b{suffix}")
    assert first.read_bytes() == second.read_bytes()


def test_metadata_is_kept_and_added(talkie, tmp_path):
    target = rewrite(talkie(), tmp_path / "out.mp4", metadata={"comment": "edited"})
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "A face"
        assert container.metadata["comment"] == "edited"


def test_an_error_in_the_block_keeps_the_earlier_file(talkie, tmp_path):
    source, target = talkie(), tmp_path / "out.mp4"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError), VideoRewriter(source, target) as writer:
        writer.write(next(read_frames(source)).image, 0.0)
        raise RuntimeError
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_bad_requests(talkie, tmp_path):
    source = talkie()
    with pytest.raises(UsageError, match="is the source itself"):
        VideoRewriter(source, source)
    link = tmp_path / "link.mp4"
    os.link(source, link)
    with pytest.raises(UsageError, match="is the source itself"):
        VideoRewriter(source, link)
    with pytest.raises(UsageError, match="ends in"):
        VideoRewriter(source, tmp_path / "out.avi")
    with pytest.raises(UsageError, match="create it first"):
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
