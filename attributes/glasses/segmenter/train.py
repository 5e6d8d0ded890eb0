"""Train the segmenter: ``python -m attributes.glasses.segmenter.train --portraits FOLDER --output FILE``.

Renders synthetic people from the portraits, draws glasses on most of them, stores the samples in the work folder and
trains on them. Interrupted runs resume. The output is the weights that are best on held-out people.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from attributes.glasses.segmenter.augment import augment, centre_crop
from attributes.glasses.segmenter.config import TrainConfig
from attributes.glasses.segmenter.losses import segmentation_loss, union_iou
from attributes.glasses.segmenter.model import write_weights
from attributes.glasses.segmenter.network import GlassesNetwork, normalise
from attributes.glasses.segmenter.samples import Samples, make_samples, read_samples
from toolkit.errors import InputError, ToolkitError
from toolkit.files import atomic, read_json, write_json
from toolkit.portraits import list_portraits
from toolkit.seeds import fraction, generator
from toolkit.validation import validated


def split_people(files: list[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Split files into training and held-out ones. Files whose names share the part before ``_`` show one person."""
    people = sorted({file.stem.partition("_")[0] for file in files}, key=lambda name: fraction("held out", name))
    held = set(people[: max(1, round(share * len(people)))])
    return [f for f in files if f.stem.partition("_")[0] not in held], [
        f for f in files if f.stem.partition("_")[0] in held
    ]


def prepare(config: TrainConfig) -> tuple[Samples, Samples]:
    """Render missing samples, and read the training and the held-out samples.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    files = list_portraits(config.portraits, config.manifest, config.only)
    train, held = split_people(files, config.held_out_people)
    if not train:
        raise InputError(f"expected portraits of at least two people in {config.portraits}, found one person")
    _claim(config)
    common = {"cache": config.work / "portraits", "worn": config.worn, "sunglasses": config.sunglasses}
    common["scene_size"] = config.scene_size
    sets = {"held_out": (held, config.held_out), "train": (train, config.samples)}
    for name, (files, count) in sets.items():
        seed = f"{name} {config.seed}"
        make_samples(config.work / name, count, config.threads, portraits=files, seed=seed, **common)
    return read_samples(config.work / "train", config.samples), read_samples(config.work / "held_out", config.held_out)


def _claim(config: TrainConfig) -> None:
    """Record the settings in the work folder.

    Raises:
        InputError: its samples or its checkpoint have other settings.
    """
    wanted = config.model_dump(mode="json", exclude={"output", "work", "threads", "evaluate_every"})
    path = config.work / "config.json"
    if path.exists():
        try:
            found = read_json(path)
        except ValueError as error:
            raise InputError(f"{path} is damaged: use another work folder") from error
        differing = sorted(name for name in wanted if found.get(name) != wanted[name])
        if differing:
            raise InputError(f"{config.work} was started with another {', '.join(differing)}: use another work folder")
        return
    config.work.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)


def batches(samples: Samples, config: TrainConfig, start: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Augmented batches from step `start`, prepared ahead by a thread: pictures, maps float ``[B, 4, H, W]``, worn."""

    def one(step: int, index: int) -> tuple[np.ndarray, np.ndarray, bool]:
        epoch, within = divmod(step * config.batch_size + index, len(samples))
        if epoch not in orders:
            orders[epoch] = generator(config.seed, "order", epoch).permutation(len(samples))
        k = orders[epoch][within]
        rng = generator(config.seed, "augment", step, index)
        return *augment(samples.pictures[k], samples.maps[k], rng), samples.worn[k]

    orders: dict[int, np.ndarray] = {}
    with ThreadPoolExecutor(1) as pool:

        def order(step: int):
            return pool.submit(lambda: [one(step, index) for index in range(config.batch_size)])

        waiting = [order(start), order(start + 1)]
        for step in range(start, config.steps):
            batch = waiting.pop(0).result()
            waiting.append(order(step + 2))
            pictures, maps, worn = (torch.from_numpy(np.stack(column)) for column in zip(*batch))
            yield normalise(pictures), maps.permute(0, 3, 1, 2).float() / 255, worn.float()


def evaluate(network: GlassesNetwork, samples: Samples) -> dict[str, float]:
    """Mean IoU of frame or lens for people with glasses, false alarms for the others, and accuracy of presence."""
    network.eval()
    overlap, false, right = [], [], []
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
    network.train()
    names = ("iou", "false_alarm", "presence")
    return {name: float(torch.cat(values).float().mean()) for name, values in zip(names, (overlap, false, right))}


def train(config: TrainConfig) -> dict[str, float]:
    """Render samples, train, write the best weights, and return their measures.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    samples, held_out = prepare(config)
    # Denormal numbers slow the CPU down. Set after the samples are rendered, because mediapipe needs denormals.
    torch.set_flush_denormal(True)
    network = GlassesNetwork().to(memory_format=torch.channels_last)
    mean = copy.deepcopy(network)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps, pct_start=0.08)
    parts = {"network": network, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    checkpoint = config.work / "checkpoint.pt"
    start, best = _resume(checkpoint, parts)
    begun, running = time.monotonic(), 0.0
    for step, (pictures, maps, worn) in enumerate(batches(samples, config, start), start):
        logits, presence = network(pictures)
        loss = segmentation_loss(logits, presence, maps, worn)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        _average(mean, network, min(config.average, (1 + step) / (10 + step)))
        running += float(loss.detach())
        done = step + 1
        if done % config.evaluate_every == 0 or done == config.steps:
            measures = evaluate(mean, held_out)
            score = measures["iou"] - measures["false_alarm"]
            count = (done - 1) % config.evaluate_every + 1
            line = {"step": done, "loss": running / count, "seconds": time.monotonic() - begun, **measures}
            print(json.dumps({key: round(value, 4) for key, value in line.items()}), flush=True)
            running = 0.0
            if score > best.get("score", -np.inf):
                best = {"score": score, "step": done, **measures}
                write_weights(mean, config.output, {"measures": json.dumps(best), "portraits": config.portraits.name})
            _save(checkpoint, done, best, parts)
    return best


def _average(mean: GlassesNetwork, network: GlassesNetwork, decay: float) -> None:
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), network.state_dict().values()):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def _save(path: Path, step: int, best: dict, parts: dict) -> None:
    with atomic(path) as staged:
        torch.save({"step": step, "best": best, **{name: part.state_dict() for name, part in parts.items()}}, staged)


def _resume(path: Path, parts: dict) -> tuple[int, dict]:
    if not path.exists():
        return 0, {}
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"], state["best"]


def read_config(words: list[str] | None = None) -> TrainConfig:
    """Parse a command line. Every field of `TrainConfig` is an option."""
    parser = argparse.ArgumentParser(prog="python -m attributes.glasses.segmenter.train", description=__doc__)
    for name, info in TrainConfig.model_fields.items():
        default = "" if info.is_required() or info.default is None else f" ({info.default})"
        needed = info.is_required() and name != "work"
        parser.add_argument(f"--{name.replace('_', '-')}", required=needed, help=f"{info.description}{default}")
    settings = {name: value for name, value in vars(parser.parse_args(words)).items() if value is not None}
    settings.setdefault("work", str(Path(settings["output"]).with_suffix(".work")))
    return validated(TrainConfig, settings, lambda name: f"--{name.replace('_', '-')}")


def main(words: list[str] | None = None) -> int:
    """Run the training; return the exit code."""
    try:
        best = train(read_config(words))
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(best))
    return 0


if __name__ == "__main__":
    sys.exit(main())
