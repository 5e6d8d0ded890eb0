"""Edits of whole videos: changes, unchanged parts, reports and errors."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.cli import main
from toolkit.edit import EditObserver, edit_video, load_pipeline
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.video import read_frames


def pictures(path):
    return [frame.image for frame in read_frames(path)]


def planes(path):
    """The decoded frames as they are stored."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def times(path):
    """Times since the first frame. Matroska has no times below 0, so sound that starts earlier moves everything."""
    found = [frame.time for frame in read_frames(path)]
    return [time - found[0] for time in found]


def packets(path, kind):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


@pytest.fixture(scope="module")
def edited(video, backbone, remover, everywhere, tmp_path_factory):
    """A lossless edit of the sample face, and its report."""
    from toolkit.edit import EditConfig

    target = tmp_path_factory.mktemp("edited") / "face.mkv"
    config = EditConfig(
        remover=[remover],
        backbone=str(backbone),
        device="cpu",
        **everywhere,
        denoising={"num_inference_steps": 2},
        writing={"lossless": True, "compare": "side"},
    )
    return target, edit_video(video, target, config)


def test_only_the_face_changes(video, edited):
    target, report = edited
    before, after = planes(video), planes(target)
    assert len(before) == len(after) == 24
    changed = np.array([one != other for one, other in zip(before, after)])[:, :192]  # luma
    assert changed.any(axis=(1, 2)).all()
    where = changed.any(axis=0)
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    boxes = np.array([frame.faces[0].box for frame in report.frames])
    assert rows[0] > boxes[:, 1].min() - 10 and rows[-1] < boxes[:, 3].max() + 10
    assert columns[0] > boxes[:, 0].min() - 10 and columns[-1] < boxes[:, 2].max() + 10
    assert times(target) == pytest.approx(times(video), abs=1e-3)
    assert len(set(np.round(np.diff(times(target)), 3))) > 1  # still uneven
    assert packets(target, "audio") == packets(video, "audio")


def test_the_report_describes_every_frame(video, edited, remover):
    target, report = edited
    stored = json.loads(target.with_name("face.mkv.json").read_text())
    assert stored == report.model_dump(mode="json")
    assert report.outcome == "edited" and report.counts["edited"] == 24
    assert report.resolved["removers"][0]["tasks"] == ["stickers"] and len(report.source_sha256) == 64
    assert [frame.time for frame in report.frames] == pytest.approx(times(video), abs=1e-5)
    for frame in report.frames:
        (face,) = frame.faces
        assert frame.status == "edited" and frame.seconds > 0
        assert face.found and 0 < face.mask < 1 and 0 < face.edited < 1 and face.change > 1
    assert report.comparison == "face.compare.mkv"
    assert report.versions["torch"] and report.resolved["backbone"]["parts"]["unet"]
    assert str(video.parent) not in target.with_name("face.mkv.json").read_text()


def test_the_report_says_where_the_time_went(edited):
    _, report = edited
    assert report.fps == pytest.approx(len(report.frames) / sum(report.seconds.values()), rel=0.01)
    expected = {"finding faces", "cutting out", "masks", "networks", "paste weights", "patches", "review", "writing"}
    assert set(report.stages) - {"imports"} == expected  # imports may end after a video that is this short
    assert sum(stage.share for stage in report.stages.values()) == pytest.approx(1, abs=0.01)
    assert [stage.cpu for stage in report.stages.values()] == sorted(
        (s.cpu for s in report.stages.values()), reverse=True
    )


def test_only_the_results_remain(edited):
    target, _ = edited
    assert sorted(path.name for path in target.parent.iterdir()) == ["face.compare.mkv", "face.mkv", "face.mkv.json"]
    compared = pictures(target.with_name("face.compare.mkv"))
    assert len(compared) == 24 and compared[0].shape[1] >= 2 * 192


def test_the_file_says_that_it_was_edited_unless_provenance_is_off(video, edited, settings, tmp_path):
    from toolkit.edit.output.provenance import was_edited

    def metadata(path):
        with av.open(str(path)) as container:
            return dict(container.metadata)

    target, _ = edited
    assert was_edited(metadata(target)) and not was_edited(metadata(video))
    edit_video(video, tmp_path / "plain.mkv", settings(writing={"provenance": False, "preview": 0.1}))
    assert not was_edited(metadata(tmp_path / "plain.preview.mkv"))


