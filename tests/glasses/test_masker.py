"""Masks of a clip: with eye holes, steady, decided once for the clip."""

from dataclasses import replace

import numpy as np
import pytest

from attributes.glasses import stabilise
from attributes.glasses.design import GlassesDesign, LensDesign, SurfaceDesign
from attributes.glasses.drawing import GlassesDrawer
from attributes.glasses.eyes import eye_holes
from attributes.glasses.masker import EmbeddedMasker, FacerMasker, create_masker
from attributes.glasses.segmenter.model import RegionMaps
from attributes.segmenting.region import Regions
from attributes.segmenting.stabilise import connected
from toolkit.errors import UsageError
from toolkit.faces import Face, load_topology
from toolkit.faces.facer import CELEBM_CLASSES
from toolkit.faces.ibug import IBUG68_FROM_MEDIAPIPE
from toolkit.testing.sample import sample_clip


@pytest.fixture(scope="module")
def masker():
    return EmbeddedMasker()


@pytest.fixture(scope="module")
def bare():
    return sample_clip(12, 256)


@pytest.fixture(scope="module")
def drawn(bare):
    return GlassesDrawer().draw(bare, GlassesDesign(style="wayfarer"), np.random.default_rng(0))


@pytest.fixture(scope="module")
def clip(bare, drawn):
    return replace(bare, frames=drawn.frames)


def test_masks_cover_the_glasses_and_spare_the_eyes(masker, clip, drawn):
    found = masker.observe(clip)
    assert found.presence
    holes = eye_holes(clip)
    assert not (found.mask & holes).any()
    glasses = (drawn.rim > 0.5) & ~holes
    assert (found.mask & glasses).sum() / glasses.sum() > 0.9
    whole = (np.maximum(drawn.rim, drawn.lens) > 0.1) & ~holes
    assert (found.mask & whole).sum() / found.mask.sum() > 0.7
    assert (found.eye_visibility > 0.8).all()
    np.testing.assert_array_equal(masker(clip), found.mask)


def test_opaque_parts_are_the_rims_and_not_the_lenses(masker, clip, drawn):
    opaque = masker.opaque(clip)
    rim, glass = drawn.rim > 0.9, (drawn.lens > 0.9) & (drawn.rim < 0.01)
    assert (opaque & rim).sum() / rim.sum() > 0.9
    assert (opaque & glass).sum() / glass.sum() < 0.25


def test_opaque_parts_follow_faint_rims_from_clear_ones():
    soft = np.zeros((20, 40), np.float32)
    soft[4, 5:15], soft[4, 15:35], soft[12, 5:35] = 0.9, 0.15, 0.15
    kept = connected(soft, 0.1, 0.4)
    assert kept[4, 5:35].all() and kept.sum() == 30
    assert not connected(soft[10:], 0.1, 0.4).any()


def test_thin_metal_is_opaque_all_around(masker, bare):
    metal = SurfaceDesign(kind="metal", colour=(0.3, 0.3, 0.32))
    wire = {"rim_width": 1.1, "rim_top": 1.2, "rim_depth": 1.5, "temple_height": 1.5, "temple_thickness": 1.2}
    design = GlassesDesign(
        style="round", lens_height=46, bridge="bar", nose_pads=True, front=metal, temples=metal, **wire
    )
    drawn = GlassesDrawer().draw(bare, design, np.random.default_rng(1))
    clip = replace(bare, frames=drawn.frames)
    opaque = masker.opaque(clip)
    rim = drawn.rim > 0.3
    assert (opaque & rim).sum() / rim.sum() > 0.8
    assert not (opaque & ~masker(clip) & ~eye_holes(clip)).any()


def test_both_masks_come_from_one_look(clip, monkeypatch):
    masker, looks = EmbeddedMasker(), []
    observe = masker.observe
    monkeypatch.setattr(masker, "observe", lambda clip: looks.append(clip) or observe(clip))
    mask, opaque = masker(clip), masker.opaque(clip)
    assert looks == [clip]
    other = replace(clip, frames=clip.frames[:, :, ::-1])
    assert not np.array_equal(masker(other), mask) and not np.array_equal(masker.opaque(other), opaque)


def test_without_glasses_all_masks_are_empty(masker, bare):
    found = masker.observe(bare)
    assert not found.presence and not found.mask.any() and not found.opaque.any()
    assert (found.eye_visibility == 1).all()


def test_dark_lenses_hide_the_eyes(masker, bare):
    lens = LensDesign(transmission_top=0.05, transmission_bottom=0.05)
    dark = GlassesDrawer().draw(bare, GlassesDesign(style="wayfarer", lens=lens), np.random.default_rng(0))
    found = masker.observe(replace(bare, frames=dark.frames))
    assert found.mask.any() and np.median(found.eye_visibility) < 0.4


def test_frames_without_the_face_have_no_mask(masker, clip):
    landmarks = clip.landmarks.copy()
    landmarks[3:5] = np.nan
    mask = masker(replace(clip, landmarks=landmarks))
    assert not mask[3:5].any() and mask[[0, 2, 6]].any(axis=(1, 2)).all()


def region_maps(values):
    """Maps whose frame channel is `values` ``[T, 128, 256]``, in regions that stand still."""
    count = len(values)
    maps = np.zeros((count, 128, 256, 4), np.float32)
    maps[..., 0] = values
    still = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (count, 1, 1))
    return RegionMaps(maps, np.ones(count, np.float32), Regions(still, np.tile([1.0, 0, 0], (count, 1))))


