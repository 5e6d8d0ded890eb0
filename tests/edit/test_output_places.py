"""Where results go: names in folders, links, copies; and that the whole plan is tried before the work."""

from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.edit.config import WritingConfig
from toolkit.edit.output.checks import check_target, plan_folder_result
from toolkit.edit.output.copying import copy_bytes, copy_whole, other_name
from toolkit.edit.output.names import folder_names
from toolkit.errors import InputError, ToolkitError, UsageError


@pytest.fixture(scope="module")
def make():
    """``make(path, video, audio)``: half a second of grey pictures and silence."""

    def write(path, video="mpeg4", audio=None):
        with av.open(str(path), "w") as target:
            pictures = target.add_stream(video, rate=25, width=64, height=48, pix_fmt="yuv420p")
            sound = target.add_stream(audio, rate=44100) if audio else None
            packets = []
            for number in range(12):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += pictures.encode(frame)
            packets += pictures.encode(None)
            if sound is not None:
                sound.codec_context.bit_rate = 128_000
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 22050), np.int16), "s16", "stereo")
                frame.sample_rate, frame.pts = 44100, 0
                packets += [*sound.encode(frame), *sound.encode(None)]
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                target.mux(packet)
        return path

    return write


def described(names, **writing):
    config = WritingConfig(**writing)
    return {name: (one.stem, one.suffixes, one.copy) for name, one in zip(names, folder_names(names, config))}


ANY = (".mp4", ".mov", ".mkv")


def test_names_stay_and_videos_of_one_stem_are_told_apart():
    names = ["a/old.flv", "a/old.wmv", "b/old.flv", "clip.MOV", "face.avi", "face.mp4"]
    assert described(names) == {
        "a/old.flv": ("a/old.flv", ANY, "a/old.flv"),
        "a/old.wmv": ("a/old.wmv", ANY, "a/old.wmv"),
        "b/old.flv": ("b/old", ANY, "b/old.flv"),
        "clip.MOV": ("clip", (".mov",), "clip.mov"),
        "face.avi": ("face.avi", ANY, "face.avi"),
        "face.mp4": ("face", (".mp4",), "face.mp4"),
    }


def test_a_name_does_not_depend_on_videos_of_other_stems():
    few, more = ["old.flv", "old.wmv"], ["new.avi", "old.flv", "old.wmv", "older.flv"]
    assert {name: described(more)[name] for name in few} == described(few)


@pytest.mark.parametrize(
    "writing", [{}, {"lossless": True}, {"compare": "side"}, {"compare": "slider", "preview": 2.0}]
)
def test_no_two_videos_write_one_file(writing):
    names = [
        "A.mp4",
        "a.MP4",
        "a.avi",
        "a.avi.mp4",
        "a.compare.mp4",
        "a.mkv",
        "a.mov",
        "a.mp4",
        "a.preview.mp4",
        "a.wmv",
    ]
    config, owners = WritingConfig(**writing), {}
    for name, one in zip(names, folder_names(names, config)):
        for suffix in one.suffixes:
            stem = f"{one.stem}.preview" if config.preview else one.stem
            written = [f"{stem}{suffix}", one.copy]
            written += [f"{stem}.compare{suffix}"] if config.compare else []
            for path in set(written):
                assert owners.setdefault(path.casefold(), name) == name


def test_a_result_of_a_folder_with_fewer_videos_is_found_again(tmp_path):
    (one, _) = folder_names(["old.flv", "old.wmv"], WritingConfig())
    paths = [path.name for path in one.paths(tmp_path, WritingConfig())]
    assert paths[0] == "old.flv.mp4" and {"old.mp4", "old.flv"} <= set(paths)


