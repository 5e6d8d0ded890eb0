"""Comparisons: methods run once, and their videos are measured."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.cli import main
from toolkit.compare import comparison as comparison_module
from toolkit.compare.comparison import CompareObserver, compare
from toolkit.compare.plan import plan_comparison
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.executor import InlineExecutor
from toolkit.testing import tiny_backbone, tiny_remover
from toolkit.video import read_frames

FILLED = {"masks_of": "target", "baselines": ["unedited", "telea", "navier-stokes"]}


def frames_of(path):
    return np.stack([frame.image for frame in read_frames(path)])


def state(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def target(folders):
    return {"target": folders / "targets"}


def test_the_baselines_are_what_they_are_called(comparison, folders, target, tmp_path):
    report = compare(comparison(**FILLED, measuring=target))
    assert [method.name for method in report.evaluation.methods] == FILLED["baselines"]
    for name, flag in (("telea", cv2.INPAINT_TELEA), ("navier-stokes", cv2.INPAINT_NS)):
        made = frames_of(tmp_path / "out/videos" / name / "more/b.mkv")
        originals, clean = (frames_of(folders / kind / "more/b.mkv") for kind in ("videos", "targets"))
        for frame, original, wanted in zip(made, originals, clean, strict=True):
            mask = (np.abs(original.astype(int) - wanted).max(axis=2) > 8).astype(np.uint8)
            assert mask.sum() > 400
            assert np.array_equal(frame, cv2.inpaint(original, mask, 3, flag))
    means = report.evaluation.means
    assert means["unedited"]["rim_left"].value == 1
    assert means["telea"]["rim_left"].value < 0.8
    assert means["telea"]["psnr_inside"].value > means["unedited"]["psnr_inside"].value + 3
    assert means["telea"]["psnr_outside"].value > 50
    assert report.failed == 0 and (tmp_path / "out/index.html").is_file()
    assert json.loads((tmp_path / "out/settings.json").read_text())["masks_of"] == "target"


def test_what_is_made_is_not_made_again(comparison, remover, target, tmp_path):
    config = comparison(remover=[remover], baselines=["telea", "first-frame"], masks_of="target", measuring=target)
    compare(config)
    before = state(tmp_path / "out/videos")
    assert {path.relative_to(tmp_path / "out/videos").parts[0] for path in before} == {"ours", "telea", "first-frame"}
    assert not [path for path in before if path.name.startswith(".")]
    compare(config)
    assert state(tmp_path / "out/videos") == before
    changed = config.model_copy(update={"seed": 1})
    compare(changed)
    after = state(tmp_path / "out/videos")
    assert {path.parts[-2] for path in before if path.name == "a.mkv" and after[path] != before[path]} == {
        "ours",
        "first-frame",
    }


def test_another_target_of_the_same_name_makes_a_video_anew(comparison, folders, tmp_path):
    targets = tmp_path / "targets"
    shutil.copytree(folders / "targets", targets)
    config = comparison(baselines=["telea"], masks_of="target", measuring={"target": targets})
    compare(config)
    before = state(tmp_path / "out/videos")
    shutil.copy(folders / "videos/a.mkv", targets / "a.mkv")
    compare(config)
    after = state(tmp_path / "out/videos")
    assert {path.name for path in before if after[path] != before[path]} == {"a.mkv", "a.mkv.json"}


def test_a_damaged_record_makes_a_video_anew(comparison, target, tmp_path):
    config = comparison(baselines=["telea"], masks_of="target", measuring=target)
    compare(config)
    made = tmp_path / "out/videos/telea/a.mkv"
    before = state(made.parent)
    made.with_name("a.mkv.json").write_text("{")
    compare(config)
    after = state(made.parent)
    assert after[made] != before[made] and after[made.parent / "more/b.mkv"] == before[made.parent / "more/b.mkv"]


def test_first_frame_attention_is_another_video_than_ours(comparison, remover, tmp_path):
    # A few steps at full strength would only give black frames.
    groups = {"motion": {"motion_layers": "none"}, "denoising": {"num_inference_steps": 10, "strength": 0.2}}
    compare(comparison(remover=[remover], baselines=["first-frame"], masking={"min_change": 0}, **groups))
    ours, first = (frames_of(tmp_path / "out/videos" / name / "a.mkv") for name in ("ours", "first-frame"))
    assert np.abs(ours.astype(int) - first).max() > 0
    record = json.loads((tmp_path / "out/videos/first-frame/a.mkv.json").read_text())
    assert record["config"]["motion"]["reference_frames"] == "first"
    assert record["resolved"]["motion"]["motion_adapter"] is False


def test_the_named_weights_and_device_reach_every_analyser(comparison, monkeypatch, tmp_path):
    """The baselines' masks and the measuring both find faces, with the analyser that the user named."""
    files = {name: tmp_path / name for name in ("detector_file", "parser_file", "aligner_file")}
    faces = {"analyser": "facer", "max_faces": 2, **files}
    asked = []

    def create(name, **settings):
        asked.append((name, {key: value for key, value in settings.items() if value is not None}))
        raise ToolkitError("enough")

    monkeypatch.setattr("toolkit.faces.config.create_analyser", create)
    monkeypatch.setattr("toolkit.evaluate.evaluation._processes", lambda *_: InlineExecutor())
    compare(comparison(baselines=["unedited", "telea"], faces=faces))
    wanted = {"max_faces": 2, "device": "cpu", **files}
    assert len(asked) == 4 and asked == [("facer", wanted)] * 4


