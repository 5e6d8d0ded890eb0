"""What was inpainted is put back with a soft edge, and nothing else changes."""

import numpy as np
import pytest

from toolkit.synthesis.inpainter import composite_over, feathered


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
