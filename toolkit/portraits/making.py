"""Videos of made people, to build datasets from where real videos of many people are not at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.executor import Executor, ProcessExecutor
from toolkit.files import sha256_of
from toolkit.files import differences
from toolkit.interruption import termination_interrupts
from toolkit.portraits.listing import list_portraits

SETTINGS, CACHE = "settings.json", ".portraits"

CRF = 10.0
"""x264's quality of the files: the camera of each clip has its own noise and compression already."""


class PeopleConfig(BaseModel):
    """Settings of `toolkit make-people`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portraits: Path = Field(description="folder with frontal portraits before plain backgrounds (.jpg, .png)")
    manifest: Path | None = Field(None, description="CSV that lists portraits in a column 'file'")
    only: str | None = Field(None, description="take only rows of the manifest with this text in the column 'use'")
    drive: list[Path] = Field(
        [],
        description="videos of faces whose poses, expressions and blinks are given to the people; of their pictures "
        "nothing is used",
    )
    output: Path = Field(description="folder of the videos; a run that was killed goes on in it")
    clips: int = Field(1000, ge=1, le=1_000_000, description="videos, each of another person")
    frames: int = Field(8, ge=1, le=10_000, description="frames of each, 25 a second")
    size: int = Field(352, ge=64, le=2048, multiple_of=2, description="side of the pictures in pixels")
    padding: float = Field(2.2, ge=1, le=4, description="side of the pictures over that of the face's box")
    workers: int | None = Field(None, ge=1, le=256, description="processes; without it one per core")
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed and portraits give the same people")


@dataclass(frozen=True)
class _Job:
    config: PeopleConfig
    index: int
    path: Path


def make_people(
    config: PeopleConfig,
    watch: Callable[[int, int], None] = lambda done, count: None,
    executor: Executor | None = None,
) -> int:
    """Write videos of people who do not exist (`MadePeople`); those that are there stay.

    Args:
        watch: is told how many of how many are there.
        executor: where they are made; processes of this machine if None.

    Returns:
        How many were made now.

    Raises:
        InputError: the portraits cannot be used.
        UsageError: the output was made with other settings, or is a file.
        ToolkitError: a video cannot be written.
    """
    from toolkit.portraits.driving import load_movements
    from toolkit.portraits.portrait import load_portraits

    _claim(config)
    load_portraits(list_portraits(config.portraits, config.manifest, config.only), config.output / CACHE)
    load_movements(config.drive, config.output / CACHE)
    paths = [config.output / f"{index:06d}.mp4" for index in range(config.clips)]
    jobs = [_Job(config, index, path) for index, path in enumerate(paths) if not path.exists()]
    there = config.clips - len(jobs)
    watch(there, config.clips)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor = executor or ProcessExecutor(config.workers or cores)
    with termination_interrupts(), closing(executor.run(_make, jobs)) as outcomes:
        for done, outcome in enumerate(outcomes, there + 1):
            if outcome.error is not None:
                raise outcome.error
            watch(done, config.clips)
    return len(jobs)


def _make(job: _Job) -> None:
    from toolkit.portraits.driving import FPS
    from toolkit.seeds import generator
    from toolkit.video import VideoWriter

    config = job.config
    people = _people(config.portraits, config.manifest, config.only, tuple(config.drive), config.output / CACHE)
    rng = generator("made people", config.seed, job.index)
    clip = people.clip(rng, config.frames, config.size, config.padding)
    with VideoWriter(job.path, fps=FPS, crf=CRF) as writer:
        for frame in clip.frames:
            writer.write(frame)


@lru_cache(1)
def _people(portraits: Path, manifest: Path | None, only: str | None, drive: tuple[Path, ...], cache: Path):
    import cv2

    from toolkit.portraits.driving import load_movements
    from toolkit.portraits.people import MadePeople
    from toolkit.portraits.portrait import load_portraits

    cv2.setNumThreads(1)
    portraits = load_portraits(list_portraits(portraits, manifest, only), cache)
    return MadePeople(portraits, load_movements(drive, cache))


def _claim(config: PeopleConfig) -> None:
    """The output is new, or of the same settings; more clips may be asked for."""
    path = config.output / SETTINGS
    asked = config.model_dump(mode="json", exclude={"output", "clips", "workers", "portraits", "manifest", "drive"})
    if config.drive:
        asked["drive"] = [_digest(video) for video in config.drive]
    if config.output.exists() and not config.output.is_dir():
        raise UsageError(f"the videos need a folder, and {config.output} is a file; name another output")
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            try:
                found = json.loads(path.read_bytes())
            except ValueError:
                found = {}
            if found != asked:
                differing = "; ".join(differences(found, asked))
                raise UsageError(f"{config.output} was made with other settings: {differing}; name another output")
            return
        temporary = config.output / f".{SETTINGS}.part"
        temporary.write_text(json.dumps(asked, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ToolkitError(f"expected to write into {config.output}, but: {error.strerror}") from error


def _digest(video: Path) -> str:
    try:
        return sha256_of(video)
    except OSError as error:
        raise InputError(f"the video {video} cannot be read: {error.strerror}") from error
