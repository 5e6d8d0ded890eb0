"""What is seen through an attribute stays as sharp as it is in the frame."""

import cv2
import numpy as np
import pytest

from tasks.stickers import StickersTask
from toolkit.edit import edit_video
from toolkit.edit.output.patch import patch_of, read_patch, write_patch
from toolkit.edit.output.patches import pasted
from toolkit.edit.removal.detail import transferred, widened
from toolkit.edit.removal.paste_weights import composite_over
from toolkit.edit.removal.stores import Edit
from toolkit.edit.tracks.crops import cut
from toolkit.edit.tracks.squares import Squares
from toolkit.video import read_frames

SIDE = 128


@pytest.fixture
def texture():
    """uint8 ``[256, 256, 3]``: detail of one pixel on a gradient."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    smooth = np.stack([90 + x / 4, 100 + y / 5, np.full(x.shape, 110)], axis=2)
    return (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)


def masks(low=24, high=104):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[low:high, low:high] = True
    return mask, np.zeros_like(mask), mask.astype(np.float32)


def onto(frame, before, edited, mask, opaque, weights, matrix):
    """The edit pasted into the frame, through a file."""
    picture, share = transferred(before, edited, mask, opaque, weights, 1.0)
    planes = (np.rint(255 * plane).astype(np.uint8) for plane in (weights, weights * share))
    weights, replaced = planes
    (x0, y0, x1, y1), pixels = pasted(frame, patch_of(picture, weights, before, replaced), matrix)
    result = frame.copy()
    result[y0:y1, x0:x1] = pixels
    return result


def matrix_of(side=240.0, quarters=0):
    return Squares(np.array([[127.5, 127.5]]), np.array([side]), quarters).to_crop(0, SIDE)


@pytest.mark.parametrize("side", [240.0, 128.0, 77.3])
@pytest.mark.parametrize("quarters", [0, 1])
def test_where_the_edit_changes_nothing_the_frame_stays_to_the_bit(texture, side, quarters):
    matrix = matrix_of(side, quarters)
    crop = cut(texture, matrix, SIDE)
    mask, opaque, weights = masks()
    made = onto(texture, crop, crop, mask, opaque, weights, matrix)
    half = int(22 * side / SIDE)  # the mask's border is replaced
    inside = (slice(128 - half, 128 + half),) * 2
    assert np.array_equal(made[inside], texture[inside])


def test_a_tint_goes_and_the_texture_stays(texture):
    tinted = texture.copy()
    tint = np.array([-30, -10, 20])
    tinted[40:216, 40:216] = (texture[40:216, 40:216].astype(int) + tint).clip(0, 255)
    matrix = matrix_of()
    before, wanted = cut(tinted, matrix, SIDE), cut(texture, matrix, SIDE)
    edited = cv2.GaussianBlur(wanted, (0, 0), 1.5)  # a remover that takes the tint off and blurs
    mask = np.abs(before.astype(int) - wanted).max(axis=2) > 5
    made = onto(tinted, before, edited, mask, np.zeros_like(mask), mask.astype(np.float32), matrix)
    inside = slice(70, 186), slice(70, 186)
    left = made[inside].astype(float) - texture[inside]
    assert np.abs(left.mean(axis=(0, 1))).max() < 0.5
    assert left.std() < 1.5 < texture[inside].astype(float).std() / 3


def test_an_opaque_rim_is_replaced_and_does_not_bleed(texture):
    frame = texture.copy()
    frame[:, 120:132] = 0
    matrix = matrix_of()
    before, clean = cut(frame, matrix, SIDE), cut(texture, matrix, SIDE)
    opaque = before.max(axis=2) < 60
    mask, _, weights = masks()
    # The remover's picture is right but smooth.
    made = onto(frame, before, cv2.GaussianBlur(clean, (0, 0), 2), mask, opaque, weights, matrix).astype(int)
    rows = slice(90, 166)
    assert made[rows, 120:132].min() > 60
    for columns in (slice(86, 106), slice(146, 166)):
        error = (made - texture)[rows, columns]
        assert np.abs(error.mean()) < 0.5 and error.std() < 2


def test_a_reflection_that_was_taken_out_does_not_come_back(texture):
    frame = texture.copy()
    frame[110:140, 110:140] = 230
    matrix = matrix_of()
    before, clean = cut(frame, matrix, SIDE), cut(texture, matrix, SIDE)
    mask, opaque, weights = masks()
    made = onto(frame, before, cv2.GaussianBlur(clean, (0, 0), 1), mask, opaque, weights, matrix).astype(int)
    smooth = cv2.GaussianBlur((made - texture).astype(np.float32), (0, 0), 2)
    assert np.abs(smooth[100:150, 100:150]).max() < 12


def test_the_border_of_a_mask_counts_as_opaque_and_eye_holes_do_not():
    mask, opaque, _ = masks()
    mask[50:60, 50:70] = False
    solid = widened(mask, opaque, 1.0)
    assert solid[24:26, 40:90].all() and not solid[24 + 3 :, :][: 80 - 6, 30:98].any()
    assert not widened(np.zeros_like(mask), opaque, 1.0).any()


def test_details_come_back_from_a_file(tmp_path):
    rng = np.random.default_rng(1)
    colours, before = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    weights = np.zeros((32, 32), np.uint8)
    weights[10:20, 12:20] = 200
    replaced = weights // 2
    write_patch(tmp_path / "a.patch", patch_of(colours, weights, before, replaced))
    patch = read_patch(tmp_path / "a.patch")
    assert np.array_equal(patch.detail.replaced, replaced[7:23, 9:23])
    assert np.array_equal(patch.detail.before[3:13, 3:11], before[10:20, 12:20])
    assert patch_of(colours, weights, before, weights).detail is None  # nothing stays


def test_several_edits_keep_what_each_of_them_keeps():
    """As if they were pasted one after the other: ``frame + weight (colours - crop) + replaced (crop - frame)``."""
    rng = np.random.default_rng(2)
    frame, crop, first, second = rng.uniform(0, 255, (4, 6, 6, 3))
    w1, w2 = rng.uniform(0, 1, (2, 6, 6))
    o1, o2 = rng.uniform(0, 1, (2, 6, 6))

    def paste(frame, crop, edit):
        weights, replaced = edit.weights[..., None], edit.replaced[..., None]
        return frame + weights * (edit.colours - crop) + replaced * (crop - frame)

    below, above = Edit(first, w1, w1 * o1), Edit(second, w2, w2 * o2)
    between = crop + w1[..., None] * (first - crop)
    stepwise = paste(paste(frame, crop, below), between, above)
    assert np.allclose(paste(frame, crop, composite_over(below, above)), stepwise)


@pytest.fixture
def see_through(monkeypatch):
    """Stickers whose masks are see-through, so that the sample face shows one."""
    monkeypatch.setattr(StickersTask, "see_through", True)


def pictures(path):
    return np.array([frame.image for frame in read_frames(path)])


def fine(frames):
    """Mean strength of fine detail of each frame."""
    return np.array([np.abs(cv2.Laplacian(frame.astype(np.float32), cv2.CV_32F)).mean() for frame in frames])


def test_an_edit_keeps_detail_if_the_task_is_see_through(video, settings, tmp_path, see_through):
    config = settings(masking={"second_pass": "off"}, motion={"motion_layers": "none"})
    edit_video(video, tmp_path / "kept.mkv", config)
    without = settings(masking={"second_pass": "off", "keep_detail": False}, motion={"motion_layers": "none"})
    edit_video(video, tmp_path / "lost.mkv", without)
    original, kept, lost = (pictures(path) for path in (video, tmp_path / "kept.mkv", tmp_path / "lost.mkv"))
    assert not np.array_equal(kept, original)
    assert np.abs(fine(kept) - fine(original)).mean() < np.abs(fine(lost) - fine(original)).mean()


def test_the_setting_changes_nothing_if_nothing_is_see_through(video, settings, tmp_path):
    for kept in (True, False):
        edit_video(video, tmp_path / f"{kept}.mkv", settings(masking={"keep_detail": kept}))
    assert np.array_equal(pictures(tmp_path / "True.mkv"), pictures(tmp_path / "False.mkv"))
