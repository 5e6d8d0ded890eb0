"""The training of the segmenter of stickers: its samples, its decoys, and that it learns and resumes."""

import cv2
import numpy as np
import pytest
import torch

from attributes.segmenting.losses import iou
from attributes.stickers.segmenter import StickerSegmenter, train
from attributes.stickers.segmenter.config import TrainConfig
from attributes.stickers.segmenter.decoys import _DECOYS, add_decoys, strands
from attributes.stickers.segmenter.losses import segmentation_loss
from attributes.stickers.segmenter.patches import random_patch, towards
from attributes.stickers.segmenter.samples import STORED, SampleMaker, Samples, make_samples, read_samples
from toolkit.errors import InputError
from toolkit.testing.sample import sample_clip
from toolkit.testing.sample_portrait import load_portrait


def samples(count):
    """Skin; a blue square on every other one."""
    rng = np.random.default_rng(0)
    pictures = np.clip(rng.normal((200, 150, 120), 8, (count, STORED, STORED, 3)), 0, 255).astype(np.uint8)
    maps, shown = np.zeros((count, STORED, STORED, 1), np.uint8), np.arange(count) % 2 == 0
    for k in np.flatnonzero(shown):
        x, y = rng.integers(80, 120, 2)
        pictures[k, y : y + 40, x : x + 40] = (20, 40, 220)
        maps[k, y : y + 40, x : x + 40] = 255
    return Samples(pictures, maps, shown)


@pytest.fixture(autouse=True)
def torch_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def portrait(tmp_path):
    path = tmp_path / "person_1.png"
    cv2.imwrite(str(path), load_portrait(512).image[..., ::-1])
    return path


def test_a_few_steps_make_the_loss_smaller_and_the_result_can_be_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "prepare", lambda config: (samples(16), samples(8)))
    (tmp_path / "work").mkdir()
    config = TrainConfig(
        portraits=tmp_path,
        output=tmp_path / "weights.safetensors",
        work=tmp_path / "work",
        samples=16,
        steps=8,
        batch_size=4,
        evaluate_every=4,
        threads=1,
    )
    best = train.train(config)
    assert {"iou", "false_alarm", "presence", "score"} <= best.keys()
    losses = [float(line.split('"loss": ')[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0]
    assert StickerSegmenter.load(config.output, device="cpu")


def test_one_person_is_too_few(tmp_path, portrait):
    config = TrainConfig(portraits=tmp_path, output=tmp_path / "w", work=tmp_path / "x")
    with pytest.raises(InputError, match="at least two people"):
        train.prepare(config)


def test_augmentation_moves_picture_and_map_together():
    sample = samples(1)
    for seed in range(20):
        picture, maps = train.augment(sample.pictures[0], sample.maps[0], np.random.default_rng(seed))
        assert picture.shape == (192, 192, 3) and maps.shape == (192, 192, 1) and picture.dtype == np.uint8
        red = picture[..., 0].astype(float)
        assert red[maps[..., 0] > 200].mean() < red[maps[..., 0] == 0].mean() - 25, seed
    assert train.centre_crop(sample.maps).shape == (1, 192, 192, 1)


def test_transplanted_stickers_are_in_the_map():
    pair = samples(2)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        picture, maps = train.transplant(pair.pictures[1], pair.maps[1], pair.pictures[0], pair.maps[0], rng)
        assert (maps > 127).any() and picture.dtype == np.uint8 and maps.shape == pair.maps[1].shape
        inside = picture[maps[..., 0] > 250].mean(axis=0)
        assert inside[2] > inside[0] + 50
        assert np.array_equal(picture[maps[..., 0] == 0], pair.pictures[1][maps[..., 0] == 0])


def test_samples_show_what_their_maps_say_and_come_again(tmp_path, portrait):
    arguments = {"cache": tmp_path / "cache", "photos": 0.3, "stuck": 0.7, "scene_size": 192, "seed": 0}
    maker = SampleMaker([portrait], **arguments)
    made = [maker.make(index) for index in range(8)]
    assert {shown for *_, shown in made} == {True, False}
    for picture, maps, shown in made:
        assert picture.shape == (STORED, STORED, 3) and maps.shape == (STORED, STORED, 1)
        assert ((maps > 127).sum() > 24) == shown
    for ours, again in zip(made[3], maker.make(3)):
        assert np.array_equal(ours, again)
    make_samples(tmp_path / "shards", 3, 1, portraits=[portrait], **arguments)
    read = read_samples(tmp_path / "shards", 3)
    assert len(read) == 3 and np.array_equal(read.pictures[2], made[2][0]) and len(read[:2]) == 2


@pytest.mark.parametrize("index", range(len(_DECOYS)))
def test_each_decoy_changes_a_part_of_the_picture(index):
    clip = sample_clip(1, 256)
    picture, points = clip.frames[0].astype(np.float32), clip.landmarks[0, :, :2]
    changed = []
    for seed in range(4):
        made = _DECOYS[index](picture, points, np.random.default_rng(seed))
        assert np.isfinite(made).all() and made.shape == picture.shape
        changed.append((np.abs(made - picture) > 1).any(axis=-1).mean())
    assert 0 < max(changed) < 1


def test_decoys_come_again_and_leave_their_input():
    clip = sample_clip(1, 256)
    before, points = clip.frames[0].copy(), clip.landmarks[0, :, :2]
    first, again = (add_decoys(clip.frames[0], points, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again) and np.array_equal(before, clip.frames[0]) and first.dtype == np.uint8
    assert 0 <= strands((256, 256), points, np.random.default_rng(0)).max() <= 1


def test_patches_are_pictures_with_something_on_them():
    for seed in range(30):
        rgba = random_patch(np.random.default_rng(seed))
        assert rgba.shape == (128, 128, 4) and rgba.dtype == np.uint8
        assert 0.02 < (rgba[..., 3] > 100).mean() < 0.95, seed
    skin = np.array([180.0, 140, 120])
    near = towards(rgba, skin, np.random.default_rng(0))
    assert np.array_equal(near[..., 3], rgba[..., 3])
    far = np.abs(rgba[..., :3] - skin).mean()
    assert np.abs(near[..., :3] - skin).mean() < far


def test_the_loss_prefers_the_truth():
    truth = torch.zeros(2, 1, 64, 64)
    truth[0, 0, 20:40, 20:40] = 1
    shown = torch.tensor([1.0, 0.0])
    right, wrong = (6 * (2 * maps - 1) for maps in (truth, truth.flip(0)))
    present = torch.tensor([6.0, -6.0])
    assert segmentation_loss(right, present, truth, shown) < 0.3 * segmentation_loss(wrong, -present, truth, shown)
    assert [iou(one.sigmoid()[:, 0], truth[:, 0]).tolist() for one in (right, wrong)] == [[1, 1], [0, 0]]
