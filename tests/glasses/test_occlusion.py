"""A hand before glasses stays out of the masks; nothing else does."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from attributes.glasses.example import face_with_glasses
from attributes.glasses.eyes import eye_holes
from attributes.glasses.masker import EmbeddedMasker
from attributes.glasses.occlusion import covered
from attributes.glasses.segmenter.model import GlassesMaps

SKIN = (205, 160, 136)


@pytest.fixture(scope="module")
def clip():
    return face_with_glasses()


def with_hand(clip, eye):
    """The clip with a flat hand from below over one half of the face, and bool ``[T, H, W]``: where it is."""
    frames, hand = clip.frames.copy(), np.zeros(clip.frames.shape[:3], bool)
    for t in range(len(clip)):
        points, face = clip.landmarks[t, clip.topology.regions[eye], :2], clip.landmarks[t, :, 0]
        left = points[:, 0].mean() < face.mean()
        x0, x1 = (face.min(), points[:, 0].max() + 8) if left else (points[:, 0].min() - 8, face.max())
        hand[t, int(points[:, 1].min()) - 30 :, int(x0) : int(x1)] = True
    frames[hand] = SKIN
    return replace(clip, frames=frames), hand


@pytest.mark.parametrize("eye", ["left_eye", "right_eye"])
def test_a_hand_is_no_part_of_the_glasses(clip, eye):
    shown, hand = with_hand(clip, eye)
    masker = EmbeddedMasker()
    plain, seen = masker.observe(clip), masker.observe(shown)
    assert seen.presence and seen.mask.any()
    assert not (seen.mask & hand).any() and not (seen.opaque & hand).any()
    uncovered = plain.mask & ~hand
    assert (seen.mask & uncovered).sum() > 0.6 * uncovered.sum()


def maps_of(clip, lens, dark):
    nothing = np.zeros(clip.frames.shape[:3], np.float32)
    return GlassesMaps(nothing, lens, nothing, dark, np.ones(len(clip), np.float32))


def test_without_a_hand_nothing_is_in_front(clip):
    lens = np.ones(clip.frames.shape[:3], np.float32)
    assert not covered(clip, maps_of(clip, lens, 0 * lens)).any()  # a lens before each eye, of whatever colour
    assert not covered(with_hand(clip, "left_eye")[0], maps_of(clip, lens, 0 * lens)).any()
    assert not covered(clip, maps_of(clip, 0 * lens, 0 * lens)).any()  # low on the nose: the eyes are seen above them
    assert covered(with_hand(clip, "left_eye")[0], maps_of(clip, 0 * lens, 0 * lens)).any()


def test_a_rim_that_crosses_an_eye_is_not_in_front(clip):
    shown, thing = with_hand(clip, "left_eye")
    maps = maps_of(clip, np.zeros(clip.frames.shape[:3], np.float32), np.float32(0) * thing)
    assert covered(shown, maps).any()
    assert not covered(shown, replace(maps, frame=thing.astype(np.float32))).any()


@pytest.mark.parametrize("far", [True, False])
def test_a_dark_lens_before_one_eye_that_goes_on_beyond_the_glasses_is_none(clip, far):
    holes = [eye_holes(clip, [eye]) for eye in ("left_eye", "right_eye")]
    frames, thing = clip.frames.copy(), _grown(holes[0])
    if far:  # a sleeve; else one dark lens
        for t in range(len(clip)):
            y, x = np.nonzero(thing[t])
            thing[t, y.min() :, x.min() : x.max()] = True
    frames[thing] = (30, 40, 110)
    lens = (_grown(holes[0]) | _grown(holes[1])).astype(np.float32)
    maps = maps_of(clip, lens, np.float32(0.9) * _grown(holes[0]))
    found = covered(replace(clip, frames=frames), maps)
    assert found[thing].mean() > 0.9 if far else not found.any()
    rims_on_it = replace(maps, frame=thing.astype(np.float32))  # such as dark rims on dark skin and a dark lens
    assert not covered(replace(clip, frames=frames), rims_on_it).any()


def _grown(masks):
    return np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) for mask in masks]) > 0
