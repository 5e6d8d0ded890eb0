"""Whole evaluations of small videos, including videos that cannot be measured."""

import json
import weakref

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from toolkit.errors import ContractError, InputError, UsageError
from toolkit.evaluate import measuring
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.flow import DisFlow
from toolkit.evaluate.results import Evaluation
from toolkit.evaluate.warp_error import frame_error
from toolkit.executor import ProcessExecutor
from toolkit.video.reading import ReadingConfig


def video(report, method="ours", index=0):
    return next(found for found in report.evaluation.methods if found.name == method).videos[index]


def saved(report):
    return json.loads((report.output / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def videos(write, face, spoilt, tmp_path_factory):
    """Folders of the original and of its edit; the target is the original without the noise."""
    root = tmp_path_factory.mktemp("videos")
    write(root / "clean" / "a.mkv", face)
    write(root / "noisy" / "a.mkv", spoilt)
    return root


# what is measured


def test_identical_folders(measure, videos):
    report, notes = measure(videos / "noisy", same=videos / "noisy", target=videos / "noisy")
    values = video(report, "same").values
    assert values["glasses_removed"] == 0
    assert values["psnr_frame"] == values["psnr_outside"] == np.inf
    assert values["psnr_inside"] is None  # target and original differ nowhere
    assert values["ssim_frame"] == pytest.approx(1) and values["temporal_error"] == 0
    assert values["warp_error"] > 0
    assert report.failed == 0 and notes.order == ["a.mkv"] and notes.count == 1
    assert saved(report)["methods"][0]["videos"][0]["values"]["psnr_outside"] == "Infinity"
    again = Evaluation.model_validate_json((report.output / "report.json").read_text(encoding="utf-8"))
    assert again == report.evaluation


def test_identity_of_identical_folders_is_one(measure, videos, shared):
    arcface = shared("weights/mobilefacenet_pixamatch.onnx")
    report, _ = measure(videos / "clean", same=videos / "clean", ours=videos / "noisy", identity=True, arcface=arcface)
    same, ours = video(report, "same"), video(report, "ours")
    assert same.values["identity"] == pytest.approx(1, abs=1e-9)
    assert same.values["identity_glasses_removed"] == 0
    assert 0 < ours.values["identity"] < 0.97
    assert ours.values["identity_glasses_removed"] == ours.values["identity"] * ours.values["glasses_removed"]
    assert report.evaluation.tools["identity"] == "mobilefacenet_pixamatch.onnx"


def test_without_an_embedder_the_column_says_so_and_nothing_is_invented(measure, videos, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    report, _ = measure(videos / "clean", ours=videos / "noisy", identity=True)
    assert "not measured" in report.evaluation.tools["identity"]
    assert "identity" in [column.name for column in report.evaluation.columns]
    assert report.evaluation.means["ours"]["identity"].value is None
    assert "identity" not in video(report).values


def test_four_frames_by_hand(measure, write, face, spoilt, tmp_path):
    original, edited = face[:4], spoilt[:4]
    target = np.clip(original.astype(int) + 3, 0, 255).astype(np.uint8)
    target[:, 10:40, 20:60] = 40
    for name, frames in (("original", original), ("edited", edited), ("target", target)):
        write(tmp_path / f"{name}.mkv", frames)
    report, _ = measure(tmp_path / "original.mkv", ours=tmp_path / "edited.mkv", target=tmp_path / "target.mkv")
    found = video(report)
    inside = np.abs(original.astype(int) - target).max(axis=3) > 8
    squared = (edited.astype(float) - target) ** 2

    def decibels(errors):
        return 10 * np.log10(255**2 / np.mean(errors))

    assert found.per_frame["psnr_frame"] == pytest.approx([decibels(frame) for frame in squared])
    assert found.values["psnr_frame"] == pytest.approx(decibels(squared))
    assert found.values["psnr_inside"] == pytest.approx(decibels([squared[t][inside[t]].mean() for t in range(4)]))
    assert found.values["psnr_outside"] == pytest.approx(decibels([squared[t][~inside[t]].mean() for t in range(4)]))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    similar = [
        structural_similarity(edited[t], target[t], channel_axis=2, data_range=255, **settings) for t in range(4)
    ]
    assert found.values["ssim_frame"] == pytest.approx(np.mean(similar))
    moved = np.diff(edited.astype(float), axis=0) - np.diff(target.astype(float), axis=0)
    assert found.per_frame["temporal_error"][0] is None
    assert found.per_frame["temporal_error"][1:] == pytest.approx([np.abs(step).mean() for step in moved], rel=1e-6)
    assert found.values["temporal_error"] == pytest.approx(np.abs(moved).mean(), rel=1e-6)
    forward, backward = DisFlow()(original[:-1], original[1:]), DisFlow()(original[1:], original[:-1])
    errors = [frame_error(edited[t], edited[t + 1], forward[t], backward[t]) for t in range(3)]
    assert found.per_frame["warp_error"] == [None, *errors]
    assert found.values["warp_error"] == pytest.approx(np.mean(errors), rel=1e-12)


def test_inside_is_where_the_task_says(measure, videos, plugin):
    words = {"ours": videos / "noisy", "target": videos / "clean", "task": plugin("dot")}
    by_task, _ = measure(videos / "clean", mask="task", **words)
    by_difference, _ = measure(videos / "clean", mask="difference", **words)
    assert video(by_difference).values["psnr_inside"] is None  # original and target are the same video
    values = video(by_task).values
    assert values["psnr_inside"] is not None and values["psnr_frame"] == video(by_difference).values["psnr_frame"]
    assert values["psnr_inside"] != pytest.approx(values["psnr_outside"], abs=0.1)


@pytest.mark.parametrize("length", [4, 16])
def test_the_length_of_clips_changes_no_number(measure, videos, shared, length):
    arcface = shared("weights/mobilefacenet_pixamatch.onnx")
    words = {"ours": videos / "noisy", "target": videos / "clean", "identity": True, "arcface": arcface}
    one, _ = measure(videos / "noisy", clip_length=1, **words)
    other, _ = measure(videos / "noisy", clip_length=length, **words)
    for key, series in video(one).per_frame.items():
        wanted = np.array(series, float)
        # Batches of another size change the order of additions in the networks.
        tolerance = {"glasses_removed": 2e-4, "identity": 1e-6}.get(key, 0)
        assert np.allclose(np.array(video(other).per_frame[key], float), wanted, atol=tolerance, rtol=0, equal_nan=True)


def test_processes_change_no_number(measure, write, face, spoilt, tmp_path):
    for number in range(3):
        write(tmp_path / "o" / f"{number}.mkv", face[number : number + 6])
        write(tmp_path / "e" / f"{number}.mkv", spoilt[number : number + 6])
    reports = []
    for name, executor in (("one", None), ("three", ProcessExecutor(3))):
        report, _ = measure(
            tmp_path / "o", executor, ours=tmp_path / "e", target=tmp_path / "o", output=tmp_path / name
        )
        document = saved(report)
        del document["seconds"]
        reports.append(json.dumps(document))
    assert reports[0] == reports[1]
    assert [found["name"] for found in json.loads(reports[1])["methods"][0]["videos"]] == ["0.mkv", "1.mkv", "2.mkv"]


def test_values_of_several_faces(measure, write, face, plugin, tmp_path):
    two = np.concatenate([face[:5], face[:5, :, ::-1]], axis=2)
    write(tmp_path / "o.mkv", two)
    body = """
def metrics(self):
    one = lambda original, edited: np.full(len(original), 3.0)
    where = lambda original, edited: original.landmarks[:, 0, 0].astype(float)
    return {
        "total": Measure(one, "total", "a number", over_faces="sum"),
        "place": Measure(where, "place", "a number"),
    }
"""
    report, _ = measure(tmp_path / "o.mkv", ours=tmp_path / "o.mkv", task=plugin("counting", body))
    found = video(report)
    assert found.per_frame["total"] == [6.0] * 5
    assert found.values["place"] == pytest.approx(128, abs=4)  # halfway between a face and its mirror image


# videos that cannot be measured


def test_frames_without_a_face_are_counted_and_have_no_fidelity(measure, write, face, tmp_path, shared):
    frames = face[:9].copy()
    frames[3:7] = 90
    original, edited = write(tmp_path / "o.mkv", frames), write(tmp_path / "e.mkv", frames)
    arcface = shared("weights/mobilefacenet_pixamatch.onnx")
    report, _ = measure(original, ours=edited, clip_length=4, identity=True, arcface=arcface)
    found = video(report)
    assert found.frames == 9 and found.frames_without_face == 4
    assert found.notes == ["no face in 4 of 9 frames of the original"]
    for key in ("glasses_removed", "identity"):
        assert [value is None for value in found.per_frame[key]] == [3 <= t < 7 for t in range(9)]
    assert report.failed == 0


def test_a_video_without_any_face(measure, write, tmp_path):
    room = write(tmp_path / "room.mkv", np.full((5, 64, 96, 3), 90, np.uint8))
    report, _ = measure(room, ours=room, target=room)
    found = video(report)
    assert found.frames_without_face == 5 and found.values["glasses_removed"] is None
    assert found.values["warp_error"] == 0 and found.values["psnr_frame"] == np.inf
    assert report.evaluation.means["ours"]["glasses_removed"].value is None


def test_one_frame(measure, write, face, spoilt, tmp_path):
    original, edited = write(tmp_path / "o.mkv", face[:1]), write(tmp_path / "e.mkv", spoilt[:1])
    report, _ = measure(original, ours=edited, target=original)
    found = video(report)
    assert found.values["warp_error"] is None and found.values["temporal_error"] is None
    assert found.per_frame["warp_error"] == [None]
    assert found.values["psnr_frame"] > 0 and found.notes == ["one frame only, so consistency cannot be measured"]
    assert report.failed == 0


def spoil(kind, path, write, face):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "absent":
        return ""
    if kind in ("text", "empty"):
        path.write_bytes(b"no video\n" * 9 if kind == "text" else b"")
        return str(path)
    frames = {
        "cut": face[:8],
        "longer": np.resize(face, (15, *face.shape[1:])),
        "shorter": face[:5],
        "size": face[:, 2:],
    }
    write(path, frames[kind])
    if kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"longer": "has 15 frames", "shorter": "has 5 frames", "size": "128x126", "cut": str(path)}[kind]


KINDS = ("absent", "text", "empty", "cut", "longer", "shorter", "size")


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_video_that_does_not_fit(measure, write, face, plugin, tmp_path, kind):
    for name in ("a", "b"):
        write(tmp_path / "o" / f"{name}.mkv", face)
        write(tmp_path / "good" / f"{name}.mkv", face)
    write(tmp_path / "bad" / "b.mkv", face)
    words = spoil(kind, tmp_path / "bad" / "a.mkv", write, face)
    report, _ = measure(tmp_path / "o", bad=tmp_path / "bad", good=tmp_path / "good", task=plugin("dot"))
    assert report.failed == 1
    failed = video(report, "bad").failed
    assert words in failed and "a.mkv" in failed and "\n" not in failed
    assert video(report, "bad").values == {}
    for method, index in (("bad", 1), ("good", 0), ("good", 1)):
        found = video(report, method, index)
        assert found.failed is None and found.frames == 12 and found.values["warp_error"] > 0
        assert len(found.per_frame["warp_error"]) == 12
    assert report.evaluation.notes == [f"bad: {failed}"]
    assert report.evaluation.means["bad"]["warp_error"].videos == 1


@pytest.mark.parametrize(
    ("side", "kind"),
    [
        ("original", "text"),
        ("original", "cut"),
        ("target", "empty"),
        ("target", "cut"),
        ("target", "shorter"),
        ("target", "size"),
    ],
)
def test_an_original_or_target_that_does_not_fit(measure, write, face, plugin, tmp_path, side, kind):
    for name in ("a", "b"):
        for folder in ("original", "target", "e"):
            write(tmp_path / folder / f"{name}.mkv", face[:8])
    words = spoil(kind, tmp_path / side / "a.mkv", write, face)
    report, notes = measure(tmp_path / "original", ours=tmp_path / "e", target=tmp_path / "target", task=plugin("dot"))
    assert report.failed == 1 and words in video(report).failed
    assert video(report, index=1).failed is None and video(report, index=1).values["psnr_frame"] == np.inf
    assert kind in ("shorter", "size") or list(notes.sentences) == ["a.mkv"]


def test_videos_that_are_cut_off_alike_are_measured(measure, write, face, plugin, tmp_path):
    words = spoil("cut", tmp_path / "o" / "a.mkv", write, face)
    dot = plugin("dot")
    report, notes = measure(tmp_path / "o", ours=tmp_path / "o", task=dot)
    found = video(report)
    assert report.failed == 0 and 2 < found.frames < 8 and len(found.times) == found.frames
    assert [note.partition(": ")[0] for note in found.notes] == ["the original", "the edited video"]
    assert all("cut off at" in note for note in found.notes)
    assert notes.said == [f"a.mkv: {note}" for note in found.notes]
    report, _ = measure(tmp_path / "o", ours=tmp_path / "o", task=dot, reading=ReadingConfig(strict=True))
    assert report.failed == 1 and words in video(report).failed


def test_a_missing_target_is_a_note_and_the_rest_is_measured(measure, write, face, tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "o" / f"{name}.mkv", face[:3])
    write(tmp_path / "t" / "b.mkv", face[:3])
    report, _ = measure(tmp_path / "o", ours=tmp_path / "o", target=tmp_path / "t")
    assert report.failed == 0
    assert "no counterpart of" in video(report).notes[0] and "psnr_frame" not in video(report).values
    assert report.evaluation.means["ours"]["psnr_frame"].videos == 1


def test_why_a_video_was_not_made_is_in_the_report(measure, videos):
    report, _ = measure(videos / "clean", failed={"ours": {"a.mkv": "out of memory"}}, ours=videos / "noisy")
    assert report.failed == 1 and video(report).failed == "out of memory"


def test_containers_folders_and_odd_names(measure, write, face, tmp_path):
    names = ['it\'s "a" <b>&', "below/-x=y [z]", "below/further/ä"]
    for name in names:
        write(tmp_path / "o" / f"{name}.mkv", face[:3])
        write(tmp_path / "e" / f"{name}.mp4", face[:3])
    report, notes = measure(tmp_path / "o", clips=True, **{'<i>"a" & b\\_{$%': tmp_path / "e"})
    assert report.failed == 0 and not notes.sentences
    assert sorted(notes.order) == sorted(f"{name}.mkv" for name in names)
    assert {found.name for found in video_list(report)} == {f"{name}.mkv" for name in names}
    assert all(0 < found.values["warp_error"] < 0.01 for found in video_list(report))
    page = (report.output / "index.html").read_text(encoding="utf-8")
    assert "<i>" not in page and "<b>&" not in page


def video_list(report):
    return report.evaluation.methods[0].videos


def test_no_more_than_two_chunks_of_frames_are_alive(measure, write, tmp_path, monkeypatch):
    alive, most = weakref.WeakSet(), []
    take = measuring._Measuring._take

    def counting(self, chunk, names):
        alive.add(chunk)
        take(self, chunk, names)
        most.append(len(alive))

    monkeypatch.setattr(measuring._Measuring, "_take", counting)
    frames = np.random.default_rng(0).integers(0, 256, (40, 32, 48, 3), dtype=np.uint8)
    video = write(tmp_path / "o.mkv", frames)
    measure(video, ours=video, clip_length=4)
    assert len(most) == 10 and max(most) <= 2


# invalid requests


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "galsses"}, "galsses"),
        ({"options": {"no_such": 1}}, "no_such"),
        ({"faces": {"analyser": "none"}}, "no face analyser"),
        ({"flow_weights": "w.pth"}, "has no weights"),
        ({"original": "absent"}, "originals at absent"),
    ],
)
def test_a_wrong_request_is_refused(measure, videos, change, words):
    settings = {"original": videos / "clean"} | change
    with pytest.raises(UsageError, match=words):
        measure(settings.pop("original"), ours=videos / "noisy", **settings)


