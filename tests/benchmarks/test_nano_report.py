"""What the report of the embedded backbone computes from measurements, and when it measures again."""

import json
import math
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.nano_report import aims, bare, cost, counting, data, drawing, measures, page, real, sheets, variants
from benchmarks.nano_report.figures import figures, grouped
from benchmarks.nano_report.material import bare_portraits
from benchmarks.nano_report.stages import Stages, folder_digest, source_digest
from toolkit.video import VideoWriter


def video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=25, lossless=True) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def grey(*values, side=32):
    return [np.full((side, side, 3), value, np.uint8) for value in values]


# Variants


def test_variants_name_a_revision_and_arguments():
    assert variants.parse_variant("nano 1=@be5b2d4") == variants.Variant("nano 1", "be5b2d4")
    assert variants.parse_variant("nano 2=") == variants.Variant("nano 2")
    plain = variants.parse_variant("no filling = --no-fill-opaque --seed 3")
    assert plain == variants.Variant("no filling", None, ("--no-fill-opaque", "--seed", "3"))
    assert plain.folder == "no-filling"


@pytest.mark.parametrize("text", ["nano", "=@be5b2d4", "-=--seed 1"])
def test_a_variant_needs_a_name_and_an_equals_sign(text):
    with pytest.raises(ValueError, match="NAME="):
        variants.parse_variant(text)


def test_a_folder_is_a_revision_too(tmp_path):
    chosen = [variants.Variant("one", str(tmp_path)), variants.Variant("two")]
    with variants.sources(chosen) as found:
        assert found == {"one": tmp_path, "two": Path(variants.HERE)}


def test_videos_are_untouched_if_copied_or_changed_only_outside_the_true_mask(tmp_path):
    bare_one, drawn = grey(100)[0], grey(100)[0]
    drawn[8:16, 8:16] = 200
    inside, outside = drawn.copy(), drawn.copy()
    inside[10, 10] = 150
    outside[0, 0] = 0
    edits = {"a": inside, "b": outside, "c": drawn, "d": inside}
    for name, edited in edits.items():
        video(tmp_path / "with" / f"{name}.mkv", [drawn])
        video(tmp_path / "without" / f"{name}.mkv", [bare_one])
        video(tmp_path / "edited" / f"{name}.mkv", [edited])
    outcomes = {"a": "edited", "b": "edited", "c": "edited", "d": "no attribute"}
    assert variants.untouched(tmp_path / "edited", tmp_path, outcomes) == ["b.mkv", "c.mkv", "d.mkv"]


def test_copies_do_not_go_through_the_codec(tmp_path):
    noise = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    for name in "ab":
        video(tmp_path / "edited" / f"{name}.mkv", noise)
    variants.through_codec(tmp_path / "edited", {"a": "edited", "b": "no attribute"}, tmp_path / "coded")
    assert sorted(path.name for path in (tmp_path / "coded").iterdir()) == ["a.mp4", "b.mkv"]
    assert (tmp_path / "coded" / "b.mkv").read_bytes() == (tmp_path / "edited" / "b.mkv").read_bytes()


# Material and data


def test_portraits_with_glasses_are_left_out():
    rows = [
        {"file": "a/1.jpg", "shows": "face, 70-year-old woman from Namibia", "use": "test"},
        {"file": "a/2.jpg", "shows": "face with glasses, 89-year-old woman from Chile", "use": "test"},
        {"file": "b/3.jpg", "shows": "face, no glasses", "use": "train: yes"},
    ]
    one, other = bare_portraits(rows, Path("stills"))
    assert (one.path, one.test, one.age, one.set) == (Path("stills/a/1.jpg"), True, 70, "a")
    assert (other.test, other.age, other.set) == (False, None, "b")


def test_videos_tell_their_portrait():
    assert data.portrait_of("f12-0.mp4") == "f12" and data.portrait_of("old-man-13.mp4") == "old-man"


def test_videos_are_chosen_evenly(tmp_path):
    for number in range(7):
        for part in ("with", "without"):
            (tmp_path / "all" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / part / f"{number:05d}.mkv").write_text(f"{part} {number}")
    few = data.evenly(tmp_path / "all", 3, tmp_path / "few")
    assert sorted(path.name for path in (few / "with").iterdir()) == ["00000.mkv", "00003.mkv", "00006.mkv"]
    assert (few / "without" / "00003.mkv").read_text() == "without 3"


