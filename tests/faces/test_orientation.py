"""Faces that lie or are upside down, and what upright ones cost."""

import numpy as np
import pytest

from toolkit.faces import create_analyser, load_topology
from toolkit.faces.orientation import SEARCH_EVERY, AnyWayUp, turned_back
from toolkit.faces.turning import apart, rolls
from toolkit.testing.sample import sample_frames

MEAN = load_topology("mediapipe478").mean


class Scene:
    """A square frame with one face, of which the models know only how its pixels are turned.

    The frame's first row holds the marks that tell the turn: a face that is `quarters` from upright.
    """

    def __init__(self):
        self.runs, self.meshes = 0, 0

    def frame(self, quarters=0, face=True):
        picture = np.zeros((200, 200, 3), np.uint8)
        if face:
            picture[20:60, 80:120] = 255  # the forehead
            picture[60:180, 80:120] = 100
        return np.ascontiguousarray(np.rot90(picture, -quarters))

    @staticmethod
    def turn(picture):
        """Quarters from upright of the face in a picture, or None."""
        tops = [np.rot90(picture, q)[: len(picture) // 3].max() for q in range(4)]
        return int(np.argmax(tops)) if max(tops) == 255 else None

    def mesh(self):
        self.meshes += 1
        return self.Mesh(self)

    def detector(self):
        return self.Detector(self)

    class Mesh:
        """Takes a face that is upside down for an upright one, like the real one, and misses one that lies."""

        def __init__(self, scene):
            self.scene = scene

        def landmarks(self, frame):
            if self.scene.turn(frame) not in (0, 2):
                return []
            return [(MEAN * 50 + np.float32([100, 100, 0])).astype(np.float32)]

        def reset(self):
            pass

        def close(self):
            pass

    class Detector:
        def __init__(self, scene):
            self.scene = scene

        def scores(self, picture):
            self.scene.runs += 1
            turn = self.scene.turn(picture)
            return [] if turn is None else [((0.95, 0.7, 0.6, 0.7)[turn], np.array([0.5, 0.5]))]

        def close(self):
            pass


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def finder(scene):
    return AnyWayUp(scene.mesh, scene.detector, MEAN)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_face_is_found_from_its_first_frame(scene, finder, quarters):
    for _ in range(30):
        (face,) = finder.faces(scene.frame(quarters))
        assert apart(rolls(face.landmarks[None], MEAN)[0], 90 * quarters) < 1
        np.testing.assert_allclose(face.landmarks.mean(axis=0)[:2], 100, atol=5)


def test_an_upright_face_costs_four_runs_of_the_detector_and_no_second_mesh(scene, finder):
    for _ in range(200):
        assert len(finder.faces(scene.frame())) == 1
    assert (scene.runs, scene.meshes) == (4, 1)


def test_frames_without_a_face_are_not_searched_without_bound(scene, finder):
    for _ in range(100):
        assert finder.faces(scene.frame(face=False)) == []
    assert scene.runs <= 4 * 100 / SEARCH_EVERY
    assert scene.meshes == 1


def test_a_missed_frame_between_found_ones_costs_one_search(scene, finder):
    for index in range(40):
        finder.faces(scene.frame(face=index % 20 != 10))
    assert scene.runs <= 4 * (1 + 2 * 2)


def test_a_face_that_is_turned_back_is_found_upright_again(scene, finder):
    for _ in range(10):
        finder.faces(scene.frame(2))
    for _ in range(2 * SEARCH_EVERY):
        finder.faces(scene.frame(0))
    for _ in range(10):
        (face,) = finder.faces(scene.frame(0))
        assert abs(rolls(face.landmarks[None], MEAN)[0]) < 1


def test_reset_forgets(scene, finder):
    finder.faces(scene.frame(2))
    finder.reset()
    scene.runs = 0
    for _ in range(5):
        assert len(finder.faces(scene.frame(0))) == 1
    assert scene.runs == 4


@pytest.mark.parametrize("quarters", range(4))
def test_landmarks_are_turned_back_with_the_frame(quarters):
    frame = np.zeros((40, 60), np.uint8)
    frame[7, 11] = 1
    (y,), (x,) = np.nonzero(np.rot90(frame, quarters))
    back = turned_back(np.array([[x + 0.5, y + 0.5, 3.0]]), quarters, frame.shape)
    np.testing.assert_allclose(back, [[11.5, 7.5, 3]])


@pytest.mark.parametrize("model", ["wheel", "bundle"])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_the_real_models_find_the_sample_face_any_way_up(request, model, quarters):
    file = request.getfixturevalue("shared")("weights/face_landmarker.task") if model == "bundle" else None
    analyser = create_analyser(model_file=file)
    for picture in sample_frames(3, 256):
        analyser.reset()
        (upright,) = analyser.analyse(picture)
        analyser.reset()
        (face,) = analyser.analyse(np.ascontiguousarray(np.rot90(picture, -quarters)))
        assert apart(rolls(face.landmarks[None], MEAN)[0], 90 * quarters) < 15
        there = turned_back(face.landmarks, -quarters % 4, picture.shape)
        assert np.abs(there - upright.landmarks)[:, :2].mean() < 3
    analyser.close()


def test_a_real_face_upside_down(clip_frames):
    """Its landmarks come out upright if nothing looks at their orientation."""
    analyser = create_analyser()
    for frame in clip_frames("cases/faces_tilt180.mp4"):
        (face,) = analyser.analyse(frame)
        assert apart(rolls(face.landmarks[None], MEAN)[0], 180) < 10
    analyser.close()
