"""The embedded segmenter: its region, its weights file, and what it finds on the sample face."""

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from attributes.glasses.design import GlassesDesign, random_design
from attributes.glasses.drawing import GlassesDrawer
from attributes.glasses.segmenter import GlassesSegmenter
from attributes.glasses.segmenter.losses import segmentation_loss, thin_rims, union_iou
from attributes.glasses.segmenter.model import FORMAT
from attributes.glasses.segmenter.network import GlassesNetwork
from attributes.glasses.segmenter.region import HEIGHT, WIDTH, cut_out, eye_regions
from attributes.segmenting.network import normalise
from attributes.segmenting.region import put_back
from toolkit.errors import InputError
from toolkit.testing import no_face_clip
from toolkit.testing.sample import sample_clip

WEIGHTS = files("attributes.glasses.segmenter") / "weights.safetensors"


@pytest.fixture(scope="module")
def segmenter():
    return GlassesSegmenter.load(device="cpu")


@pytest.fixture(scope="module")
def clip():
    return sample_clip(4, 256)


def worn(clip, design, seed=0):
    return GlassesDrawer().draw(clip, design, np.random.default_rng(seed))


def test_the_region_goes_there_and_back(clip):
    regions = eye_regions(clip.landmarks, clip.topology)
    smooth = np.stack(np.meshgrid(np.linspace(0, 1, 256), np.linspace(0, 1, 256)), -1).astype(np.float32)
    for t in range(len(clip)):
        region = cut_out(smooth, regions.to_region[t])
        assert region.shape == (HEIGHT, WIDTH, 2)
        back = np.full((2, 256, 256), np.nan, np.float32)
        put_back(region, regions.to_region[t], back)
        x, y = clip.landmarks[t, 168, :2].astype(int)
        part = np.s_[:, y - 20 : y + 20, x - 40 : x + 40]
        np.testing.assert_allclose(back[part], np.moveaxis(smooth, 2, 0)[part], atol=0.01)


def test_the_region_is_upright_and_keeps_its_size_when_the_head_turns(clip):
    landmarks = clip.landmarks[:1].copy()
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
    rolled = eye_regions((landmarks - 128) @ turn.T + 128, clip.topology)
    plain = eye_regions(landmarks, clip.topology)
    assert rolled.scale == pytest.approx(plain.scale, rel=1e-3)
    centre = np.append(landmarks[0, 168, :2], 1)
    moved = np.append(((landmarks[0, 168] - 128) @ turn.T + 128)[:2], 1)
    assert plain.to_region[0] @ centre == pytest.approx(rolled.to_region[0] @ moved, abs=0.5)


def test_the_weights_are_small_safetensors_that_say_what_they_are():
    assert WEIGHTS.stat().st_size <= 3_000_000
    from safetensors import safe_open

    with safe_open(str(WEIGHTS), "pt") as file:
        about = file.metadata()
    assert about["format"] == FORMAT
    assert json.loads(about["measures"])["iou"] > 0.75


def damaged(kind, path):
    state = load_file(str(WEIGHTS))
    if kind == "cut":
        path.write_bytes(WEIGHTS.read_bytes()[:-1000])
    elif kind == "text":
        path.write_text("no weights")
    elif kind == "nan":
        state["presence.0.weight"].fill_(float("nan"))
        save_file(state, path, {"format": FORMAT})
    elif kind == "other format":
        save_file(state, path, {"format": "cats-1"})
    elif kind == "other network":
        save_file({"a": torch.zeros(3)}, path, {"format": FORMAT})
    return path


@pytest.mark.parametrize("kind", ["absent", "cut", "text", "nan", "other format", "other network"])
def test_bad_weights_are_a_sentence(kind, tmp_path):
    with pytest.raises(InputError, match=r"expected weights of the glasses segmenter"):
        GlassesSegmenter.load(damaged(kind, tmp_path / "w.safetensors"))


