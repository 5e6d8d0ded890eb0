"""Draws the preview sheet: one row for each clip, with image, conditioning_image and mask of some of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolkit.dataset.layout import PICTURES, Manifest
from toolkit.dataset.reader import Sample, read_manifest, read_shard

_FRAMES = 3
_GAP = 6
_HEAD = 22


def render_preview(root: Path, manifest: Manifest | None = None, clips: int = 8, tile: int = 144) -> np.ndarray:
    """Draw the sheet.

    Args:
        root: the dataset.
        manifest: its manifest; read from the folder if None.
        clips: number of rows, spread evenly over the dataset.
        tile: width of each picture in pixels.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        InputError: the dataset cannot be read.
    """
    import cv2

    chosen = list(_choose(root, manifest or read_manifest(root), clips))
    group = len(PICTURES) * tile + _GAP
    sheet = np.full((_HEAD + len(chosen) * (tile + _GAP), _FRAMES * group + _GAP, 3), 255, np.uint8)
    for row, samples in enumerate(chosen):
        for column, sample in enumerate(samples):
            for index, name in enumerate(PICTURES):
                picture = sample.picture(name)
                if name == "mask":
                    picture = np.repeat(picture[..., None].astype(np.uint8) * np.uint8(255), 3, axis=2)
                interpolation = cv2.INTER_AREA if picture.shape[0] > tile else cv2.INTER_CUBIC
                y, x = _HEAD + row * (tile + _GAP), _GAP + column * group + index * tile
                sheet[y : y + tile, x : x + tile] = cv2.resize(picture, (tile, tile), interpolation=interpolation)
    return _with_headings(sheet, group, tile)


def _choose(root: Path, manifest: Manifest, clips: int) -> Iterator[list[Sample]]:
    """First, middle and last pair of evenly spaced clips. Only their shards are read."""
    shards = [shard for shard in manifest.shards if shard.pairs]
    total = sum(shard.clips for shard in shards)
    wanted = {int((number + 0.5) * total / min(clips, total)) for number in range(min(clips, total))}
    first = 0
    for shard in shards:
        here = [number - first for number in sorted(wanted) if first <= number < first + shard.clips]
        first += shard.clips
        if not here:
            continue
        by_clip: dict[str, list[Sample]] = {}
        for sample in read_shard(root, manifest, shard):
            by_clip.setdefault(str(sample.row.get("clip_id")), []).append(sample)
        ordered = list(by_clip.values())
        for number in here:
            if number < len(ordered):
                samples = ordered[number]
                yield [samples[0], samples[len(samples) // 2], samples[-1]]


def _with_headings(sheet: np.ndarray, group: int, tile: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=12)
    for column in range(_FRAMES):
        for index, name in enumerate(PICTURES):
            draw.text((_GAP + column * group + index * tile + 2, 4), name, fill=(60, 60, 60), font=font)
    return np.asarray(picture)
