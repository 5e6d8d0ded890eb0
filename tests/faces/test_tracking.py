"""Tracks of faces with known motion."""

import numpy as np
import pytest

from toolkit.faces.tracking import FaceTracker


def follow(tracker, frames):
    """Track numbers per frame."""
    return [[track for track, _ in tracker.update(index, faces)] for index, faces in enumerate(frames)]


def test_faces_keep_their_numbers_whatever_the_order(face_at):
    rng = np.random.default_rng(0)
    tracker = FaceTracker()
    numbers = {}
    for index in range(30):
        faces = [
            ("left", face_at(200 + 2 * index, 300)),
            ("right", face_at(700, 300 + index)),
            ("far", face_at(450, 90, 30)),
        ]
        order = rng.permutation(3)
        result = tracker.update(index, [faces[k][1] for k in order])
        assert [face for _, face in result] == [faces[k][1] for k in order]
        for k, (track, _) in zip(order, result):
            assert numbers.setdefault(faces[k][0], track) == track
    assert sorted(numbers.values()) == [0, 1, 2]


@pytest.mark.parametrize("speed", [8, 16])
def test_crossing_faces_do_not_swap(face_at, speed):
    frames = [[face_at(100 + speed * t, 300), face_at(900 - speed * t, 330)] for t in range(800 // speed)]
    assert follow(FaceTracker(), frames) == [[0, 1]] * len(frames)


def test_growing_face_is_one_track(face_at):
    frames = [[face_at(400, 300, 40 * 1.08**t)] for t in range(25)]
    assert follow(FaceTracker(), frames) == [[0]] * 25


def test_fast_face_is_one_track(face_at):
    frames = [[face_at(100 + 1.5 * t**2, 300)] for t in range(20)]
    assert follow(FaceTracker(), frames) == [[0]] * 20


def test_jump_across_the_frame_is_another_face(face_at):
    assert follow(FaceTracker(), [[face_at(200, 300)], [face_at(700, 300)]]) == [[0], [1]]


def test_much_smaller_face_in_the_same_place_is_another(face_at):
    assert follow(FaceTracker(), [[face_at(400, 300, 200)], [face_at(400, 300, 25)]]) == [[0], [1]]


def test_frame_without_the_face_ends_the_track(face_at):
    face = [face_at(200, 300)]
    assert follow(FaceTracker(), [face, [], face, face]) == [[0], [], [1], [1]]


def test_gap_can_be_allowed(face_at):
    face = [face_at(200, 300)]
    assert follow(FaceTracker(max_gap=2), [face, [], [], face, [], [], [], face]) == [[0], [], [], [0], [], [], [], [1]]


def test_moving_face_is_expected_at_its_extrapolated_position_after_a_gap(face_at):
    frames = [[face_at(100 + 30 * t, 300)] if t != 8 else [] for t in range(12)]
    assert follow(FaceTracker(max_gap=1), frames)[9:] == [[0]] * 3


def test_entering_and_leaving(face_at):
    a, b = face_at(200, 300), face_at(700, 300)
    assert follow(FaceTracker(), [[a], [a, b], [b], [b, a]]) == [[0], [0, 1], [1], [1, 2]]


def test_one_old_and_one_new_face_are_not_both_matched_badly(face_at):
    # Two wrong matches would have the smaller total distance.
    frames = [[face_at(300, 300), face_at(600, 300)], [face_at(340, 300), face_at(950, 300)]]
    assert follow(FaceTracker(), frames) == [[0, 1], [0, 2]]


def test_reset_ends_the_tracks_and_never_reuses_a_number(face_at):
    tracker, face = FaceTracker(), [face_at(200, 300)]
    assert follow(tracker, [face, face]) == [[0], [0]]
    tracker.reset()
    assert follow(tracker, [face, face]) == [[1], [1]]


def test_frames_must_come_in_order(face_at):
    tracker = FaceTracker()
    tracker.update(3, [face_at(200, 300)])
    with pytest.raises(ValueError, match="frames must come in order, but 3 came after 3"):
        tracker.update(3, [])


def test_no_faces_at_all():
    assert follow(FaceTracker(), [[], [], []]) == [[], [], []]
