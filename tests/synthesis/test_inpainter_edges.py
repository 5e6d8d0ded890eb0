"""What was inpainted is put back with a soft edge, and nothing else changes."""

import numpy as np
import pytest

from toolkit.synthesis.compositing import composite_over, feathered


def disc(side=64, radius=12):
    y, x = np.mgrid[:side, :side] - side // 2
    return x**2 + y**2 < radius**2


def test_edge_is_one_on_the_mask_and_ends_two_widths_away():
    mask = np.zeros((1, 21), bool)
    mask[0, 10] = True
    weights = feathered(np.repeat(mask, 21, axis=0), 2)[10]
    assert np.allclose(weights[10 - 5 : 10 + 6], [0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-6)


def test_edge_at_the_border_of_the_frame_stays_one_on_the_mask():
    mask = np.zeros((20, 20), bool)
    mask[:, :3] = True
    assert (feathered(mask, 3)[:, :3] == 1).all()


def test_the_frame_stays_outside_and_the_made_is_taken_inside():
    rng = np.random.default_rng(0)
    frame, made = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    mask = disc()
    picture, touched, outside = composite_over(frame, made, mask, 2)
    assert np.array_equal(picture[mask], made[mask])
    assert np.array_equal(picture[~touched], frame[~touched])
    assert (touched & ~mask).any() and not (mask & ~touched).any()
    wanted = np.abs(made.astype(float) - frame)[~touched].mean()
    assert outside == pytest.approx(wanted, abs=1e-3)


def test_an_empty_mask_changes_nothing():
    frame = np.full((32, 32, 3), 90, np.uint8)
    picture, touched, outside = composite_over(frame, frame + 10, np.zeros((32, 32), bool), 2)
    assert np.array_equal(picture, frame)
    assert not touched.any() and outside == 10


@pytest.mark.parametrize("width", [1, 2, 3])
def test_what_is_kept_inside_a_mask_stays_and_the_edge_around_it_lies_inside_the_mask(width):
    rng = np.random.default_rng(0)
    frame, made = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    keep = np.zeros((64, 64), bool)
    keep[31:34, 24:41] = True  # a closed eye, lower than the edges of both sides together
    mask = disc(radius=24) & ~keep
    picture, touched, _ = composite_over(frame, made, mask, width, keep)
    assert np.array_equal(picture[keep], frame[keep]) and not touched[keep].any()
    assert not np.array_equal(composite_over(frame, made, mask, width)[0][keep], frame[keep])
    flat, _, _ = composite_over(np.zeros_like(frame), np.full_like(made, 200), mask, width, keep)
    column = flat[:, 32, 0].astype(int)
    below = column[34:50]
    assert below[0] in range(1, 200) and (np.diff(below) >= 0).all() and below[-1] == 200
    far = mask & ~(np.abs(np.mgrid[:64, :64][0] - 32) < 2 + 2 * width)
    assert np.array_equal(picture[far], made[far])


def test_keeping_nothing_changes_nothing():
    rng = np.random.default_rng(0)
    frame, made = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    plain = composite_over(frame, made, disc(), 2)
    kept = composite_over(frame, made, disc(), 2, np.zeros((64, 64), bool))
    assert all(np.array_equal(one, other) for one, other in zip(plain, kept))
