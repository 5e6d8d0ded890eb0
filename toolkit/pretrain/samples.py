"""The endless stream of a pretraining's samples, which the seed alone decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from toolkit.dataset.layout import Manifest
from toolkit.dataset.reader import Sample, read_manifest, read_samples
from toolkit.errors import InputError, UsageError
from toolkit.finetune.augment import degrade_as_video, fade_attribute, fill_attribute
from toolkit.finetune.window import draw_window
from toolkit.pretrain import drawing
from toolkit.pretrain.recipe import HintShares, Phase
from toolkit.seeds import generator

Clip = list[Sample]


class Pictures:
    """The clips of datasets with one resolution.

    Args:
        roots: dataset folders.
        side: side of their pictures in pixels.
        length: frames of a sample; shorter clips are left out.

    Attributes:
        names: the folders' names.
        clips: the clips of each dataset.

    Raises:
        InputError: a folder is no dataset, or is damaged.
        UsageError: a dataset has another resolution, or no clip of that length.
    """

    def __init__(self, roots: Sequence[Path], side: int, length: int = 1):
        self.side, self.length = side, length
        self.names = [root.resolve().name for root in roots]
        self.manifests: list[Manifest] = []
        self.clips: list[list[Clip]] = []
        for root in roots:
            manifest = read_manifest(root)
            if manifest.resolution != side:
                raise UsageError(
                    f"the pictures of {root} have {manifest.resolution} pixels, and the recipe needs {side}; build the "
                    f"dataset with --resolution {side}"
                )
            clips = [clip for clip in _clips(root, manifest) if len(clip) >= length]
            if not clips:
                raise UsageError(
                    f"the dataset {root} has no clip of {length} frames; build it with --clip-length {length} or more"
                )
            self.manifests.append(manifest)
            self.clips.append(clips)

    @property
    def pairs(self) -> int:
        """The number of pairs in all datasets."""
        return sum(len(clip) for clips in self.clips for clip in clips)

    def read(self, clip: Clip, first: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read `length` frames of a clip.

        Returns:
            `image` and `conditioning_image`, uint8 ``[T, R, R, 3]``, and `mask`, bool ``[T, R, R]``.

        Raises:
            InputError: a picture cannot be read, or has another size.
        """
        names = ("image", "conditioning_image", "mask")
        stacks = [[sample.picture(name) for sample in clip[first : first + self.length]] for name in names]
        for name, stack in zip(names, stacks):
            for sample, picture in zip(clip[first:], stack):
                if picture.shape[:2] != (self.side, self.side):
                    raise InputError(
                        f"the {name} {sample.blobs[name].path} must be {self.side}x{self.side}; run `toolkit dataset "
                        "check`"
                    )
        image, hint, mask = (np.stack(stack) for stack in stacks)
        return image, hint, mask


def _clips(root: Path, manifest: Manifest) -> Iterator[Clip]:
    for _, rows in groupby(read_samples(root, None, manifest), key=lambda sample: sample.row.get("clip_id")):
        yield list(rows)


