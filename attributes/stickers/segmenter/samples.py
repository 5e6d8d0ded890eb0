"""Generate training samples: synthetic people with drawn stickers, cropped to the region of the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attributes.rendering.landmark_mesh import LandmarkMesher
from attributes.rendering.renderer import create_renderer
from attributes.segmenting import shards
from attributes.segmenting.region import cut_out, regions_of
from attributes.stickers.art import open_art
from attributes.stickers.degradation import ClipDegradation
from attributes.stickers.drawing import Texture, draw
from attributes.stickers.segmenter.decoys import add_decoys, hair_colour, strands
from attributes.stickers.segmenter.patches import random_patch, towards
from attributes.stickers.segmenter.region import FACE, SIDE
from attributes.stickers.spots import GRID, Chart
from toolkit.portraits import SyntheticPeople, load_portraits
from toolkit.seeds import generator
from toolkit.task import FaceClip

STORED = 240
"""Side of a stored region in pixels, which leaves room for augmentation."""
COVERED = 0.06
"""Cover from which a pixel belongs to a sticker. Fainter parts of its shadow are not seen."""
LEAST = 10.0
"""Smallest mean change of pixels under a sticker, in levels of 0..255. Fainter ones cannot be told from skin."""
VISIBLE = 24
"""Fewest pixels of a stored region that show a sticker."""
NAMES = ("pictures", "maps", "shown")


@dataclass(frozen=True, eq=False)
class Samples:
    """A set of N samples.

    Attributes:
        pictures: uint8 ``[N, 240, 240, 3]``.
        maps: uint8 ``[N, 240, 240, 1]``, where 255 means 1.
        shown: bool ``[N]``, whether a sticker is seen.
    """

    pictures: np.ndarray
    maps: np.ndarray
    shown: np.ndarray

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, indices: np.ndarray | slice) -> Samples:
        return Samples(self.pictures[indices], self.maps[indices], self.shown[indices])


class SampleMaker:
    """Renders samples of synthetic people. The same seed, portraits and index give the same sample.

    Args:
        portraits: pictures of people.
        cache: folder for the analysed portraits.
        photos, stuck, scene_size: as in `TrainConfig`.
        seed: seed of all samples.
        art: folder of pictures to draw; None for the embedded ones and random patches.
    """

    def __init__(
        self,
        portraits: Sequence[Path],
        cache: Path,
        photos: float,
        stuck: float,
        scene_size: int,
        seed: object,
        art: Path | None = None,
    ):
        self._people = SyntheticPeople(load_portraits(portraits, cache), photos=photos, coverings=0.0)
        self._art, self._patches = open_art(art), 0.25 if art is None else 0.0
        self._mesher, self._renderer = LandmarkMesher(), create_renderer("embree")
        self._charts: dict[tuple[str, ...], Chart] = {}
        self._stuck, self._size, self._seed = stuck, scene_size, seed

    def make(self, index: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Picture uint8 ``[240, 240, 3]``, map uint8 ``[240, 240, 1]``, and whether a sticker is seen."""
        rng = generator("sticker segmenter", self._seed, index)
        clip, camera = self._people.scene(rng, 1, self._size, rng.uniform(1.5, 1.9))
        stuck = bool(rng.random() < self._stuck)
        frame, points = clip.frames[0], clip.landmarks[0, :, :2]
        if rng.random() < (0.35 if stuck else 0.75):
            frame = add_decoys(frame, points, rng)
        cover = np.zeros(frame.shape[:2], np.float32)
        if stuck:
            frame, cover = self._drawn(replace(clip, frames=frame[None]), rng)
            if rng.random() < 0.12:
                hair = strands(cover.shape, points, rng)
                frame = np.rint(frame + hair[..., None] * (hair_colour(rng) - frame)).clip(0, 255).astype(np.uint8)
                cover = np.where(hair > 0.5, 0, cover)
        to_region = regions_of(clip.landmarks, clip.topology, FACE).to_region[0]
        to_region[:, 2] += (STORED - SIDE) / 2
        picture = cut_out(camera(frame[None])[0], to_region, STORED, STORED)
        seen = cut_out((cover > COVERED).astype(np.float32), to_region, STORED, STORED)
        maps = np.rint(seen.clip(0, 1) * 255).astype(np.uint8)
        return picture, maps[..., None], bool((maps > 127).sum() > VISIBLE)

    def _drawn(self, clip: FaceClip, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The frame of a clip with one to four stickers, and their cover."""
        mesh = self._mesher.mesh(clip)
        points = np.rint(clip.landmarks[0, [50, 280, 10, 6, 152], :2]).astype(int)
        limit = np.array(clip.frames.shape[2:0:-1]) - 1
        x, y = np.clip(points, 0, limit).T
        skin = np.median(clip.frames[0, y, x], axis=0)
        frame, cover = clip.frames[0], np.zeros(clip.frames.shape[1:3], np.float32)
        for _ in range(int(rng.choice([1, 1, 1, 1, 2, 2, 3, 4]))):
            if rng.random() < self._patches:
                rgba, kind, gloss = random_patch(rng), "shape", 0.0
            else:
                sticker = self._art.choose(rng)
                rgba, kind, gloss = sticker.rgba, sticker.kind, sticker.gloss
            if rng.random() < 0.18:
                rgba = towards(rgba, skin, rng)
            opacity = rng.uniform(
                *((0.85, 1), (0.85, 1), (0.85, 1), (0.85, 1), (0.5, 0.85), (0.35, 0.6))[rng.integers(6)]
            )
            texture = Texture.of(rgba, kind, gloss, float(opacity))
            forbidden = ("eyes", "mouth") if rng.random() < 0.85 else ()
            if forbidden not in self._charts:
                self._charts[forbidden] = Chart(mesh, forbidden, margin=0.02, rim=0.03)
            size = float(np.exp(rng.uniform(np.log(0.2), np.log(1.15))))
            spot = self._charts[forbidden].random(rng, (size * 0.6, size), (-180, 180), texture.footprint(GRID))
            if spot is None:
                continue
            degrade = ClipDegradation(rng) if rng.random() < 0.5 else None
            drawn = next(draw([frame], mesh, spot, texture, self._renderer, clip.scale, degrade))
            x0, y0, x1, y1 = drawn.window
            change = np.abs(drawn.frame[y0:y1, x0:x1].astype(np.float32) - frame[y0:y1, x0:x1]).max(axis=-1)
            if not (drawn.cover > 0.1).any() or change[drawn.cover > 0.1].mean() < LEAST:
                continue
            frame = drawn.frame
            np.maximum(cover[y0:y1, x0:x1], drawn.cover, out=cover[y0:y1, x0:x1])
        return frame, cover


def make_samples(folder: Path, count: int, threads: int, **maker) -> None:
    """Fill a folder up to `count` samples; existing files are kept. `maker` are the arguments of `SampleMaker`."""
    load_portraits(maker["portraits"], maker["cache"])  # analysed once instead of in every process
    shards.make_samples(folder, count, threads, NAMES, SampleMaker, **maker)


def read_samples(folder: Path, count: int) -> Samples:
    """The first `count` samples of a folder filled by `make_samples`."""
    return Samples(*shards.read_samples(folder, count, NAMES))
