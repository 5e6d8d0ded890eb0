"""Training samples: made people with drawn glasses, cut to the region of the eyes and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attributes.glasses.drawing import GlassesDrawer
from attributes.glasses.segmenter.decoys import add_decoys
from attributes.glasses.segmenter.network import CHANNELS
from attributes.glasses.segmenter.region import HEIGHT, WIDTH, cut_out, eye_regions
from toolkit.portraits import SyntheticPeople, load_portraits
from toolkit.seeds import generator

MARGIN = 1.25
"""Size of a stored region over that of the network's, so that it may be moved and turned in training."""
STORED = (round(HEIGHT * MARGIN), round(WIDTH * MARGIN))
"""px; height and width of a stored region."""
SHARD = 32
"""Samples per file."""
MAX_ROLL = 3.0
"""Degrees by which a stored region may be turned and still be called upright."""


@dataclass(frozen=True, eq=False)
class Samples:
    """N samples.

    Attributes:
        pictures: uint8 ``[N, 160, 320, 3]``.
        maps: uint8 ``[N, 160, 320, 4]``, 255 for 1, in the order of the network's `CHANNELS`.
        worn: bool ``[N]``, whether glasses were drawn.
    """

    pictures: np.ndarray
    maps: np.ndarray
    worn: np.ndarray

    def __len__(self) -> int:
        return len(self.worn)

    def __getitem__(self, indices: np.ndarray | slice) -> Samples:
        return Samples(self.pictures[indices], self.maps[indices], self.worn[indices])


class SampleMaker:
    """Makes samples of made people.

    Args:
        portraits: files with people without glasses.
        cache: folder in which the analysed portraits are kept.
        worn, sunglasses, scene_size: as in `TrainConfig`.
        seed: the same seed, portraits and index give the same sample.
    """

    def __init__(
        self, portraits: Sequence[Path], cache: Path, worn: float, sunglasses: float, scene_size: int, seed: object
    ):
        self._people = SyntheticPeople(load_portraits(portraits, cache))
        self._drawer = GlassesDrawer()
        self._worn, self._sunglasses, self._size, self._seed = worn, sunglasses, scene_size, seed

    def make(self, index: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Picture uint8 ``[160, 320, 3]``, maps uint8 ``[160, 320, 4]`` and whether glasses are worn."""
        from attributes.glasses.design import random_design

        rng = generator("glasses segmenter", self._seed, index)
        clip, camera = self._people.scene(rng, 1, self._size)
        size = clip.frames.shape[1:3]
        worn = bool(rng.random() < self._worn)
        if rng.random() < (0.12 if worn else 0.5):
            clip = replace(clip, frames=add_decoys(clip, rng))
        maps, frames = np.zeros((*size, len(CHANNELS)), np.float32), clip.frames
        if worn:
            drawn = self._drawer.draw(clip, random_design(rng, self._sunglasses), rng)
            frames = drawn.frames
            maps = np.stack([drawn.rim[0], drawn.lens[0], drawn.reflection[0], drawn.opacity[0]], axis=-1)
            worn = bool(maps[..., 0].sum() > 4)
        to_region = eye_regions(clip.landmarks, clip.topology).to_region[0]
        to_region[:, 2] += np.array([STORED[1] - WIDTH, STORED[0] - HEIGHT]) / 2
        picture = cut_out(camera(frames)[0], to_region, STORED[1], STORED[0])
        return picture, np.rint(cut_out(maps, to_region, STORED[1], STORED[0]).clip(0, 1) * 255).astype(np.uint8), worn


def make_samples(folder: Path, count: int, threads: int, **maker) -> None:
    """Fill a folder up to `count` samples; files that are there already stay.

    Args:
        folder: its files are ``00000.npz`` and so on, `SHARD` samples each.
        threads: processes.
        maker: arguments of `SampleMaker`.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    folder.mkdir(parents=True, exist_ok=True)
    missing = [k for k in range(-(-count // SHARD)) if not (folder / f"{k:05}.npz").exists()]
    if not missing:
        return
    load_portraits(maker["portraits"], maker["cache"])  # analysed once, not by every process
    with ProcessPoolExecutor(threads, get_context("spawn"), _start, (maker,)) as pool:
        for done, _ in enumerate(pool.map(_write, [folder] * len(missing), missing), 1):
            if done % 10 == 0 or done == len(missing):
                print(f"{done * SHARD} of {len(missing) * SHARD} samples made", flush=True)


_maker: SampleMaker


def _start(arguments: dict) -> None:
    import cv2

    global _maker
    cv2.setNumThreads(1)
    _maker = SampleMaker(**arguments)


def _write(folder: Path, shard: int) -> None:
    made = [_maker.make(index) for index in range(shard * SHARD, (shard + 1) * SHARD)]
    pictures, maps, worn = (np.stack(column) for column in zip(*made))
    temporary = folder / f"{shard:05}.part"
    with temporary.open("wb") as file:
        np.savez(file, pictures=pictures, maps=maps, worn=worn)
    temporary.replace(folder / f"{shard:05}.npz")


def read_samples(folder: Path, count: int) -> Samples:
    """The first `count` samples of a folder that `make_samples` filled."""
    parts = []
    for shard in range(-(-count // SHARD)):
        with np.load(folder / f"{shard:05}.npz", allow_pickle=False) as file:
            parts.append([file[name] for name in ("pictures", "maps", "worn")])
    return Samples(*(np.concatenate(column)[:count] for column in zip(*parts)))
