"""Faces that lie or are upside down are edited upright and turned back."""

import numpy as np
import pytest

from toolkit.edit import EditConfig, edit_video
from toolkit.edit.output.patches import paste
from toolkit.edit.tracks.crops import cut
from toolkit.edit.tracks.squares import Squares
from toolkit.edit.tracks.track import landmarks_in_crops, quarters_of
from toolkit.video import read_frames


@pytest.fixture
def frame():
    y, x = np.mgrid[:120, :160]
    picture = np.stack([120 + 60 * np.sin(x / 9), 120 + 60 * np.cos(y / 8), 100 + 50 * np.sin((x + y) / 11)], axis=2)
    return picture.astype(np.uint8)


def square(x, y, side, quarters):
    return Squares(np.array([[x, y]], float), np.array([side], float), quarters)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize(("x", "side", "resolution"), [(81.3, 70.5, 96), (80.1, 90.3, 40), (3.0, 60, 60)])
def test_crops_are_turned(frame, x, side, resolution, quarters):
    upright = cut(frame, square(x, 60.2, side, 0).to_crop(0, resolution), resolution)
    turned = cut(frame, square(x, 60.2, side, quarters).to_crop(0, resolution), resolution)
    assert np.abs(turned.astype(int) - np.rot90(upright, quarters)).max() <= 6


@pytest.mark.parametrize("quarters", range(4))
def test_what_was_cut_out_turned_is_pasted_where_it_was(frame, quarters):
    matrix = square(30.3, 60.2, 70.5, quarters).to_crop(0, 128)
    back = paste(frame, cut(frame, matrix, 128), np.ones((128, 128)), matrix)
    assert np.abs(back.astype(int) - frame).max() <= 3


@pytest.mark.parametrize("quarters", range(4))
def test_landmarks_follow_their_pixels(frame, quarters):
    squares = square(81.3, 60.2, 40, quarters)
    frame[:] = 0
    frame[50:53, 90:93] = 255
    crop = cut(frame, squares.to_crop(0, 160), 160)[..., 0]
    y, x = np.nonzero(crop > 127)
    (found,) = landmarks_in_crops(np.float32([[[91.5, 51.5, 2]]]), squares, 0, 160)
    np.testing.assert_allclose(found[0], [x.mean() + 0.5, y.mean() + 0.5, 8], atol=0.6)


@pytest.mark.parametrize(
    ("angles", "quarters"),
    [
        ([0, 10, -30, 55, -58], [0] * 5),
        ([170, -175, 178], [2, 2, 2]),
        ([90], [1]),
        ([-80] * 4, [3] * 4),
        ([0] * 4 + [150] + [0] * 4, [0] * 9),  # one frame is noise
        ([20, 40, 55, 70, 85, 95, 120, 145, 155, 170, 180], [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_the_turn_changes_only_for_good_reason(angles, quarters):
    assert quarters_of(np.array(angles, float)).tolist() == quarters


@pytest.mark.parametrize("quarters", [1, 2])
def test_a_turned_video_is_edited_like_an_upright_one(
    faces, write_video, remover, backbone, everywhere, tmp_path, quarters
):
    changed = []
    for turn in (0, quarters):
        frames = np.ascontiguousarray(np.rot90(faces[:6], -turn, axes=(1, 2)))
        source, target = write_video(tmp_path / f"{turn}.mp4", frames, sound=False), tmp_path / f"{turn}.out.mkv"
        settings = {"remover": [remover], "backbone": str(backbone), "writing": {"lossless": True}}
        settings |= everywhere
        report = edit_video(source, target, EditConfig.model_validate(settings))
        assert {entry.status for entry in report.frames} == {"edited"}
        assert all(face.turn < 30 for entry in report.frames for face in entry.faces)
        assert {face.orientation for entry in report.frames for face in entry.faces} == {90 * turn}
        pairs = zip(read_frames(source), read_frames(target))
        changes = np.array([(before.image != after.image).any(axis=2) for before, after in pairs])
        changed.append(np.rot90(changes, turn, axes=(1, 2)))
    upright, turned = changed
    assert (upright & turned).sum() / (upright | turned).sum() > 0.85
