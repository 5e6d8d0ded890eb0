"""What is left of a sticker, told from its rim."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from attributes.stickers.fidelity import RimResidual
from toolkit.testing.sample import sample_clip

SPOT = np.s_[:, 140:176, 90:126]


@pytest.fixture(scope="module")
def bare():
    return sample_clip(4, 256)


@pytest.fixture(scope="module")
def stuck(bare):
    """With a dark disc on the cheek."""
    frames = bare.frames.copy()
    for frame in frames:
        cv2.circle(frame, (108, 158), 16, (20, 60, 160), -1)
    return replace(bare, frames=frames)


def left(original, frames):
    return RimResidual()(original, replace(original, frames=frames))


def test_nothing_changed_is_one(stuck):
    assert (left(stuck, stuck.frames) == 1).all()


def test_a_clean_removal_leaves_the_skin_only(stuck, bare):
    assert (left(stuck, bare.frames) < 0.35).all()


def test_the_less_is_left_the_lower_it_is(stuck, bare):
    shares = (1.0, 0.75, 0.5, 0.25)
    made = [np.rint(stuck.frames + share * (bare.frames.astype(float) - stuck.frames)) for share in shares]
    found = [left(stuck, frames.astype(np.uint8)).mean() for frames in made]
    assert found == sorted(found) and found[-1] > found[0] + 0.3


def test_another_sticker_in_its_place_is_no_removal(stuck):
    other = stuck.frames.copy()
    for frame in other:
        cv2.circle(frame, (108, 158), 16, (240, 240, 30), -1)
    assert (left(stuck, other) > 0.5).all()


def test_what_changes_beside_the_face_is_not_looked_at(stuck):
    low = stuck.landmarks[..., :2].min()
    assert low > 12
    other = stuck.frames.copy()
    other[:, :8, :8] = 255 - other[:, :8, :8]
    assert (left(stuck, other) == 1).all()


def test_a_frame_without_a_face_has_no_value(stuck, bare):
    landmarks = stuck.landmarks.copy()
    landmarks[2] = np.nan
    found = RimResidual()(replace(stuck, landmarks=landmarks), bare)
    assert np.isnan(found[2]) and np.isfinite(found[[0, 1, 3]]).all()


def test_a_face_at_the_frames_border(stuck, bare):
    cut = replace(stuck, frames=stuck.frames[:, :, 90:], landmarks=stuck.landmarks - np.array([90, 0, 0], np.float32))
    assert np.isfinite(RimResidual()(cut, replace(cut, frames=bare.frames[:, :, 90:]))).all()
