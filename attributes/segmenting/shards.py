"""Samples for training on disk, in files of a few samples, rendered by several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toolkit.files import atomic

SHARD = 32
"""Samples per file."""


class Maker(Protocol):
    """Makes a sample from its index: arrays and numbers, always of the same shapes and types."""

    def make(self, index: int) -> tuple[Any, ...]: ...


def make_samples(
    folder: Path, count: int, threads: int, names: tuple[str, ...], create: Callable[..., Maker], **arguments: Any
) -> None:
    """Fill a folder up to `count` samples. Existing files are kept.

    Args:
        folder: for files ``00000.npz`` and so on, with `SHARD` samples each.
        count: number of samples.
        threads: number of processes.
        names: names of the parts of a sample.
        create: builds the maker in every process.
        arguments: of `create`.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    folder.mkdir(parents=True, exist_ok=True)
    missing = [k for k in range(-(-count // SHARD)) if not (folder / f"{k:05}.npz").exists()]
    if not missing:
        return
    start = (names, create, arguments)
    with ProcessPoolExecutor(threads, get_context("spawn"), _start, start) as pool:
        for done, _ in enumerate(pool.map(_write, [folder] * len(missing), missing), 1):
            if done % 10 == 0 or done == len(missing):
                print(f"{done * SHARD} of {len(missing) * SHARD} samples rendered", flush=True)


_maker: Maker
_names: tuple[str, ...]


def _start(names: tuple[str, ...], create: Callable[..., Maker], arguments: dict[str, Any]) -> None:
    import cv2

    global _maker, _names
    cv2.setNumThreads(1)
    _names, _maker = names, create(**arguments)


def _write(folder: Path, shard: int) -> None:
    samples = [_maker.make(index) for index in range(shard * SHARD, (shard + 1) * SHARD)]
    parts = dict(zip(_names, (np.stack(column) for column in zip(*samples))))
    with atomic(folder / f"{shard:05}.npz") as staged, staged.open("wb") as file:
        np.savez(file, **parts)


def read_samples(folder: Path, count: int, names: tuple[str, ...]) -> list[np.ndarray]:
    """Each part of the first `count` samples of a folder filled by `make_samples`, stacked."""
    parts = []
    for shard in range(-(-count // SHARD)):
        with np.load(folder / f"{shard:05}.npz", allow_pickle=False) as file:
            parts.append([file[name] for name in names])
    return [np.concatenate(column)[:count] for column in zip(*parts)]
