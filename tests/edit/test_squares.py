"""Squares that follow a face."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.edit.tracks.squares import follow


def boxes_of(centres, size):
    centres, half = np.asarray(centres, float), np.broadcast_to(np.asarray(size, float) / 2, len(centres))[:, None]
    return np.concatenate([centres - half, centres + half], axis=1)


TIMES = np.arange(60) / 30


def test_steady_motion_is_followed_exactly_also_at_the_ends():
    centres = np.stack([100 + 300 * TIMES, 200 - 50 * TIMES], axis=1)
    squares = follow(boxes_of(centres, 80), TIMES, crop_scale=1.5)
    assert np.abs(squares.centres - centres).max() < 1e-6
    assert np.allclose(squares.sides, 120)


def test_jitter_is_smoothed():
    rng = np.random.default_rng(0)
    centres = np.stack([100 + 60 * TIMES, np.full(60, 150.0)], axis=1)
    shaken = boxes_of(centres + rng.normal(0, 2, centres.shape), 90 * np.exp(rng.normal(0, 0.03, 60)))
    squares = follow(shaken, TIMES)
    assert np.abs(np.diff(squares.centres, 2, axis=0)).max() < 0.7
    assert np.abs(np.diff(np.log(squares.sides))).max() < 0.01
    assert np.abs(squares.centres - centres).mean() < 1


def test_frames_without_a_face_have_no_square_and_split_the_smoothing():
    boxes = boxes_of(np.full((60, 2), 100.0), 50)
    boxes[20:30] = np.nan
    boxes[30:] += 400
    squares = follow(boxes, TIMES)
    assert (squares.present == np.isfinite(boxes).all(axis=1)).all()
    assert np.allclose(squares.centres[:20], 100)
    assert np.allclose(squares.centres[30:], 500)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.floats(1, 3), st.integers(1, 40))
def test_square_always_holds_the_box(seed, crop_scale, count):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 500, (count, 2))
    boxes = boxes_of(centres, rng.uniform(20, 200, count))
    squares = follow(boxes, np.arange(count) / 25, crop_scale)
    half = squares.sides[:, None] / 2
    assert (squares.centres - half <= boxes[:, :2] + 1e-9).all()
    assert (squares.centres + half >= boxes[:, 2:] - 1e-9).all()


def test_corners_of_the_square_are_corners_of_the_crop():
    squares = follow(boxes_of([[120, 80], [121, 81]], 100), np.array([0, 0.04]), crop_scale=1.0)
    matrix = squares.to_crop(0, 50)
    corner = squares.centres[0] - squares.sides[0] / 2
    assert np.allclose(matrix @ [*corner, 1], -0.5)
    assert np.allclose(matrix @ [*(corner + squares.sides[0]), 1], 49.5)


@pytest.mark.parametrize("boxes", [np.zeros((3, 4)), np.zeros((60, 3))])
def test_bad_boxes_are_refused(boxes):
    with pytest.raises(ValueError):
        follow(boxes, TIMES[: len(boxes)])