# Groups and worst videos


@pytest.mark.parametrize(("age", "group"), [(18, "under 40"), (39, "under 40"), (40, "40 to 64"), (65, "65 and more")])
def test_ages_are_grouped(age, group):
    assert measures.age_group(age) == group


@pytest.mark.parametrize(
    ("angle", "group"), [(55, "light"), (41, "medium"), (10.1, "medium"), (10, "dark"), (-60, "dark")]
)
def test_tones_are_grouped(angle, group):
    assert measures.tone_group(angle) == group


def test_typology_angle_is_that_of_the_colour():
    # skimage.color.rgb2lab((224, 172, 105)) = (74.3, 11.7, 41.5); (92, 56, 54) = (28.0, 15.6, 8.6)
    assert measures.typology_angle(np.array([224, 172, 105])) == pytest.approx(
        math.degrees(math.atan2(24.3, 41.5)), abs=1
    )
    assert measures.typology_angle(np.array([92, 56, 54])) == pytest.approx(math.degrees(math.atan2(-22.0, 8.6)), abs=2)
    assert measures.tone_group(measures.typology_angle(np.array([92, 56, 54]))) == "dark"


def test_worst_group_is_compared_with_the_mean_over_all_videos():
    values = {"a": 20.0, "b": 22.0, "c": 30.0, "d": 28.0, "left out": 0.0}
    found = measures.group_means(values, {"a": "old", "b": "old", "c": "young", "d": "young"})
    assert (found["worst"], found["behind"]) == ("old", 4.0)
    (old, low, high, count), young = found["groups"]["old"], found["groups"]["young"]
    assert (old, count, young[0]) == (21.0, 2, 29.0) and 20 <= low <= old <= high <= 22


def test_one_group_is_not_behind_and_no_group_is_none():
    assert measures.group_means({"a": 20.0}, {"a": "old"})["behind"] == 0
    assert measures.group_means({"a": 20.0}, {})["worst"] is None


def test_spread_names_the_worst_video():
    found = measures.spread({"a": 30.0, "b": 20.0, "c": 25.0})
    assert (found["mean"], found["worst"], found["worst_name"]) == (25.0, 20.0, "b")
    assert 20 <= found["low"] < 25 < found["high"] <= 30


def test_likeness_is_measured_inside_and_outside_the_true_mask(tmp_path):
    bare_one, drawn = grey(100)[0], grey(100)[0]
    drawn[8:16, 8:16] = 200
    edited = bare_one.copy()
    edited[8:16, 8:16] = 110
    for folder, picture in (("with", drawn), ("without", bare_one), ("edited", edited)):
        video(tmp_path / folder / "a.mkv", [picture, picture])
    found = measures.likeness(tmp_path, tmp_path / "edited")
    assert found == {"a.mkv": {"psnr_inside": pytest.approx(28.13, abs=0.01), "psnr_outside": None}}
    result = {"videos": {"now": found}}
    assert measures.inside(result, "now") == {"a.mkv": found["a.mkv"]["psnr_inside"]}


def test_equal_values_are_ranked_by_name():
    assert measures.ranked({"b": 1.0, "a": 1.0, "c": 0.5}) == ["c", "a", "b"]


def test_telling_videos_are_the_worst_the_median_and_the_best():
    values = {"a": 5.0, "b": 1.0, "c": 3.0, "d": 2.0, "e": 4.0}
    assert drawing.telling(values) == {"worst": "b", "median": "c", "best": "a"}
    assert drawing.telling({"a": 1.0}) == {"worst": "a"}


def test_people_are_grouped_by_their_portraits():
    result = {
        "lossless": {"now": {"videos": {"now": {"0.mkv": {"psnr_inside": 20.0}, "1.mkv": {"psnr_inside": 30.0}}}}},
        "people": {"0.mkv": "f1-0.mp4", "1.mkv": "f2-0.mp4"},
    }
    found = grouped(result, "now", {"f1": 80, "f2": 20}, {"f1": 50.0, "f2": -50.0})
    assert found["age"]["worst"] == "65 and more" and found["age"]["behind"] == 5
    assert found["skin tone"]["groups"] == {"light": [20.0, None, None, 1], "dark": [30.0, None, None, 1]}