class SampleStream(Dataset):
    """Maps a position in the stream to a sample for the models.

    A sample has `image` and `hint`, float32 ``[T, 3, R, R]`` in 0..1 (holes of a hint are -1), `mask`, float32
    ``[T, 1, R, R]``, and the `seed` of its noise.
    """

    def __init__(self, pictures: Pictures, hints: HintShares, phase: Phase, seed: int):
        self._pictures, self._phase, self._seed = pictures, phase, seed
        shares = hints.model_dump()
        self._kinds = list(shares)
        self._shares = np.array(list(shares.values())) / sum(shares.values())

    def __getitem__(self, position: int) -> dict[str, Any]:
        """
        Raises:
            InputError: a picture cannot be read.
        """
        cv2.setNumThreads(0)  # leave the cores to the models
        rng = generator(self._seed, "pretrain", position)
        clips = self._pictures.clips[rng.integers(len(self._pictures.clips))]
        clip = clips[rng.integers(len(clips))]
        first = int(rng.integers(len(clip) - self._pictures.length + 1))
        read = self._pictures.read(clip, first)
        image, hint, mask = _varied(*(halved(*read) if self._phase.half_size else read), rng)
        kind = self._kinds[rng.choice(len(self._kinds), p=self._shares)]
        if kind == "pair" and self._phase.fade and rng.random() < self._phase.fade:
            hint = fade_attribute(image, hint, rng)
        if self._phase.video_degradation and rng.random() < self._phase.video_degradation:
            image, hint = _degraded(image, hint, int(rng.integers(2**31)))
        if kind == "pair" and self._phase.fill and rng.random() < self._phase.fill:
            hint = _filled(image, hint, rng)
        image, hint, mask = part(image, *_hint(kind, image, hint, mask, rng), self._phase.region, rng)
        return {
            "image": _tensor(image),
            "hint": _tensor(hint) if hint.dtype == np.uint8 else torch.from_numpy(hint).permute(0, 3, 1, 2),
            "mask": torch.from_numpy(mask[:, None].astype(np.float32)),
            "seed": int(rng.integers(2**63)),
        }


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def halved(image: np.ndarray, hint: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve the side of the pictures; thin parts of the mask survive."""
    half = [
        np.stack([cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in frames])
        for frames in (image, hint)
    ]
    return *half, mask[:, ::2, ::2] | mask[:, 1::2, ::2] | mask[:, ::2, 1::2] | mask[:, 1::2, 1::2]


def part(
    image: np.ndarray,
    hint: np.ndarray,
    mask: np.ndarray,
    region: tuple[int, int] | None,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the pictures to a part around the mask; see `toolkit.finetune.window.draw_window`.

    Args:
        region: width and height of the part in pixels; None for the whole pictures.
        rng: moves the part.
    """
    if region is None:
        return image, hint, mask
    rows, columns = draw_window(mask.any(axis=0), region, 1, rng)
    return image[:, rows, columns], hint[:, rows, columns], mask[:, rows, columns]


def _varied(
    image: np.ndarray, hint: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mirror, move, rotate and relight the clip, the same for all its pictures."""
    if rng.random() < 0.5:
        image, hint, mask = image[:, :, ::-1], hint[:, :, ::-1], mask[:, :, ::-1]
    if rng.random() < 0.5:
        side = image.shape[1]
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-12, 12), rng.uniform(0.85, 1.2))
        matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * side

        def moved(frame: np.ndarray) -> np.ndarray:
            return cv2.warpAffine(np.ascontiguousarray(frame), matrix, (side, side), borderMode=cv2.BORDER_REFLECT)

        image, hint = (np.stack([moved(frame) for frame in frames]) for frames in (image, hint))
        mask = np.stack([moved(frame.view(np.uint8) * 255) > 31 for frame in np.ascontiguousarray(mask)])
    if rng.random() < 0.3:
        table = np.arange(256)[:, None] * rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3) + rng.uniform(-15, 15)
        table = np.clip(table, 0, 255).astype(np.uint8)
        image, hint = (np.stack([table[frames[..., c], c] for c in range(3)], axis=-1) for frames in (image, hint))
    return image, hint, mask


def _degraded(image: np.ndarray, hint: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Degrade both as videos are, all frames of a clip alike."""
    pairs = [{"image": one, "conditioning_image": other} for one, other in zip(image, hint)]
    degraded = [
        degrade_as_video({name: np.ascontiguousarray(part) for name, part in pair.items()}, seed) for pair in pairs
    ]
    return np.stack([pair["image"] for pair in degraded]), np.stack([pair["conditioning_image"] for pair in degraded])


def _filled(image: np.ndarray, hint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill thin opaque parts of the attribute, or all of it, from the surroundings."""
    parts: Literal["thin", "all"] = "thin" if rng.random() < 0.5 else "all"
    return np.stack([fill_attribute(one, other, parts, rng) for one, other in zip(image, hint)])


def _hint(
    kind: str, image: np.ndarray, hint: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The hint of a kind, and the mask of what must change in it."""
    if kind == "pair":
        return hint, mask
    if kind == "drawn":
        return drawing.drawn(image, rng)
    if kind == "masked":
        if rng.random() < 0.5 or not mask.any():
            mask = np.broadcast_to(drawing.hole(image.shape[1], rng), mask.shape)
        else:
            width = int(rng.integers(1, 8))
            mask = np.stack([cv2.dilate(frame.astype(np.uint8), np.ones((width, width))) > 0 for frame in mask])
        return np.where(mask[..., None], np.float32(-1), image.astype(np.float32) / 255), mask
    nothing = np.zeros(mask.shape, bool)
    return (drawing.degraded(image, rng) if kind == "degraded" else image), nothing