def test_one_bad_video_does_not_stop_the_rest(comparison, folders, target, tmp_path):
    videos = tmp_path / "in"
    shutil.copytree(folders / "videos", videos)
    (videos / "broken.mkv").write_bytes(b"nothing")
    seen = []

    class Observer(CompareObserver):
        def failed(self, name, sentence):
            seen.append(tuple(name.split(", ")))

    report = compare(comparison(videos=videos, **FILLED, measuring=target), Observer())
    assert seen == [("telea", "broken.mkv"), ("navier-stokes", "broken.mkv")]
    for method in report.evaluation.methods:
        found = {video.name: video.failed for video in method.videos}
        assert found["broken.mkv"] and found["a.mkv"] is None and found["more/b.mkv"] is None
    assert report.failed == 3


def test_a_method_that_fails_everywhere_is_in_the_report(comparison, monkeypatch, target):
    def fail(*_):
        raise ToolkitError("the tool broke")
        yield

    monkeypatch.setattr("toolkit.compare.methods.opencv_frames", fail)
    report = compare(comparison(baselines=["unedited", "telea"], masks_of="target", measuring=target))
    failed = {method.name: [video.failed for video in method.videos] for method in report.evaluation.methods}
    assert failed == {"unedited": [None, None], "telea": ["the tool broke"] * 2}
    assert report.evaluation.means["telea"]["warp_error"].value is None


def test_a_method_of_too_few_frames_leaves_no_video(comparison, monkeypatch, target, tmp_path):
    monkeypatch.setattr("toolkit.compare.methods.opencv_frames", lambda source, masks, kind: (frame for frame in ()))
    report = compare(comparison(baselines=["unedited", "telea"], masks_of="target", measuring=target))
    assert "returned 0 frames" in report.evaluation.methods[1].videos[0].failed
    assert not [path for path in (tmp_path / "out/videos").rglob("*") if path.is_file()]


def test_outputs_are_only_measured(comparison, folders, tmp_path):
    report = compare(comparison(baselines=[], outputs=[f"perfect={folders / 'targets'}"]))
    assert [method.name for method in report.evaluation.methods] == ["perfect"]
    assert report.evaluation.means["perfect"]["rim_left"].value < 0.6
    assert not (tmp_path / "out/videos").exists()


def test_a_checkout_is_run_on_the_masks(comparison, target, monkeypatch, tmp_path):
    asked = []

    class Tool:
        name, needs_masks = "propainter", True

        def check(self):
            asked.append("check")

        def scripts(self):
            return {}

        def run(self, request):
            masks = list(request.masks())
            asked.append((request.count, request.width, request.height, len(masks)))
            assert request.work.is_dir() and not list(request.work.iterdir())
            for frame, mask in zip(request.frames(), masks, strict=True):
                yield np.where(mask[..., None], 0, frame).astype(np.uint8)

    def external(name, checkout, python):
        asked.append((name, checkout, python))
        return Tool()

    monkeypatch.setattr("toolkit.compare.tools.external", external)
    settings = {"masks_of": "target", "checkouts": ["propainter=/there"], "pythons": ["propainter=/env/bin/python"]}
    compare(comparison(baselines=[], **settings, measuring=target))
    assert asked[:2] == [("propainter", Path("/there"), Path("/env/bin/python")), "check"]
    assert asked[2:] == [(6, 192, 192, 6)] * 2
    made = frames_of(tmp_path / "out/videos/propainter/a.mkv")
    assert (made[:, 115, 80] == 0).all() and (made[:, 5, 5] > 0).any()