def test_outputs_that_cannot_be(measure, videos, tmp_path):
    (tmp_path / "file").write_text("text")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="name another output"):
            measure(videos / "clean", ours=videos / "noisy", output=output)
    with pytest.raises(UsageError, match="folder of the originals"):
        measure(videos / "clean", ours=videos / "noisy", output=videos / "clean" / "report")
    assert not (videos / "clean" / "report").exists()


def test_a_name_with_control_characters_is_refused(videos, tmp_path):
    with pytest.raises(ValueError, match="control characters"):
        EvaluateConfig(original=videos, edited=[f"a\nb={videos}"], task="glasses", output=tmp_path)


def test_a_named_model_that_is_none(measure, videos, tmp_path):
    (tmp_path / "model.onnx").write_text("no model")
    with pytest.raises(InputError, match=r"model\.onnx"):
        measure(videos / "clean", ours=videos / "noisy", identity=True, arcface=tmp_path / "model.onnx")


# tasks


def test_a_task_without_metrics_has_a_table_without_fidelity(measure, videos, plugin):
    report, _ = measure(videos / "clean", ours=videos / "noisy", task=plugin("dot"))
    assert [column.name for column in report.evaluation.columns] == ["warp_error"]
    assert video(report).values.keys() == {"warp_error"}
    assert (report.output / "table.csv").is_file()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("np.zeros(len(original) + 1)", r"expected floats \[12\].*found float64 \[13\]"),
        ("np.zeros(len(original), int)", r"found int64 \[12\]"),
        ("[0.0] * len(original)", "found a list"),
        ("None", "found a NoneType"),
    ],
)
def test_a_metric_that_gives_something_else_names_the_task(measure, videos, plugin, value, words):
    body = f"def metrics(self):\n    return {{'m': Measure(lambda original, edited: {value}, 'm', 'a number')}}"
    with pytest.raises(ContractError, match=f"metric m of the task broken .*{words}"):
        measure(videos / "clean", ours=videos / "noisy", task=plugin("broken", body))


