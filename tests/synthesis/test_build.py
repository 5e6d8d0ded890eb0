"""Whole builds in this process: what comes out of good videos, bad videos and bad tasks."""

import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest

from toolkit.dataset.check import check_dataset
from toolkit.dataset.reader import read_manifest, read_samples
from toolkit.errors import InputError, UsageError
from toolkit.executor import InlineExecutor
from toolkit.faces.config import FaceConfig
from toolkit.synthesis.build import build_dataset
from toolkit.synthesis.config import BuildConfig
from toolkit.synthesis.report import BuildObserver
from toolkit.video.reading import ReadingConfig


class Listener(BuildObserver):
    def __init__(self):
        self.left_out, self.bugs, self.finished, self.phases, self.notes = {}, [], [], [], []
        self.warnings = []

    def phase(self, name, total, unit, done=0):
        self.phases.append((name, total, unit, done))

    def note(self, sentence):
        self.notes.append(sentence)

    def warning(self, sentence):
        self.warnings.append(sentence)

    def shard_finished(self, shard):
        self.finished.append(shard.name)

    def failed(self, name, sentence):
        assert name not in self.left_out, "each source is reported once"
        self.left_out[name] = ("failed", sentence)

    def skipped(self, name, reason):
        assert name not in self.left_out, "each source is reported once"
        self.left_out[name] = ("skipped", reason)

    def bug(self, name, details):
        self.bugs.append((name, details))


@pytest.fixture
def mixed(tmp_path, short_video):
    """A folder with one good video, for another file to be put beside it."""
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(short_video, folder)
    return folder


