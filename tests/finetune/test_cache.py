"""The cache of latents and prompts, and its index of pairs."""

import shutil

import numpy as np
import pytest
import torch

from toolkit.backbones import describe, load
from toolkit.errors import InputError
from toolkit.finetune import cache as module
from toolkit.finetune.augment import augmented, variant_of
from toolkit.finetune.cache import CacheFolder
from toolkit.finetune.config import AugmentationConfig
from toolkit.finetune.datasets import held_out, open_datasets
from toolkit.finetune.encode import cover, encode_pictures, pixels
from toolkit.finetune.index import PairIndex, write_index


@pytest.fixture
def filled(settings, monkeypatch):
    """A function that builds a cache with small files."""
    monkeypatch.setattr(module, "CHUNK", 6)

    def make(**changed):
        config = settings(**changed)
        datasets = open_datasets(config.data, 64)
        backbone = load(config.backbone, ("vae", "text_encoder", "tokenizer"))
        folder = CacheFolder(config, datasets, backbone.spec, torch.float32)
        folder.prepare()
        cache = folder.open()
        folder.fill(cache, backbone, folder.missing(cache))
        return folder, cache, backbone

    return make


def test_index_finds_the_pairs_of_both_formats(datasets, tmp_path):
    for data in ("folder", "shards"):
        opened = open_datasets([datasets[data]], 64)
        (tmp_path / data).mkdir()
        write_index(tmp_path / data, opened)
        index = PairIndex(tmp_path / data, opened)
        samples = list(opened[0].samples("train"))
        assert len(index) == len(samples) == 16
        for number, sample in enumerate(samples):
            assert index[number].clip_id == sample.row["clip_id"]
            for name in ("image", "conditioning_image", "mask"):
                assert np.array_equal(index[number].sample.picture(name), sample.picture(name))
        assert [index[number].clip for number in range(16)] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
        with pytest.raises(IndexError):
            index[16]


def test_entries_are_what_the_vae_says(filled):
    folder, cache, backbone = filled()
    assert len(list(folder.path.glob("latents-*.bin"))) == 3
    for number in (0, 7, 15):
        sample = cache.index[number].sample
        mean, std = encode_pictures(backbone, pixels([sample.picture("image")]))
        entry = cache.read(number, 0)
        assert torch.allclose(entry.mean, mean[0], atol=1e-5)
        assert torch.allclose(entry.std, std[0], atol=1e-5)
        assert torch.equal(entry.cells, cover(sample.picture("mask"), 8))
        assert 0 < entry.cells.sum() < 64


def test_only_what_is_missing_or_short_is_made_again(filled):
    folder, cache, backbone = filled()
    assert folder.missing(cache) == []
    files = sorted(folder.path.glob("latents-*.bin"))
    before = [path.read_bytes() for path in files]
    files[0].unlink()
    files[2].write_bytes(before[2][:-1])
    assert folder.missing(cache) == [0, 2]
    folder.fill(cache, backbone, folder.missing(cache))
    assert [path.read_bytes() for path in files] == before


