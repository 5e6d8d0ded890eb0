"""Masks of whole frames."""

import numpy as np
import pytest

from toolkit.compare.masks import FrameMasks, TargetMasks
from toolkit.edit.config import CropConfig
from toolkit.edit.masks import TaskMaskers
from toolkit.errors import InputError
from toolkit.faces import create_analyser
from toolkit.video import VideoWriter, read_frames


class Dots:
    """Masks a small square around a landmark and counts its calls."""

    exact = True

    def __init__(self, point=4, half=6):
        self.point, self.half, self.asked = point, half, 0

    def __call__(self, clip):
        self.asked += 1
        y, x = np.mgrid[: clip.frames.shape[1], : clip.frames.shape[2]]
        spots = clip.landmarks[:, self.point, :2, None, None]
        return (np.abs(x - spots[:, 0]) <= self.half) & (np.abs(y - spots[:, 1]) <= self.half)

    def opaque(self, clip):
        return np.zeros(clip.frames.shape[:3], bool)

    def hides_eyes(self, clip):
        return np.zeros(len(clip.frames), bool)


@pytest.fixture(scope="module")
def analyser():
    return create_analyser("mediapipe", max_faces=2)


def masks_of(path, maskers, analyser, folder, dilation=0.0):
    return FrameMasks(path, "0" * 64, maskers, analyser, CropConfig(), dilation, folder)


def test_masks_lie_where_the_face_is(folders, analyser, tmp_path):
    path = folders / "targets/a.mkv"
    found = list(masks_of(path, Dots(), analyser, tmp_path / "m"))
    frames = list(read_frames(path))
    assert len(found) == len(frames) and found[0].shape == frames[0].image.shape[:2] and found[0].dtype == bool
    for mask, frame in zip(found, frames):
        (face,) = analyser.analyse(frame.image)
        rows, columns = np.nonzero(mask)
        assert abs(columns.mean() + 0.5 - face.landmarks[4, 0]) < 1.5
        assert abs(rows.mean() + 0.5 - face.landmarks[4, 1]) < 1.5


def test_masks_are_widened_as_in_an_edit_and_kept_on_disk(folders, analyser, tmp_path):
    path, dots = folders / "targets/a.mkv", Dots()
    plain = masks_of(path, dots, analyser, tmp_path / "m")
    asked = dots.asked
    again = masks_of(path, dots, analyser, tmp_path / "m", dilation=0.05)
    assert dots.asked == asked > 0
    for mask, wider in zip(plain, again, strict=True):
        assert (wider >= mask).all() and wider.sum() > 2 * mask.sum()
    assert {path.name for path in (tmp_path / "m/track-0").iterdir()} == {"masks-0", "masked"}


def test_the_tasks_own_masks(folders, analyser, tmp_path):
    masks = list(
        masks_of(
            folders / "targets/a.mkv",
            TaskMaskers(["stickers"], {"stickers": {"masker": "skin"}}),
            analyser,
            tmp_path / "m",
        )
    )
    assert all(0.02 < mask.mean() < 0.5 and not mask[:4].any() for mask in masks)


def test_a_video_without_a_face_has_empty_masks(analyser, tmp_path):
    with VideoWriter(tmp_path / "grey.mkv", fps=25, lossless=True) as writer:
        for _ in range(3):
            writer.write(np.full((60, 80, 3), 128, np.uint8))
    masks = list(masks_of(tmp_path / "grey.mkv", Dots(), analyser, tmp_path / "m"))
    assert [mask.shape for mask in masks] == [(60, 80)] * 3 and not np.any(masks)


def test_true_masks_are_where_the_target_differs(folders, tmp_path):
    masks = list(TargetMasks(folders / "videos/a.mkv", folders / "targets/a.mkv"))
    assert len(masks) == 6 and all(mask[106:128, 73:92].all() and not mask[:90].any() for mask in masks)
    short = tmp_path / "short.mkv"
    with VideoWriter(short, fps=25, lossless=True) as writer:
        writer.write(np.zeros((192, 192, 3), np.uint8))
    with pytest.raises(InputError, match="must have the same frames"):
        list(TargetMasks(folders / "videos/a.mkv", short))
