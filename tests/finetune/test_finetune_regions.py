"""Removers that are trained on parts of pictures around the masks."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from toolkit.backbones import load
from toolkit.errors import UsageError
from toolkit.finetune import finetune
from toolkit.finetune.cache import CacheFolder
from toolkit.finetune.datasets import open_datasets
from toolkit.finetune.encode import hints
from toolkit.finetune.stream import PairStream
from toolkit.finetune.window import draw_window
from toolkit.remover import read_remover


@pytest.mark.parametrize("seed", range(12))
def test_a_window_holds_the_mask_or_is_filled_by_it(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((96, 96), bool)
    (y0, x0), (height, width) = rng.integers(0, 60, 2), rng.integers(4, 36, 2)
    mask[y0 : y0 + height, x0 : x0 + width] = True
    for size in ((64, 48), (96, 32), (16, 16)):
        for chooser in (None, rng):
            rows, columns = draw_window(mask, size, 8, chooser)
            assert (columns.stop - columns.start, rows.stop - rows.start) == size
            assert rows.start % 8 == columns.start % 8 == 0
            assert rows.start >= 0 and rows.stop <= 96 and columns.start >= 0 and columns.stop <= 96
            seen = mask[rows, columns]
            for axis, (length, whole) in enumerate(((size[1], height), (size[0], width))):
                # Windows begin at whole cells, which may cost up to half a cell at the mask's edge.
                assert seen.any(axis=1 - axis).sum() >= min(length, whole) - 4


def test_windows_differ_and_without_a_mask_they_may_be_anywhere():
    rng, mask = np.random.default_rng(0), np.zeros((96, 96), bool)
    starts = {draw_window(mask, (48, 32), 8, rng)[0].start for _ in range(60)}
    assert starts == set(range(0, 65, 8))
    mask[40:56, 40:56] = True
    (rows, columns) = draw_window(mask, (48, 32), 8)
    assert (rows.start, columns.start) == (32, 24), "without dice, the mask is in the middle"


@pytest.mark.parametrize("cache", ["on", "off"])
def test_everything_that_training_sees_is_the_same_part(settings, cache):
    config = settings(cache=cache, region=(32, 16))
    datasets = open_datasets(config.data, 64)
    backbone = load(config.backbone, ("vae", "text_encoder", "tokenizer"))
    folder = CacheFolder(config, datasets, backbone.spec, torch.float32)
    folder.prepare()
    latents = folder.open()
    if cache == "on":
        folder.fill(latents, backbone, folder.missing(latents))
    stream = PairStream(latents, config, range(1000))
    for position in range(8):
        found = stream[position]
        whole = hints([latents.index[stream.pair(position)[0]].sample.picture("conditioning_image")])[0]
        places = whole.unfold(1, 16, 8).unfold(2, 32, 8)
        (place,) = (places == found["hint"][:, None, None]).all(dim=-1).all(dim=-1).all(dim=0).nonzero().tolist()
        assert found["noise"].shape[1:] == found["cells"].shape[1:] == (2, 4)
        assert found["cells"].any(), "the attribute is in the part"
        if cache == "on":
            entry = latents.read(*stream.pair(position))
            there = slice(None), slice(place[0], place[0] + 2), slice(place[1], place[1] + 4)
            assert torch.equal(found["cells"], entry.cells[there])
            drawn = (found["latents"] - entry.mean[there]) / entry.std[there]
            assert 0.5 < drawn.square().mean() < 2, "drawn from the posterior of this part"
        else:
            assert found["pixels"].shape == (3, 16, 32)


def test_a_remover_of_regions_is_trained_and_says_so(settings):
    report = finetune(settings(region=(64, 32), max_train_steps=2))
    record = read_remover(report.output).record
    assert record.region == (64, 32) and record.resolution == 64
    ControlNetModel.from_pretrained(report.output, subfolder="controlnet")


@pytest.mark.parametrize("region", [(32, 16), (96, 32), (0, 32)])
def test_regions_that_the_networks_cannot_see_are_refused(settings, region):
    with pytest.raises(UsageError, match="multiples of 32 up to 64"):
        finetune(settings(region=region))
