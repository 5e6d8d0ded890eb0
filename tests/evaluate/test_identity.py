"""Alignment as in insightface, compared with cases worked out by hand."""

import cv2
import numpy as np
import pytest

from toolkit.evaluate.identity import TEMPLATE, align, five_points, similarity
from toolkit.faces import load_topology


def landmarks_of(points, name):
    """Landmarks whose five points are `points`, in pixels from the centre of the first pixel."""
    topology = load_topology(name)
    found = np.full((topology.count, 3), 1e4, np.float32)
    places = {
        "mediapipe478": ([468], [473], [4], [61], [291]),
        "ibug68": (range(36, 42), range(42, 48), [30], [48], [54]),
    }
    for part, point in zip(places[name], points):
        offsets = np.arange(len(part)) - (len(part) - 1) / 2
        for index, offset in zip(part, offsets):
            found[index] = [point[0] + 0.5 + offset, point[1] + 0.5 - offset, 7]
    return found, topology


def picture(side=200):
    y, x = np.mgrid[:side, :side]
    waves = 127 + 100 * np.sin(x / 9) * np.cos(y / 11)
    return np.stack([waves, x * 255 / side, y * 255 / side], axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", ["mediapipe478", "ibug68"])
def test_the_five_points_count_from_pixel_centres(name):
    found = five_points(*landmarks_of(TEMPLATE, name))
    assert found.shape == (5, 2) and np.allclose(found, TEMPLATE, atol=1e-4)


@pytest.mark.parametrize("name", ["mediapipe478", "ibug68"])
def test_the_viewers_left_comes_first(name):
    topology = load_topology(name)
    mean = np.array(topology.mean)[:, :2]
    mean = np.column_stack([mean, np.zeros(len(mean))])
    if five_points(mean, topology)[0, 1] > five_points(mean, topology)[4, 1]:
        mean[:, 1] *= -1  # a mean face may have y pointing up
    left_eye, right_eye, nose, left_corner, right_corner = five_points(mean, topology)
    assert left_eye[0] < nose[0] < right_eye[0] and left_corner[0] < nose[0] < right_corner[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_corner[1], right_corner[1])


def test_points_at_the_template_need_no_change():
    assert np.allclose(similarity(TEMPLATE), [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    frame = picture(112)
    assert np.array_equal(align(frame, TEMPLATE), frame)


@pytest.mark.parametrize(("scale", "degrees", "shift"), [(2, 0, (0, 0)), (1, 30, (0, 0)), (0.5, -75, (40.5, 12.25))])
def test_the_way_back_of_a_similarity(scale, degrees, shift):
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found = similarity(TEMPLATE @ matrix.T + shift)
    wanted = np.linalg.inv(matrix)
    assert np.allclose(found[:, :2], wanted, atol=1e-9)
    assert np.allclose(found[:, 2], -wanted @ np.array(shift), atol=1e-7)


def test_the_nearest_similarity_never_shears_or_mirrors():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = TEMPLATE * [-1, 1] + rng.normal(0, 20, (5, 2))
        (a, b), (c, d) = similarity(points)[:, :2]
        assert a == pytest.approx(d) and b == pytest.approx(-c) and a * d - b * c > 0
        best = np.abs(points @ similarity(points)[:, :2].T + similarity(points)[:, 2] - TEMPLATE)
        for _ in range(10):  # no small change is closer
            scale, angle = 1 + rng.normal(0, 0.01), rng.normal(0, 0.01)
            turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            other = turn @ similarity(points)[:, :2]
            moved = points @ other.T
            moved += (TEMPLATE - moved).mean(axis=0)
            assert (np.abs(moved - TEMPLATE) ** 2).sum() >= (best**2).sum() - 1e-6


def test_the_crop_is_the_face_wherever_it_lies():
    """Shifting, rotating and scaling a picture with its points does not change the crop."""
    side, frame = 200, picture()
    points = TEMPLATE + np.array([40, 30])
    crop = align(frame, points)
    assert np.array_equal(crop, frame[30:142, 40:152])
    matrix = cv2.getRotationMatrix2D((100, 90), 20, 1.3)
    moved = cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_CUBIC)
    again = align(moved, points @ matrix[:, :2].T + matrix[:, 2])
    half = align(moved, points @ matrix[:, :2].T + matrix[:, 2] + 0.5)
    near, far = (np.abs(one[20:100, 20:100].astype(int) - crop[20:100, 20:100]).mean() for one in (again, half))
    assert near < 0.5 and far > 2 * near, "half a pixel shows"


def test_beyond_the_frame_it_is_black():
    crop = align(np.full((50, 50, 3), 200, np.uint8), TEMPLATE)
    assert (crop[:49, :49] == 200).all() and (crop[51:] == 0).all() and (crop[:, 51:] == 0).all()


def test_points_of_other_landmarks_are_not_known():
    topology = load_topology("mediapipe478")
    other = type(topology)(**{**vars(topology), "name": "other"})
    with pytest.raises(KeyError):
        five_points(np.zeros((topology.count, 3)), other)