# Real and bare people


def test_remaining_glasses_are_what_was_not_removed():
    blank = {"a": {"glasses_removed": 0.04}, "b": {"glasses_removed": 0.0}}
    assert real.remaining({"a": {"glasses_removed": 0.03}, "b": {"glasses_removed": 0.0}}, blank) == {
        "a": 0.25,
        "b": None,
    }


def test_steadiness_is_relative_to_the_original():
    assert real.steadiness({"a": {"warp_error": 3e-4}}, {"a": {"warp_error": 4e-4}}) == {"a": pytest.approx(0.75)}
    assert real.mean({"a": None, "b": 0.5, "c": 0.7}) == pytest.approx(0.6)


def test_bare_frames_are_equal_unchanged_or_changed(tmp_path):
    video(tmp_path / "with" / "a.mkv", grey(100, 100, 100))
    video(tmp_path / "edited" / "a.mkv", grey(100, 101, 110))
    video(tmp_path / "with" / "b.mkv", grey(50))
    video(tmp_path / "edited" / "b.mkv", grey(50))
    found = bare.levels(tmp_path / "with", tmp_path / "edited")
    assert found["a.mkv"] == [math.inf, pytest.approx(48.13, abs=0.01), pytest.approx(28.13, abs=0.01)]
    counted = bare.counted(found)
    assert (counted["frames"], counted["unchanged"], counted["equal"]) == (4, 3, 2)
    assert list(counted["changed"]) == ["a.mkv"]


def test_rectangle_around_eyes_stays_in_the_frame():
    landmarks = np.zeros((478, 3), np.float32)
    topology = sheets.load_topology("mediapipe478")
    landmarks[topology.regions["left_eye"], :2] = (60, 20)
    landmarks[topology.regions["right_eye"], :2] = (20, 20)
    assert sheets.around_eyes(landmarks, (100, 100)) == (0, 0, 92, 52)


# Cost


def test_arithmetic_of_all_threads_is_counted_once(monkeypatch):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False, padding=1))

        def forward(self, x):
            return self.inner(x)

    net = Net().eval()

    @torch.inference_mode()
    def work():
        net(torch.zeros(1, 3, 16, 16))

    def main(arguments):
        assert arguments == ["edit", "in", "out"]
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        work()
        return 0

    monkeypatch.setattr(counting, "main", main)
    code, networks = counting.count(["edit", "in", "out"])
    assert code == 0 and list(networks) == ["Net"]
    assert networks["Net"] == pytest.approx(3 * 2 * 16 * 16 * 8 * 3 * 9 / 1e9)
    before = dict(networks)
    work()  # nothing counts any more
    assert networks == before and not torch.nn.modules.module._global_forward_hooks


def test_arithmetic_for_a_frame_has_a_total():
    found = cost.per_frame({"frames": 4, "networks": {"UNet": 8.0, "Segmenter": 2.0}})
    assert found == {"UNet": 2.0, "Segmenter": 0.5, "total": 2.5}


# Aims


def aim(**values):
    return aims.Aim(**({"name": "x", "label": "x", "asked": 28, "hoped": 30} | values))


def test_aims_are_compared_as_printed():
    assert aims.reached(aim(), 27.96) is True and aims.reached(aim(), 27.94) is False
    falling = aim(asked=0.22, rising=False, style="{:.3f}")
    assert aims.reached(falling, 0.2204) is True and aims.reached(falling, 0.221) is False
    assert aims.reached(aim(asked=0.999, style="{:.2%}"), 0.99894) is False
    assert aims.reached(aim(), None) is None


def test_rows_of_aims_tell_what_was_not_measured():
    first = aims.rows({"glasses inside": 25.0}, {})[0]
    assert first[1:] == ["25.0", "not measured", "28.0", "30.0", "-"]


def test_figures_of_parts_that_were_left_out_are_missing():
    cheap = {"cost": {"cpu": {"glasses": {"ratios": {"now": 9.0}}}, "weights": {"now": 5e7}, "arithmetic": {}}}
    cheap["cost"]["arithmetic"] = {task: {"now": {"total": 7.0}} for task in data.TASKS}
    found = figures(cheap, "now")
    assert found == {"cpu": 9.0, "weights": 50.0, "glasses arithmetic": 7.0, "stickers arithmetic": 7.0}
    assert {one.name for one in aims.AIMS} >= set(found)