def test_every_frame_becomes_a_pair(built):
    manifest = read_manifest(built)
    rows = [sample.row for sample in read_samples(built)]
    assert manifest.pairs == len(rows) == 60
    assert [(s.name, s.status, s.pairs) for s in manifest.sources] == [
        ("a.mp4", "ok", 24),
        ("b.mp4", "ok", 20),
        ("c.mp4", "ok", 16),
    ]
    for name, frames in (("a.mp4", 24), ("b.mp4", 20), ("c.mp4", 16)):
        mine = [row for row in rows if row["source"] == name]
        assert [row["frame_index"] for row in mine] == list(range(frames))
        assert [row["time"] for row in mine] == pytest.approx([index / 25 for index in range(frames)], abs=1e-5)
        assert Counter(Counter(row["clip_id"] for row in mine).values()) == Counter(
            {8: frames // 8, **({4: 1} if frames % 8 else {})}
        )
    assert {row["text"] for row in rows} == {"a face without a dot"}


def test_boxes_and_pictures_belong_together(built):
    """The dot is drawn at the nose in pixels of the crop; in pixels of the source it must be inside the face's box."""
    for sample in read_samples(built):
        row, mask = sample.row, sample.picture("mask")
        assert mask.shape == (64, 64)
        y, x = np.nonzero(mask)
        crop, face = np.array(row["crop_box"]), np.array(row["face_box"])
        nose = crop[:2] + (np.array([x.mean(), y.mean()]) + 0.5) * (crop[2] - crop[0]) / 64
        centre, side = (face[:2] + face[2:]) / 2, (face[2:] - face[:2]).max()
        assert np.abs(nose - centre).max() < 0.25 * side
        assert row["mask_area"] == len(x)
        edited, image = sample.picture("conditioning_image"), sample.picture("image")
        assert (edited[mask][:, 0] == row["red"]).all()
        assert np.array_equal(edited[~mask], image[~mask])


def test_it_is_sound_and_nothing_is_left_over(built):
    report = check_dataset(built)
    assert report.problems == []
    assert sum(report.samples.values()) == 60
    assert {path.name for path in built.iterdir()} == {
        "README.md",
        "config.json",
        "data",
        "manifest.json",
        "preview.png",
    }


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
def test_plain_load_dataset_reads_it(build, built, videos, tmp_path, format, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    root = built
    if format == "webdataset":
        root = build(videos, tmp_path / "tars", format=format).output
    loaded = datasets.load_dataset(str(root), cache_dir=str(tmp_path / "cache"))
    ours = {split: [sample.row for sample in read_samples(root, split)] for split in ("train", "validation")}
    assert set(loaded) == set(ours)
    for split, rows in loaded.items():
        theirs = rows.remove_columns(
            [name for name in rows.column_names if rows.features[name].__class__.__name__ == "Image"]
        )
        found = [row["json"] for row in theirs] if format == "webdataset" else list(theirs)
        assert sorted(map(repr, found)) == sorted(map(repr, ours[split]))


def test_config_says_what_made_it(built, videos):
    document = json.loads((built / "config.json").read_text())
    assert document["config"]["options"] == {"size": 0.1, "fault": "none"}
    assert document["config"]["seed"] == 0
    assert document["versions"]["dotty"] == "1.0"
    assert {"numpy", "mediapipe", "schema"} <= document["versions"].keys()
    assert [item["name"] for item in document["inputs"]] == ["a.mp4", "b.mp4", "c.mp4"]
    text = (built / "config.json").read_text() + (built / "manifest.json").read_text()
    assert str(videos) not in text


def test_saved_settings_build_the_same_dataset(built, videos, tree, tmp_path):
    saved = json.loads((built / "config.json").read_text())["config"]
    config = BuildConfig(**saved, videos=[videos], output=tmp_path / "again", workers=1)
    assert config.resolved().content() == saved
    build_dataset(config, executor=InlineExecutor())
    assert tree(tmp_path / "again") == tree(built)


def test_whole_sources_are_held_out(built):
    splits = {}
    for sample in read_samples(built):
        splits.setdefault(sample.row["source"], set()).add(sample.shard.split)
    assert sorted(len(names) for names in splits.values()) == [1, 1, 1]
    assert Counter(name for names in splits.values() for name in names) == {"train": 2, "validation": 1}


def test_another_place_gives_the_same_bytes(build, built, videos, tree, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(videos, moved)
    build([moved / "c.mp4", moved / "a.mp4", moved / "b.mp4"], tmp_path / "again", workers=3)
    assert tree(tmp_path / "again") == tree(built)


def test_another_seed_gives_other_pairs(build, videos, tmp_path):
    one = build(videos / "c.mp4", tmp_path / "one", seed=1)
    two = build(videos / "c.mp4", tmp_path / "two", seed=2)
    reds = [[sample.row["red"] for sample in read_samples(report.output)] for report in (one, two)]
    assert reds[0] != reds[1]
    assert one.warnings == ["no pairs are held out for validation; add videos of other people"]


def test_a_finished_dataset_is_left_as_it_is(build, built, videos, tree):
    before = tree(built)
    times = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    listener = Listener()
    build(videos, built, listener)
    assert listener.finished == []
    assert listener.notes == ["resuming: 7 of 7 shards finished, with 8 clips"]
    assert listener.phases[1:] == [("building", 60, "frames", 60)]
    assert tree(built) == before
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*") if path != built} == {
        path: time for path, time in times.items() if path != built
    }


def test_a_lost_shard_is_built_again(build, built, videos, tree, tmp_path):
    shutil.copytree(built, tmp_path / "d")
    shard = next((tmp_path / "d" / "data" / "train").iterdir())
    shutil.rmtree(shard)
    (tmp_path / "d" / "preview.png").unlink()
    listener = Listener()
    build(videos, tmp_path / "d", listener)
    assert listener.finished == [shard.name]
    assert tree(tmp_path / "d") == tree(built)


def test_a_damaged_shard_is_built_again(build, built, videos, tree, tmp_path):
    shutil.copytree(built, tmp_path / "d")
    shard = next((tmp_path / "d" / "data" / "train").iterdir())
    picture = next(shard.glob("*.png"))
    picture.write_bytes(picture.read_bytes()[:-100] + bytes(100))  # as after a power cut
    listener = Listener()
    build(videos, tmp_path / "d", listener)
    assert listener.finished == [shard.name]
    (warning,) = listener.warnings
    assert picture.name in warning and warning.endswith("; it is built again")
    assert tree(tmp_path / "d") == tree(built)


def test_max_clips_bounds_every_source(build, videos, tmp_path):
    report = build(videos, tmp_path / "d", max_clips=2)
    assert [source.clips for source in report.manifest.sources] == [2, 2, 2]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"seed": 1}, "seed was 0, now 1"),
        ({"options": {"size": 0.2}}, "options.size was 0.1, now 0.2"),
        ({"format": "webdataset"}, 'format was "imagefolder", now "webdataset"'),
        ({"resolution": 128, "crop_scale": 2}, "crop_scale was 1.6, now 2.0; resolution was 64, now 128"),
        ({"faces": FaceConfig(max_faces=2)}, "faces.max_faces was 4, now 2"),
    ],
)
def test_a_dataset_of_another_config_is_refused_and_intact(build, built, videos, tree, changes, words):
    before = tree(built)
    with pytest.raises(UsageError, match=words) as caught:
        build(videos, built, **changes)
    assert "made with other settings" in str(caught.value)
    assert tree(built) == before