def test_steadying_takes_out_flicker_and_keeps_a_thin_rim():
    rng = np.random.default_rng(0)
    values = np.zeros((20, 128, 256))
    values[:, 60, 40:200] = 0.8
    noisy = np.clip(values + rng.normal(0, 0.25, values.shape), 0, 1)
    noisy[7] = 0  # a frame in which nothing was found
    before = region_maps(noisy)
    after = stabilise.steady(before)
    change = [np.abs(np.diff(maps.maps[..., 0], axis=0)).mean() for maps in (before, after)]
    assert change[1] < 0.4 * change[0]
    assert (after.maps[:, 60, 40:200, 0] > 0.45).mean() > 0.95
    assert after.maps[7, 60, 40:200, 0].mean() > 0.5, "its neighbours know better"


def test_steadying_does_not_lag():
    values = np.zeros((21, 128, 256))
    values[10, 50:60, 50:60] = 1
    after = stabilise.steady(region_maps(values)).maps[:, 55, 55, 0]
    np.testing.assert_allclose(after, after[::-1], atol=1e-6)
    assert after.argmax() == 10


def test_a_turned_head_is_not_mixed_with_a_straight_one():
    values = np.zeros((10, 128, 256))
    values[5:, 20:40, 20:40] = 1
    found = region_maps(values)
    found.regions.facing[5:] = [0.8, 0, 0.6]
    after = stabilise.steady(found).maps[..., 0]
    assert after[4, 30, 30] < 0.01 and after[5, 30, 30] > 0.99


def test_masks_of_a_real_clip_do_not_flicker(masker, clip):
    jittered = masker(clip)
    changed = (jittered[1:] != jittered[:-1]).sum() / jittered.sum()
    assert changed < 0.35


class Parser:
    """An analyser whose parsing shows glasses where it was told to, and a second face that has none."""

    def __init__(self, clip, glasses):
        self._frames = {
            frame.tobytes(): (points, mask) for frame, points, mask in zip(clip.frames, clip.landmarks, glasses)
        }
        self.name, self.topology = "parser", load_topology("ibug68")

    def analyse(self, frame):
        points, mask = self._frames[frame.tobytes()]
        box = np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)])
        parsing = np.where(mask, CELEBM_CLASSES.index("glasses"), CELEBM_CLASSES.index("face")).astype(np.uint8)
        aligned = points[IBUG68_FROM_MEDIAPIPE]
        other = Face(np.array([0, 0, 30, 30], np.float32), 1.0, aligned / 4, np.zeros_like(parsing))
        return [other, Face(box, 1.0, aligned, parsing)]

    def reset(self):
        pass

    def close(self):
        pass


def test_the_parsers_glasses_become_masks_with_eye_holes(clip, drawn):
    glasses = np.maximum(drawn.rim, drawn.lens) > 0.5
    found = FacerMasker(Parser(clip, glasses)).observe(clip)
    assert found.presence
    eyes = replace(clip, landmarks=clip.landmarks[:, IBUG68_FROM_MEDIAPIPE], topology=load_topology("ibug68"))
    holes = eye_holes(eyes)
    assert (found.mask & holes).sum() < 0.05 * holes.sum(), "holes are those of the parser's own landmarks"
    wanted = glasses & ~eye_holes(clip)
    assert (found.mask & wanted).sum() / wanted.sum() > 0.9


def test_the_parsers_masks_have_opaque_parts_for_edits_to_fill(clip, drawn, masker):
    glasses = np.maximum(drawn.rim, drawn.lens) > 0.1
    found = FacerMasker(Parser(clip, glasses)).observe(clip)
    rim, glass = drawn.rim > 0.9, (drawn.lens > 0.9) & (drawn.rim < 0.01)
    assert (found.opaque & rim).sum() / rim.sum() > 0.8
    assert (found.opaque & glass).sum() / glass.sum() < 0.25
    left = glasses & (np.arange(glasses.shape[2]) < glasses.shape[2] // 2)
    half = FacerMasker(Parser(clip, left)).opaque(clip)
    assert half[..., : glasses.shape[2] // 2].any() and not half[..., glasses.shape[2] // 2 + 8 :].any()


def test_without_glasses_in_the_parsing_there_is_no_mask(clip):
    assert not FacerMasker(Parser(clip, np.zeros(clip.frames.shape[:3], bool)))(clip).any()


def test_unknown_masker():
    with pytest.raises(UsageError, match="embedded or facer"):
        create_masker("magic")


def test_a_glance_tells_bare_clips_from_worn_ones(masker, bare, clip):
    segmenter = masker._segmenter
    assert stabilise.clearly_bare(segmenter, bare)
    assert not stabilise.clearly_bare(segmenter, clip)
    unseen = replace(bare, landmarks=np.full_like(bare.landmarks, np.nan))
    assert stabilise.clearly_bare(segmenter, unseen)
    regions = segmenter.segment_regions(clip)
    at = np.array([1, 5, 11])
    found = segmenter.presence(clip, at, regions.regions)
    np.testing.assert_allclose(found, regions.presence[at], atol=1e-5)


def test_glasses_in_a_part_of_the_clip_are_seen_at_a_glance(masker, bare, clip):
    half = replace(bare, frames=np.concatenate([bare.frames[:6], clip.frames[6:]]))
    assert not stabilise.clearly_bare(masker._segmenter, half)