# The page


def test_template_and_values_must_name_the_same():
    assert page.fill("{{a}} and {{b}}, {{a}}", {"a": "1", "b": "2"}) == "1 and 2, 1"
    with pytest.raises(KeyError, match="b"):
        page.fill("{{a}} {{b}}", {"a": "1"})
    with pytest.raises(KeyError, match="c"):
        page.fill("{{a}}", {"a": "1", "c": "3"})


def test_tables_are_markdown():
    assert page.table(["", "x"], [["a", "1"]]) == "|  | x |\n| --- | --- |\n| a | 1 |"


def test_paragraphs_are_wrapped_and_tables_stay():
    table = "| " + "x" * 200 + " |\n| --- |"
    long = "word " * 60
    found = page.wrapped(f"# Title\n\n{long}\n\n{table}\n\n- item")
    assert table in found and found.endswith("- item\n")
    assert max(len(line) for line in found.splitlines() if not line.startswith("|")) <= 128


def test_groups_table_has_before_and_now():
    one = {"age": {"groups": {"65 and more": [20.0, 19.0, 21.0, 2]}, "worst": "65 and more", "behind": 0}}
    other = {
        "age": {
            "groups": {"65 and more": [25.0, 24.0, 26.0, 2], "under 40": [26.0, None, None, 1]},
            "worst": "65 and more",
            "behind": 0,
        }
    }
    found = page.groups_table({"glasses": one}, {"glasses": other}, ["nano 1", "nano 2"]).splitlines()
    assert found[2:] == [
        "| age | under 40 | 1 | n/a | 26.0 |",
        "| age | 65 and more | 2 | 20.0 [19.0, 21.0] | 25.0 [24.0, 26.0] |",
    ]


def test_cost_table_names_networks_of_either_version():
    part = {
        "weights": {"nano 1": 56e6, "nano 2": 58e6},
        "arithmetic": {"glasses": {"nano 1": {"A": 9.0, "total": 9.0}, "nano 2": {"B": 7.0, "total": 7.0}}},
        "cpu": {"glasses": {"ratios": {"nano 1": 2.5, "nano 2": 8.1}}},
    }
    lines = page.cost_table(part, ["nano 1", "nano 2"])
    assert "| glasses: GFLOP for a frame, A | 9.00 | n/a |" in lines
    assert lines.index("total") > lines.index("frame, B")


# Stages


def test_a_stage_runs_again_only_if_its_inputs_change(tmp_path):
    stages, runs = Stages(tmp_path), []

    def work():
        runs.append(1)
        return {"runs": len(runs)}

    assert stages.run("a/b", {"x": 1}, work) == {"runs": 1}
    assert stages.run("a/b", {"x": 1}, work) == {"runs": 1}
    assert stages.run("a/b", {"x": 2}, work) == {"runs": 2}
    (tmp_path / "a" / "b.json").write_text("{")
    assert stages.run("a/b", {"x": 2}, work) == {"runs": 3}


def test_a_stage_that_fails_leaves_no_result(tmp_path):
    with pytest.raises(SystemExit):
        Stages(tmp_path).run("a", {}, lambda: exit(1))
    assert list(tmp_path.iterdir()) == []


def test_source_digest_follows_code_and_weights(tmp_path):
    edit = tmp_path / "toolkit" / "edit"
    edit.mkdir(parents=True)
    (edit / "a.py").write_text("1")
    (tmp_path / "docs.md").write_text("1")
    first = source_digest(tmp_path)
    (tmp_path / "docs.md").write_text("2")
    assert source_digest(tmp_path) == first
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "w.safetensors").write_bytes(b"1")
    assert source_digest(tmp_path) != first


def test_folder_digest_leaves_reports_of_edits_out(tmp_path):
    (tmp_path / "a.mkv").write_bytes(b"1")
    first = folder_digest(tmp_path)
    (tmp_path / "a.mkv.json").write_text(json.dumps({"seconds": 1}))
    assert folder_digest(tmp_path) == first