def test_other_videos_are_another_config(build, built, videos, tree):
    before = tree(built)
    with pytest.raises(UsageError, match=r"the videos \(0 new or changed, 2 missing\)"):
        build(videos / "a.mp4", built)
    assert tree(built) == before


def test_a_build_without_its_config_begins_again(build, short_video, tree, tmp_path):
    """As when the folder is taken away during a build, and a worker makes it again."""
    (tmp_path / "d" / ".build" / "tmp").mkdir(parents=True)
    (tmp_path / "d" / "data").mkdir()
    build(short_video, tmp_path / "d")
    build(short_video, tmp_path / "whole")
    assert tree(tmp_path / "d") == tree(tmp_path / "whole")


@pytest.mark.parametrize("name, content", [("thesis.tex", "dear"), ("config.json", "{}"), ("config.json", "no json")])
def test_a_folder_of_something_else_is_refused_and_intact(build, videos, tree, tmp_path, name, content):
    output = tmp_path / "mine"
    output.mkdir()
    (output / name).write_text(content)
    before = tree(output)
    with pytest.raises(UsageError, match="choose another --output"):
        build(videos, output)
    assert tree(output) == before


def test_the_output_must_not_be_a_file(build, videos, tmp_path):
    (tmp_path / "f").write_text("mine")
    with pytest.raises(UsageError, match="must be a folder, found a file"):
        build(videos, tmp_path / "f")
    assert (tmp_path / "f").read_text() == "mine"


def test_two_builds_do_not_share_a_folder(build, videos, tmp_path):
    class Second(BuildObserver):
        def phase(self, name, total, unit, done=0):
            if name != "building":
                return
            with pytest.raises(UsageError, match="another build is writing"):
                build(videos / "c.mp4", tmp_path / "d")

    assert build(videos / "c.mp4", tmp_path / "d", Second()).manifest.pairs == 16


def audio_only(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])


BAD = {
    "text": lambda path, videos: path.write_text("dear diary, this is no video\n" * 50),
    "empty": lambda path, videos: path.write_bytes(b""),
    "audio": lambda path, videos: audio_only(path),
    "cut off": lambda path, videos: path.write_bytes((videos / "a.mp4").read_bytes()[:20_000]),
    "zeros": lambda path, videos: path.write_bytes(bytes(5000)),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_video_fails_and_the_others_go_on(build, mixed, videos, tmp_path, kind):
    BAD[kind](mixed / "poor.mp4", videos)
    listener = Listener()
    report = build(mixed, tmp_path / "d", listener)
    ((failed),) = report.failed
    assert failed.name == "poor.mp4"
    assert str(mixed) not in failed.reason and "\n" not in failed.reason and len(failed.reason) > 20
    assert listener.left_out == {"poor.mp4": ("failed", failed.reason)}
    assert listener.bugs == []
    assert report.manifest.pairs == 8
    assert check_dataset(report.output).ok


def test_a_damaged_stream_ends_in_a_sentence_or_in_fewer_pairs(build, mixed, videos, tmp_path):
    data = bytearray((videos / "b.mp4").read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data) // 4, len(data) * 3 // 4, 60):
        data[place] ^= 0xFF
    (mixed / "poor.mp4").write_bytes(data)
    listener = Listener()
    report = build(mixed, tmp_path / "d", listener)
    assert listener.bugs == []
    assert {source.name: source.pairs for source in report.manifest.sources}["good.mp4"] == 8
    assert check_dataset(report.output).ok


def test_a_video_that_is_cut_off_gives_pairs_and_is_said(build, videos, tmp_path):
    import av

    source = tmp_path / "cut.mkv"
    with av.open(str(videos / "a.mp4")) as whole, av.open(str(source), "w") as target:
        stream = whole.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in whole.demux(stream):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])
    listener = Listener()
    report = build(source, tmp_path / "d", listener)
    (record,) = report.manifest.sources
    assert record.status == "ok" and record.pairs >= 8 and report.manifest.pairs == record.pairs
    (note,) = record.notes
    assert note.startswith("the video is cut off at") and listener.warnings == [f"cut.mkv: {note}"]
    with pytest.raises(InputError, match="cut off at frame"):
        build(source, tmp_path / "strict", reading=ReadingConfig(strict=True))


