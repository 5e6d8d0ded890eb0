"""Writes the clips of a dataset as videos, to edit those with the attribute and compare with those without."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from toolkit.dataset.layout import Split
from toolkit.dataset.reader import Sample, read_manifest, read_samples
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.files import is_litter

FOLDERS = {"conditioning_image": "with", "image": "without"}
"""Output folder of each kind of picture."""


def write_videos(root: Path, output: Path, split: Split | None = None, limit: int | None = None) -> list[str]:
    """Write each clip as two lossless videos of the same name, with and without the attribute.

    Args:
        root: the dataset.
        output: folder in which ``with`` and ``without`` are created; must be new or empty.
        split: the split to write; both if None.
        limit: number of clips to write, from the first; all if None.

    Returns:
        The file names, in the order of the dataset.

    Raises:
        InputError: the dataset cannot be read.
        UsageError: there are no clips, or the output is not empty.
        ToolkitError: the videos cannot be written.
    """
    from toolkit.video import VideoWriter

    if output.exists() and not all(is_litter(path.name) for path in output.iterdir()):
        raise UsageError(f"the output {output} must be new or empty; choose another folder")
    names = []
    try:
        for folder in FOLDERS.values():
            (output / folder).mkdir(parents=True)
    except OSError as error:
        raise ToolkitError(f"the folder {error.filename} cannot be created: {error.strerror}") from error
    for number, clip in enumerate(_clips(root, split)):
        if number == limit:
            break
        name = f"{number:05d}.mkv"
        rate = _rate(clip)
        for picture, folder in FOLDERS.items():
            with VideoWriter(output / folder / name, fps=rate, lossless=True) as writer:
                for sample in clip:
                    writer.write(sample.picture(picture))
        names.append(name)
    if not names:
        raise UsageError(f"the dataset {root} has no {split or ''} clip".replace("  ", " "))
    return names


def _clips(root: Path, split: Split | None) -> Iterator[list[Sample]]:
    samples = read_samples(root, split, read_manifest(root))
    for _, rows in groupby(samples, key=lambda sample: sample.row.get("clip_id")):
        yield list(rows)


def _rate(clip: list[Sample]) -> float:
    """Frames per second, from the median interval, so that frames that were left out have no effect."""
    try:
        steps = np.diff([float(sample.row["time"]) for sample in clip])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a clip of the dataset has bad times ({error!r}); run `toolkit dataset check`") from error
    steps = steps[steps > 0]
    return float(np.clip(1 / np.median(steps), 1, 240)) if len(steps) else 25.0
