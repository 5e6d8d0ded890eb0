"""Train the segmenter: ``python -m attributes.stickers.segmenter.train --portraits FOLDER --output FILE``.

Renders synthetic people from the portraits, draws stickers on most of them, stores the samples in the work folder and
trains on them. Interrupted runs resume. The output is the weights that are best on held-out people.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import numpy as np
import torch

from attributes.segmenting import training
from attributes.segmenting.augment import photograph, realign
from attributes.segmenting.config import read_config
from attributes.segmenting.losses import iou
from attributes.segmenting.network import SegmenterNetwork, normalise
from attributes.segmenting.training import Batch
from attributes.stickers.segmenter.config import TrainConfig
from attributes.stickers.segmenter.losses import segmentation_loss
from attributes.stickers.segmenter.model import read_weights, write_weights
from attributes.stickers.segmenter.network import StickerNetwork
from attributes.stickers.segmenter.region import SIDE
from attributes.stickers.segmenter.samples import STORED, Samples, make_samples, read_samples
from toolkit.errors import ToolkitError

FACE_REACH = np.array([55, 70])
"""How far from the middle of a stored region transplanted stickers lie at most, in pixels."""


def centre_crop(stored: np.ndarray) -> np.ndarray:
    """The unaugmented region: ``[..., 240, 240, C]`` -> ``[..., 192, 192, C]``."""
    low = (STORED - SIDE) // 2
    return stored[..., low : low + SIDE, low : low + SIDE, :]


def augment(picture: np.ndarray, maps: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Augment a sample.

    Args:
        picture: uint8 ``[240, 240, 3]``.
        maps: uint8 ``[240, 240, 1]``.

    Returns:
        uint8 ``[192, 192, 3]`` and ``[192, 192, 1]``.
    """
    picture, moved = realign(picture, maps, (SIDE, SIDE), rng)
    return photograph(picture, rng), moved.reshape(SIDE, SIDE, 1)


def transplant(
    picture: np.ndarray, maps: np.ndarray, donor: np.ndarray, donor_maps: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Move the stickers of another sample onto this one (copy-paste augmentation; Ghiasi et al., 2021).

    Args:
        picture, maps: a sample, uint8 ``[240, 240, 3]`` and ``[240, 240, 1]``; not changed.
        donor, donor_maps: another one, with stickers.
        rng: draws place, size, turn and brightness.

    Returns:
        The picture and the map with the added stickers.
    """
    import cv2

    rows, columns = np.nonzero(donor_maps[..., 0] > 127)
    turn, scale = np.radians(rng.uniform(-60, 60)), np.exp(rng.normal(0, 0.25))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    goal = STORED / 2 + rng.uniform(-1, 1, 2) * FACE_REACH
    matrix = np.concatenate([linear, (goal - linear @ (columns.mean(), rows.mean()))[:, None]], axis=1)
    size = (STORED, STORED)
    moved, cover = (cv2.warpAffine(one, matrix, size) for one in (donor, donor_maps))
    middle = np.s_[STORED // 3 : -STORED // 3, STORED // 3 : -STORED // 3]
    gain = (picture[middle].mean(axis=(0, 1)) + 8) / (donor[middle].mean(axis=(0, 1)) + 8)
    gain = np.clip(gain * np.exp(rng.normal(0, 0.15)), 0.3, 3)
    share = cover[..., None].astype(np.float32) / 255
    mixed = picture + share * (moved * gain.astype(np.float32) - picture)
    return np.clip(mixed, 0, 255).astype(np.uint8), np.maximum(maps, cover[..., None])


def prepare(config: TrainConfig) -> tuple[Samples, Samples]:
    """Render missing samples, and read the training and the held-out samples.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    common = {"cache": config.work / "portraits", "photos": config.photos, "stuck": config.stuck}
    common["scene_size"] = config.scene_size
    training.make_samples(config, make_samples, **common)
    return read_samples(config.work / "train", config.samples), read_samples(config.work / "held_out", config.held_out)


def batches(samples: Samples, config: TrainConfig, start: int) -> Iterator[Batch]:
    """Augmented batches from step `start`: pictures, maps float ``[B, 1, H, W]``, shown."""

    donors = np.flatnonzero(samples.shown)

    def one(k: int, rng: np.random.Generator) -> tuple:
        picture, maps, shown = samples.pictures[k], samples.maps[k], samples.shown[k]
        if rng.random() < (0.5 if shown else 0.1) and len(donors):
            other = rng.choice(donors)
            picture, maps = transplant(picture, maps, samples.pictures[other], samples.maps[other], rng)
            shown = True
        return *augment(picture, maps, rng), shown

    for parts in training.drawn(one, len(samples), config, start):
        pictures, maps, shown = map(torch.from_numpy, parts)
        yield normalise(pictures), maps.permute(0, 3, 1, 2).float() / 255, shown.float()


def evaluate(network: SegmenterNetwork, samples: Samples) -> dict[str, float]:
    """Mean IoU of people with stickers, false alarms for the others, and accuracy of presence.

    A false alarm is a map with more than 20 pixels above 0.5. The score is IoU minus false alarms.
    """
    network.eval()
    overlap, false, right = [], [], []
    with torch.inference_mode():
        for start in range(0, len(samples), 32):
            part = samples[start : start + 32]
            logits, presence = network(normalise(torch.from_numpy(np.ascontiguousarray(centre_crop(part.pictures)))))
            truth = torch.from_numpy(centre_crop(part.maps).copy()).permute(0, 3, 1, 2).float() / 255
            shown = torch.from_numpy(part.shown)
            guess = logits.sigmoid()
            overlap.append(iou(guess[:, 0], truth[:, 0])[shown])
            false.append((guess[:, 0] > 0.5).sum(dim=(1, 2))[~shown] > 20)
            right.append((presence > 0) == shown)
    network.train()
    names = ("iou", "false_alarm", "presence")
    found = {name: float(torch.cat(values).float().mean()) for name, values in zip(names, (overlap, false, right))}
    return {"score": found["iou"] - found["false_alarm"], **found}


def train(config: TrainConfig) -> dict[str, float]:
    """Render samples, train, write the best weights, and return their measures.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    samples, held_out = prepare(config)
    return training.fit(
        read_weights(config.init) if config.init else StickerNetwork(),
        config,
        lambda start: batches(samples, config, start),
        segmentation_loss,
        lambda network: evaluate(network, held_out),
        lambda network, about: write_weights(network, config.output, about),
    )


def main(words: list[str] | None = None) -> int:
    """Run the training; return the exit code."""
    try:
        best = train(read_config(TrainConfig, "attributes.stickers.segmenter.train", __doc__, words))
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(best))
    return 0


if __name__ == "__main__":
    sys.exit(main())