@pytest.mark.parametrize("size", [8, 64])
def test_a_video_without_a_face_is_skipped(build, mixed, grey, tmp_path, size):
    grey(mixed / "plain.mp4", size=size)
    listener = Listener()
    report = build(mixed, tmp_path / "d", listener)
    assert not report.failed
    assert listener.left_out == {"plain.mp4": ("skipped", "no face found in 10 frames")}
    assert check_dataset(report.output).ok


def test_a_face_in_one_frame_is_too_short(build, mixed, tmp_path):
    from toolkit.testing.sample import sample_frames
    from toolkit.video import VideoWriter

    frames = [np.full((256, 256, 3), 90, np.uint8)] * 11
    frames[5] = sample_frames(1, 256)[0]
    with VideoWriter(mixed / "flash.mp4", fps=25) as writer:
        for frame in frames:
            writer.write(frame)
    listener = Listener()
    build(mixed, tmp_path / "d", listener)
    assert listener.left_out == {"flash.mp4": ("skipped", "track shorter than min_clip_length (1)")}


def test_small_faces_are_counted(build, videos, tmp_path):
    with pytest.raises(InputError, match=r"c.mp4: face smaller than min_face \(16\)"):
        build(videos / "c.mp4", tmp_path / "d", min_face=200)


def test_nothing_at_all_is_an_error_and_leaves_no_folder(build, grey, tmp_path):
    with pytest.raises(InputError, match=r"no pair could be made from 1 video \(plain.mp4: no face found in 10 frames"):
        build(grey(tmp_path / "plain.mp4"), tmp_path / "d")
    assert not (tmp_path / "d").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError):
        build(tmp_path / "plain.mp4", tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_copy_of_a_video_is_skipped(build, mixed, tmp_path):
    shutil.copy(mixed / "good.mp4", mixed / "copy.mp4")
    report = build(mixed, tmp_path / "d")
    ((copy),) = report.skipped
    assert (copy.name, copy.reason) == ("good.mp4", "the same file as copy.mp4")


@pytest.mark.parametrize(
    "fault, words",
    [
        ("outside", "conditioning_image must equal image outside the mask, found 1 pixels"),
        ("dtype", "conditioning_image must be uint8 .*, found float32"),
        ("info", "must not use 'text' in a pair's info"),
        ("raise", "unexpected ValueError: a bug in the plugin"),
    ],
)
def test_a_task_that_breaks_its_promise_fails_the_source(build, mixed, videos, tmp_path, fault, words):
    shutil.copy(videos / "c.mp4", mixed / "bad.mp4")
    listener = Listener()
    report = build(mixed, tmp_path / "d", listener, options={"fault": fault})
    ((failed),) = report.failed
    assert failed.name == "bad.mp4"
    assert re.search(words, failed.reason)
    assert bool(listener.bugs) == (fault == "raise")
    assert check_dataset(report.output).ok


@pytest.mark.parametrize(
    "fault, reason", [("invisible", "attribute not visible (16)"), ("huge", "mask over half of the crop (16)")]
)
def test_useless_pairs_are_left_out_and_counted(build, mixed, videos, tmp_path, fault, reason):
    shutil.copy(videos / "c.mp4", mixed / "bad.mp4")
    report = build(mixed, tmp_path / "d", options={"fault": fault})
    ((skipped),) = report.skipped
    assert skipped.reason == f"{reason}; clip with too few samples (2)"


def test_unknown_tasks_and_options_have_a_hint(build, videos, tmp_path):
    with pytest.raises(UsageError, match="there is no task 'doty', did you mean dotty"):
        build(videos, tmp_path / "d", task="doty")
    with pytest.raises(UsageError, match="unknown option 'sise', did you mean 'size'"):
        build(videos, tmp_path / "d", options={"sise": 1})
    assert not (tmp_path / "d").exists()


def test_a_real_clip(build, shared, tmp_path):
    report = build(shared("media/faces/liveportrait_driving_d0.mp4"), tmp_path / "d", clip_length=40, segment_frames=80)
    assert report.manifest.pairs >= 40
    assert check_dataset(report.output).problems == []
