"""Train a segmenter: batches prepared ahead, one cycle of AdamW, a moving average, checkpoints."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from attributes.segmenting.config import TrainConfig
from attributes.segmenting.network import SegmenterNetwork
from toolkit.errors import InputError
from toolkit.files import atomic, read_json, write_json
from toolkit.portraits import list_portraits
from toolkit.seeds import fraction, generator

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Pictures of `normalise`, maps float ``[B, C, H, W]`` in 0..1, and presence float ``[B]``."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits of maps and of presence, true maps and presence -> loss."""


def split_people(files: list[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Split files into training and held-out ones. Files whose names share the part before ``_`` show one person."""
    people = sorted({file.stem.partition("_")[0] for file in files}, key=lambda name: fraction("held out", name))
    held = set(people[: max(1, round(share * len(people)))])
    return [f for f in files if f.stem.partition("_")[0] not in held], [
        f for f in files if f.stem.partition("_")[0] in held
    ]


def make_samples(config: TrainConfig, make: Callable[..., None], **maker) -> None:
    """Render missing samples into the folders ``train`` and ``held_out`` of the work folder, of different people.

    Args:
        config: the settings.
        make: fills a folder up to a number of samples in so many processes; `portraits`, `seed` and `maker` follow.
        maker: what else decides the samples.

    Raises:
        InputError: the portraits cannot be used, or the work folder has other settings.
    """
    files = list_portraits(config.portraits, config.manifest, config.only)
    train, held = split_people(files, config.held_out_people)
    if not train:
        raise InputError(f"expected portraits of at least two people in {config.portraits}, found one person")
    claim(config)
    sets = {"held_out": (held, config.held_out), "train": (train, config.samples)}
    for name, (files, count) in sets.items():
        make(config.work / name, count, config.threads, portraits=files, seed=f"{name} {config.seed}", **maker)


def claim(config: TrainConfig) -> None:
    """Record the settings in the work folder.

    Raises:
        InputError: its samples or its checkpoint have other settings.
    """
    wanted = config.model_dump(mode="json", exclude={"output", "work", "threads", "bfloat16", "evaluate_every"})
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


def drawn(
    one: Callable[[int, np.random.Generator], tuple], count: int, config: TrainConfig, start: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches from step `start`, prepared ahead by a thread. Each sample is used once in an epoch.

    Args:
        one: index of a sample and a generator -> the augmented sample, a tuple of arrays and numbers.
        count: number of samples.
        config: gives the seed, the batch size and the number of steps.
        start: the first step.

    Yields:
        The samples' parts, stacked.
    """

    def augmented(step: int, index: int) -> tuple:
        epoch, within = divmod(step * config.batch_size + index, count)
        if epoch not in orders:
            orders[epoch] = generator(config.seed, "order", epoch).permutation(count)
        return one(orders[epoch][within], generator(config.seed, "augment", step, index))

    orders: dict[int, np.ndarray] = {}
    with ThreadPoolExecutor(1) as pool:

        def order(step: int):
            return pool.submit(lambda: [augmented(step, index) for index in range(config.batch_size)])

        waiting = [order(start), order(start + 1)]
        for step in range(start, config.steps):
            batch = waiting.pop(0).result()
            waiting.append(order(step + 2))
            yield tuple(np.stack(column) for column in zip(*batch))


def fit(
    network: SegmenterNetwork,
    config: TrainConfig,
    batches: Callable[[int], Iterable[Batch]],
    loss_of: Loss,
    evaluate: Callable[[SegmenterNetwork], dict[str, float]],
    write: Callable[[SegmenterNetwork, dict[str, str]], None],
) -> dict[str, float]:
    """Train a network, write the best weights, and return their measures. A run that was killed resumes.

    Args:
        network: new, with seeded weights.
        config: the settings.
        batches: the first step -> the batches from there on.
        loss_of: the loss.
        evaluate: measures of a network on held-out people; ``score`` decides which weights are best.
        write: saves weights, with metadata.
    """
    # Denormal numbers slow the CPU down. Set after the samples are rendered, because mediapipe needs denormals.
    torch.set_flush_denormal(True)
    network = network.to(memory_format=torch.channels_last)
    mean = copy.deepcopy(network)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps, pct_start=0.08)
    parts = {"network": network, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    checkpoint = config.work / "checkpoint.pt"
    start, best = resume(checkpoint, parts)
    begun, running = time.monotonic(), 0.0
    for step, (pictures, maps, shown) in enumerate(batches(start), start):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            logits, presence = network(pictures)
        loss = loss_of(logits.float(), presence.float(), maps, shown)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        _average(mean, network, min(config.average, (1 + step) / (10 + step)))
        running += float(loss.detach())
        done = step + 1
        if done % config.evaluate_every == 0 or done == config.steps:
            measures = evaluate(mean)
            score = measures["score"]
            count = (done - 1) % config.evaluate_every + 1
            line = {"step": done, "loss": running / count, "seconds": time.monotonic() - begun, **measures}
            print(json.dumps({key: round(value, 4) for key, value in line.items()}), flush=True)
            running = 0.0
            if score > best.get("score", -np.inf):
                best = {"step": done, **measures}
                write(mean, {"measures": json.dumps(best), "portraits": config.portraits.name})
            save(checkpoint, done, best, parts)
    return best


def _average(mean: SegmenterNetwork, network: SegmenterNetwork, decay: float) -> None:
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), network.state_dict().values()):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def save(path: Path, step: int, best: dict, parts: dict) -> None:
    """Write a checkpoint."""
    with atomic(path) as staged:
        torch.save({"step": step, "best": best, **{name: part.state_dict() for name, part in parts.items()}}, staged)


def resume(path: Path, parts: dict) -> tuple[int, dict]:
    """Read a checkpoint into the parts; the step after it, and the measures of the best weights so far."""
    if not path.exists():
        return 0, {}
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"], state["best"]
