"""The segmenter's training: which portraits it takes, what it does to samples, and that a killed run goes on."""

import json

import numpy as np
import pytest
import torch

from attributes.glasses.segmenter import GlassesSegmenter, train
from attributes.glasses.segmenter.augment import augment, centre_crop
from attributes.glasses.segmenter.config import TrainConfig
from attributes.glasses.segmenter.decoys import add_decoys
from attributes.glasses.segmenter.samples import STORED, SampleKinds, SampleMaker, Samples
from attributes.segmenting import training
from attributes.segmenting.config import read_config
from toolkit.errors import InputError, UsageError
from toolkit.testing.sample import sample_clip
from toolkit.testing.sample_portrait import load_portrait


def samples(count):
    """Skin-coloured regions; two dark rings on every other one."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: STORED[0], : STORED[1]]
    distance = np.minimum(np.hypot(x - 110, y - 80), np.hypot(x - 210, y - 80))
    rim, lens = np.abs(distance - 35) < 4, distance < 32
    pictures = np.clip(rng.normal((200, 150, 120), 8, (count, *STORED, 3)), 0, 255).astype(np.uint8)
    maps = np.zeros((count, *STORED, 4), np.uint8)
    worn = np.arange(count) % 2 == 0
    for k in np.flatnonzero(worn):
        pictures[k][rim] = 20
        maps[k, rim, 0], maps[k, lens, 1] = 255, 255
    return Samples(pictures, maps, worn)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "prepare", lambda config: (samples(16), samples(8)))
    (tmp_path / "work").mkdir()
    return TrainConfig(
        portraits=tmp_path,
        output=tmp_path / "weights.safetensors",
        work=tmp_path / "work",
        samples=16,
        steps=6,
        batch_size=4,
        evaluate_every=3,
        threads=1,
    )


@pytest.fixture(autouse=True)
def torch_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def last_state(config):
    return torch.load(config.work / "checkpoint.pt", weights_only=True)


def test_a_run_that_was_killed_ends_as_one_that_was_not(config, monkeypatch):
    best = train.train(config)
    whole = last_state(config)
    assert best["iou"] >= 0 and GlassesSegmenter.load(config.output, device="cpu")
    (config.work / "checkpoint.pt").unlink()
    save = training.save

    def save_and_die(path, step, *rest):
        save(path, step, *rest)
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train.train(config)
    train.train(config)
    again = last_state(config)
    assert again["step"] == 6
    for name, value in whole["network"].items():
        torch.testing.assert_close(again["network"][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_weights_file_can_be_read_by_others_and_says_how_good_it_is(config):
    from safetensors import safe_open

    train.train(config)
    assert config.output.stat().st_mode & 0o044 == 0o044
    with safe_open(str(config.output), "pt") as file:
        assert {"iou", "false_alarm", "presence"} <= json.loads(file.metadata()["measures"]).keys()


def test_training_goes_on_from_weights(config):
    from attributes.glasses.segmenter.model import read_weights

    train.train(config)
    more = config.model_copy(update={"init": config.output, "output": config.work / "more.safetensors", "steps": 1,
                                     "learning_rate": 1e-9, "work": config.work / "more"})  # fmt: skip
    more.work.mkdir()
    train.train(more)
    before, after = (dict(read_weights(path).named_parameters()) for path in (config.output, more.output))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def files(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")


def test_nobody_is_both_trained_on_and_held_out(tmp_path):
    pictures = [tmp_path / f"{person:03}_{mood}.jpg" for person in range(20) for mood in ("neutral", "smiling")]
    kept, held = training.split_people(pictures, 0.12)
    assert sorted(kept + held) == pictures and len(held) == 4
    assert not {file.name[:3] for file in kept} & {file.name[:3] for file in held}


def test_one_person_is_too_few(tmp_path):
    files(tmp_path, "001_neutral.jpg", "001_smiling.jpg")
    config = TrainConfig(portraits=tmp_path, output=tmp_path / "w", work=tmp_path / "x")
    with pytest.raises(InputError, match="at least two people"):
        train.prepare(config)


def test_a_work_folder_serves_one_config(tmp_path):
    config = TrainConfig(portraits=tmp_path, output=tmp_path / "w", work=tmp_path / "x")
    training.claim(config)
    training.claim(config.model_copy(update={"threads": 1, "output": tmp_path / "v"}))
    with pytest.raises(InputError, match="another seed, steps"):
        training.claim(config.model_copy(update={"steps": 9, "seed": 1}))


def test_bad_options_are_a_sentence():
    with pytest.raises(UsageError, match="--steps must be greater than or equal to 1"):
        read_config(TrainConfig, "x", None, ["--portraits", "p", "--output", "o", "--steps", "0"])


def test_augmentation_moves_picture_and_maps_together():
    sample = samples(1)
    for seed in range(20):
        picture, maps = augment(sample.pictures[0], sample.maps[0], np.random.default_rng(seed))
        assert picture.shape == (128, 256, 3) and maps.shape == (128, 256, 4) and picture.dtype == np.uint8
        grey, rim = picture.mean(axis=-1), maps[..., 0] > 200
        assert grey[rim].mean() < grey[maps[..., 1] > 200].mean() - 25, seed
    again = augment(sample.pictures[0], sample.maps[0], np.random.default_rng(19))
    assert np.array_equal(picture, again[0]) and np.array_equal(maps, again[1])
    assert centre_crop(sample.maps).shape == (1, 128, 256, 4)


def test_decoys_change_the_face_and_follow_it():
    clip = sample_clip(2, 256)
    for seed in range(12):
        frames = add_decoys(clip, np.random.default_rng(seed))
        changed = (frames != clip.frames).any(axis=-1).mean(axis=(1, 2))
        assert (changed > 0).all() and (changed < 0.7).all(), seed
        assert np.array_equal(frames, add_decoys(clip, np.random.default_rng(seed)))


def test_samples_show_what_their_maps_say(tmp_path):
    import cv2

    portrait = tmp_path / "person_1.png"
    cv2.imwrite(str(portrait), load_portrait(512).image[..., ::-1])
    kinds = SampleKinds(worn=0.7, sunglasses=0.2, thin=0.5, photos=0.3, scene_size=192)
    maker = SampleMaker([portrait], tmp_path / "cache", kinds, seed=0)
    made = [maker.make(index) for index in range(8)]
    assert {worn for *_, worn in made} == {True, False}
    for picture, maps, worn in made:
        assert picture.shape == (*STORED, 3) and maps.shape == (*STORED, 4)
        # The eyes are in the middle of the region, and so are glasses.
        middle = maps[40:120, 60:260, :2].max(axis=-1) > 128
        assert (middle.mean() > 0.05) == worn
    again = maker.make(3)
    assert np.array_equal(again[0], made[3][0]) and np.array_equal(again[1], made[3][1])