NAMES = ("nano 1", "nano 2")


def measured(values):
    return {
        "columns": {"psnr_inside": "PSNR inside (dB)"},
        "cells": {name: {"psnr_inside": f"{one[0]:.2f}"} for name, one in values.items()},
        "means": {name: {"psnr_inside": one[0], "identity_target": 0.9} for name, one in values.items()},
        "videos": {
            name: {f"{k}.mkv": {"psnr_inside": value} for k, value in enumerate(one)} for name, one in values.items()
        },
    }


def of_made():
    """Results of the made videos: a few decibels more for the second variant, and for glasses."""
    sets = {}
    for part in ("london", "synthetic"):
        sets[part] = {}
        for task, level in (("glasses", 24.0), ("stickers", 21.0)):
            lossless = {
                name: measured({name: [level + k, level + k + 2]}) for k, name in enumerate((*NAMES, "unedited"))
            }
            sets[part][task] = {
                "lossless": lossless,
                "codec": {name: lossless[name] for name in NAMES},
                "outcomes": {name: {"0": "edited", "1": "no attribute"} for name in NAMES},
                "untouched": {"nano 1": ["1.mkv"], "nano 2": []},
                "people": {"0.mkv": "f1-0.mp4", "1.mkv": "f2-0.mp4"},
            }
            if part == "synthetic":
                groups = {name: grouped(sets[part][task], name, {"f1": 80, "f2": 20}, {}) for name in NAMES}
                sets[part][task]["groups"] = groups
    return sets


def all_results():
    counted = {"frames": 100, "unchanged": 99, "equal": 90, "changed": {"a.mkv": 40.0}}
    each = dict.fromkeys(NAMES)
    return {
        "made": of_made(),
        "real": {
            "videos": ["a.mkv", "b.mkv"],
            "large": ["a.mkv"],
            "detail": {
                video: {name: {"kept": 0.5, "clear": 0.75, "traces": None} for name in each}
                for video in ("a.mkv", "b.mkv")
            },
            "remaining": {name: {"a.mkv": 0.01, "b.mkv": None} for name in each},
            "steadiness": {name: {"a.mkv": 0.9, "b.mkv": 1.0} for name in each},
        },
        "bare": {task: {name: {"clips": counted, "all portraits": counted} for name in each} for task in data.TASKS},
        "cost": {
            "weights": {"nano 1": 56.4e6, "nano 2": 59e6},
            "arithmetic": {task: {name: {"UNet": 7.0, "total": 7.5} for name in each} for task in data.TASKS},
            "cpu": {task: {"frames": 180, "ratios": {"nano 1": 2.6, "nano 2": 8.2}} for task in data.TASKS},
        },
    }


def test_page_has_the_aims_of_all_parts(tmp_path):
    results = all_results()
    found = {name: figures(results, name) for name in NAMES}
    run = SimpleNamespace(
        variants=[variants.Variant("nano 1", "be5b2d4"), variants.Variant("nano 2")],
        material=SimpleNamespace(arcface=None),
        seconds=2.0,
    )
    page.write(run, results, found, tmp_path / "docs" / "page.md", tmp_path / "docs" / "images")
    text = (tmp_path / "docs" / "page.md").read_text()
    assert "| rendered glasses, PSNR inside the mask (dB) | 24.0 | 25.0 | 28.0 | 30.0 | **no** |" in text
    assert (
        "| CPU time of a whole edit: commit cbd5524's divided by this, glasses | 2.6 | 8.2 | 8.0 | 12.0 | yes |" in text
    )
    assert "| share of sticker videos left untouched | 50.0 % | 0.0 % |" in text
    assert "(images/nano-glasses.jpg)" in text and "be5b2d4" in text
    assert "| 2 (small) | n/a / n/a | 0.50 / 0.50 | 0.75 / 0.75 | n/a / n/a | 1.00 / 1.00 |" in text
    assert "{{" not in text and max(len(line) for line in text.splitlines() if line[:1] not in "|!") <= 128


def test_page_needs_all_parts(tmp_path):
    with pytest.raises(SystemExit, match="cost"):
        page.write(None, {"made": {}, "real": {}, "bare": {}}, {}, tmp_path / "page.md", tmp_path)
