"""Train the segmenter: ``python -m attributes.glasses.segmenter.train --portraits FOLDER --output FILE``.

Renders synthetic people from the portraits, draws glasses on most of them, stores the samples in the work folder and
trains on them. Interrupted runs resume. The output is the weights that are best on held-out people.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch

from attributes.glasses.segmenter.augment import augment, centre_crop
from attributes.glasses.segmenter.config import TrainConfig
from attributes.glasses.segmenter.losses import segmentation_loss, thin_recall, union_iou
from attributes.glasses.segmenter.model import read_weights, write_weights
from attributes.glasses.segmenter.network import GlassesNetwork
from attributes.glasses.segmenter.samples import SampleKinds, Samples, make_samples, read_samples
from attributes.segmenting import training
from attributes.segmenting.config import read_config
from attributes.segmenting.network import SegmenterNetwork, normalise
from attributes.segmenting.training import Batch
from toolkit.errors import ToolkitError


def prepare(config: TrainConfig) -> tuple[Samples, Samples]:
    """Render missing samples, and read the training and the held-out samples.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    kinds = SampleKinds(**{field.name: getattr(config, field.name) for field in fields(SampleKinds)})
    common = {"cache": config.work / "portraits", "kinds": kinds}
    training.make_samples(config, make_samples, **common)
    return read_samples(config.work / "train", config.samples), read_samples(config.work / "held_out", config.held_out)


def batches(samples: Samples, config: TrainConfig, start: int) -> Iterator[Batch]:
    """Augmented batches from step `start`: pictures, maps float ``[B, 4, H, W]``, worn."""

    def one(k: int, rng: np.random.Generator) -> tuple:
        return *augment(samples.pictures[k], samples.maps[k], rng), samples.worn[k]

    for parts in training.drawn(one, len(samples), config, start):
        pictures, maps, worn = map(torch.from_numpy, parts)
        yield normalise(pictures), maps.permute(0, 3, 1, 2).float() / 255, worn.float()


def evaluate(network: SegmenterNetwork, samples: Samples) -> dict[str, float]:
    """Mean IoU of frame or lens for people with glasses, false alarms for the others, accuracy of presence, and recall
    of thin rims.

    The score counts false alarms a fifth, since `presence` suppresses most of them.
    """
    network.eval()
    overlap, false, right, thin = [], [], [], []
    with torch.inference_mode():
        for start in range(0, len(samples), 32):
            part = samples[start : start + 32]
            logits, presence = network(normalise(torch.from_numpy(np.ascontiguousarray(centre_crop(part.pictures)))))
            truth = torch.from_numpy(centre_crop(part.maps).copy()).permute(0, 3, 1, 2).float() / 255
            worn = torch.from_numpy(part.worn)
            guess = logits.sigmoid()
            overlap.append(union_iou(guess, truth)[worn])
            false.append((guess[:, :2].amax(dim=1) > 0.5).sum(dim=(1, 2))[~worn] > 20)
            right.append((presence > 0) == worn)
            thin.append(torch.stack(thin_recall(guess, truth)))
    network.train()
    names = ("iou", "false_alarm", "presence")
    found = {name: float(torch.cat(values).float().mean()) for name, values in zip(names, (overlap, false, right))}
    hit, all_of_them = torch.cat(thin, dim=1).sum(dim=1).tolist()
    found["thin_rims"] = hit / max(all_of_them, 1)
    score = found["iou"] + found["thin_rims"] + found["presence"] - 0.2 * found["false_alarm"]
    return {"score": score, **found}


def train(config: TrainConfig) -> dict[str, float]:
    """Render samples, train, write the best weights, and return their measures.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    samples, held_out = prepare(config)
    return training.fit(
        read_weights(config.init) if config.init else GlassesNetwork(),
        config,
        lambda start: batches(samples, config, start),
        segmentation_loss,
        lambda network: evaluate(network, held_out),
        lambda network, about: write_weights(network, config.output, about),
    )


def main(words: list[str] | None = None) -> int:
    """Run the training; return the exit code."""
    try:
        best = train(read_config(TrainConfig, "attributes.glasses.segmenter.train", __doc__, words))
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(best))
    return 0


if __name__ == "__main__":
    sys.exit(main())