def test_what_cannot_be_run_is_left_out_unless_it_was_named(comparison, remover):
    plan = plan_comparison(comparison(options={"masker": "skin"}))
    assert list(plan.methods) == ["unedited"]
    assert set(plan.left_out) == {"telea", "navier-stokes", "cn-inpaint", "first-frame"}
    assert "all of the skin" in plan.left_out["telea"] and "--remover" in plan.left_out["first-frame"]
    named = plan_comparison(comparison(baselines=["telea", "cn-inpaint"], remover=[remover]))
    assert list(named.methods) == ["ours", "telea", "cn-inpaint"]
    glasses = plan_comparison(comparison(task="glasses"))
    assert list(glasses.methods) == ["unedited", "telea", "navier-stokes", "cn-inpaint"]
    with pytest.raises(UsageError, match="name one with --remover"):
        plan_comparison(comparison(baselines=["first-frame"]))


def test_cn_inpaint_is_denoised_as_pairs_are_on_the_backbone_of_ours(comparison, tmp_path):
    from toolkit.backbones import describe
    from toolkit.synthesis.config import InpaintConfig

    prompted = tiny_backbone(tmp_path / "prompted")
    mine = tiny_remover(tmp_path / "mine", prompted)
    pairs = InpaintConfig().resolved(describe(prompted), "cpu")
    assert (pairs.num_inference_steps, pairs.guidance_scale) == (50, 7.5)

    def denoising(**changed):
        given = {"baselines": ["cn-inpaint"], "remover": [mine], "backbone": str(prompted), **changed}
        resolved = plan_comparison(comparison(**given)).methods["cn-inpaint"].resolved
        return resolved.spec.name, resolved.denoising

    name, found = denoising(denoising={"num_inference_steps": None})
    assert name == describe(prompted).name
    for setting in ("num_inference_steps", "guidance_scale", "controlnet_conditioning_scale", "strength"):
        assert getattr(found, setting) == getattr(pairs, setting)
    changed = {"num_inference_steps": 4, "guidance_scale": 2.0}
    found = denoising(denoising=changed)[1]
    assert (found.num_inference_steps, found.guidance_scale) == (4, 2.0)


