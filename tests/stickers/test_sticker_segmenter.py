"""The embedded segmenter of stickers and its masker: weights, the region, and what they find on the sample face."""

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from attributes.segmenting.region import regions_of
from attributes.stickers.masker import StickerMasker
from attributes.stickers.options import StickersOptions
from attributes.stickers.segmenter import StickerSegmenter
from attributes.stickers.segmenter.model import FORMAT, read_weights, write_weights
from attributes.stickers.segmenter.network import StickerNetwork
from attributes.stickers.segmenter.region import FACE, SIDE
from tasks.stickers import StickersTask
from toolkit.errors import InputError
from toolkit.faces.topology import load_topology
from toolkit.testing import no_face_clip
from toolkit.testing.sample import sample_clip

WEIGHTS = files("attributes.stickers.segmenter") / "weights.safetensors"


@pytest.fixture(scope="module")
def clip():
    return sample_clip(4, 256)


@pytest.fixture(scope="module")
def masker():
    return StickerMasker(StickersOptions())


def stuck(clip, seed):
    """The clip with a sticker, and its masks without the faint shadow around it."""
    options = StickersOptions(size=(0.4, 0.7), degradation=0)
    pairs = list(StickersTask(options).pair_generator()(clip, np.random.default_rng(seed), None))
    frames = np.stack([pair.conditioning_image for pair in pairs])
    change = np.abs(frames.astype(int) - clip.frames).max(axis=-1)
    return replace(clip, frames=frames), change > 12


def test_the_weights_are_small_safetensors_that_say_what_they_are():
    assert WEIGHTS.stat().st_size <= 2_000_000
    from safetensors import safe_open

    with safe_open(str(WEIGHTS), "pt") as file:
        about = file.metadata()
        assert file.get_tensor("fine.1.0.weight").dtype == torch.float16
    assert about["format"] == FORMAT
    assert json.loads(about["measures"])["iou"] > 0.4


def test_weights_in_half_precision_are_read_as_they_were(tmp_path):
    network = StickerNetwork().eval()
    write_weights(network, tmp_path / "w.safetensors", {})
    read = read_weights(tmp_path / "w.safetensors").eval()
    assert all(value.dtype == torch.float32 for value in read.state_dict().values() if value.is_floating_point())
    regions = torch.randn(1, 3, SIDE, SIDE)
    for ours, theirs in zip(network(regions), read(regions)):
        torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("kind", ["absent", "nan", "other format"])
def test_bad_weights_are_a_sentence(kind, tmp_path):
    path, state = tmp_path / "w.safetensors", load_file(str(WEIGHTS))
    if kind == "nan":
        state["presence.0.weight"].fill_(float("nan"))
        save_file(state, path, {"format": FORMAT})
    elif kind == "other format":
        save_file(state, path, {"format": "glasses-segmenter-1"})
    with pytest.raises(InputError, match=r"expected weights of the stickers segmenter"):
        StickerSegmenter.load(path, device="cpu")


def test_the_region_holds_the_face_with_room_around_it(clip):
    regions = regions_of(clip.landmarks, clip.topology, FACE)
    for t in range(len(clip)):
        points = np.append(clip.landmarks[t, :468, :2], np.ones((468, 1)), axis=1) @ regions.to_region[t].T
        assert points.min() > 0.04 * SIDE and points.max() < 0.96 * SIDE


def test_stickers_on_the_sample_face_are_found(masker, clip):
    overlaps = []
    for seed in range(10):
        worn, truth = stuck(clip, seed)
        found = masker(worn)
        assert found.dtype == bool and found.shape == truth.shape
        assert not (found & ~masker.opaque(worn)).any()
        overlaps.append((found & truth).sum() / (found | truth).sum())
    assert np.mean(np.array(overlaps) > 0.4) >= 0.8 and np.median(overlaps) > 0.6


def test_a_bare_face_has_no_stickers(masker, clip):
    assert not masker(clip).any() and not masker.opaque(clip).any()
    assert not masker(no_face_clip()).any()


def test_frames_without_the_face_have_empty_masks(masker, clip):
    worn, _ = stuck(clip, 1)
    landmarks = worn.landmarks.copy()
    landmarks[2] = np.nan
    found = masker(replace(worn, landmarks=landmarks)).any(axis=(1, 2))
    assert found.tolist() == [True, True, False, True]


class Everywhere(StickerSegmenter):
    """Finds stickers wherever it looks."""

    def infer(self, cut):
        return np.ones((len(cut), SIDE, SIDE), np.float32), np.ones(len(cut), np.float32)


def test_forbidden_regions_are_left_out(clip):
    network = StickerNetwork()
    eyes, mouth = (StickerMasker(StickersOptions(forbidden=(name,)), Everywhere(network)) for name in ("eyes", "mouth"))
    eye, lips = (
        clip.landmarks[0, clip.topology.regions[name], :2].mean(axis=0).astype(int) for name in ("left_eye", "lips")
    )
    found = [[bool(masker(clip)[0, y, x]) for x, y in (eye, lips)] for masker in (eyes, mouth)]
    assert found == [[False, True], [True, False]]


def test_other_landmarks_will_do():
    topology = load_topology("ibug68")
    points = np.concatenate([topology.mean[:, :2] * 90 + 128, topology.mean[:, 2:]], axis=1).astype(np.float32)
    clip = replace(sample_clip(1, 256), landmarks=points[None], topology=topology)
    assert StickerMasker(StickersOptions(), Everywhere(StickerNetwork()))(clip).mean() > 0.2
