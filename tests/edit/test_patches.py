"""Crops are cut out and pasted back."""

import cv2
import numpy as np
import pytest

from toolkit.edit.output.patches import paste
from toolkit.edit.tracks.crops import cut
from toolkit.edit.tracks.squares import Squares


def square(x, y, side):
    return Squares(np.array([[x, y]], float), np.array([side], float))


@pytest.fixture
def frame():
    y, x = np.mgrid[:120, :160]
    picture = np.stack([120 + 60 * np.sin(x / 9), 120 + 60 * np.cos(y / 8), 100 + 50 * np.sin((x + y) / 11)], axis=2)
    return picture.astype(np.uint8)


def test_whole_pixels_at_scale_one_are_the_frame_itself(frame):
    matrix = square(79.5, 59.5, 64).to_crop(0, 64)
    assert (cut(frame, matrix, 64) == frame[28:92, 48:112]).all()


@pytest.mark.parametrize(("side", "resolution"), [(64, 64), (50.7, 96), (90.3, 64), (150, 40)])
def test_nothing_changes_where_the_weight_is_zero(frame, side, resolution):
    before = frame.copy()
    matrix = square(81.3, 60.2, side).to_crop(0, resolution)
    alpha = np.zeros((resolution, resolution))
    alpha[resolution // 3 : resolution // 2, resolution // 3 : resolution // 2] = 1
    edited = np.full((resolution, resolution, 3), 255, np.uint8)
    made = paste(frame, edited, alpha, matrix)
    assert (frame == before).all()
    changed = np.flatnonzero((made != frame).any(axis=2).any(axis=0))
    low, high = 81.3 - side / 6, 81.3
    assert changed.min() >= low - side / resolution - 1
    assert changed.max() <= high + side / resolution + 1
    assert (paste(frame, edited, np.zeros_like(alpha), matrix) == frame).all()


def test_edited_pixels_land_where_they_were_cut(frame):
    matrix = square(81.3, 60.2, 70.5).to_crop(0, 128)
    back = paste(frame, cut(frame, matrix, 128), np.ones((128, 128)), matrix)
    assert np.abs(back.astype(int) - frame).max() <= 3


def test_crops_shrink_without_aliases():
    x = np.arange(256)[None].repeat(256, axis=0)
    stripes = np.repeat((255 * (x % 2)).astype(np.uint8)[..., None], 3, axis=2)
    small = cut(stripes, square(127.5, 127.5, 256).to_crop(0, 60), 60)
    assert np.abs(small[5:-5, 5:-5].astype(int) - 127).max() < 12


def test_face_at_the_border(frame):
    matrix = square(2.0, 118.0, 60).to_crop(0, 60)
    crop = cut(frame, matrix, 60)
    assert crop.shape == (60, 60, 3)
    assert (crop[:20, 0] == crop[:20, 10]).all()  # the repeated edge
    made = paste(frame, np.full_like(crop, 250), np.ones((60, 60)), matrix)
    assert (made[100:, :20] > 200).all()
    assert (made[:80] == frame[:80]).all()


def test_square_that_misses_the_frame_changes_nothing(frame):
    matrix = square(-500.0, -500.0, 60).to_crop(0, 60)
    assert (paste(frame, np.zeros((60, 60, 3), np.uint8), np.ones((60, 60)), matrix) == frame).all()


def test_edge_of_the_crop_never_shows():
    frame = np.full((100, 100, 3), 100, np.uint8)
    matrix = square(49.5, 49.5, 50).to_crop(0, 100)
    made = paste(frame, np.full((100, 100, 3), 200, np.uint8), np.ones((100, 100)), matrix)[..., 0].astype(int)
    assert made[49, 49] == 200
    assert np.abs(np.diff(made[49])).max() <= 65


def test_masks_are_cut_like_pictures(frame):
    mask = np.zeros((120, 160), np.float32)
    mask[50:70, 70:90] = 1
    crop = cut(mask, square(79.5, 59.5, 40).to_crop(0, 80), 80)
    assert crop.shape == (80, 80)
    assert crop[40, 40] == pytest.approx(1)
    assert crop[5, 5] == pytest.approx(0)


@pytest.mark.parametrize("ratio", [1.5, 3, 6])
def test_a_small_face_gets_no_more_detail_than_its_frame_has_pixels_for(ratio):
    """As if the pasted crop had been shrunk by area: neither noise nor stripes alias."""
    side = 192
    place = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2]])
    frame = np.zeros((round(side / ratio), round(side / ratio), 3), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    made = paste(frame, noise, np.ones((side, side)), place)
    inner = slice(round(20 / ratio), -round(20 / ratio))
    wanted = cv2.resize(noise, frame.shape[1::-1], interpolation=cv2.INTER_AREA)[inner, inner].std()
    assert made[inner, inner].std() < 1.35 * wanted
    assert abs(made[inner, inner].mean() - 127.5) < 3


def test_colours_that_were_not_kept_do_not_darken_the_edge():
    """Patches hold no colours far from the mask; smoothing for a small face must not draw them in."""
    side, ratio = 192, 4
    place = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2]])
    alpha = np.zeros((side, side), np.float32)
    alpha[60:130, 60:130] = 1
    colours = np.full((side, side, 3), 200, np.uint8)
    near = cv2.dilate(alpha, np.ones((7, 7))) > 0
    frame = np.full((side // ratio, side // ratio, 3), 200, np.uint8)
    made = paste(frame, np.where(near[..., None], colours, 0).astype(np.uint8), alpha, place)
    assert np.abs(made.astype(int) - 200).max() <= 1


@pytest.mark.parametrize("side", [48.0, 100.3, 128.0, 300.0])
@pytest.mark.parametrize("quarters", [0, 1])
def test_a_small_patch_lands_as_it_does_with_the_whole_crop(side, quarters):
    rng = np.random.default_rng(3)
    frame = rng.integers(0, 256, (200, 260, 3)).astype(np.uint8)
    matrix = Squares(np.array([[130.4, 99.7]]), np.array([side]), quarters).to_crop(0, 128)
    colours = cv2.GaussianBlur(rng.integers(0, 256, (128, 128, 3)).astype(np.uint8), (0, 0), 2)
    small, whole = np.zeros((2, 128, 128), np.float32)
    small[50:70, 30:90] = whole[50:70, 30:90] = 1
    whole[1, 1] = whole[-2, -2] = 1  # so that the patch is the whole crop
    one, other = (paste(frame, colours, weights, matrix).astype(int) for weights in (small, whole))
    inside = paste(np.zeros_like(frame), np.full_like(colours, 255), small, matrix)[..., 0] > 0
    near = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert inside.any() and np.abs(one - other)[near].max() <= 1
    assert np.array_equal(one[~inside], frame[~inside])
