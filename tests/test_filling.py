"""Parts of pictures continued from around them."""

import numpy as np
import pytest

from toolkit.filling import GAP, around, closed, continued, disc, distances, filled


def slope(side=64):
    """uint8 ``[R, R, 3]``: light that rises along both axes."""
    light = np.add.outer(np.linspace(0, 60, side), np.linspace(100, 180, side))
    return np.rint(np.stack([light, light / 2, 255 - light], axis=-1)).astype(np.uint8)


def test_a_dark_rim_on_a_slope_of_light_leaves_the_slope():
    truth, masks = slope(), np.zeros((2, 64, 64), bool)
    masks[0, 30:34, 10:50] = True
    frames = np.stack([truth, truth])
    frames[masks] = 10
    made = filled(frames, masks)
    assert np.abs(made.astype(int) - truth).max() <= 1
    assert np.array_equal(made[1], frames[1]) and made.dtype == np.uint8


@pytest.mark.parametrize("seed", range(4))
def test_every_filled_pixel_is_the_mean_of_its_neighbours(seed):
    rng = np.random.default_rng(seed)
    frame, mask = rng.integers(256, size=(24, 32, 3), dtype=np.uint8), np.zeros((24, 32), bool)
    mask[4:15, 8:20] = rng.random((11, 12)) < 0.8
    made = filled(frame[None], mask[None])[0]
    assert np.array_equal(made[~mask], frame[~mask])
    values = made.astype(float)
    means = sum(np.roll(values, *move) for move in ((1, 0), (-1, 0), (1, 1), (-1, 1))) / 4
    assert np.abs(values - means)[mask].max() <= 1  # each was rounded


def test_what_was_made_keeps_its_structure_and_takes_the_colours_around_it():
    truth, mask = slope(), np.zeros((64, 64), bool)
    mask[20:44, 20:44] = True
    truth[30:34, 24:40] //= 2  # a brow
    frame, made = truth.copy(), np.clip(np.add(truth.astype(int), (20, -15, 9)), 0, 255).astype(np.uint8)
    frame[mask] = 7  # a sticker
    result = continued(frame, made, mask)
    assert np.abs(result.astype(int) - truth)[mask].max() <= 1
    assert np.array_equal(result[~mask], made[~mask]) and result.dtype == np.uint8
    assert np.array_equal(continued(frame, made, np.zeros_like(mask)), made)


def test_up_to_the_border_of_the_picture():
    truth, mask = slope(), np.zeros((64, 64), bool)
    mask[:8, 20:30] = mask[50:, 50:] = True
    worn = np.where(mask[..., None], 0, truth).astype(np.uint8)
    made = filled(worn[None], mask[None])[0]
    assert made[mask].min() >= truth.min() and made[mask].max() <= truth.max()
    assert np.abs(made.astype(int) - truth)[:50].max() <= 10


def test_nothing_known_changes_nothing():
    frames = np.random.default_rng(0).integers(256, size=(1, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(filled(frames, np.ones((1, 8, 8), bool)), frames)


def test_closed_masks_have_no_holes_and_gaps_and_reach_no_further():
    mask = np.zeros((128, 128), bool)
    mask[20:80, 20:80] = True
    mask[40:60, 40:60] = False
    mask[:, 50] = False
    whole = np.zeros((128, 128), bool)
    whole[20:80, 20:80] = True
    assert whole[closed(mask)].all() and (closed(mask) != whole).sum() <= 2  # corners of the gap stay
    assert not closed(np.zeros((16, 16), bool)).any()


@pytest.mark.parametrize("side", [33, 64, 200])
@pytest.mark.parametrize("seed", range(6))
def test_masks_are_closed_as_on_the_whole_picture(side, seed):
    import cv2
    from scipy.ndimage import binary_fill_holes

    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(side, side)), (0, 0), 2)
    mask = noise > np.quantile(noise, (0.5, 0.9, 0.999)[seed % 3])
    if seed > 2:
        mask[side // 2 :] = False
    whole = binary_fill_holes(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc(GAP * side)))
    assert np.array_equal(closed(mask), whole)


def test_nothing_masked_stays_so():
    nothing = np.zeros((20, 20), bool)
    assert not closed(nothing).any() and nothing[around(nothing, 3)].size == 0


def test_distances_are_those_to_the_nearest_masked_pixel_whatever_lies_in_memory():
    rng = np.random.default_rng(0)
    mask = rng.random((64, 64)) > 0.99
    apart = np.stack(np.indices(mask.shape), axis=-1)[:, :, None] - np.argwhere(mask)
    expected = np.sqrt((apart**2).sum(axis=-1).min(axis=-1).astype(np.float32))
    for count in rng.integers(1, 5000, 20):
        room = np.zeros(count, np.uint8)  # moves what is allocated next
        assert np.array_equal(distances(mask), expected)
        del room
