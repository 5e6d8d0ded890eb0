"""Makes the test videos: people who do not exist, with drawn glasses and stickers and without them."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.against import toolkit
from benchmarks.nano_report.material import Material, Portrait
from toolkit.dataset.reader import read_manifest, read_samples
from toolkit.dataset.videos import write_videos
from toolkit.executor import InlineExecutor
from toolkit.files import atomic
from toolkit.portraits.making import PeopleConfig, make_people

TASKS = ("glasses", "stickers")

DRAWING = {"glasses": ["--task-option", "pairs=render"], "stickers": []}
"""Options of `build-dataset` with which each task draws its attribute."""

SEED = 2


@dataclass(frozen=True)
class Size:
    """How many videos are made.

    Attributes:
        london: videos of people who are mixed from the London portraits.
        london_frames: frames of each.
        synthetic: synthetic people at most; each is one portrait's, mixed with no other.
        synthetic_videos: videos of each.
        synthetic_frames: frames of each video.
    """

    london: int = 40
    london_frames: int = 16
    synthetic: int = 1000
    synthetic_videos: int = 2
    synthetic_frames: int = 8


def people(material: Material, folder: Path, size: Size) -> dict[str, list[str]]:
    """Make the videos of bare people.

    Returns:
        Set -> names of its videos. Those of the synthetic portrait ``f12`` are ``f12-0.mp4`` and so on.
    """
    london = folder / "london" / "people"
    make_people(
        PeopleConfig(
            portraits=material.stills / "london",
            manifest=material.manifest,
            only="test",
            output=london,
            clips=size.london,
            frames=size.london_frames,
            seed=SEED,
        ),
        executor=InlineExecutor(),
    )
    synthetic = folder / "synthetic" / "people"
    synthetic.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in material.portraits if one.test and one.set == "synthetic"][: size.synthetic]
    for number, portrait in enumerate(chosen):
        _one_person(portrait, synthetic, size, SEED + number)
    return {part.parent.name: sorted(path.name for path in part.glob("*.mp4")) for part in (london, synthetic)}


def portrait_of(video: str) -> str:
    """Name of the portrait whose person a video of the synthetic set shows."""
    return Path(video).stem.rpartition("-")[0]


def _one_person(portrait: Portrait, folder: Path, size: Size, seed: int) -> None:
    """Write the videos of the person in a portrait."""
    name = portrait.path.stem
    if (folder / f"{name}-{size.synthetic_videos - 1}.mp4").exists():
        return
    made = folder.parent / "making"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    listing = made / f"{name}.csv"  # making keeps the people of the last list that it read, by its path
    with listing.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("file", "use"), (portrait.path.resolve(), "test")])
    config = PeopleConfig(
        portraits=portrait.path.parent,
        manifest=listing,
        output=made / "videos",
        clips=size.synthetic_videos,
        frames=size.synthetic_frames,
        seed=seed,
    )
    make_people(config, executor=InlineExecutor())
    for number in range(size.synthetic_videos):
        (made / "videos" / f"{number:06d}.mp4").rename(folder / f"{name}-{number}.mp4")
    shutil.rmtree(made)


def videos(source: Path, folder: Path, task: str) -> dict[str, str]:
    """Draw an attribute on the people of a set and write videos with and without it.

    Args:
        source: folder of the toolkit that draws.
        folder: of the set.
        task: whose attribute is drawn.

    Returns:
        Name of each video -> name of the bare person's video.
    """
    dataset, target = folder / f"{task}-dataset", folder / task
    toolkit(
        *(source, "build-dataset", "--task", task, *DRAWING[task], "--videos", folder / "people", "--output", dataset),
        *("--clip-length", 16, "--min-clip-length", 2, "--validation-fraction", 0, "--allow-failures", "--workers", 1),
    )
    shutil.rmtree(target, ignore_errors=True)
    names = write_videos(dataset, target)
    samples = read_samples(dataset, None, read_manifest(dataset))
    sources = [next(rows).row["source"] for _, rows in groupby(samples, key=lambda sample: sample.row["clip_id"])]
    return dict(zip(names, sources, strict=True))


def evenly(folder: Path, count: int, target: Path) -> Path:
    """Copy evenly chosen videos of a folder with and without an attribute.

    Args:
        folder: holds ``with`` and ``without``.
        count: of the videos, at least 1.
        target: the new folder.
    """
    names = sorted(path.name for path in (folder / "with").glob("*.mkv"))
    chosen = {names[round(place)] for place in np.linspace(0, len(names) - 1, min(count, len(names)))}
    for part in ("with", "without"):
        (target / part).mkdir(parents=True, exist_ok=True)
        for name in chosen:
            if not (target / part / name).exists():
                with atomic(target / part / name, shared=True) as staged:
                    shutil.copyfile(folder / part / name, staged)
    return target