def test_the_same_settings_give_the_same_pictures_and_another_seed_others(video, edited, settings, tmp_path):
    target, report = edited
    again = edit_video(video, tmp_path / "again.mkv", settings())
    assert np.array_equal(planes(target), planes(tmp_path / "again.mkv"))
    assert [frame.faces for frame in again.frames] == [frame.faces for frame in report.frames]
    edit_video(video, tmp_path / "other.mkv", settings(seed=1))
    assert not np.array_equal(planes(target), planes(tmp_path / "other.mkv"))


def test_a_face_in_half_the_frames(faces, write_video, settings, tmp_path):
    frames = faces.copy()
    frames[10:18] = 60
    source = write_video(tmp_path / "half.mp4", frames)
    report = edit_video(source, tmp_path / "out.mkv", settings())
    status = [frame.status for frame in report.frames]
    assert set(status[10:18]) == {"no face"} and set(status[:10] + status[18:]) == {"edited"}
    before, after = planes(source), planes(tmp_path / "out.mkv")
    for index in range(24):
        assert np.array_equal(before[index], after[index]) == (10 <= index < 18)


@pytest.mark.parametrize("masks", ["on", "off"])
def test_a_head_that_is_turned_too_far_away_stays_as_it_is(faces, write_video, settings, tmp_path, masks):
    source = write_video(tmp_path / "turning.mp4", np.concatenate([faces] * 2))
    changes = {"masking": {"masks": masks, "normalisation": "none"}}
    anyway = edit_video(source, tmp_path / "anyway.mkv", settings(**changes, crop={"max_turn": 180}))
    assert {frame.status for frame in anyway.frames} == {"edited"}
    limit = float(np.median([frame.faces[0].turn for frame in anyway.frames]))
    report = edit_video(source, tmp_path / "out.mkv", settings(**changes, crop={"max_turn": limit}))
    away = [frame.status == "turned away" for frame in report.frames]
    assert any(away) and not all(away)
    assert {warned.kind for warned in report.warnings} >= {"turned away"}
    before, after = planes(source), planes(tmp_path / "out.mkv")
    assert [np.array_equal(*pair) for pair in zip(before, after)] == away


def test_a_face_that_is_missed_for_a_moment_is_followed(faces, write_video, settings, tmp_path):
    frames = faces.copy()
    frames[10:12] = 60
    source = write_video(tmp_path / "gap.mp4", frames)
    cut = {"masking": {"masks": "off", "composite": "crop", "normalisation": "none", "min_change": 0}}
    report = edit_video(source, tmp_path / "out.mkv", settings(**cut))
    assert [frame.faces[0].found for frame in report.frames[9:13]] == [True, False, False, True]
    assert {frame.status for frame in report.frames} == {"edited"}
    assert report.frames[10].faces[0].confidence == 0


def test_two_faces_are_both_edited(faces, write_video, settings, tmp_path):
    source = write_video(tmp_path / "two.mp4", np.concatenate([faces, faces[::-1]], axis=2)[:12])
    report = edit_video(source, tmp_path / "out.mkv", settings())
    assert all(len(frame.faces) == 2 for frame in report.frames)
    changed = np.array(planes(source)) != np.array(planes(tmp_path / "out.mkv"))
    assert changed[:, :192, :192].any() and changed[:, :192, 192:].any()


def test_a_face_at_the_border_of_the_frame(faces, write_video, settings, tmp_path):
    source = write_video(tmp_path / "border.mp4", faces[:12, 30:, 40:])
    report = edit_video(source, tmp_path / "out.mkv", settings())
    assert report.counts["edited"] >= 10
    assert planes(tmp_path / "out.mkv")[0].shape == planes(source)[0].shape