def test_glasses_on_the_sample_face_are_found(segmenter, clip):
    overlaps = []
    for seed in range(8):
        drawn = worn(clip, random_design(np.random.default_rng(100 + seed), 0), seed)
        maps = segmenter.segment(replace(clip, frames=drawn.frames))
        assert maps.presence.mean() > 0.5, seed
        found, truth = np.maximum(maps.frame, maps.lens) > 0.5, np.maximum(drawn.rim, drawn.lens) > 0.5
        overlaps.append((found & truth).sum() / (found | truth).sum())
    assert np.mean(overlaps) > 0.7


def test_dark_lenses_are_told_from_clear_ones(segmenter, clip):
    from attributes.glasses.design import LensDesign

    lens = LensDesign(transmission_top=0.06, transmission_bottom=0.06)
    dark = worn(clip, GlassesDesign(style="wayfarer", lens=lens))
    clear = worn(clip, GlassesDesign(style="wayfarer"))
    seen = [
        segmenter.segment(replace(clip, frames=drawn.frames)).dark[dark.lens > 0.9].mean() for drawn in (dark, clear)
    ]
    assert seen[0] > 0.6 and seen[1] < 0.3


def test_a_bare_face_has_no_glasses(segmenter):
    maps = segmenter.segment(sample_clip(16, 256))
    assert maps.presence.max() < 0.5
    assert (np.maximum(maps.frame, maps.lens) > 0.5).mean() < 0.002


def test_the_same_clip_gives_the_same_maps_in_any_batch(segmenter, clip):
    whole, again = segmenter.segment(clip), segmenter.segment(clip)
    np.testing.assert_array_equal(whole.frame, again.frame)
    for t in range(len(clip)):
        one = segmenter.segment(clip.select(np.array([t])))
        np.testing.assert_allclose(one.frame[0], whole.frame[t], atol=1e-4)


def test_frames_without_a_face_have_empty_maps(segmenter, clip):
    landmarks = clip.landmarks.copy()
    landmarks[2] = np.nan
    maps = segmenter.segment(replace(clip, landmarks=landmarks))
    for value in (maps.frame, maps.lens, maps.reflection, maps.dark, maps.presence):
        assert not value[2].any()
    assert not segmenter.segment(no_face_clip()).frame.any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.2, 1.0, 30.0, 1e6]))
def test_no_landmarks_break_it(segmenter, clip, seed, spread):
    rng = np.random.default_rng(seed)
    landmarks = (128 + rng.normal(0, 40 * spread, clip.landmarks.shape)).astype(np.float32)
    maps = segmenter.segment(replace(clip, landmarks=landmarks))
    assert np.isfinite(maps.frame).all() and maps.frame.min() >= 0 and maps.frame.max() <= 1


def test_overlap_by_hand():
    truth, guess = torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 4, 4)
    truth[0, 0, 0], guess[0, 1, 0, :2] = 1, 1  # half of a row, in the other map of the two
    assert union_iou(guess, truth).tolist() == [0.5, 1.0]


def test_a_few_steps_lower_the_loss(clip):
    torch.manual_seed(0)
    drawn = worn(clip, GlassesDesign())
    regions = eye_regions(clip.landmarks, clip.topology)
    pictures = np.stack([cut_out(frame, to) for frame, to in zip(drawn.frames, regions.to_region)])
    stacked = np.stack([drawn.rim, drawn.lens, drawn.reflection, drawn.opacity], axis=-1)
    maps = np.stack([cut_out(value, to) for value, to in zip(stacked, regions.to_region)]).clip(0, 1)
    truth, shown = torch.from_numpy(maps).permute(0, 3, 1, 2), normalise(torch.from_numpy(pictures))
    network = GlassesNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss = segmentation_loss(*network(shown), truth, torch.ones(len(clip)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]


def test_only_narrow_lines_are_thin_rims():
    frame = torch.zeros(1, 1, 32, 64)
    frame[..., 4:6, :], frame[..., 12:18, :], frame[..., 24, 10:50] = 1, 1, 0.4
    thin = thin_rims(frame)[0, 0]
    assert (thin[4:6] == 1).all() and (thin[12:18] == 0).all()
    assert thin[24, 10:50].allclose(torch.tensor(0.4)) and thin.sum() == thin[4:6].sum() + thin[24].sum()
