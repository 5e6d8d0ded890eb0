"""`tools.inpainter` on a backbone of real classes with random weights."""

import numpy as np
import pytest

from toolkit.backbones import describe
from toolkit.errors import ToolkitError
from toolkit.synthesis.config import InpaintConfig
from toolkit.synthesis.inpainter import BackboneInpainter
from toolkit.testing import tiny_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    masks = np.zeros((3, 64, 64), bool)
    masks[:2, 20:30, 10:50] = True
    return frames, masks


def inpaint(folder, clip, seed=0, **settings):
    config = InpaintConfig(backbone=str(folder), num_inference_steps=2, **settings)
    settings = config.resolved(describe(config.backbone), "cpu")
    return BackboneInpainter(settings, "cpu")(*clip, prompt="a face", negative_prompt="glasses", seed=seed)


def test_masked_parts_are_made_anew_and_the_rest_stays(folder, clip):
    frames, masks = clip
    before = frames.copy()
    made = inpaint(folder, clip)
    assert np.array_equal(frames, before)
    assert np.array_equal(made.frames[~made.mask], frames[~made.mask])
    assert (made.frames[masks] != frames[masks]).mean() > 0.9
    assert not (masks & ~made.mask).any()
    assert made.change_outside.shape == (3,)
    assert (made.change_outside[:2] > 0).all()


def test_a_frame_with_an_empty_mask_comes_back_as_it_is(folder, clip):
    made = inpaint(folder, clip)
    assert np.array_equal(made.frames[2], clip[0][2])
    assert not made.mask[2].any() and made.change_outside[2] == 0


def test_the_seed_and_the_settings_decide(folder, clip):
    first = inpaint(folder, clip, shared_noise="seed")
    assert np.array_equal(first.frames, inpaint(folder, clip, shared_noise="seed").frames)
    for other in (
        inpaint(folder, clip, seed=1, shared_noise="seed"),
        inpaint(folder, clip, shared_noise="seed", reference_frames=None),
        inpaint(folder, clip, shared_noise="seed", guidance_scale=2),
        inpaint(folder, clip, shared_noise="none"),
    ):
        assert not np.array_equal(first.frames, other.frames)


def test_frames_at_a_time_do_not_matter(folder, clip):
    one, all_ = (inpaint(folder, clip, frame_batch_size=size).frames.astype(int) for size in (1, 3))
    assert np.abs(one - all_).max() <= 1


def test_a_backbone_without_tokenizer_serves_too(tmp_path, clip):
    made = inpaint(tiny_backbone(tmp_path / "b", text=False), clip)
    assert np.isfinite(made.change_outside).all()


def test_an_unknown_backbone_is_a_sentence(clip):
    with pytest.raises(ToolkitError, match="sd51"):
        inpaint("sd51", clip)