def test_cn_inpaint_without_prompts_has_no_guidance(comparison, backbone):
    plan = plan_comparison(comparison(baselines=["cn-inpaint"], denoising={"num_inference_steps": None}))
    found = plan.methods["cn-inpaint"].resolved.denoising
    assert found.guidance_scale == 1 and found.num_inference_steps == 50


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"outputs": ["ours=x"]}, "no other method has"),
        ({"outputs": ["x"]}, "NAME=PATH"),
        ({"checkouts": ["sora=x"]}, "must be of propainter"),
        ({"pythons": ["fgt=x"]}, "none of fgt"),
        ({"masks_of": "target"}, "--target"),
        ({"writing": {"preview": 2}}, "leave them out"),
    ],
)
def test_settings_that_do_not_fit(comparison, changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        comparison(**changed)


def test_places_that_do_not_fit(comparison, folders, tmp_path):
    with pytest.raises(InputError, match="nothing at"):
        compare(comparison(baselines=[], outputs=["a=/no/such/place"]))
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(comparison(baselines=[]))
    with pytest.raises(UsageError, match="would mix with the videos"):
        compare(comparison(baselines=["unedited"], output=folders / "videos/out"))
    inside = tmp_path / "inside" / "videos"
    shutil.copytree(folders / "videos", inside / "telea")
    with pytest.raises(UsageError, match="would mix with the videos"):
        compare(comparison(baselines=["unedited"], videos=inside, output=tmp_path / "inside"))
    assert (inside / "telea/a.mkv").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        compare(comparison(baselines=["unedited"], output=tmp_path / "file"))
    with pytest.raises(InputError, match="no such video"):
        compare(comparison(baselines=["telea"], videos=tmp_path / "none"))


def test_foreign_videos_among_the_results_stay(comparison, target, tmp_path):
    foreign = tmp_path / "out/videos/telea/precious.mp4"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    compare(comparison(baselines=["telea"], masks_of="target", measuring=target))
    assert foreign.read_bytes() == b"mine"


def test_two_videos_of_one_result_are_refused(comparison, folders, target, tmp_path):
    videos = tmp_path / "in"
    shutil.copytree(folders / "videos", videos)
    shutil.copy(videos / "a.mkv", videos / "a.webm")
    with pytest.raises(UsageError, match=r"a.mkv and a.webm would both become a.mkv"):
        compare(comparison(videos=videos, baselines=["telea"], masks_of="target", measuring=target))
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_measuring_is_told_before_a_video_is_made(comparison, target, tmp_path):
    for wrong in ({"arcface": tmp_path / "none.onnx", "identity": True}, {"target": tmp_path / "nowhere"}):
        with pytest.raises(ToolkitError):
            compare(comparison(baselines=["telea"], masks_of="target", measuring=target | wrong))
        assert not (tmp_path / "out/videos").exists()


def test_targets_may_be_links_to_one_file(comparison, folders, tmp_path):
    targets = tmp_path / "targets"
    (targets / "more").mkdir(parents=True)
    for name in ("a.mkv", "more/b.mkv"):
        (targets / name).symlink_to(folders / "targets/a.mkv")
    report = compare(comparison(baselines=["unedited"], measuring={"target": targets}))
    assert [video.notes for video in report.evaluation.methods[0].videos] == [[], []]


def test_a_bug_of_a_method_costs_its_videos_only(comparison, monkeypatch, target):
    def fail(*_):
        raise ZeroDivisionError("a plugin's")
        yield

    told = []

    class Observer(CompareObserver):
        def bug(self, name, details):
            told.append((name, "ZeroDivisionError" in details))

    monkeypatch.setattr("toolkit.compare.methods.opencv_frames", fail)
    config = comparison(baselines=["unedited", "telea"], masks_of="target", measuring=target)
    report = compare(config, Observer())
    assert told == [("telea, a.mkv", True), ("telea, more/b.mkv", True)]
    assert report.failed == 2 and report.evaluation.means["unedited"]["warp_error"].value is not None


def test_the_command_line(folders, tmp_path, capsys):
    words = ["compare", "--videos", str(folders / "videos/a.mkv"), "--task", "stickers", "--masks-of", "target"]
    words += ["--target", str(folders / "targets/a.mkv"), "--baselines", "unedited", "telea", "--flow", "dis"]
    words += ["--no-identity", "--lossless", "--output", str(tmp_path / "out"), "--workers", "1", "--no-clips"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "telea" in said.out and "report:" in said.out
    assert "method 1 of 3: ours" in said.err and "method 3 of 3: telea" in said.err
    assert main([*words, "--baselines", "first-frame", "--backbone", "sd15"]) == 2
    assert "--remover" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["compare", "ablate"])
def test_flags_of_the_analyser_reach_edit_and_measuring(monkeypatch, tmp_path, verb):
    seen = []

    def stop(config, observer):
        seen.append(config)
        raise UsageError("enough")

    monkeypatch.setattr(f"toolkit.compare.comparison.{verb}", stop)
    words = [verb, "--videos", "v", "--task", "stickers", "--remover", "r", "--output", "o", "--device", "cpu"]
    files = {name: tmp_path / name for name in ("detector_file", "parser_file", "aligner_file")}
    for name, path in files.items():
        words += [f"--{name.replace('_', '-')}", str(path)]
    assert main([*words, "--analyser", "facer", "--max-faces", "2"]) == 2
    wanted = {"analyser": "facer", "max_faces": 2, "model_file": None, **files}
    assert seen[0].faces.model_dump() == wanted
    assert comparison_module._measuring(seen[0], {"ours": tmp_path}).faces.model_dump() == wanted
    assert seen[0].edit([tmp_path]).faces.model_dump().items() >= wanted.items()


def test_a_comparison_imports_no_models_before_it_needs_some():
    assert "diffusers" not in {name.split(".")[0] for name in vars(comparison_module)}
    assert sys.modules["toolkit.compare.config"]
