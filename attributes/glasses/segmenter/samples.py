"""Generate training samples on disk: synthetic people with drawn glasses, cropped to the region of the eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attributes.glasses.design import GlassesDesign, random_design
from attributes.glasses.drawing import GlassesDrawer
from attributes.glasses.segmenter.decoys import add_decoys
from attributes.glasses.segmenter.network import CHANNELS
from attributes.glasses.segmenter.region import HEIGHT, WIDTH, cut_out, eye_regions
from toolkit.files import atomic
from toolkit.portraits import SyntheticPeople, load_portraits
from toolkit.seeds import generator

MARGIN = 1.25
"""Size of a stored region divided by that of the network, which leaves room for augmentation."""
STORED = (round(HEIGHT * MARGIN), round(WIDTH * MARGIN))
"""Height and width of a stored region in pixels."""
SHARD = 32
"""Samples per file."""
MAX_ROLL = 3.0
"""Largest rotation of a stored region in degrees that counts as upright."""


@dataclass(frozen=True, eq=False)
class Samples:
    """A set of N samples.

    Attributes:
        pictures: uint8 ``[N, 160, 320, 3]``.
        maps: uint8 ``[N, 160, 320, 4]``, where 255 means 1, in the order of `CHANNELS`.
        worn: bool ``[N]``, whether glasses were drawn.
    """

    pictures: np.ndarray
    maps: np.ndarray
    worn: np.ndarray

    def __len__(self) -> int:
        return len(self.worn)

    def __getitem__(self, indices: np.ndarray | slice) -> Samples:
        return Samples(self.pictures[indices], self.maps[indices], self.worn[indices])


@dataclass(frozen=True)
class SampleKinds:
    """Which samples are made: ``worn, sunglasses, thin, photos, scene_size`` of `TrainConfig`."""

    worn: float
    sunglasses: float
    thin: float
    photos: float
    scene_size: int


def sample_design(rng: np.random.Generator, sunglasses: float, thin: float) -> GlassesDesign:
    """A random design; a share `thin` of them is drawn again until its rims are hard to see.

    Args:
        rng: draws everything.
        sunglasses: as in `random_design`.
        thin: share of designs with wires below 1.4 mm, without a rim, or of translucent plastic.
    """
    wanted = rng.random() < thin
    design = random_design(rng, sunglasses)
    while wanted and not (design.rim != "full" or design.rim_width < 1.4 or design.front.opacity < 1):
        design = random_design(rng, sunglasses)
    return design


class SampleMaker:
    """Renders samples of synthetic people. The same seed, portraits and index give the same sample.

    Args:
        portraits: pictures of people without glasses.
        cache: folder for the analysed portraits.
        kinds: the settings of `TrainConfig` that it is named after.
        seed: seed of all samples.
    """

    def __init__(self, portraits: Sequence[Path], cache: Path, kinds: SampleKinds, seed: object):
        self._people = SyntheticPeople(load_portraits(portraits, cache), photos=kinds.photos)
        self._drawer = GlassesDrawer()
        self._kinds, self._seed = kinds, seed

    def make(self, index: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Picture uint8 ``[160, 320, 3]``, maps uint8 ``[160, 320, 4]``, and whether the person wears glasses."""
        rng, kinds = generator("glasses segmenter", self._seed, index), self._kinds
        clip, camera = self._people.scene(rng, 1, kinds.scene_size)
        size = clip.frames.shape[1:3]
        worn = bool(rng.random() < kinds.worn)
        if rng.random() < (0.12 if worn else 0.6):
            clip = replace(clip, frames=add_decoys(clip, rng))
        maps, frames = np.zeros((*size, len(CHANNELS)), np.float32), clip.frames
        if worn:
            drawn = self._drawer.draw(clip, sample_design(rng, kinds.sunglasses, kinds.thin), rng)
            frames = drawn.frames
            maps = np.stack([drawn.rim[0], drawn.lens[0], drawn.reflection[0], drawn.opacity[0]], axis=-1)
            worn = bool(maps[..., 0].sum() > 4)
        to_region = eye_regions(clip.landmarks, clip.topology).to_region[0]
        to_region[:, 2] += np.array([STORED[1] - WIDTH, STORED[0] - HEIGHT]) / 2
        picture = cut_out(camera(frames)[0], to_region, STORED[1], STORED[0])
        return picture, np.rint(cut_out(maps, to_region, STORED[1], STORED[0]).clip(0, 1) * 255).astype(np.uint8), worn


def make_samples(folder: Path, count: int, threads: int, **maker) -> None:
    """Fill a folder up to `count` samples. Existing files are kept.

    Args:
        folder: for files ``00000.npz`` and so on, with `SHARD` samples each.
        count: number of samples.
        threads: number of processes.
        maker: arguments of `SampleMaker`.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    folder.mkdir(parents=True, exist_ok=True)
    missing = [k for k in range(-(-count // SHARD)) if not (folder / f"{k:05}.npz").exists()]
    if not missing:
        return
    load_portraits(maker["portraits"], maker["cache"])  # analysed once instead of in every process
    with ProcessPoolExecutor(threads, get_context("spawn"), _start, (maker,)) as pool:
        for done, _ in enumerate(pool.map(_write, [folder] * len(missing), missing), 1):
            if done % 10 == 0 or done == len(missing):
                print(f"{done * SHARD} of {len(missing) * SHARD} samples rendered", flush=True)


_maker: SampleMaker


def _start(arguments: dict) -> None:
    import cv2

    global _maker
    cv2.setNumThreads(1)
    _maker = SampleMaker(**arguments)


def _write(folder: Path, shard: int) -> None:
    samples = [_maker.make(index) for index in range(shard * SHARD, (shard + 1) * SHARD)]
    pictures, maps, worn = (np.stack(column) for column in zip(*samples))
    with atomic(folder / f"{shard:05}.npz") as staged, staged.open("wb") as file:
        np.savez(file, pictures=pictures, maps=maps, worn=worn)


def read_samples(folder: Path, count: int) -> Samples:
    """The first `count` samples of a folder filled by `make_samples`."""
    parts = []
    for shard in range(-(-count // SHARD)):
        with np.load(folder / f"{shard:05}.npz", allow_pickle=False) as file:
            parts.append([file[name] for name in ("pictures", "maps", "worn")])
    return Samples(*(np.concatenate(column)[:count] for column in zip(*parts)))
