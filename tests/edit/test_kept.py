"""Faces that an edit could only spoil are kept as they are, and said: hidden eyes, face paint."""

import json

import numpy as np
import pytest

from attributes.stickers.generator import SkinMasker
from toolkit.edit import edit_video
from toolkit.edit.removal.paint import PAINTED, changed_lids, shows_paint
from toolkit.edit.removal.stretches import mostly_hidden
from toolkit.testing.sample import sample_clip
from toolkit.video import read_frames


def pictures(path):
    return np.stack([frame.image for frame in read_frames(path)])


def hidden_from(first):
    """A masker's method: the eyes are hidden in the frames of a clip from `first` on."""
    return lambda masker, clip: clip.start_frame + np.arange(len(clip)) >= first


@pytest.mark.parametrize(("first", "setting", "kept"), [(4, "keep", True), (4, "remove", False), (20, "keep", False)])
def test_an_attribute_that_mostly_hides_the_eyes_is_kept_by_default(
    video, settings, tmp_path, monkeypatch, first, setting, kept
):
    monkeypatch.setattr(SkinMasker, "hides_eyes", hidden_from(first))
    report = edit_video(video, tmp_path / "out.mkv", settings(crop={"hidden_eyes": setting}))
    assert report.outcome == ("kept" if kept else "edited")
    assert [face.eyes_hidden for frame in report.frames for face in frame.faces] == [k >= first for k in range(24)]
    warned = [(one.kind, one.start, one.stop) for one in report.warnings if one.kind.startswith("eyes ")]
    if kept:
        assert warned == [("eyes hidden", 0, 24)]
        assert "--hidden-eyes remove" in report.warnings[0].sentence and report.counts["kept"] == 24
        assert np.array_equal(pictures(tmp_path / "out.mkv"), pictures(video))
    else:
        assert ("eyes hidden", 0, 24) not in warned and report.counts["edited"] == 24
    again = json.loads((tmp_path / "out.mkv.json").read_text())
    assert again["resolved"]["crop"]["hidden_eyes"] == setting


def test_the_majority_of_the_frames_with_the_attribute_decides():
    shown = np.array([True, True, True, False, False, False])
    assert mostly_hidden(np.array([True, True, False, False, False, False]), shown)
    assert not mostly_hidden(np.array([False, True, False, True, True, True]), shown)
    assert not mostly_hidden(np.ones(6, bool), np.zeros(6, bool))


def around_eyes(clip):
    """bool ``[R, R]``: the skin around both eyes of the first frame."""
    changed = np.zeros(clip.frames.shape[1:3], bool)
    for name in ("left_eye", "right_eye"):
        (x0, y0), (x1, y1) = (f(clip.landmarks[0, clip.topology.regions[name], :2], 0) for f in (np.min, np.max))
        changed[int(y0) - 6 : int(y1) + 6, int(x0) - 6 : int(x1) + 6] = True
    return changed


@pytest.mark.parametrize("setting", ["keep", "remove"])
def test_paint_around_both_eyes_is_no_sticker(video, settings, tmp_path, monkeypatch, setting):
    monkeypatch.setattr("toolkit.edit.removal.denoising.shows_paint", lambda *of_frame: True)
    report = edit_video(video, tmp_path / "out.mkv", settings(crop={"face_paint": setting}))
    assert report.outcome == {"keep": "kept", "remove": "edited"}[setting]
    (said,) = (one.sentence for one in report.warnings if one.kind == "face paint")
    assert ("--face-paint remove" in said) == (setting == "keep")


def test_only_what_is_on_the_lids_of_both_eyes_counts():
    clip = sample_clip(1)
    eyes = tuple(clip.topology.regions[name] for name in ("left_eye", "right_eye"))
    changed = np.ones(clip.frames.shape[1:3], bool)
    assert changed_lids(changed, clip.landmarks[0], eyes) == 1
    changed[:, : int(clip.landmarks[0, :, 0].mean())] = False  # one half of the face, as with a sticker beside an eye
    assert changed_lids(changed, clip.landmarks[0], eyes) < PAINTED
    changed = around_eyes(clip)
    lowest = max(clip.landmarks[0, side, 1].mean() for side in eyes)
    changed[: int(lowest) + 1] = False  # stickers below both eyes
    assert changed.any() and changed_lids(changed, clip.landmarks[0], eyes) < PAINTED
    area = np.ones_like(changed)
    assert shows_paint(around_eyes(clip), area, clip.landmarks[0], eyes)
    assert not shows_paint(area, area, clip.landmarks[0], eyes)  # a remover that changes everything
    assert not shows_paint(around_eyes(clip), np.zeros_like(area), clip.landmarks[0], eyes)