def test_the_container_follows_the_streams_and_the_certificate(make, tmp_path):
    source = make(tmp_path / "in.avi", audio="pcm_s16le")
    assert plan_folder_result(source, ANY, WritingConfig()).suffix == ".mov"
    assert plan_folder_result(source, (".mkv", ".mp4"), WritingConfig(lossless=True)).suffix == ".mkv"
    assert plan_folder_result(source, ANY, WritingConfig(audio="convert")).suffix == ".mp4"
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(InputError, match=r"text\.avi"):
        plan_folder_result(tmp_path / "text.avi", ANY, WritingConfig())


@pytest.mark.parametrize("writing", [{}, {"lossless": True}, {"compare": "side"}, {"preview": 1.0}])
def test_the_whole_plan_is_tried_and_nothing_is_left(make, tmp_path, writing, monkeypatch):
    source, target = make(tmp_path / "in.avi", audio="pcm_s16le"), tmp_path / "out.mp4"
    plan = check_target(source, target, WritingConfig(**writing))
    assert [track.encoder for track in plan.tracks] == ["alac"]
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]

    def refuse(self, packet):
        raise av.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr("toolkit.video.copying.SoundConverter.carry", refuse)
    with pytest.raises(InputError, match="would fail again"):
        check_target(source, target, WritingConfig(**writing), plan)
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]


def test_links_are_written_through_and_circles_refused(make, tmp_path):
    source, link = make(tmp_path / "in.avi"), tmp_path / "out.avi"
    (tmp_path / "behind.avi").write_bytes(b"old")
    link.symlink_to("behind.avi")
    copy_bytes(source, link)
    assert link.is_symlink() and (tmp_path / "behind.avi").read_bytes() == source.read_bytes()
    circle = tmp_path / "circle.mp4"
    circle.symlink_to(circle)
    with pytest.raises(UsageError, match="back to itself"):
        check_target(source, circle, WritingConfig())
    itself = tmp_path / "itself.mp4"
    itself.symlink_to(source)
    with pytest.raises(UsageError, match="is the source itself"):
        check_target(source, itself, WritingConfig())


def test_a_copy_goes_into_the_other_container_or_keeps_its_own(make, tmp_path):
    source = make(tmp_path / "in.mkv", audio="aac")
    assert copy_whole(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as copy, av.open(str(source)) as whole:
        kept, had = ([bytes(packet) for packet in one.demux(video=0)] for one in (copy, whole))
        assert kept == had and len(copy.streams.audio) == 1
    old = make(tmp_path / "old.flv", video="flv")
    assert not copy_whole(old, tmp_path / "new.mp4") and not (tmp_path / "new.mp4").exists()
    assert copy_whole(old, tmp_path / "new.flv") and (tmp_path / "new.flv").read_bytes() == old.read_bytes()


def test_pictures_whose_order_matroska_does_not_say_are_all_copied(small_mp4_with_b_frames, tmp_path):
    assert copy_whole(small_mp4_with_b_frames, tmp_path / "a.mkv")
    assert copy_whole(tmp_path / "a.mkv", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as copy:
        assert sum(1 for _ in copy.decode(video=0)) == 12


@pytest.fixture
def small_mp4_with_b_frames(make, tmp_path):
    return make(tmp_path / "b-frames.mp4", video="libx264")


def test_a_copy_under_another_suffix_replaces_no_foreign_file(tmp_path):
    source, target = tmp_path / "in.flv", tmp_path / "out.mp4"
    source.write_bytes(b"video")
    assert other_name(source, target).name == "out.flv"
    (tmp_path / "out.flv").write_bytes(b"mine")
    assert other_name(source, target).name == "out.mp4.flv"
    (tmp_path / "out.flv.json").write_text("{}")  # an earlier result
    assert other_name(source, target).name == "out.flv"
    assert other_name(source, tmp_path / "in.mp4").name == "in.mp4.flv"  # in.flv is the source


def test_a_full_disk_is_a_disk(make, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(ToolkitError, match=r"No space left.*free space"):
        copy_bytes(make(tmp_path / "in.avi"), tmp_path / "out.avi")
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]
