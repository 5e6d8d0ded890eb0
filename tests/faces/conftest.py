"""Faces that need no model, and frames of real clips."""

import itertools

import numpy as np
import pytest

from toolkit.faces import Face, load_topology
from toolkit.faces.plausible import box_around


@pytest.fixture(scope="session")
def mean_face():
    """``mean_face(x, y, size)``: landmarks ``[478, 3]`` of the mean face, `size` px between the outer eye corners."""
    mean = load_topology("mediapipe478").mean

    def place(x, y, size):
        return (mean * size + np.array([x, y, 0])).astype(np.float32)

    return place


@pytest.fixture(scope="session")
def face_at(mean_face):
    def make(x, y, size=100.0):
        landmarks = mean_face(x, y, size)
        return Face(box_around(landmarks), 1.0, landmarks)

    return make


@pytest.fixture(scope="session")
def clip_frames(shared):
    """``clip_frames("media/faces/x.mp4", start, stop)``: RGB frames of a real clip."""
    from toolkit.video import read_frames

    def read(relative, start=0, stop=40):
        return [frame.image for frame in itertools.islice(read_frames(shared(relative)), start, stop)]

    return read