def test_removers_work_in_their_order_in_one_pass(video, settings, remover, make_remover, tmp_path):
    other = make_remover("stickers", resolution=128, seed=7)
    results = {}
    for name, removers in {"one": [remover], "both": [remover, other], "back": [other, remover]}.items():
        report = edit_video(video, tmp_path / f"{name}.mkv", settings(remover=removers))
        assert [len(report.resolved["removers"]), report.counts["edited"]] == [len(removers), 24]
        results[name] = np.array(planes(tmp_path / f"{name}.mkv"))
    assert not np.array_equal(results["one"], results["both"])
    assert not np.array_equal(results["both"], results["back"])


def test_masks_off_changes_more_than_masks_on(video, edited, settings, tmp_path):
    off = {"masks": "off", "min_change": 0}
    edit_video(video, tmp_path / "off.mkv", settings(masking=off))
    before, on, whole = (np.array(planes(path)) for path in (video, edited[0], tmp_path / "off.mkv"))
    assert (whole != before).sum() > 1.2 * (on != before).sum()
    edit_video(video, tmp_path / "inside.mkv", settings(masking={**off, "composite": "mask"}))
    inside = np.array(planes(tmp_path / "inside.mkv"))
    assert (inside != before).sum() < (whole != before).sum()


def test_a_cut_ends_a_track(faces, write_video, settings, tmp_path):
    mirrored = np.ascontiguousarray(np.roll(255 - faces[:12, :, ::-1] // 2, 3, axis=2))
    source = write_video(tmp_path / "cut.mp4", np.concatenate([faces[:12], mirrored]))
    report = edit_video(source, tmp_path / "out.mkv", settings())
    assert report.counts["cuts"] == 1
    tracks = [[face.track for face in frame.faces] for frame in report.frames]
    assert all(numbers == [0] for numbers in tracks[:12]) and all(0 not in numbers for numbers in tracks[12:])


class Phases(EditObserver):
    def __init__(self):
        self.phases, self.done, self.warnings, self.reports = [], {}, [], []

    def phase(self, name, total, unit):
        self.phases.append((name, total))

    def advance(self, done):
        name = self.phases[-1][0]
        assert done >= self.done.get(name, 0)
        self.done[name] = done

    def finished(self, report, target):
        self.reports.append((report, target))


def test_the_observer_follows_every_phase(video, settings, tmp_path):
    heard = Phases()
    report = edit_video(video, tmp_path / "out.mkv", settings(), heard)
    assert [name for name, _ in heard.phases] == ["finding faces", "editing", "writing"]
    assert heard.done == dict(heard.phases) == {"finding faces": 24, "editing": 8, "writing": 24}
    assert heard.reports == [(report, tmp_path / "out.mkv")]


def test_a_preview_is_the_start_of_the_video(video, settings, tmp_path):
    report = edit_video(video, tmp_path / "out.mkv", settings(writing={"preview": 0.3}))
    preview = tmp_path / "out.preview.mkv"
    assert not (tmp_path / "out.mkv").exists()
    assert len(planes(preview)) == len(report.frames) == 7
    assert times(preview) == pytest.approx(times(video)[:7], abs=1e-3)
    assert 0 < len(packets(preview, "audio")) < len(packets(video, "audio"))


def test_h264_in_mp4_keeps_the_times_to_the_tick(video, settings, tmp_path):
    edit_video(video, tmp_path / "out.mp4", settings(writing={"lossless": False}))
    assert times(tmp_path / "out.mp4") == times(video)
    assert packets(tmp_path / "out.mp4", "audio") == packets(video, "audio")


# nothing to edit


def test_no_face_anywhere_copies_the_video_and_the_exit_code_says_so(write_video, backbone, remover, tmp_path, capsys):
    source = write_video(tmp_path / "empty.mp4", np.full((8, 64, 96, 3), 90, np.uint8))
    words = ["edit", str(source), str(tmp_path / "out.mp4"), "--remover", str(remover), "--backbone", str(backbone)]
    assert main([*words, "--device", "cpu"]) == 3
    assert (tmp_path / "out.mp4").read_bytes() == source.read_bytes()
    assert "no face" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.mp4.json").read_text())["outcome"] == "no face"


def test_no_attribute_anywhere_copies_the_video(video, settings, glasses_remover, tmp_path):
    report = edit_video(video, tmp_path / "out.mkv", settings(remover=[glasses_remover]))
    assert report.outcome == "no attribute" and {frame.status for frame in report.frames} == {"no attribute"}
    assert packets(tmp_path / "out.mkv", "video") == packets(video, "video")  # into the other container
    assert times(tmp_path / "out.mkv") == pytest.approx(times(video), abs=1e-3)


def test_a_copy_in_another_container_keeps_languages_and_chapters(tmp_path, video, settings, glasses_remover):
    source = tmp_path / "said.mp4"
    with av.open(str(video)) as reader, av.open(str(source), "w") as writer:
        copies = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams}
        writer.streams[1].metadata["language"] = "nor"
        chapters = [{"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}]
        writer.set_chapters(chapters)
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
    report = edit_video(source, tmp_path / "out.mkv", settings(remover=[glasses_remover]))
    assert report.outcome == "no attribute"
    with av.open(str(tmp_path / "out.mkv")) as copy:
        assert copy.streams.audio[0].metadata["language"] == "nor"
        assert [chapter["metadata"]["title"] for chapter in copy.chapters()] == ["one"]


def test_a_preview_without_the_attribute_does_not_say_that_it_was_edited(video, settings, glasses_remover, tmp_path):
    writing = {"preview": 0.3, "lossless": False}
    report = edit_video(video, tmp_path / "out.mp4", settings(remover=[glasses_remover], writing=writing))
    assert report.outcome == "no attribute"
    with av.open(str(tmp_path / "out.preview.mp4")) as made:
        assert not any("edited" in value.lower() for value in made.metadata.values())


def test_a_remover_without_its_attribute_changes_nothing(video, edited, settings, remover, glasses_remover, tmp_path):
    edit_video(video, tmp_path / "out.mkv", settings(remover=[glasses_remover, remover]))
    report = edit_video(video, tmp_path / "back.mkv", settings(remover=[remover, glasses_remover]))
    assert report.counts["edited"] == 24
    assert np.array_equal(planes(tmp_path / "back.mkv"), planes(edited[0]))


# bad input


def refused(error, words, video, target, config):
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else None
    with pytest.raises(error, match=words) as raised:
        edit_video(video, target, config)
    assert (sorted(target.parent.iterdir()) if target.parent.is_dir() else None) == before
    return raised


def test_impossible_outputs_are_refused(video, settings, tmp_path):
    refused(UsageError, "is the source itself", video, video, settings(writing={"lossless": False}))
    refused(UsageError, "the edited video to .* found a folder", video, tmp_path, settings())
    (tmp_path / "taken.mkv.json").mkdir()
    refused(UsageError, "the report to .* found a folder", video, tmp_path / "taken.mkv", settings())
    refused(UsageError, "expected a folder", video, tmp_path / "gone" / "out.mkv", settings())
    refused(UsageError, "ends in", video, tmp_path / "out.avi", settings())
    refused(UsageError, "ends in", video, tmp_path / "out.mov", settings())  # not lossless
    link = tmp_path / "link.mkv"
    link.symlink_to(video)
    refused(UsageError, "is the source itself", video, link, settings())


def test_a_protected_output_is_refused(video, settings, tmp_path, monkeypatch):
    (tmp_path / "out.mkv").write_bytes(b"mine")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    refused(ToolkitError, "may not be replaced", video, tmp_path / "out.mkv", settings())
    assert (tmp_path / "out.mkv").read_bytes() == b"mine"


def test_a_recording_that_is_cut_off_is_edited_up_to_its_end(write_video, faces, settings, tmp_path):
    source = write_video(tmp_path / "in.mkv", faces[:16], range(0, 640, 40), g="4")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])

    observer, said = EditObserver(), []
    observer.warning = said.append
    report = edit_video(source, tmp_path / "out.mkv", settings(), observer)
    count = len(pictures(source))
    assert 4 < count < 16 and len(report.frames) == count == len(pictures(tmp_path / "out.mkv"))
    assert times(tmp_path / "out.mkv") == pytest.approx(times(source), abs=1e-3)
    (warning,) = (warning for warning in report.warnings if warning.kind == "cut off")
    assert (warning.track, warning.start, warning.stop) == (None, 0, count)
    assert said.count(warning.sentence) == 1
    refused(InputError, "cut off at frame", source, tmp_path / "no.mkv", settings(reading={"strict": True}))


def test_files_that_are_no_videos(video, settings, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    for name in ("text.mp4", "gone.mp4"):
        refused(InputError, name, tmp_path / name, tmp_path / "out.mkv", settings())
    with pytest.raises(InputError, match=r"cut\.mp4"):
        edit_video(tmp_path / "cut.mp4", tmp_path / "out.mkv", settings())
    assert not (tmp_path / "out.mkv").exists()


def test_damaged_removers_and_removers_of_another_backbone(video, settings, make_remover, tmp_path_factory, tmp_path):
    from toolkit.testing import tiny_backbone

    missing, tampered = make_remover("stickers"), make_remover("stickers")
    (missing / "controlnet" / "config.json").unlink()
    refused(InputError, "config.json is missing", video, tmp_path / "out.mkv", settings(remover=[missing]))
    weights = tampered / "controlnet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused(InputError, "damaged or was changed", video, tmp_path / "out.mkv", settings(remover=[tampered]))
    other = tiny_backbone(tmp_path_factory.mktemp("other") / "other", text=False, vae="tiny", seed=3)
    refused(InputError, "trained on the backbone tiny", video, tmp_path / "out.mkv", settings(backbone=str(other)))
    refused(
        InputError, "expected the folder of a remover", video, tmp_path / "o.mkv", settings(remover=[tmp_path / "x"])
    )


def test_a_task_that_is_not_installed(video, settings, make_remover, tmp_path):
    unknown = make_remover("moustaches")
    refused(InputError, "moustaches.*without masks", video, tmp_path / "out.mkv", settings(remover=[unknown]))
    blind = {"masks": "off", "normalisation": "none", "composite": "crop"}
    report = edit_video(video, tmp_path / "out.mkv", settings(remover=[unknown], masking=blind))
    assert report.outcome == "edited" and report.frames[0].faces[0].mask is None


def test_a_context_that_the_motion_adapter_cannot_see(video, settings, tmp_path):
    refused(UsageError, "sees 32 frames", video, tmp_path / "out.mkv", settings(motion={"context_length": 64}))
    known = settings(motion={"motion_layers": ["up_blocks.9.motion_modules.0"]})
    refused(UsageError, "no motion layer", video, tmp_path / "out.mkv", known)


def test_more_than_memory_holds(video, settings, tmp_path, monkeypatch):
    import torch

    from toolkit.diffusion import VideoEditPipeline

    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(VideoEditPipeline, "_predict", fail)
        with pytest.raises(ToolkitError, match="lower --context-length"):
            edit_video(video, tmp_path / "out.mkv", settings())
    assert not (tmp_path / "out.mkv").exists()


def test_the_command_line_says_one_sentence(video, backbone, remover, tmp_path, capsys):
    words = ["edit", str(video), str(tmp_path / "out.mp4"), "--backbone", str(backbone)]
    for more, sentence in (
        ([], "name what to remove"),
        (["--remover", str(remover), "--blend-range", "0.9", "0.1"], "two numbers in order"),
        (["--remover", str(remover), "--context-overlap", "16"], "below context_length"),
        (["--remover", str(remover), "--strength", "0.01"], "runs none"),
        (["--remover", str(remover), "--scheduler", "Magic"], "scheduler must be one of"),
        (["--remover", str(remover), "--c2pa-key", "key.pem"], "belong together"),
        (["--remover", str(remover), "--task-option", "x"], "--task-option must be NAME=VALUE"),
        (["--removr", str(remover)], "did you mean --remover"),
    ):
        assert main([*words, *more]) == 2
        message = capsys.readouterr().err
        assert sentence in message and message.startswith("error:") and message.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


# from Python


def test_a_pipeline_for_frames_in_memory(faces, backbone, remover):
    pipeline = load_pipeline(remover, backbone, device="cpu")
    frames = np.ascontiguousarray(faces[:3, 32:160, 32:160])
    made = pipeline(frames, num_inference_steps=2).frames
    assert made.shape == frames.shape and made.dtype == np.uint8
    assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
    assert pipeline.scheduler.config.beta_schedule == "linear"