def test_killed_build_leaves_no_half_file(filled, monkeypatch):
    folder, cache, backbone = filled()
    path = cache.path(1)
    path.unlink()
    encode = module.encode_pictures
    calls = []

    def dies(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(module, "encode_pictures", dies)
    folder._config = folder._config.model_copy(update={"cache_batch_size": 2})
    with pytest.raises(KeyboardInterrupt):
        folder.fill(cache, backbone, [1])
    assert folder.missing(cache) == [1]
    assert not list(folder.path.glob("*.part*"))


def test_folder_is_named_by_what_matters(settings, datasets, tmp_path):
    def path(data=("folder",), dtype=torch.float32, **changed):
        config = settings(cache_dir=tmp_path / "cache", **changed)
        opened = open_datasets([datasets[name] for name in data], 64)
        return CacheFolder(config, opened, describe(config.backbone), dtype).path

    same = path()
    assert same == path(seed=3, optimisation={"learning_rate": 1.0}, cache_batch_size=1)
    others = [path(data=("shards",)), path(dtype=torch.bfloat16), path(augmentation={"variants": 2})]
    others.append(path(augmentation={"variants": 2}, seed=3))
    assert len({same, *others}) == 5


def test_damaged_picture_is_named(settings, datasets, tmp_path):
    data = shutil.copytree(datasets["folder"], tmp_path / "data")
    victim = sorted(data.glob("data/train/*/*0000002_image.png"))[0]
    victim.write_bytes(victim.read_bytes()[:-40])
    config = settings(data=[data], check=False)
    opened = open_datasets(config.data, 64)
    backbone = load(config.backbone, ("vae",))
    folder = CacheFolder(config, opened, backbone.spec, torch.float32)
    folder.prepare()
    cache = folder.open()
    with pytest.raises(InputError, match=victim.name):
        folder.fill(cache, backbone, folder.missing(cache))


def test_prompts_are_encoded_once(filled, monkeypatch):
    folder, cache, backbone = filled()
    states = folder.prompts(cache, backbone, {"a face that is held out"})
    assert set(states) == {"a face, naïve and without a blot", "a face that is held out"}
    ids = backbone.tokenizer(
        "a face that is held out", padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    assert torch.allclose(states["a face that is held out"], backbone.text_encoder(ids)[0][0], atol=1e-6)
    monkeypatch.setattr(module, "encode_prompts", None)
    assert folder.prompts(cache, backbone).keys() == states.keys()


def test_variants_are_the_same_over_a_clip_and_differ_between_them():
    config = AugmentationConfig(variants=4)
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:30] = True
    other = frame.copy()
    other[mask] = 255 - other[mask]
    pair = {"image": frame, "conditioning_image": other, "mask": mask}
    assert augmented(pair, config, 0, "clip", 0) is pair
    seen = []
    for clip in ("one", "two", "three"):
        for variant in (1, 2, 3):
            made = augmented(pair, config, 0, clip, variant)
            assert made["mask"].dtype == bool
            # Each picture by itself, as cache and stream ask for them, is what all together give.
            for name in pair:
                if name != "mask":
                    alone = augmented({name: pair[name]}, config, 0, clip, variant)
                    assert np.array_equal(alone[name], made[name])
            image_mask = augmented({"image": frame, "mask": mask}, config, 0, clip, variant)
            assert np.array_equal(image_mask["mask"], made["mask"])
            far = ~augmented({"image": frame, "mask": _grown(mask)}, config, 0, clip, variant)["mask"]
            assert np.array_equal(made["image"][far], made["conditioning_image"][far])
            seen.append(made["image"].tobytes())
    assert len(set(seen)) == 9
    assert [variant_of(config, epoch, 1) for epoch in range(5)] == [1, 2, 3, 0, 1]


def _grown(mask):
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def test_degraded_variants_are_the_same_for_both_pictures():
    config = AugmentationConfig(variants=4, flip=False, min_crop=1.0, jitter=0.0, video_degradation=1.0)
    rng = np.random.default_rng(0)
    frame = np.repeat(np.repeat(rng.integers(60, 200, (16, 16, 3), np.uint8), 8, axis=0), 8, axis=1)
    other = frame.copy()
    other[8:24, 8:24] = 20
    for variant in (1, 2, 3):
        made = augmented({"image": frame, "conditioning_image": other}, config, 0, "clip", variant)
        assert np.array_equal(
            augmented({"conditioning_image": other}, config, 0, "clip", variant)["conditioning_image"],
            made["conditioning_image"],
        )
        assert np.array_equal(made["image"][64:, 64:], made["conditioning_image"][64:, 64:])
        assert np.abs(made["image"].astype(int) - frame).mean() > 1
        edge = made["conditioning_image"][4:8, 8:24].astype(int).mean() - other[4:8, 8:24].mean()
        assert edge > 0  # bright along what is dark


def test_flips_reach_all_pictures():
    config = AugmentationConfig(variants=8, min_crop=1.0, jitter=0.0)
    frame = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[:, :10] = True
    made = [augmented({"image": frame, "mask": mask}, config, 0, "clip", k) for k in range(1, 8)]
    flipped = [np.array_equal(one["image"], frame[:, ::-1]) for one in made]
    assert 0 < sum(flipped) < 7
    for one, flip in zip(made, flipped):
        assert flip or np.array_equal(one["image"], frame)
        assert np.array_equal(one["mask"], mask[:, ::-1] if flip else mask)


def test_held_out_pairs_are_spread_and_shared(datasets):
    opened = open_datasets([datasets["folder"], datasets["other"]], 64)
    chosen = held_out(opened, 6)
    assert [dataset.manifest.task for dataset, _ in chosen] == ["blot"] * 3 + ["spot"] * 3
    assert len({(sample.row["clip_id"], sample.row["frame_index"]) for _, sample in chosen}) == 6
    assert len({sample.row["clip_id"] for _, sample in chosen}) == 4
    assert all(sample.shard.split == "validation" for _, sample in chosen)
    assert len(held_out(opened, 1000)) == 8 + 4
