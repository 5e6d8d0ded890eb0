"""The samples that the networks see."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from toolkit.pretrain import StageRecipe, drawing
from toolkit.pretrain.measuring import measure
from toolkit.pretrain.recipe import HintShares, Phase
from toolkit.pretrain.samples import Pictures, SampleStream


def stream(datasets, seed=0, length=1, half_size=False, region=None, fade=0, video_degradation=0, fill=0, **hints):
    shown = {"half_size": half_size, "region": region}
    phase = Phase(steps=1, learning_rate=1e-3, **shown, fade=fade, video_degradation=video_degradation, fill=fill)
    return SampleStream(Pictures(datasets[:2], 64, length), HintShares(**hints), phase, seed)


def test_a_position_decides_its_sample(datasets):
    one, other = stream(datasets, pair=1, drawn=1, degraded=1), stream(datasets, pair=1, drawn=1, degraded=1)
    forwards = [one[position] for position in range(6)]
    backwards = [other[position] for position in reversed(range(6))][::-1]
    for a, b in zip(forwards, backwards):
        assert all(torch.equal(a[name], b[name]) for name in ("image", "hint", "mask")) and a["seed"] == b["seed"]
    assert len({sample["seed"] for sample in forwards}) == 6
    assert stream(datasets, seed=1, pair=1)[0]["seed"] != stream(datasets, seed=0, pair=1)[0]["seed"]


def test_pairs_differ_inside_their_masks_only(datasets):
    samples = [stream(datasets, pair=1)[position] for position in range(20)]
    for sample in samples:
        assert sample["image"].shape == (1, 3, 64, 64) and sample["mask"].shape == (1, 1, 64, 64)
        changed = (sample["image"] - sample["hint"]).abs().amax(1, keepdim=True)
        assert changed[sample["mask"] > 0].mean() > 0.1
        assert changed[sample["mask"] == 0].mean() < 0.01


def test_faded_hints_have_less_of_the_attribute_or_its_opposite(datasets):
    strengths = []
    for position in range(30):
        whole, faded = (stream(datasets, fade=share, pair=1)[position] for share in (0, 1))
        assert torch.equal(whole["image"], faded["image"]) and torch.equal(whole["mask"], faded["mask"])
        changes = [(sample["hint"] - sample["image"]).flatten() for sample in (whole, faded)]
        strengths.append(float(changes[0] @ changes[1] / (changes[0] @ changes[0])))
    assert -0.55 < min(strengths) < 0 and 0.5 < max(strengths) < 0.95


def test_degraded_samples_change_both_pictures_alike(datasets):
    changed = 0
    for position in range(12):
        plain, made = (stream(datasets, length=3, video_degradation=share, pair=1)[position] for share in (0, 1))
        far = torch.nn.functional.max_pool2d(plain["mask"], 33, 1, 16).expand(-1, 3, -1, -1) == 0
        assert (made["image"] - made["hint"])[far].abs().mean() < 0.01
        difference = (made["image"] - plain["image"]).abs().mean()
        changed += bool(difference > 0)
        assert difference < 0.1 and torch.equal(made["mask"], plain["mask"])
    assert 8 <= changed <= 12


def test_filled_hints_have_less_of_the_attribute_and_the_rest_as_it_was(datasets):
    left = []
    for position in range(20):
        whole, made = (stream(datasets, length=3, fill=share, pair=1)[position] for share in (0, 1))
        assert torch.equal(whole["image"], made["image"]) and torch.equal(whole["mask"], made["mask"])
        far = torch.nn.functional.max_pool2d(whole["mask"], 33, 1, 16).expand(-1, 3, -1, -1) == 0
        assert torch.equal(whole["hint"][far], made["hint"][far])
        before, after = ((sample["hint"] - sample["image"]).square().mean() for sample in (whole, made))
        left.append(float(after / before))
    assert np.median(left) < 0.6


def test_masked_hints_are_cut_out(datasets):
    for position in range(12):
        sample = stream(datasets, masked=1)[position]
        inside = sample["mask"].expand(-1, 3, -1, -1) > 0
        assert inside.any()
        assert (sample["hint"][inside] == -1).all()
        assert torch.allclose(sample["hint"][~inside], sample["image"][~inside], atol=1e-6)


def test_clean_hints_are_the_picture(datasets):
    sample = stream(datasets, clean=1)[3]
    assert torch.equal(sample["image"], sample["hint"]) and not sample["mask"].any()


def test_frames_of_a_clip_are_moved_alike(datasets):
    """All frames share one transform and one drawing, so that motion can be learned."""
    sample = stream(datasets, length=4, drawn=1)[7]
    assert sample["image"].shape == (4, 3, 64, 64)
    assert all(torch.equal(sample["mask"][0], mask) for mask in sample["mask"])


def test_a_region_holds_the_mask(datasets):
    for position in range(12):
        whole, cut = (stream(datasets, region=region, pair=1)[position] for region in (None, (48, 40)))
        assert cut["hint"].shape == (1, 3, 40, 48) and cut["mask"].shape == (1, 1, 40, 48)
        assert cut["mask"].sum() == whole["mask"].sum() > 0
    drawn = [stream(datasets, region=(32, 16), drawn=1)[position]["mask"] for position in range(12)]
    assert all(mask.any() for mask in drawn), "shapes are drawn before the part is chosen"


def test_half_size(datasets):
    whole, half = (stream(datasets, half_size=small, pair=1)[11] for small in (False, True))
    assert half["image"].shape == (1, 3, 32, 32) and half["mask"].shape == (1, 1, 32, 32)
    shrunk = torch.nn.functional.avg_pool2d(whole["image"], 2)
    assert (half["image"] - shrunk).abs().mean() < 0.02
    assert 0.9 < half["mask"].mean() / whole["mask"].mean() < 1.6, "what is thin stays masked"


@pytest.mark.parametrize("side", [64, 256])
def test_drawing(side):
    frames = np.random.default_rng(0).integers(0, 255, (2, side, side, 3), np.uint8)
    kept = frames.copy()
    for seed in range(30):
        made, mask = drawing.drawn(frames, np.random.default_rng(seed))
        assert made.dtype == np.uint8 and made.shape == frames.shape and mask.shape == frames.shape[:3]
        assert np.abs(made.astype(int) - frames)[~mask].max() <= 26
        blurred = drawing.degraded(frames, np.random.default_rng(seed))
        assert blurred.dtype == np.uint8 and blurred.shape == frames.shape and (blurred != frames).any()
        assert drawing.hole(side, np.random.default_rng(seed)).shape == (side, side)
    assert np.array_equal(frames, kept)
    shares = [drawing.drawn(frames, np.random.default_rng(seed))[1].mean() for seed in range(60)]
    assert 0.005 < np.mean(shares) < 0.4


@pytest.mark.parametrize(("shares", "cut"), [({"masked": 1}, True), ({"pair": 1, "masked": 1}, False)])
def test_measuring_shows_what_the_stage_is_shown(datasets, shares, cut):
    pictures = Pictures([datasets[2]], 64)

    class Copying:
        """A trainer whose networks return the hint."""

        stage = StageRecipe(phases=[{"steps": 1, "learning_rate": 1e-3}], hints=shares)
        averaged = nullcontext
        device = "cpu"
        shown = ()

        def sample(self, hint, steps):
            self.shown = (*self.shown, hint)
            return hint.clamp(0, 1)

    trainer = Copying()
    figures = measure(trainer, pictures, 2, trainer.stage.phases[0])
    hints = torch.cat(trainer.shown)
    masks = np.concatenate([pictures.read(clip)[2] for clip in pictures.clips[0]])
    assert ((hints == -1).all(dim=1).numpy() == (masks & cut)).all()
    assert figures["held-out inside"] < figures["held-out outside"]
