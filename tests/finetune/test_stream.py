"""The stream of pairs: their order, their noise, and how processes share them."""

import math
import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from toolkit.backbones import load
from toolkit.finetune.augment import fill_attribute
from toolkit.finetune.cache import CacheFolder
from toolkit.finetune.datasets import open_datasets
from toolkit.finetune.encode import contrast, hints
from toolkit.finetune.stream import PairStream, batches


@pytest.fixture
def stream(settings):
    """A function that returns a stream over filled caches."""

    def make(**changed):
        config = settings(**changed)
        datasets = open_datasets(config.data, 64)
        backbone = load(config.backbone, ("vae", "text_encoder", "tokenizer"))
        folder = CacheFolder(config, datasets, backbone.spec, torch.float32)
        folder.prepare()
        cache = folder.open()
        folder.fill(cache, backbone, folder.missing(cache))
        return PairStream(cache, config, range(1000)), config

    return make


def equal(one, other):
    """Compare samples; NaN equals NaN."""

    def same(first, second):
        if isinstance(first, (torch.Tensor, float)):
            return np.array_equal(first, second, equal_nan=True)
        return first == second

    return all(same(one[name], other[name]) for name in one)


def test_every_epoch_has_every_pair_once_in_another_order(stream):
    pairs, _ = stream()
    assert pairs.epoch_length == 16
    epochs = [[pairs.pair(epoch * 16 + place)[0] for place in range(16)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(16)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_positions_have_their_own_noise_and_always_the_same(stream):
    pairs, _ = stream()
    assert equal(pairs[5], pairs[5])
    assert not torch.equal(pairs[5]["noise"], pairs[6]["noise"])
    # The same pair in the next epoch comes with another noise.
    number = pairs.pair(5)[0]
    again = next(place for place in range(16, 32) if pairs.pair(place)[0] == number)
    assert torch.equal(pairs[5]["hint"], pairs[again]["hint"])
    assert not torch.equal(pairs[5]["noise"], pairs[again]["noise"])
    steps = torch.stack([pairs[place]["timesteps"] for place in range(64)])
    assert steps.min() < 200
    assert steps.max() > 800
    assert equal(pickle.loads(pickle.dumps(pairs))[9], pairs[9])


def test_another_seed_is_another_stream(stream):
    one, other = stream()[0], stream(seed=1)[0]
    assert [one.pair(k) for k in range(16)] != [other.pair(k) for k in range(16)]
    assert not torch.equal(one[0]["noise"], other[0]["noise"])


def test_resumed_loader_goes_on_where_the_other_one_was(stream):
    pairs, config = stream(max_train_steps=5, optimisation={"gradient_accumulation_steps": 2})
    whole = list(batches(pairs, config, 0, rank=0, processes=1, workers=0, pin=False))
    assert [batch["position"].tolist() for batch in whole] == [[2 * k, 2 * k + 1] for k in range(10)]
    rest = list(batches(pairs, config, 3, rank=0, processes=1, workers=0, pin=False))
    assert all(equal(one, other) for one, other in zip(whole[6:], rest, strict=True))


def test_processes_share_each_step(stream):
    pairs, config = stream(max_train_steps=3)
    shares = [
        [
            batch["position"].tolist()
            for batch in batches(pairs, config, 1, rank=rank, processes=2, workers=0, pin=False)
        ]
        for rank in range(2)
    ]
    assert shares == [[[4, 5], [8, 9]], [[6, 7], [10, 11]]]


def test_worker_processes_give_the_same(stream):
    pairs, config = stream(max_train_steps=2)
    alone = list(batches(pairs, config, 0, rank=0, processes=1, workers=0, pin=False))
    helped = list(batches(pairs, config, 0, rank=0, processes=1, workers=2, pin=False))
    assert all(equal(one, other) for one, other in zip(alone, helped, strict=True))


def test_datasets_by_size_or_equally(stream, datasets):
    both = [datasets["folder"], datasets["other"]]
    by_size, _ = stream(data=both)
    assert by_size.epoch_length == 16 + 8
    equally, _ = stream(data=both, balance="equal")
    assert equally.epoch_length == 32
    seen = Counter(equally[place]["text"] for place in range(32))
    assert list(seen.values()) == [16, 16]
    numbers = Counter(equally.pair(place)[0] for place in range(32))
    assert set(numbers) == set(range(24))
    assert all(numbers[number] == 2 for number in range(16, 24))


def test_empty_prompts_in_their_share(stream):
    pairs, _ = stream(loss={"proportion_empty_prompts": 0.3})
    share = sum(pairs[place]["text"] == "" for place in range(200)) / 200
    assert 0.2 < share < 0.4


def test_variants_take_turns(stream):
    pairs, _ = stream(augmentation={"variants": 3})
    number, variant = pairs.pair(0)
    found = {variant}
    for epoch in (1, 2):
        place = next(k for k in range(epoch * 16, epoch * 16 + 16) if pairs.pair(k)[0] == number)
        found.add(pairs.pair(place)[1])
    assert found == {0, 1, 2}


def test_hint_is_augmented_as_its_target_was(stream):
    pairs, config = stream(augmentation={"variants": 3, "jitter": 0.0})
    from toolkit.finetune.augment import augmented

    place = next(k for k in range(64) if pairs.pair(k)[1] == 2)
    number, variant = pairs.pair(place)
    entry = pairs._cache.index[number]
    both = {name: entry.sample.picture(name) for name in ("image", "conditioning_image", "mask")}
    made = augmented(both, config.augmentation, config.seed, entry.clip_id, variant)
    hint = (pairs[place]["hint"] * 255).round().byte().permute(1, 2, 0).numpy()
    assert (hint == made["conditioning_image"]).all()
    assert (made["image"][~made["mask"]] == hint[~made["mask"]]).mean() > 0.95


def test_timesteps_come_from_those_that_the_backbone_was_made_for(stream):
    pairs, config = stream()
    few = PairStream(pairs._cache, config, [999, 999, 499])
    found = Counter(int(few[place]["timesteps"]) for place in range(120))
    assert set(found) == {999, 499} and 60 < found[999] < 100
    assert torch.equal(few[3]["noise"], pairs[3]["noise"])


@pytest.mark.parametrize("cache", ["on", "off"])
def test_faded_pairs_have_less_of_the_attribute_or_its_opposite(stream, cache):
    plain, _ = stream(cache=cache)
    half, _ = stream(cache=cache, augmentation={"fade": 0.5})
    strengths = []
    for position in range(64):
        number, _ = plain.pair(position)
        target = hints([plain._cache.index[number].sample.picture("image")])[0]
        whole, other = (pairs[position]["hint"] - target for pairs in (plain, half))
        assert torch.equal(plain[position]["noise"], half[position]["noise"])
        strengths.append(float((whole * other).sum() / (whole * whole).sum()))
    untouched = sum(abs(strength - 1) < 1e-6 for strength in strengths)
    assert 16 < untouched < 48 and -0.55 < min(strengths) < 0 and 0.3 < sorted(strengths)[-untouched - 1] < 0.95


def test_filled_pairs_show_what_lies_around_rims(stream):
    plain, _ = stream()
    half, _ = stream(augmentation={"fill": 0.5})
    shares = [(plain[k], half[k]) for k in range(64)]
    assert all(torch.equal(one["noise"], other["noise"]) for one, other in shares)
    assert 16 < sum(not torch.equal(one["hint"], other["hint"]) for one, other in shares) < 48


def test_a_rim_is_filled_in_and_a_dark_lens_is_not():
    image = np.tile(np.linspace(140, 160, 128)[None, :, None], (128, 1, 3)).astype(np.uint8)
    worn, rim = image.copy(), np.zeros((128, 128), bool)
    rim[40:43, 20:110] = True
    worn[rim] = 20
    worn[60:100, 30:70] = 25
    for seed in range(8):
        made = fill_attribute(image, worn, "thin", np.random.default_rng(seed))
        assert np.abs(made.astype(int) - image)[rim].max() < 25
        assert np.abs(made.astype(int) - worn)[65:95, 35:65].max() == 0
    assert np.array_equal(fill_attribute(image, image, "thin", np.random.default_rng(0)), image)


def test_all_of_an_attribute_is_filled_in_and_what_is_enclosed_too():
    image = np.tile(np.linspace(140, 160, 128)[None, :, None], (128, 1, 3)).astype(np.uint8)
    drawn = image.copy()
    drawn[40:90, 30:80] = 25
    drawn[55:75, 45:65] = image[55:75, 45:65] + 3
    for seed in range(8):
        made = fill_attribute(image, drawn, "all", np.random.default_rng(seed))
        assert np.abs(made.astype(int) - image).max() < 25
    assert np.array_equal(fill_attribute(image, image, "all", np.random.default_rng(0)), image)


def test_contrast_is_given_where_it_is_weighed(stream):
    pairs, _ = stream(cache="on", loss={"contrast_power": 1})
    entry = pairs._cache.index[pairs.pair(3)[0]]
    source, target, mask = (entry.sample.picture(name) for name in ("conditioning_image", "image", "mask"))
    assert pairs[3]["contrast"] == contrast(source, target, mask) > 0.001
    assert math.isnan(stream(cache="on")[0][3]["contrast"])