def test_a_measure_with_a_name_of_the_toolkit(measure, videos, plugin):
    body = "def metrics(self):\n    return {'psnr_mine': Measure(lambda a, b: 0, 'm', 'a number')}"
    with pytest.raises(ContractError, match=r"task taken .*psnr_mine"):
        measure(videos / "clean", ours=videos / "noisy", task=plugin("taken", body))


def test_a_bug_in_a_metric_has_its_traceback_and_stops_no_other_video(measure, write, face, plugin, tmp_path):
    write(tmp_path / "o" / "a.mkv", face[:3])
    write(tmp_path / "o" / "b.mkv", face[:4])
    body = """
def metrics(self):
    def wrong(original, edited):
        return np.zeros(4) + np.zeros(len(original))
    return {'m': Measure(wrong, 'm', 'a number')}
"""
    report, notes = measure(tmp_path / "o", ours=tmp_path / "o", task=plugin("buggy", body))
    assert report.failed == 1 and "ValueError" in video(report).failed
    assert "in wrong" in notes.bugs["a.mkv"] and "plugin_buggy" in notes.bugs["a.mkv"]
    assert video(report, index=1).values["m"] == 0


def test_clips_are_whole_frames_that_cannot_be_changed(measure, videos, plugin):
    body = """
def metrics(self):
    def look(original, edited):
        assert original.frames.shape[1:] == edited.frames.shape[1:] == (128, 128, 3)
        assert original.landmarks is edited.landmarks and original.box.tolist() == [0, 0, 128, 128]
        assert not original.frames.flags.writeable and not edited.frames.flags.writeable
        return np.arange(original.start_frame, original.start_frame + len(original), dtype=float)
    return {'m': Measure(look, 'm', 'a number')}
"""
    report, notes = measure(videos / "clean", ours=videos / "noisy", task=plugin("looking", body), clip_length=5)
    assert not notes.bugs
    assert video(report).per_frame["m"] == list(range(12))


def test_identity_to_the_target(measure, videos, shared):
    arcface = shared("weights/mobilefacenet_pixamatch.onnx")
    methods = {"same": videos / "noisy", "true": videos / "clean"}
    report, _ = measure(videos / "noisy", target=videos / "clean", identity=True, arcface=arcface, **methods)
    means = report.evaluation.means
    assert means["true"]["identity_target"].value == pytest.approx(1, abs=1e-9)
    assert means["same"]["identity"].value == pytest.approx(1, abs=1e-9)
    assert means["same"]["identity_target"].value == pytest.approx(means["true"]["identity"].value, abs=1e-9)
    assert means["same"]["identity_target"].value < 0.97
    labels = [column.label for column in report.evaluation.columns]
    assert "ID to target" in labels and labels.index("ID to target") < labels.index("E_warp")
