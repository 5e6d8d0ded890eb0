"""The endless stream of training pairs. The seed alone decides the order of the pairs and their noise.

A resumed run therefore sees the same pairs as an uninterrupted one, with any number of reading processes and of
devices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from toolkit.backbones import Backbone
from toolkit.errors import InputError, ToolkitError
from toolkit.finetune.augment import augmented, fade_attribute, fill_attribute, variant_of
from toolkit.finetune.cache import LatentCache
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import picture_of
from toolkit.finetune.encode import contrast, cover, encode_pictures, hints, pixels
from toolkit.finetune.loss import Batch
from toolkit.finetune.window import cells_of, cut, draw_window
from toolkit.interruption import leave_signals_to_the_parent
from toolkit.seeds import fraction, generator


class PairStream(Dataset):
    """Maps a position in the stream to a pair for the models.

    Args:
        timesteps: drawn from with equal probability.
    """

    def __init__(self, cache: LatentCache, config: FinetuneConfig, timesteps: Sequence[int]):
        self._cache, self._config, self._timesteps = cache, config, timesteps
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=2)(self._shuffled)

    @property
    def epoch_length(self) -> int:
        """Number of positions after which every pair was seen."""
        counts = self._cache.index.counts
        return sum(counts) if self._config.balance == "size" else len(counts) * max(counts)

    def pair(self, position: int) -> tuple[int, int]:
        """Number and variant of the pair at a position."""
        epoch, index = divmod(position, self.epoch_length)
        number = int(self._order(epoch)[index])
        return number, variant_of(self._config.augmentation, epoch, self._cache.index[number].clip)

    def _shuffled(self, epoch: int) -> np.ndarray:
        """The pairs' numbers in the order of an epoch. With equal shares, small datasets repeat."""
        counts, rng = self._cache.index.counts, generator(self._config.seed, "order", epoch)
        firsts = np.cumsum([0, *counts[:-1]])
        wanted = counts if self._config.balance == "size" else [max(counts)] * len(counts)
        numbers = [
            first + np.resize(rng.permutation(count), want) for first, count, want in zip(firsts, counts, wanted)
        ]
        return rng.permutation(np.concatenate(numbers).astype(np.int32))

    def __getitem__(self, position: int) -> dict[str, Any]:
        """
        Raises:
            InputError: a picture cannot be read; the message names it.
        """
        config, (number, variant) = self._config, self.pair(position)
        entry, side = self._cache.index[number], self._cache.index.resolution
        fade = fraction(config.seed, "faded", position) < config.augmentation.fade
        fill = fraction(config.seed, "filled", position) < config.augmentation.fill
        whole = not self._cache.kept or config.loss.contrast_power > 0 or fade or fill or config.region is not None
        names = ("conditioning_image", "image", "mask") if whole else ("conditioning_image",)
        pictures = {name: picture_of(entry.sample, name, side) for name in names}
        pictures = augmented(pictures, config.augmentation, config.seed, entry.clip_id, variant)
        cell = side // self._cache.shape[1]
        seen = slice(0, side), slice(0, side)
        if config.region is not None:
            seen = draw_window(pictures["mask"], config.region, cell, generator(config.seed, "window", position))
            pictures = cut(pictures, seen)
        rows, columns = cells_of(seen, cell)
        if fade:
            dice = generator(config.seed, "fading", position)
            pictures["conditioning_image"] = fade_attribute(pictures["image"], pictures["conditioning_image"], dice)
        hint = pictures["conditioning_image"]
        if fill:
            dice = generator(config.seed, "filling", position)
            hint = fill_attribute(pictures["image"], hint, config.augmentation.fill_parts, dice)
        seed = int(generator(config.seed, "noise", position).integers(2**63))
        rng = torch.Generator().manual_seed(seed)
        shape = self._cache.shape[0], rows.stop - rows.start, columns.stop - columns.start
        drawn = torch.randn(shape, generator=rng)  # from the posterior of the encoder
        if self._cache.kept:
            encoded = self._cache.read(number, variant)
            mean, std, cells = (values[:, rows, columns] for values in (encoded.mean, encoded.std, encoded.cells))
            latents = {"latents": mean.float() + std.float() * drawn, "cells": cells}
        else:
            cells = cover(pictures["mask"], cell)
            latents = {"pixels": pixels([pictures["image"]])[0], "drawn": drawn, "cells": cells}
        empty = fraction(config.seed, "empty prompt", position) < config.loss.proportion_empty_prompts
        return latents | {
            "noise": torch.randn(shape, generator=rng),
            "timesteps": torch.tensor(self._timesteps[int(torch.randint(len(self._timesteps), (), generator=rng))]),
            "hint": hints([hint])[0],
            "contrast": contrast(*(pictures[name] for name in names)) if whole else math.nan,
            "text": "" if empty else entry.text,
            "position": position,
        }

    def describe(self, position: int) -> str:
        """The pair at a position, in words."""
        return str(self._cache.index[self.pair(position)[0]])


class _Positions(Sampler):
    """The positions of one process; every step takes the next ones of the stream."""

    def __init__(self, first: int, last: int, batch_size: int, rank: int, processes: int):
        self._batches = range(first * processes + rank, last * processes, processes)
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            yield list(range(batch * self._batch_size, (batch + 1) * self._batch_size))

    def __len__(self) -> int:
        return len(self._batches)


def batches(
    stream: PairStream, config: FinetuneConfig, first_step: int, *, rank: int, processes: int, workers: int, pin: bool
) -> DataLoader:
    """The collated batches of one process, from a step to the last, `gradient_accumulation_steps` per step."""
    settings = config.optimisation
    share = settings.gradient_accumulation_steps
    positions = _Positions(
        first_step * share, config.max_train_steps * share, settings.train_batch_size, rank, processes
    )
    context = "spawn" if workers else None  # forked processes would inherit the locks of torch's threads
    return DataLoader(
        stream,
        batch_sampler=positions,
        num_workers=workers,
        pin_memory=pin,
        multiprocessing_context=context,
        worker_init_fn=leave_signals_to_the_parent,
    )


def following(loader: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The next batch.

    Raises:
        InputError: a picture cannot be read.
    """
    try:
        return next(loader)
    except ToolkitError as error:
        # torch makes a worker's whole traceback the message; its last line is the original message.
        last = str(error).strip().splitlines()[-1]
        raise InputError(last.partition("InputError: ")[2] or last) from error


def to_batch(collated: dict[str, Any], states: dict[str, torch.Tensor], backbone: Backbone, device: Any) -> Batch:
    """Move a collated batch to the device, and add encoded prompts and scaled latents. Encodes pictures if needed."""
    if "latents" in collated:
        latents = collated["latents"].to(device, non_blocking=True)
    else:
        mean, std = encode_pictures(backbone, collated["pixels"])
        latents = (mean.float() + std.float() * collated["drawn"].to(mean.device)).to(device)
    return Batch(
        latents=latents * backbone.vae.config.scaling_factor,
        noise=collated["noise"].to(device, non_blocking=True),
        timesteps=collated["timesteps"].to(device, non_blocking=True),
        hint=collated["hint"].to(device, non_blocking=True),
        cells=collated["cells"].to(device, non_blocking=True),
        states=stack_prompts(collated["text"], states),
        contrast=collated["contrast"].to(device, torch.float32, non_blocking=True),
    )


def stack_prompts(texts: Sequence[str], states: dict[str, torch.Tensor]) -> torch.Tensor:
    """The encoded prompts of a batch, ``[B, N, D]``, on the device of the states."""
    return torch.stack([states[text] for text in texts])
