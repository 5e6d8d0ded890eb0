"""Eye holes and how much of the eyes is seen."""

from dataclasses import replace

import numpy as np
import pytest

from attributes.glasses.eyes import eye_holes
from attributes.glasses.visibility import eye_visibility
from toolkit.faces import load_topology
from toolkit.faces.ibug import IBUG68_FROM_MEDIAPIPE
from toolkit.task import FaceClip
from toolkit.testing.sample import sample_clip


def clip_with_eye(size, corners):
    """A black clip of one frame whose left eye is a square and whose right eye is a point."""
    topology = load_topology("ibug68")
    landmarks = np.zeros((1, 68, 3), np.float32)
    landmarks[0, :, :2] = size - 2
    square = np.array(corners, np.float32)
    landmarks[0, topology.regions["left_eye"], :2] = square[[0, 1, 2, 3, 0, 2]]
    return FaceClip(np.zeros((1, size, size, 3), np.uint8), landmarks, topology, np.zeros(1))


@pytest.mark.parametrize(("size", "grown"), [(512, 10), (256, 5)])
def test_the_hull_is_filled_and_dilated_by_ten_pixels_of_512(size, grown):
    clip = clip_with_eye(size, [(40.5, 60.5), (80.5, 60.5), (80.5, 70.5), (40.5, 70.5)])
    hole = eye_holes(clip)[0, : size // 2, : size // 2]
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    assert len(columns) == 41 + grown - 1 and len(rows) == 11 + grown - 1
    assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "one component without gaps"


def test_both_kinds_of_landmarks_cut_nearly_the_same_holes():
    clip = sample_clip(4, 256)
    ibug = replace(clip, landmarks=clip.landmarks[:, IBUG68_FROM_MEDIAPIPE], topology=load_topology("ibug68"))
    one, other = eye_holes(clip), eye_holes(ibug)
    assert (one & other).sum() / (one | other).sum() > 0.8
    assert 0.002 < one.mean() < 0.05


def test_no_face_no_hole():
    clip = sample_clip(4, 256)
    landmarks = clip.landmarks.copy()
    landmarks[1] = np.nan
    holes = eye_holes(replace(clip, landmarks=landmarks))
    assert not holes[1].any() and holes[[0, 2, 3]].any(axis=(1, 2)).all()


def test_landmarks_far_outside_do_no_harm():
    clip = sample_clip(2, 256)
    holes = eye_holes(replace(clip, landmarks=clip.landmarks + np.float32(1e7)))
    assert holes.shape == (2, 256, 256)


@pytest.mark.parametrize(
    ("dark", "reflection", "wanted"), [(0, 0, 1), (0.4, 0, 1), (0.9, 0, 0), (0, 0.9, 0), (0.65, 0, 0.5), (0.6, 0.6, 0)]
)
def test_visibility_by_hand(dark, reflection, wanted):
    clip = sample_clip(2, 256)
    maps = [np.full((2, 256, 256), value, np.float32) for value in (dark, reflection)]
    assert eye_visibility(clip, *maps) == pytest.approx(wanted, abs=0.05)


def test_half_a_dark_face_hides_half_of_the_eyes():
    clip = sample_clip(2, 256)
    dark = np.zeros((2, 256, 256), np.float32)
    dark[:, :, : int(clip.landmarks[0, 168, 0])] = 1
    assert eye_visibility(clip, dark, np.zeros_like(dark)) == pytest.approx(0.5, abs=0.2)


def test_maps_must_fit_the_clip():
    clip = sample_clip(2, 256)
    with pytest.raises(ValueError, match="expected maps of shape"):
        eye_visibility(clip, np.zeros((2, 8, 8)), np.zeros((2, 8, 8)))
