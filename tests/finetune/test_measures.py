"""Removal and artefact of edits whose quality is known."""

import math

import cv2
import numpy as np
import pytest

from toolkit.finetune.measures import MAX_PSNR, Measures, average, measure

SIDE = 128


@pytest.fixture(scope="module")
def scene():
    """A textured picture, the same with frames of glasses, their mask with eye holes, and a poor inpainting."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    clean = np.stack([150 + 40 * np.sin(9 * x + k) * np.cos(7 * y) for k in range(3)], axis=2)
    clean = (clean + rng.normal(0, 12, clean.shape)).clip(0, 255).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for cx in (44, 84):
        cv2.circle(mask, (cx, 60), 18, 1, 12)
    mask = mask > 0
    worn = clean.copy()
    worn[mask] = (worn[mask] * 0.2).astype(np.uint8)
    blurred = cv2.GaussianBlur(clean, (0, 0), 4).astype(np.float32)
    # The inpainting: no texture, a tint, and stripes of its own.
    stripes = 14 * np.sign(np.sin(2.1 * np.arange(SIDE)))[None, :, None]
    poor = clean.copy()
    poor[mask] = (blurred + np.float32([9, -5, -9]) + stripes).clip(0, 255).astype(np.uint8)[mask]
    return clean, worn, mask, poor


def perfect(output, scene):
    clean, worn, mask, _ = scene
    return measure(output, worn, clean, mask, source_coded=worn, target_coded=clean, perfect=True)


def imperfect(output, scene):
    _, worn, mask, poor = scene
    return measure(output, worn, poor, mask, source_coded=worn, target_coded=poor, perfect=False)


def test_perfect_pair_from_nothing_done_to_all(scene):
    clean, worn, _, _ = scene
    nothing = perfect(worn, scene)
    assert nothing.removal == 0
    assert nothing.artefact == 0
    assert nothing.psnr_outside == MAX_PSNR
    whole = perfect(clean, scene)
    assert (whole.removal, whole.artefact, whole.psnr_inside) == (1, 0, MAX_PSNR)
    half = perfect(((clean.astype(int) + worn) // 2).astype(np.uint8), scene)
    assert half.removal == pytest.approx(0.5, abs=0.01)
    assert math.isnan(half.blur)


def test_damage_outside_is_artefact_and_not_removal(scene):
    clean, _, mask, _ = scene
    damaged = clean.copy()
    damaged[~mask] = damaged[~mask] // 2
    found = perfect(damaged, scene)
    assert found.removal == 1
    assert found.artefact > 0.5


def test_what_the_vae_loses_is_not_held_against_the_remover(scene):
    clean, worn, mask, _ = scene
    lossy = [cv2.GaussianBlur(picture, (0, 0), 1.5) for picture in (worn, clean)]
    found = measure(lossy[1], worn, clean, mask, source_coded=lossy[0], target_coded=lossy[1], perfect=True)
    assert found.removal == 1
    assert found.artefact < 0.2  # what the blur carries over the mask's edge
    assert found.psnr_inside < 40


def test_imperfect_pair_prefers_the_true_face_to_its_own_target(scene):
    clean, worn, _, poor = scene
    nothing, truth, copy = (imperfect(picture, scene) for picture in (worn, clean, poor))
    assert nothing.removal == 0
    assert copy.removal == 1
    assert truth.removal > 0.75
    assert copy.agreement > 0.9
    assert truth.agreement < 0.5
    assert copy.artefact > truth.artefact + 0.15
    assert truth.outside == truth.eye_holes == 0


def test_changed_eyes_and_lost_sharpness_show(scene):
    clean, _, mask, _ = scene
    holes = np.zeros_like(mask)
    holes[55:66, 40:49] = True
    eyes = clean.copy()
    eyes[holes] = 0
    assert imperfect(eyes, scene).eye_holes > imperfect(clean, scene).eye_holes + 0.2
    soft = clean.copy()
    soft[mask] = cv2.GaussianBlur(clean, (0, 0), 4)[mask]
    assert imperfect(soft, scene).blur > imperfect(clean, scene).blur + 0.3
    assert 0 <= imperfect(clean, scene).blur < 0.3


def test_what_the_mask_keeps_out_of_the_result_is_told_but_does_not_count(scene):
    clean, _, mask, _ = scene
    elsewhere = clean.copy()
    elsewhere[~mask] = elsewhere[~mask] // 2
    one, other = imperfect(clean, scene), imperfect(elsewhere, scene)
    assert (other.removal, other.artefact) == (one.removal, one.artefact)
    assert other.outside > one.outside + 0.5 and other.eye_holes > one.eye_holes + 0.5


def test_artefact_is_told_by_its_parts(scene):
    for picture in (scene[0], scene[3]):
        found = imperfect(picture, scene)
        assert found.artefact == pytest.approx((found.blur + found.agreement) / 2)


def test_pair_without_a_difference_measures_nothing(scene):
    clean, _, mask, _ = scene
    found = measure(clean, clean, clean, mask, source_coded=clean, target_coded=clean, perfect=True)
    assert math.isnan(found.removal)
    assert "removal" not in found.figures()
    assert found.figures()["psnr_inside"] == MAX_PSNR


def test_average_leaves_out_what_is_missing():
    one = Measures(psnr_inside=20, psnr_outside=30, removal=0.5, artefact=0.1, outside=0.1)
    other = Measures(psnr_inside=30, psnr_outside=40, removal=math.nan, artefact=0.3, outside=0.3, blur=0.2)
    found = average([one, other])
    assert (found.psnr_inside, found.removal, found.artefact, found.blur) == (25, 0.5, pytest.approx(0.2), 0.2)
    assert math.isnan(found.agreement)
